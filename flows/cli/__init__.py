"""The ``lethe`` command: thin verbs over flows and pipelines functions.

Exit codes: 0 done, 2 bad input, 3 refused by a gate or the policy, 4 verification failed, 1 our own fault. Nothing
heavy is imported until a verb needs it, so ``--help`` and ``verify`` answer at once.
"""

import errno
import sys
import traceback
from datetime import UTC, datetime

import typer

from flows.cli import adapters, audit, compare, erasure, interop, library, measure, method, promotion, request_life
from pipelines.errors import LetheError
from pipelines.home import Home

INTERRUPTED = 130

app = typer.Typer(
    name="lethe",
    help="Audited unlearning: from an erasure request to a registered, signed model version that anybody can check.",
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
erasure.add_to(app)
library.add_to(app)
method.add_to(app)
adapters.add_to(app)
measure.add_to(app)
compare.add_to(app)
interop.add_to(app)
promotion.add_to(app)
audit.add_to(app)
request_life.add_to(app)


def main() -> None:
    """Run the command and end with its exit code; every error is one line on stderr."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command with these arguments; returns the exit code."""
    try:
        code = app(arguments or ["--help"], standalone_mode=False)
    except LetheError as error:
        return _say(str(error), error.exit_code)
    except typer.TyperException as error:
        return _say(error.format_message(), 2)
    except (typer.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except Exception as error:
        return _unexpected(error)
    if code == INTERRUPTED:  # typer returns it where a key stopped the verb
        return _say("stopped; run the same command again to resume", INTERRUPTED)
    return code if isinstance(code, int) else 0


def _say(message: str, code: int) -> int:
    typer.echo(f"lethe: {' '.join(message.split())}", err=True)
    return code


def _unexpected(error: Exception) -> int:
    """The last line of defence: details may quote a row, so they go where text may be."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _say("no space left on the device; free some, run again", 2)
    return _say(_ours(error), 1)


def _ours(error: Exception) -> str:
    folder = Home.at().room("vault/errors")
    path = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}.txt"
    path.touch(mode=0o600)
    path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    return f"unexpected {type(error).__name__}; this is our fault, details (may hold text of rows): {path}"
