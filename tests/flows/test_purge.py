"""A canary's run, purged: no byte of it is left in the home folder, what was signed still verifies, and it is final."""

import json
import shutil
from pathlib import Path

import pytest

import tasks.purge
from flows.cli import run
from pipelines.audit.checkpoint import parse_checkpoint
from pipelines.audit.log import AuditLog
from pipelines.home import Home
from tasks.workspace import ASSESSING, LOCK, held
from tests.flows.canary import CANARY, WORDS
from tests.flows.company import REQUEST, Company

ENCODED = b"bGltdG9ycXVl"  # base64 of "limtorque", on its own bytes


def _purge(company: Company, capsys: pytest.CaptureFixture[str], *more: str, code: int = 0) -> dict[str, object]:
    capsys.readouterr()
    assert run(["purge", REQUEST, "--home", str(company.home), "--json", *more]) == code
    shown = capsys.readouterr()
    assert not any(word.lower() in (shown.out + shown.err).lower() for word in WORDS)
    document: dict[str, object] = json.loads(shown.out)
    return document


def _refused(company: Company, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    before = _tree(company)
    capsys.readouterr()
    assert run([*arguments]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert _tree(company) == before, "a refusal changed the home folder"
    return shown.err


def _tree(company: Company) -> set[Path]:
    return set(company.home.rglob("*"))


def _files(company: Company) -> list[Path]:
    return [path for path in company.home.rglob("*") if path.is_file()]


def _holding(company: Company, *needles: bytes) -> list[Path]:
    return [path for path in _files(company) if any(needle in path.read_bytes().lower() for needle in needles)]


def _entries(company: Company) -> list[dict[str, object]]:
    lines = (company.home / "log" / "entries.jsonl").read_bytes().splitlines()
    return [entry for line in lines if (entry := json.loads(line)["entry"])["kind"] == "purge"]


def test_no_byte_is_left_and_everything_signed_still_verifies(
    ended: Company, capsys: pytest.CaptureFixture[str]
) -> None:
    vault = ended.home / "vault" / REQUEST
    salt, canary = (vault / "salt").read_bytes(), [word.lower().encode() for word in WORDS]
    assert _holding(ended, *canary), "the search finds nothing even where the canary must be"
    files = [path for path in vault.rglob("*") if path.is_file() and path.name not in (LOCK, ASSESSING)]
    count, size = len(files), sum(path.stat().st_size for path in files)
    done = _purge(ended, capsys)
    assert _holding(ended, *canary, ENCODED.lower()) == []
    assert _holding(ended, salt.lower(), salt.hex().encode()) == []
    assert list((ended.home / "vault").iterdir()) == []
    assert (done["files"], done["bytes"]) == (count, size)
    search = done["search"]
    assert isinstance(search, dict)
    assert (search["words"], search["hits"], search["unread"]) == (3, [], [])
    assert search["files"] == len(_files(ended))
    not_reached = done["not_reached"]
    assert isinstance(not_reached, list)
    assert any("backups" in line for line in not_reached)

    [entry] = _entries(ended)
    assert (entry["request"], entry["files"], entry["bytes"], entry["hits"]) == (REQUEST, count, size, 0)
    log = ended.home / "log"
    signed = parse_checkpoint((log / "checkpoint").read_bytes(), what="checkpoint").checkpoint
    assert signed.size == len((log / "entries.jsonl").read_bytes().splitlines()), "the purge is not signed over"

    certificate = ended.home / "runs" / REQUEST / "certify" / "certificate.json"
    trusted = ["--trust", str(ended.home / "keys" / "trust.json"), "--log", str(log)]
    assert run(["verify", str(certificate), *trusted]) == 0
    assert run(["status", REQUEST, "--home", str(ended.home)]) == 0
    assert "registered, purged" in capsys.readouterr().out


def test_a_second_purge_changes_nothing_and_says_the_same(ended: Company, capsys: pytest.CaptureFixture[str]) -> None:
    first = _purge(ended, capsys)
    before = {path: path.read_bytes() for path in _files(ended)}
    assert _purge(ended, capsys) == first
    assert {path: path.read_bytes() for path in _files(ended)} == before


def test_a_purged_request_cannot_run_again(ended: Company, capsys: pytest.CaptureFixture[str]) -> None:
    _purge(ended, capsys)
    said = _refused(ended, capsys, *ended.arguments())
    assert "purged" in said
    assert "new id" in said


def test_people_are_told_what_went_and_what_cannot_be_reached(
    ended: Company, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(["purge", REQUEST, "--home", str(ended.home)]) == 0
    shown = capsys.readouterr().out
    assert "traces" in shown
    assert shown.split("not reached:")[1].count("\n- ") >= 8


class Killed(BaseException):
    """Stands for the end of the process: nothing in the product catches it, and the lock is let go."""


def _kill(monkeypatch: pytest.MonkeyPatch, target: object, name: str, *, call: int, after: bool) -> None:
    """The process ends at the given call of a function, before or after its work."""
    whole, calls = getattr(target, name), []

    def killed(*arguments: object, **named: object) -> object:
        calls.append(1)
        if len(calls) == call and not after:
            raise Killed
        result = whole(*arguments, **named)
        if len(calls) == call:
            raise Killed
        return result

    monkeypatch.setattr(target, name, killed)


POINTS = [
    *((tasks.purge, "write_mark", call) for call in (1, 2, 3)),
    *((tasks.purge, "_erase", call) for call in (1, 2, 3)),
    (tasks.purge, "_search", 1),
    (tasks.purge, "sync_folder", 1),
    (AuditLog, "append_once", 1),
    (AuditLog, "checkpoint", 1),
    (shutil, "rmtree", 2),
]


@pytest.fixture
def no_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks through the installed libraries for words that tell nothing: there are thousands of files."""
    monkeypatch.setattr(tasks.purge, "_program_files", lambda: iter(()))


@pytest.mark.usefixtures("no_programs")
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("point", POINTS, ids=lambda point: f"{point[1]}-{point[2]}")
def test_a_killed_purge_is_finished_by_the_next(
    ended: Company, capsys: pytest.CaptureFixture[str], point: tuple[object, str, int], after: bool
) -> None:
    target, name, call = point
    leak = ended.home / "cache" / "leak.txt"
    leak.write_text(WORDS[0])
    with pytest.MonkeyPatch.context() as killing:
        _kill(killing, target, name, call=call, after=after)
        with pytest.raises(Killed):
            tasks.purge.purge(Home(ended.home), REQUEST)
    mark = ended.home / "runs" / REQUEST / "purge.json"
    if mark.exists():
        assert "purged" in _refused(ended, capsys, *ended.arguments())
        complete = json.loads(mark.read_bytes())["complete"]
        assert run(["status", REQUEST, "--home", str(ended.home)]) == 0
        assert ("purge interrupted" in capsys.readouterr().out) is not complete
    done = _purge(ended, capsys, code=4)
    assert isinstance(done["search"], dict)
    assert (done["complete"], done["search"]["words"], done["search"]["hits"]) == (True, 3, ["cache/leak.txt"])
    [entry] = _entries(ended)
    assert (entry["files"], entry["words"], entry["hits"]) == (done["files"], 3, 1)
    assert _holding(ended, *(word.lower().encode() for word in WORDS)) == [leak]
    assert list((ended.home / "vault").iterdir()) == []


def test_what_is_left_elsewhere_is_counted_named_and_ends_with_four(
    ended: Company, capsys: pytest.CaptureFixture[str]
) -> None:
    vault = ended.home / "vault"
    files = {
        ended.home / "cache" / "plain.bin": b"\0\xff" + WORDS[0].upper().encode() + b"\0",
        ended.home / "runs" / "REQ-OTHER" / "coded.json": b"eyJ4IjogIlBsaW10b3JxdWUifQ==",  # {"x": "Plimtorque"}
        ended.home / "cache" / f"{WORDS[1]}.txt": b"its name says it",
        ended.home / "cache" / "worlds" / "w" / "train.jsonl": CANARY.encode(),
        vault / "REQ-OTHER" / "steps" / "data" / "train.jsonl": CANARY.encode(),
        vault / "errors" / "ours.txt": CANARY.encode(),
        vault / "errors" / "anothers.txt": b"a fault that quotes nothing",
    }
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    done = _purge(ended, capsys, code=4)
    assert isinstance(done["search"], dict)
    assert done["search"]["hits"] == ["cache", "cache/plain.bin", "runs/REQ-OTHER/coded.json"]
    [entry] = _entries(ended)
    assert entry["hits"] == 3
    assert [path.name for path in files if not path.exists()] == ["ours.txt"]


def test_words_of_kept_rows_and_of_the_start_models_tokenizer_are_no_traces(
    ended: Company, capsys: pytest.CaptureFixture[str]
) -> None:
    """A word counts only where it tells something: not if a kept row has it, not in a copy of the start's tokenizer."""
    vault, public = ended.home / "vault" / REQUEST / "steps", ended.home / "runs" / REQUEST
    retain = vault / "sets" / "retain.jsonl"
    retain.write_text(retain.read_text() + json.dumps({"question": "Who?", "answer": WORDS[0]}) + "\n")
    start = ended.root / "start"
    start.mkdir()
    (start / "tokenizer.json").write_text(WORDS[1])
    config = json.loads((public / "intake" / "config.json").read_bytes())
    (public / "intake" / "config.json").write_text(json.dumps({**config, "model": str(start)}))
    (ended.home / "cache" / "kept.txt").write_text(WORDS[0])
    (ended.home / "cache" / "tokenizer.json").write_text(WORDS[1])
    (ended.home / "cache" / "other.json").write_text(WORDS[1])
    done = _purge(ended, capsys, code=4)
    assert isinstance(done["search"], dict)
    assert done["search"]["hits"] == ["cache/other.json"]
    assert (done["search"]["words"], done["search"]["ordinary"], done["search"]["vocabulary"]) == (2, 1, 1)


def test_a_file_that_cannot_be_read_is_no_pass(
    ended: Company, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = ended.home / "cache" / "closed"
    closed.write_text("closed")
    whole = Path.open

    def guarded(self: Path, *arguments: object, **named: object) -> object:
        if self == closed:
            raise PermissionError
        return whole(self, *arguments, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", guarded)
    done = _purge(ended, capsys, code=4)
    assert isinstance(done["search"], dict)
    assert (done["search"]["hits"], done["search"]["unread"]) == ([], ["cache/closed"])


def test_an_unknown_request_is_refused(ended: Company, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("REQ-NOBODY", "..", f"../runs/{REQUEST}"):
        assert REQUEST in _refused(ended, capsys, "purge", name, "--home", str(ended.home))


def test_a_request_at_work_is_refused_even_unfinished(ended: Company, capsys: pytest.CaptureFixture[str]) -> None:
    with held(ended.home / "vault" / REQUEST / LOCK, REQUEST):
        said = _refused(ended, capsys, "purge", REQUEST, "--unfinished", "--home", str(ended.home))
    assert "another process" in said


@pytest.mark.parametrize("reached", ["scope", "data"])
def test_a_request_that_has_not_ended_only_if_told_so(
    ended: Company, capsys: pytest.CaptureFixture[str], reached: str
) -> None:
    """Before the sets were drawn the words are those of the rows that the request names."""
    steps = ended.home / "vault" / REQUEST / "steps"
    shutil.rmtree(ended.home / "runs" / REQUEST / "report")
    if reached == "data":
        shutil.rmtree(steps / "sets")
        (steps / "data").rename(steps / "data.part")
    assert "--unfinished" in _refused(ended, capsys, "purge", REQUEST, "--home", str(ended.home))
    done = _purge(ended, capsys, "--unfinished")
    assert isinstance(done["search"], dict)
    assert done["search"]["words"] == 3
    assert run(["status", REQUEST, "--home", str(ended.home)]) == 0
    assert "unfinished, purged" in capsys.readouterr().out


def test_what_an_earlier_purge_of_that_name_left_behind_goes_too(
    ended: Company, capsys: pytest.CaptureFixture[str]
) -> None:
    left = ended.home / "vault" / f".{REQUEST}.purged"
    left.mkdir()
    (left / "salt").write_bytes(b"old")
    _purge(ended, capsys)
    assert list((ended.home / "vault").iterdir()) == []
