"""What every gate must hold to, run over the whole registry: it passes when it should, and fails closed."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from pipelines.gates import GATES, AnyGate, GateParams, Judged
from pipelines.records import Evaluation, Measurement, Role
from tests.scored import evaluation, measurement

MARKS: Mapping[str, dict[str, float | str]] = {
    "extraction_strength": {"margin": 0.1},
    "probability": {"margin": 0.1},
    "paraphrase": {"extraction_margin": 0.1, "probability_margin": 0.1},
    "membership": {"margin": 0.2},
    "forget_quality": {"p_value": 0.05},
    "depth": {"least": 0.4},
    "relearning": {"margin": 0.1, "taught": 0.4},
    "four_bit": {"extraction_margin": 0.1, "probability_margin": 0.1},
    "worst_case": {"fact_margin": 0.1, "extraction_margin": 0.1},
    "utility": {"ratio": 0.9},
    "neighbours": {"ratio": 0.9},
    "fluency": {"ratio": 0.9},
    "general_tasks": {"most_lost": 0.1, "tasks": "towns,rivers"},
}
READS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "extraction_strength": (("extraction_strength_gap", "forget"),),
    "probability": (("probability_gap", "forget"),),
    "paraphrase": (("paraphrase_extraction_strength_gap", "forget"), ("paraphrase_probability_gap", "forget")),
    "membership": (("membership_gap", "forget"),),
    "forget_quality": (("forget_quality", "forget"),),
    "depth": (("depth", "forget"),),
    "relearning": tuple(
        (m, "forget") for m in ("relearning_gap", "relearning_lora_gap", "relearning_related_gap", "relearning_taught")
    ),
    "four_bit": tuple(
        (f"{scheme}_{m}_gap", "forget") for scheme in ("int4", "nf4") for m in ("extraction_strength", "probability")
    ),
    "worst_case": (("worst_case_gap", "forget"), ("worst_case_extraction_gap", "forget")),
    "utility": (("model_utility", "utility"),),
    "neighbours": tuple((m, "neighbours") for m in ("probability", "rouge", "extraction_strength")),
    "fluency": (("fluency", "retain"), ("fluency", "world_facts")),
    "general_tasks": (("lm_eval_acc_lost", "towns"), ("lm_eval_acc_lost", "rivers")),
}
COMPARES: Mapping[str, Role | None] = {
    "extraction_strength": None,
    "probability": None,
    "paraphrase": None,
    "membership": None,
    "forget_quality": "reference",
    "depth": None,
    "relearning": None,
    "four_bit": None,
    "worst_case": None,
    "utility": "start",
    "neighbours": "start",
    "fluency": "start",
    "general_tasks": None,
}
"""Whose evaluation a gate reads beside the candidate's; a paired gap holds the reference in it already."""


@pytest.fixture(params=list(GATES.values()), ids=lambda gate: gate.name)
def gate(request: pytest.FixtureRequest) -> AnyGate:
    found: AnyGate = request.param
    return found


@pytest.fixture(params=[gate for gate in GATES.values() if COMPARES[gate.name]], ids=lambda gate: gate.name)
def comparing(request: pytest.FixtureRequest) -> AnyGate:
    """Gates that hold the candidate against another model's evaluation."""
    found: AnyGate = request.param
    return found


def _marks(gate: AnyGate) -> GateParams:
    found: GateParams = gate.params.model_validate(MARKS[gate.name])
    return found


def _measured(gate: AnyGate) -> tuple[Measurement, ...]:
    return tuple(measurement(m, s, _good(m), spread=0.01) for m, s in READS[gate.name])


def _good(metric: str) -> float:
    return 0.0 if metric.endswith(("_gap", "_lost")) else 0.5


def _judged(gate: AnyGate, *candidate: Measurement) -> Judged:
    """The start model and the reference hold good values; the candidate what is given."""
    good = _measured(gate)
    return Judged(
        candidate=evaluation("candidate", *(candidate or good)),
        start=evaluation("start", *good),
        reference=evaluation("reference", *good),
    )


def test_every_gate_stands_in_the_tables_of_this_test() -> None:
    for table in (MARKS, READS, COMPARES):
        assert set(table) == set(GATES)


def test_passes_where_candidate_start_and_reference_agree(gate: AnyGate) -> None:
    result = gate.judge(_judged(gate), _marks(gate))
    assert result.passed, result.reason
    assert result.gate == gate.name
    assert result.value is not None


def test_names_exactly_what_it_stands_on(gate: AnyGate) -> None:
    roles = ["candidate", *([COMPARES[gate.name]] if COMPARES[gate.name] else [])]
    expected = {f"{role}/{split}/{metric}" for role in roles for metric, split in READS[gate.name]}
    assert set(gate.judge(_judged(gate), _marks(gate)).measurements) == expected


@pytest.mark.parametrize(
    ("spoilt", "reason"),
    [
        (lambda m: None, "was not measured for the candidate"),
        (lambda m: measurement(m.metric, m.split, None), "has no value"),
        (lambda m: m.model_copy(update={"value": float("nan")}), "not a finite number"),
        (lambda m: m.model_copy(update={"high": float("inf")}), "not a finite number"),
        (lambda m: m.model_copy(update={"low": None}), "has no value"),
        (lambda m: m.model_copy(update={"low": m.high, "high": m.low}), "ends before it begins"),
        (lambda m: m.model_copy(update={"n_scored": 19}), "covers 19 of 20 items"),
        (lambda m: m.model_copy(update={"n_scored": 0, "n_expected": 0}), "covers 0 of 0 items"),
    ],
    ids=["missing", "none", "nan", "inf", "no-interval", "inverted", "partial", "empty"],
)
def test_fails_closed_on_every_number_it_reads(gate: AnyGate, spoilt: object, reason: str) -> None:
    assert callable(spoilt)
    for role in ("candidate", COMPARES[gate.name]):
        for at, good in enumerate(_measured(gate)):
            bad = spoilt(good)
            if role is None or (gate.name == "fluency" and role == "start" and bad is None):
                continue  # what the start model lacks it need not keep; see test_gates
            changed = [m for i, m in enumerate(_measured(gate)) if i != at] + ([] if bad is None else [bad])
            result = gate.judge(_with(_judged(gate), _unchecked(role, changed)), _marks(gate))
            assert not result.passed
            assert result.value is None
            assert reason.replace("the candidate", f"the {role}") in result.reason


def _with(judged: Judged, changed: Evaluation) -> Judged:
    if changed.role == "candidate":
        return replace(judged, candidate=changed)
    return replace(judged, start=changed) if changed.role == "start" else replace(judged, reference=changed)


def _unchecked(role: str, measurements: list[Measurement]) -> Evaluation:
    """An evaluation with numbers that the record itself would refuse."""
    return Evaluation.model_construct(role=role, model_digest="0" * 64, measurements=tuple(measurements))


def test_fails_where_nobody_measured_the_other_model(comparing: AnyGate) -> None:
    other = str(COMPARES[comparing.name])
    judged = _judged(comparing)
    judged = replace(judged, start=None) if other == "start" else replace(judged, reference=None)
    result = comparing.judge(judged, _marks(comparing))
    assert not result.passed
    assert other in result.reason


def test_fails_on_another_version_of_the_metric(comparing: AnyGate) -> None:
    newer = tuple(m.model_copy(update={"version": "2"}) for m in _measured(comparing))
    result = comparing.judge(_judged(comparing, *newer), _marks(comparing))
    assert not result.passed
    assert "version 2 of the candidate, 1 of the" in result.reason


def test_reads_the_pessimistic_end(gate: AnyGate) -> None:
    """The same values pass with a narrow interval and fail with a wide one."""
    wide = tuple(measurement(m.metric, m.split, m.value, spread=0.49) for m in _measured(gate))
    result = gate.judge(_judged(gate, *wide), _marks(gate))
    assert result.passed is (gate.name == "forget_quality"), result.reason


def test_marks_have_titles_bounds_and_no_unknown_fields(gate: AnyGate) -> None:
    for field in gate.params.model_fields.values():
        assert field.title
        assert field.description
    assert gate.params.model_config["extra"] == "forbid"
    assert gate.params.model_config["frozen"]
    assert gate.source
