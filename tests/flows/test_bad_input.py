"""Input that cannot be used, given on the command line: one line, exit code 2, no text of a row, nothing half-written.

What goes wrong while a run is at work (a loss that is no number, a full disk, an MLflow that is away) is here too: the
run is refused or waits, and goes on where it was.
"""

import errno
import json
import logging
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.cli import run
from pipelines.data.rows import Row
from tests.flows.company import REQUEST, Company, found, write_rows
from tests.servers import free_port
from tests.tiny import tiny_row, tiny_rows

Break = Callable[[Company], object]

WORDS = ("Writer", "Town", "birthplace", "Ada Example")
"""Of every row of the tiny company, and of its request."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return found(tmp_path_factory.mktemp("template")).root


@pytest.fixture
def company(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Company:
    """A company in the working folder, from a copy of the template."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    for file in ("request.yaml", "config.yaml"):
        path = tmp_path / file
        path.write_text(path.read_text().replace(str(template), str(tmp_path)))
    return Company(tmp_path)


@pytest.fixture
def prefect_says_nothing(prefect_env: None) -> Iterator[None]:
    """The command sets this before it imports Prefect; here Prefect may have been imported by another test."""
    from prefect.logging.handlers import PrefectConsoleHandler
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    import flows.erase  # noqa: F401 - sets up Prefect's logging

    handlers = [h for h in logging.getLogger().handlers if isinstance(h, PrefectConsoleHandler)]
    for handler in handlers:
        handler.setLevel(logging.CRITICAL)
    # A flow's last second goes into ending its heartbeat.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


@pytest.fixture
def quick(company: Company) -> Company:
    """A company whose runs do no more than they must."""
    company.set_config(
        attribution={"backends": ["bm25"]},
        utility={},
        evaluation={"bootstrap": 100, "max_new_tokens": 1},
    )
    return company


def _files(company: Company) -> set[Path]:
    return {path for path in company.root.rglob("*") if company.home not in path.parents and path != company.home}


def _refuses(company: Company, arguments: list[str], capsys: pytest.CaptureFixture[str], *, code: int = 2) -> str:
    """Run, check everything that holds of every refusal, and return the line."""
    before = _files(company)
    assert run(arguments) == code
    shown = capsys.readouterr()
    said = [line for line in shown.err.splitlines() if line]
    assert len(said) == 1, shown.err
    assert said[0].startswith("lethe: ")
    assert shown.out == ""
    assert not any(word in said[0] for word in WORDS), said[0]
    assert _files(company) == before, "something was written outside the home"
    _nothing_half_written(company)
    return said[0]


def _nothing_half_written(company: Company) -> None:
    parts = list(company.home.rglob("*.part"))
    assert all(path.is_dir() for path in parts), parts
    assert not [path for path in parts if path.with_suffix("").exists()], parts
    assert not (company.home / "mlflow" / "mlflow.db").exists(), "something was registered"
    assert not (company.home / "runs" / REQUEST / "register").exists()


def _config(**changes: object) -> Break:
    return lambda company: company.set_config(**changes)


def _write(name: str, content: bytes) -> Break:
    def write(company: Company) -> None:
        (company.root / name).write_bytes(content)

    return write


def _rows(name: str, *rows: Row) -> Break:
    def write(company: Company) -> None:
        write_rows(company.root / name, rows)

    return write


def _train_parquet(change: Callable[[bytes], bytes]) -> Break:
    def write(company: Company) -> None:
        rows = tiny_rows(16)
        table = pa.table({"question": [r.question for r in rows], "answer": [r.answer for r in rows]})
        path = company.root / "train.parquet"
        pq.write_table(table, path, compression="none", use_dictionary=False)
        path.write_bytes(change(path.read_bytes()))
        company.set_config(train=str(path))

    return write


def _model(change: Callable[[Path], object]) -> Break:
    return lambda company: change(company.root / "start")


def _folder_for_a_request(company: Company) -> None:
    company.request.unlink()
    company.request.mkdir()


def _symlink(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.rename(folder.parent / "elsewhere.safetensors")
    weights.symlink_to(folder.parent / "elsewhere.safetensors")


def _remote_code(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "auto_map": {"AutoModelForCausalLM": "evil.Model"}}))


def _missing_shard(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _other_tokenizer(folder: Path) -> None:
    path = folder / "tokenizer.json"
    rules = json.loads(path.read_text())
    vocabulary = rules["model"]["vocab"]
    rules["model"]["vocab"] = {**vocabulary, "<one>": len(vocabulary), "<two>": len(vocabulary) + 1}
    path.write_text(json.dumps(rules))


LONG = Row(question="Where was Writer 0 born?", answer="Town " * 200)

BAD: dict[str, tuple[Break, str]] = {
    "no training data": (_config(train="gone.jsonl"), "train: gone.jsonl: no such file"),
    "a request that is a folder": (_folder_for_a_request, "request.yaml: IsADirectory"),
    "no configuration": (lambda c: c.config.unlink(), "config.yaml: no such file"),
    "no policy": (lambda c: c.policy.unlink(), "policy.yaml: no such file"),
    "not JSON": (_write("train.jsonl", b'{"question": "Writer\n'), "train.jsonl: line 1"),
    "wrong columns": (_write("train.jsonl", b'{"writer": "Writer 1", "Town of": "Town 3"}\n'), "needed are question"),
    "a missing column": (_write("train.jsonl", b'{"question": "Writer 1?"}\n'), "needed are question + answer"),
    "a row without answer": (
        _write("train.jsonl", b'{"question": "Writer 1?", "answer": "Town"}\n{"question": "Writer 2?"}\n'),
        "row 1: column answer is missing",
    ),
    "an empty forget set": (_write("forget.jsonl", b""), "forget.jsonl: there are no rows"),
    "a forget row not trained on": (
        _rows("forget.jsonl", tiny_row(0), tiny_row(99)),
        "forget: row 1 is not in the training data",
    ),
    "a forget row twice": (_rows("forget.jsonl", tiny_row(0), tiny_row(1), tiny_row(0)), "rows 0 and 2 are the same"),
    "holdout rows that were trained on": (
        _rows("holdout.jsonl", tiny_row(100), tiny_row(5)),
        "holdout: row 1 (1 in all) is a row of train too",
    ),
    "validation rows that measure": (_config(validation="holdout.jsonl"), "validation: row 0 (6 in all) is a row of"),
    "nothing left to retain": (_rows("forget.jsonl", *tiny_rows(16)), "some must be left to retain"),
    "not UTF-8": (_write("train.jsonl", b'{"question": "Writer \xff", "answer": "Town"}\n'), "line 1 is not UTF-8"),
    "truncated Parquet": (_train_parquet(lambda data: data[: len(data) // 2]), "not a complete Parquet file"),
    "Parquet that is not UTF-8": (_train_parquet(lambda d: d.replace(b"Writer 3", b"Writer \xff")), "not UTF-8"),
    "a row longer than the context": (
        _rows("train.jsonl", *tiny_rows(16), LONG),
        "row 16: 1045 tokens, but the model's context holds 256",
    ),
    "a forget row longer than the context": (
        lambda c: [_rows("train.jsonl", LONG, *tiny_rows(15, first=1))(c), _rows("forget.jsonl", LONG)(c)],
        "tokens, but the model's context holds 256",
    ),
    "an unknown method": (_config(method="wishful"), "unknown method 'wishful'; known: grad_ascent"),
    "an unknown metric": (_config(evaluation={"metrics": ["luck"]}), "unknown metric 'luck'; known: probability"),
    "an unknown attributor": (_config(attribution={"backends": ["rumour"]}), "unknown attributor 'rumour'"),
    "an unknown parameter": (_config(params={"gama": 1}), "params of method npo: gama: "),
    "a parameter out of range": (_config(params={"beta": 0}), "beta: Input should be greater than 0"),
    "a setting out of range": (_config(training={"epochs": 0}), "training.epochs: Input should be greater"),
    "an unknown setting": (_config(modell="start"), "modell: Extra inputs are not permitted; known: model,"),
    "an unknown gate": (
        _write("policy.yaml", b"{name: p, description: d, gates: {taste: {}}}"),
        "unknown gate 'taste'",
    ),
    "a policy without gates": (_write("policy.yaml", b"{name: p, description: d, gates: {}}"), "gates: Dictionary"),
    "a pass mark out of range": (
        _write("policy.yaml", b"{name: p, description: d, gates: {utility: {ratio: -1}}}"),
        "gate utility: ratio",
    ),
    "a stop rule without its rows": (_config(validation=None, training={"stop": "holdout"}), "stop: 'holdout' needs"),
    "a utility set named forget": (_config(utility={"forget": "facts.jsonl"}), "utility: the name forget is taken"),
    "no model": (_config(model="gone"), "gone: no such model folder"),
    "a pickle": (
        _model(lambda d: (d / "pytorch_model.bin").write_bytes(b"\x80\x04.")),
        "pytorch_model.bin: not",
    ),
    "remote code": (_model(_remote_code), "config.json: auto_map asks for code"),
    "code beside the weights": (
        _model(lambda d: (d / "modeling.py").write_text("")),
        "modeling.py: not allowed",
    ),
    "a symlink": (_model(_symlink), "model.safetensors: a model folder holds plain files"),
    "a missing shard": (_model(_missing_shard), "names 'model-00002-of-00002.safetensors', which is not a file"),
    "truncated weights": (
        _model(lambda d: (d / "model.safetensors").write_bytes((d / "model.safetensors").read_bytes()[:-9])),
        "start: not loadable",
    ),
    "a tokenizer that does not fit": (_model(_other_tokenizer), "the tokenizer has 261 tokens, but the model's"),
    "a reference with a pickle": (
        lambda c: (c.root / "reference" / "optimizer.pt").write_bytes(b""),
        "optimizer.pt: not allowed",
    ),
}


@pytest.mark.usefixtures("prefect_says_nothing")
@pytest.mark.parametrize("case", BAD)
def test_run_refuses(case: str, company: Company, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, said = BAD[case]
    spoil(company)
    assert said in _refuses(company, company.arguments("--json"), capsys)


def test_unlearn_refuses_sets_that_overlap(company: Company, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(company.root / "retain.jsonl", tiny_rows(12, first=3))
    sets = ["--forget", "forget.jsonl", "--retain", "retain.jsonl"]
    said = "overlap in 1 rows: forget row 3 is retain row 0"
    assert said in _refuses(
        company, ["unlearn", "--model", "start", *sets, "--method", "npo", "--out", "candidate"], capsys
    )
    assert said in _refuses(company, ["scope", "--train", "train.jsonl", *sets], capsys)


VERBS: dict[str, tuple[list[str], str]] = {
    "set without value": (["--method", "npo", "--set", "beta"], "write key=value"),
    "unknown parameter": (["--method", "npo", "--set", "gama=1"], "gama: Extra inputs are not permitted; known: gamma"),
    "out of range": (["--method", "npo", "--set", "beta=nought"], "beta: Input should be a valid number"),
    "unknown method": (["--method", "wishful"], "unknown method 'wishful'; known: grad_ascent"),
    "unknown device": (["--method", "npo", "--device", "abacus"], "device 'abacus': allowed are auto, cpu, cuda"),
    "prompt without question": (["--method", "npo", "--prompt", "Q:"], "--prompt: prompt"),
    "out that exists": (["--method", "npo", "--out", "start"], "start: exists already"),
    "a row too long": (["--method", "npo", "--holdout", "long.jsonl", "--stop", "holdout"], "holdout set: row 0: 1045"),
    "holdout rule without rows": (["--method", "npo", "--stop", "holdout"], "stop rule 'holdout': no holdout rows"),
}


@pytest.mark.parametrize("case", VERBS)
def test_unlearn_refuses(case: str, company: Company, capsys: pytest.CaptureFixture[str]) -> None:
    more, said = VERBS[case]
    write_rows(company.root / "retain.jsonl", tiny_rows(12, first=4))
    write_rows(company.root / "long.jsonl", [LONG])
    given = [
        "unlearn",
        "--model",
        "start",
        "--forget",
        "forget.jsonl",
        "--retain",
        "retain.jsonl",
        "--out",
        "candidate",
    ]
    assert said in _refuses(company, [*given, *more], capsys)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--metrics", "luck"], "unknown metric 'luck'"),
        (["--utility", "facts"], "write NAME=DATA"),
        (["--utility", "retain=facts.jsonl"], "the name retain is taken"),
        (["--start", "gone"], "gone: no such model folder"),
        (["--batch-size", "0"], "batch_size: Input should be greater than or equal to 1"),
    ],
)
def test_evaluate_refuses(more: list[str], said: str, company: Company, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(company.root / "retain.jsonl", tiny_rows(12, first=4))
    given = ["evaluate", "--model", "start", "--forget", "forget.jsonl", "--retain", "retain.jsonl"]
    assert said in _refuses(company, [*given, *more], capsys)


@pytest.mark.usefixtures("prefect_says_nothing")
def test_a_loss_that_is_no_number_ends_in_a_signed_refusal(
    quick: Company, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss is spoiled once, as soon as there is a checkpoint to keep."""
    import pipelines.training
    from pipelines.objective import Terms, objective

    training = quick.home / "vault" / REQUEST / "steps" / "train.part"

    def spoiled(*arguments: object, **named: object) -> Terms:
        terms = objective(*arguments, **named)  # type: ignore[arg-type]
        return replace(terms, loss=terms.loss * float("nan")) if list(training.glob("checkpoint-*")) else terms

    monkeypatch.setattr(pipelines.training, "objective", spoiled)
    assert run(quick.arguments("--json")) == 3
    shown = capsys.readouterr()
    outcome = json.loads(shown.out)
    assert outcome["status"] == "refused"
    [reason] = outcome["reasons"]
    assert re.fullmatch(r"training diverged: step \d+: the loss is nan; lower the learning rate", reason)
    assert outcome["candidate_digest"] is None
    assert outcome["version"] is None
    assert not (quick.home / "mlflow" / "mlflow.db").exists()
    [kept] = training.glob("checkpoint-*")
    assert (kept / "trained.safetensors").is_file(), "the last good checkpoint"
    assert run(["verify", outcome["certificate"], "--home", str(quick.home), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    _nothing_half_written(quick)


@pytest.mark.usefixtures("prefect_says_nothing")
def test_a_full_disk_stops_a_run_that_then_goes_on(
    quick: Company, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import pipelines.checkpoints

    whole = {pipelines.checkpoints: "save_file", pq: "write_table"}

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for module, name in whole.items():
        with monkeypatch.context() as disk:
            disk.setattr(module, name, full)
            assert "no space left on the device" in _refuses(quick, quick.arguments("--json"), capsys)
    trained = _mtime(quick, "train")
    assert run(quick.arguments("--json")) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "registered"
    assert _mtime(quick, "train") == trained, "trained again"


@pytest.mark.usefixtures("prefect_says_nothing")
def test_an_mlflow_that_is_away_is_waited_for_and_nothing_is_lost(
    quick: Company, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import tasks.registry

    tries: list[int] = []
    register_version = tasks.registry.register_version

    def counted(registration: tasks.registry.Registration, **home: object) -> object:
        tries.append(1)
        return register_version(registration, **home)  # type: ignore[arg-type]

    monkeypatch.setattr(tasks.registry, "register_version", counted)
    monkeypatch.setattr(tasks.registry.register, "retry_delay_seconds", [0.0, 0.0, 0.0])
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    address = f"http://127.0.0.1:{free_port()}"
    with monkeypatch.context() as away:
        away.setenv("MLFLOW_TRACKING_URI", address)
        said = _refuses(quick, quick.arguments("--json"), capsys, code=1)
    assert f"MLflow at {address} did not answer" in said
    assert "run again to resume" in said
    assert len(tries) == 4, "one try and three more"
    assert run(["status", REQUEST, "--json", "--home", str(quick.home)]) == 0
    [state] = json.loads(capsys.readouterr().out)
    assert state["stage"] == "certify"
    assert "run it again" in state["status"]

    trained, certified = _mtime(quick, "train"), _mtime(quick, "certify")
    assert run(quick.arguments("--json")) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert outcome["version"]["alias"] == "challenger"
    assert (_mtime(quick, "train"), _mtime(quick, "certify")) == (trained, certified), "done again"


def _mtime(company: Company, step: str) -> int:
    places = (company.home / "vault" / REQUEST / "steps" / step, company.home / "runs" / REQUEST / step)
    [folder] = [place for place in places if place.is_dir()]
    return (folder / "step.json").stat().st_mtime_ns


def test_free_port_is_closed() -> None:
    with socket.socket() as probe, pytest.raises(ConnectionRefusedError):
        probe.connect(("127.0.0.1", free_port()))
