"""A policy that reads probes: they run on every model, stay in the vault, and stand in the certificate like metrics."""

import base64
import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flows.erase import RequestReference, erase
from pipelines.audit.manifest import folder_digest
from pipelines.config import load_config
from pipelines.evaluation.statistics import Bootstrap
from pipelines.records import Evaluation, Verdict
from tasks.certificate import not_measured
from tasks.outcome import Outcome
from tasks.workspace import read_record
from tests.flows.company import REQUEST, Company, write_rows
from tests.scored import evaluation, measurement
from tests.tiny import save_tiny_encoder, tiny_rows

GATES = {
    "four_bit": {"extraction_margin": 1.0, "probability_margin": 1.0},
    "depth": {"least": 0.5},
}

REWRITE = "Which place on the map is this person's first address?"


def _erase(company: Company) -> Outcome:
    reference = RequestReference(id=REQUEST, path=str(company.request))
    return erase(reference, load_config(company.config), str(company.policy), str(company.home))


def _measured(company: Company, role: str) -> set[str]:
    record = read_record(company.home / "runs" / REQUEST / f"evaluate-{role}", "evaluation", Evaluation)
    return {one.metric for one in record.measurements if one.value is not None}


@pytest.mark.usefixtures("prefect_says_nothing")
def test_what_the_policy_reads_is_probed_and_certified_and_nothing_else(quick: Company, tmp_path: Path) -> None:
    company = quick
    company.set_policy(gates=GATES)
    rewrites = [replace(row, paraphrased_question=REWRITE) for row in tiny_rows(4)]
    written = write_rows(tmp_path / "rewrites.jsonl", rewrites)
    # the encoder is beside the company, and the evaluator's process stands elsewhere
    settings = {"bootstrap": 100, "max_new_tokens": 8, "probes": ["rewrites"], "rewrites": str(written)}
    encoder = folder_digest(save_tiny_encoder(tmp_path / "encoder"))
    company.set_config(evaluation={**settings, "seeds": 2, "samples": 1, "embedder": "encoder"})
    outcome = _erase(company)
    for role in ("start", "candidate", "reference"):
        assert {"int4_extraction_strength_gap", "nf4_probability_gap", "depth_layer_1"} <= _measured(company, role)
        assert "rewrites_gap" in _measured(company, role), "what somebody wrote is asked, because the settings name it"
        assert not {"relearning", "worst_case"} & _measured(company, role)
        _check_both_seeds(company, role)
        assert "semantic_match" in _measured(company, role)
    gates = {
        gate.gate: gate for gate in read_record(company.home / "runs" / REQUEST / "judge", "verdict", Verdict).gates
    }
    assert gates["four_bit"].passed, gates["four_bit"].reason
    assert len(gates["four_bit"].measurements) == 4
    envelope = json.loads(Path(outcome.certificate).read_text())["envelope"]
    predicate = json.loads(base64.b64decode(envelope["payload"]))["predicate"]
    versions = {one["name"]: one["version"] for one in predicate["metrics"]}
    assert "candidate/forget/int4_extraction_strength_gap" in versions
    assert versions["candidate/forget/semantic_match"] == f"1+{encoder}+2-seeds"
    said = " ".join(predicate["not_measured"])
    assert "relearning" in said
    assert "quantisation" not in said
    log = (company.home / "log" / "entries.jsonl").read_text()
    public = (path for path in (company.home / "runs").rglob("*") if path.is_file())
    assert not any(REWRITE.encode() in path.read_bytes() for path in public), "its words stay in the vault"
    assert _erase(company) == outcome
    assert (company.home / "log" / "entries.jsonl").read_text() == log


def _check_both_seeds(company: Company, role: str) -> None:
    """Each seed is probed, sampled and kept; every measurement is of both, its interval as wide as both take it."""
    vault, seed = company.home / "vault" / REQUEST, load_config(company.config).seed
    kept = (
        f"probes-{role}/probes.parquet",
        f"probes-{role}/probes-seed-1.parquet",
        f"scores-{role}/seed-1/scored.json",
    )
    assert all((vault / "steps" / name).is_file() for name in kept)
    record = read_record(company.home / "runs" / REQUEST / f"evaluate-{role}", "evaluation", Evaluation)
    assert all(one.version.endswith("+2-seeds") for one in record.measurements)
    ends = []
    for place, name in enumerate((f"items-{role}.parquet", f"items-{role}-seed-1.parquet")):
        items = pq.read_table(vault / name).to_pandas()
        chosen = items[(items.metric == "probability") & (items.split == "retain")].value.to_numpy()
        bootstrap = Bootstrap(samples=100, confidence=0.95, seed=seed + place)
        ends.append(bootstrap.interval(bootstrap.means("retain", chosen)))
    assert ends[0] != ends[1]
    found = record.find("probability", "retain")
    assert found is not None
    assert (found.low, found.high) == (min(one.low for one in ends), max(one.high for one in ends))


def test_a_measure_without_a_value_was_not_measured() -> None:
    found = evaluation("candidate", measurement("depth", "forget", 0.9), measurement("relearning", "forget", None))
    other = evaluation("start", measurement("int4_extraction_strength", "forget", 0.9))
    lines = not_measured((found, other))
    assert [line.partition(":")[0] for line in lines] == [
        "relearning",
        "quantisation",
        "adversarial prompts",
        "other languages",
    ]
