"""The same command on real TOFU rows: a model fine-tuned on some of its authors, one author to be forgotten.

The fast test trains a little and uses marks that let everything pass: it shows that real rows go the whole way. The
slow one memorises 20 authors and is judged by the default policy; it says what the default policy found, whichever way
that is.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from flows.cli import run
from pipelines.config import PromptFormat
from pipelines.data.load import load_rows
from pipelines.data.rows import Row, Rows
from pipelines.provenance import ROOT
from pipelines.training.finetune import FineTuneSettings, fine_tune
from pipelines.world.language_model import encode_rows, learn_tokenizer, new_model
from pipelines.world.spec import ModelSpec
from tests.flows.company import LENIENT, write_rows

TOFU = ROOT.parent / "shared" / "data" / "tofu"
PER_AUTHOR = 20

pytestmark = pytest.mark.skipif(not TOFU.is_dir(), reason=f"the TOFU data is not at {TOFU.name}/ beside the checkout")


@dataclass(frozen=True)
class Size:
    """How much of TOFU, and how long it is trained on."""

    authors: int
    forget: int
    holdout: int
    epochs: int


def _authors() -> list[list[Row]]:
    """The authors of forget10, which come with paraphrases and wrong answers."""
    rows = list(load_rows(str(TOFU / "forget10_perturbed.jsonl"), name="tofu"))
    return [rows[i : i + PER_AUTHOR] for i in range(0, len(rows), PER_AUTHOR)]


def _write(root: Path, size: Size) -> Path:
    """Data, start model, reference model, request and configuration under ``root``; returns the configuration."""
    more = list(load_rows(str(TOFU / "retain90.jsonl"), name="tofu"))
    authors = [*_authors(), *(more[i : i + PER_AUTHOR] for i in range(0, len(more), PER_AUTHOR))]
    train, unseen = authors[: size.authors], authors[size.authors : size.authors + 2 * size.holdout]
    kept, gone = train[size.forget :], train[: size.forget]
    sets = {
        "train": [*gone, *kept],
        "forget": gone,
        "retain": kept,
        "holdout": unseen[: size.holdout],
        "validation": unseen[size.holdout :],
    }
    for name, groups in sets.items():
        write_rows(root / f"{name}.jsonl", (row for group in groups for row in group))
    write_rows(
        root / "world_facts.jsonl", list(load_rows(str(TOFU / "world_facts_perturbed.jsonl"), name="facts"))[:40]
    )
    for name, groups in (("start", sets["train"]), ("reference", kept)):
        _train(
            root / name,
            Rows.of(row for group in groups for row in group),
            everything=load_rows(str(root / "train.jsonl"), name="train"),
            epochs=size.epochs,
        )
    _yaml(
        root / "request.yaml",
        {
            "id": "REQ-TOFU",
            "target": "data_points",
            "selector": {"rows": str(root / "forget.jsonl")},
            "legal_basis": "copyright",
            "requester": "an author",
            "received": "2026-11-02T09:00:00+00:00",
        },
    )
    return _config(root)


def _config(root: Path) -> Path:
    paths = {name: str(root / f"{name}.jsonl") for name in ("train", "holdout", "validation")}
    settings = {
        **paths,
        "model": str(root / "start"),
        "reference": str(root / "reference"),
        "utility": {"world_facts": str(root / "world_facts.jsonl")},
        "method": "npo",
        "params": {"beta": 0.1, "alpha": 5.0},
        "training": {"learning_rate": 3e-4, "epochs": 12, "batch_size": 10, "wordings": True, "stop": "holdout"},
        "evaluation": {"bootstrap": 200, "max_new_tokens": 48, "retain_sample": 100},
        "registered_name": "tofu",
    }
    return _yaml(root / "config.yaml", settings)


def _train(folder: Path, rows: Rows, *, everything: Rows, epochs: int) -> None:
    spec, form = ModelSpec(vocabulary=1536, width=112, layers=4, context=512), PromptFormat()
    tokenizer = learn_tokenizer(everything, spec=spec, prompt_format=form)
    model = new_model(tokenizer, spec=spec, seed=0)
    items = encode_rows(rows, tokenizer=tokenizer, max_length=spec.context, prompt_format=form)
    fine_tune(model, items, settings=FineTuneSettings(epochs=epochs, batch_size=16, learning_rate=4e-3))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _yaml(path: Path, value: object) -> Path:
    path.write_text(yaml.safe_dump(value), encoding="utf-8")
    return path


def _run(root: Path, policy: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, object]]:
    files = {
        "--request": root / "request.yaml",
        "--config": root / "config.yaml",
        "--policy": policy,
        "--home": root / "home",
    }
    code = run(["run", *(str(part) for pair in files.items() for part in pair), "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.usefixtures("prefect_says_nothing")
def test_tofu_rows_go_the_whole_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = _write(tmp_path, Size(authors=3, forget=1, holdout=1, epochs=2))
    settings = yaml.safe_load(config.read_text())
    quick = {"attribution": {"backends": ["bm25"]}, "evaluation": {"bootstrap": 100, "max_new_tokens": 2}}
    _yaml(config, {**settings, **quick, "training": {**settings["training"], "epochs": 2}})
    policy = _yaml(
        tmp_path / "policy.yaml",
        {"name": "test", "description": "For the machinery.", "gates": {k: dict(v) for k, v in LENIENT.items()}},
    )
    code, outcome = _run(tmp_path, policy, capsys)
    assert code == 0
    assert outcome["status"] == "registered"
    assert run(["verify", str(outcome["certificate"]), "--home", str(tmp_path / "home")]) == 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("prefect_env")
def test_twenty_memorised_authors_under_the_default_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write(tmp_path, Size(authors=20, forget=2, holdout=2, epochs=26))
    code, outcome = _run(tmp_path, ROOT / "deployments" / "policies" / "default.yaml", capsys)
    assert code in {0, 3}
    assert outcome["status"] == {0: "registered", 3: "refused"}[code]
    start = json.loads((tmp_path / "home" / "runs" / "REQ-TOFU" / "evaluate-start" / "evaluation.json").read_text())
    known = {(m["metric"], m["split"]): m["value"] for m in start["measurements"]}
    assert known["extraction_strength", "forget"] >= 0.9
    assert run(["verify", str(outcome["certificate"]), "--home", str(tmp_path / "home")]) == 0
