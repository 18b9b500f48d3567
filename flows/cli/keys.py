"""``lethe keys`` and ``lethe witness``: who may sign, and who watches the log."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import AsJson, HomeFolder, print_json, print_table
from pipelines.home import Home

if TYPE_CHECKING:
    from pipelines.audit.keys import Keyring
    from pipelines.audit.log import AuditLog

ROLES_HELP = "evaluator, approver, log or witness; again for more. Default: all, for one machine."


def add_to(app: typer.Typer) -> None:
    """Add the verbs."""
    keys = typer.Typer(no_args_is_help=True, help="Signing keys: one per role, readable by their owner alone.")
    keys.command("init", epilog="Example: lethe keys init --role evaluator --role log")(init)
    keys.command("rotate", epilog="Example: lethe keys rotate evaluator --overlap-days 2")(rotate)
    keys.command("revoke", epilog="Example: lethe keys revoke 3f9a1c20 --because stolen")(revoke)
    keys.command("list", epilog="Example: lethe keys list --json")(show)
    app.add_typer(keys, name="keys")
    app.command("witness", epilog="Example: lethe witness --log ./log --key witness.pem --trust trust.json")(witness)


def init(
    role: Annotated[list[str] | None, typer.Option(help=ROLES_HELP)] = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> int:
    """Make the keys that are missing, and a trust file with their public halves for whoever verifies."""
    from pipelines.audit.keys import ensure_keyring
    from pipelines.audit.trust import ROLES
    from tasks.workspace import ORIGIN

    ensure_keyring(Home.at(home).keys, origin=ORIGIN, now=datetime.now(UTC), roles=role or ROLES)
    return _listed(home, as_json=as_json)


def rotate(
    role: Annotated[str, typer.Argument(help="evaluator, approver, log or witness")],
    overlap_days: Annotated[
        int, typer.Option(min=0, help="For how long signatures of the old key are still accepted as new.")
    ] = 0,
    home: HomeFolder = None,
) -> int:
    """Give a role a new key. What the old one signed stays good; its private half is deleted."""
    from pipelines.audit.rotation import rotate_key

    at = _places(home)
    new = rotate_key(at.ring, role, log=at.log, now=datetime.now(UTC), overlap=timedelta(days=overlap_days))
    typer.echo(f"{role}: new key {new.key_id}")
    typer.echo(f"hand the trust file to whoever verifies: {at.ring.trust}")
    return 0


def revoke(
    key: Annotated[str, typer.Argument(help="Key id, or its first 8 digits or more.")],
    because: Annotated[str, typer.Option(help="A short code without blanks, for example stolen.")],
    home: HomeFolder = None,
) -> int:
    """Take all trust from a key: nothing that it ever signed verifies any more."""
    from pipelines.audit.rotation import revoke_key

    at = _places(home)
    revoked = revoke_key(at.ring, key, log=at.log, now=datetime.now(UTC), because=because)
    typer.echo(f"{revoked.role}: key {revoked.key_id} is revoked; lethe keys rotate {revoked.role} makes a new one")
    typer.echo(f"hand the trust file to whoever verifies: {at.ring.trust}")
    return 0


def show(home: HomeFolder = None, as_json: AsJson = False) -> int:
    """Which keys are trusted, until when, and which private halves lie here."""
    return _listed(home, as_json=as_json)


def witness(  # noqa: PLR0917 - one parameter per option
    log: Annotated[Path, typer.Option(help="Folder of the audit log.")],
    key: Annotated[Path, typer.Option(help="The witness's private key.")],
    trust: Annotated[Path, typer.Option(help="Trust file that names the log and its key.")],
    seen: Annotated[
        Path | None, typer.Option(help="The witness's memory of the log; default: beside the key, named .seen.")
    ] = None,
    name: Annotated[str, typer.Option(help="How the witness is named in its cosignature.")] = "lethe/witness",
    as_json: AsJson = False,
) -> int:
    """Cosign the log's latest head, if it extends the one that this witness saw last; refuse otherwise."""
    from pipelines.audit.keys import load_private_key
    from pipelines.audit.trust import Trust
    from pipelines.audit.witness import witness as look

    looked = look(
        log,
        private_key=load_private_key(key),
        name=name,
        seen=seen or key.with_suffix(".seen"),
        trust=Trust.load(trust),
        now=datetime.now(UTC),
    )
    if as_json:
        print_json({"origin": looked.head.origin, "size": looked.head.size, "seen_before": looked.before})
        return 0
    before = f"extends the {looked.before} seen before" if looked.before else "first look: taken as it is"
    typer.echo(f"cosigned {looked.head.size} entries of {looked.head.origin} ({before})")
    return 0


@dataclass(frozen=True)
class _Places:
    ring: "Keyring"
    log: "AuditLog"


def _places(home: Path | None) -> _Places:
    from pipelines.audit.keys import Keyring
    from pipelines.audit.log import AuditLog
    from tasks.workspace import ORIGIN

    opened = Home.at(home)
    return _Places(Keyring(opened.keys), AuditLog(opened.log, ORIGIN))


def _listed(home: Path | None, *, as_json: bool) -> int:
    from pipelines.audit.instants import format_instant
    from pipelines.audit.keys import Keyring
    from pipelines.audit.rotation import list_keys

    ring = Keyring(Home.at(home).keys)
    found = list_keys(ring, now=datetime.now(UTC))
    rows = [
        (
            one.key.role,
            one.key.key_id,
            one.state,
            format_instant(one.key.not_before),
            format_instant(one.key.not_after),
            one.private,
        )
        for one in found
    ]
    columns = ("role", "key id", "state", "from", "until", "private half")
    if as_json:
        print_json({"trust": str(ring.trust), "keys": [dict(zip(columns, row, strict=True)) for row in rows]})
        return 0
    print_table("keys", columns, rows)
    typer.echo(f"trust file: {ring.trust}")
    return 0
