"""`lethe-verify.pyz FILE --trust FILE`, or `python -m pipelines.audit`: the verifier for who has nothing else of Lethe.

Exit codes: 0 verified, 2 bad input (one line on stderr), 4 not verified.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pipelines.audit.trust import Trust
from pipelines.audit.verify import verify_certificate
from pipelines.errors import LetheError, VerificationFailed


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify one file and print the report; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        report = verify_certificate(
            options.certificate,
            trust=Trust.load(options.trust),
            now=datetime.now(UTC),
            log_dir=options.log,
            model_dir=options.model,
            kept_checkpoint=options.checkpoint,
        )
    except LetheError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(json.dumps(report.to_json(), indent=2) if options.json else report.to_text())
    return 0 if report.ok else VerificationFailed.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lethe-verify",
        description="Verify an evidence archive, an erasure certificate or a refusal, offline.",
        epilog="example: python3 lethe-verify.pyz evidence.tar --trust trust.json --model ./model",
    )
    parser.add_argument("certificate", type=Path, help="the evidence archive or the certificate file")
    parser.add_argument(
        "--trust", type=Path, required=True, help="public keys and log names; from a person, not the run"
    )
    parser.add_argument("--log", type=Path, help="log folder, instead of the one that the certificate names")
    parser.add_argument("--model", type=Path, help="model folder, instead of the one that the certificate names")
    parser.add_argument("--checkpoint", type=Path, help="a checkpoint of the log that you kept from an earlier day")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    return parser


if __name__ == "__main__":
    sys.exit(main())
