"""Legs, null control and validity together, on models in the regimes where attribution works and where it does not."""

import copy
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM

from pipelines.attribution import ATTRIBUTORS, propose
from pipelines.attribution.contract import Attributor, Scores, Subject
from pipelines.attribution.gradient import gradient_scores
from pipelines.attribution.null import LIMIT, null_control, threshold
from pipelines.attribution.propose import attribute
from pipelines.attribution.report import AttributionReport
from pipelines.attribution.validity import CHECKS, answer_nll, choose_checks, contrast, effect, stepped
from pipelines.config import AttributionSettings
from pipelines.data.rows import Row, Rows
from pipelines.errors import BadInput
from pipelines.registry import Registry
from tests.pipelines.attribution.regimes import People, people, reworded, subject, train, untrained
from tests.tiny import tiny_model, tiny_row, tiny_rows, tiny_tokenizer


@dataclass(frozen=True)
class Regimes:
    world: People
    base: LlamaForCausalLM
    light: LlamaForCausalLM


@pytest.fixture(scope="module")
def regimes() -> Regimes:
    world = people()
    base = train(world, untrained(world), world.base, epochs=12, rate=4e-3)
    light = train(world, copy.deepcopy(base), world.train, epochs=3, rate=3e-3)
    return Regimes(world=world, base=base, light=light)


def _asked(
    world: People, model: LlamaForCausalLM, *, backends: tuple[str, ...] = ("bm25", "gradient")
) -> AttributionReport:
    """The first twelve training rows, asked about in their paraphrases."""
    return attribute(
        Rows.of(world.train),
        queries=Rows.of(reworded(row) for row in world.train[:12]),
        holdout=Rows.of(world.holdout),
        subject=subject(world, model),
        settings=AttributionSettings(backends=backends, top_k=5),
        seed=0,
    )


def test_after_a_light_fine_tune_the_gradient_leg_is_valid_and_finds_the_rows(regimes: Regimes) -> None:
    """By chance a source among 120 rows has a mean reciprocal rank of H(120) / 120 = 0.04."""
    world = regimes.world
    leg = _asked(world, regimes.light, backends=("gradient",)).legs[0]
    assert leg.validity is not None
    assert leg.validity.valid
    assert leg.status == "used"
    assert leg.null == "holdout"
    queries = Rows.of(reworded(row) for row in world.train[:40])
    scores = gradient_scores(Rows.of(world.train), queries, subject=subject(world, regimes.light), seed=0)
    ranks = [1 + int((line > line[i]).sum()) for i, line in enumerate(scores)]
    assert np.mean([1 / rank for rank in ranks]) > 0.3


@pytest.mark.slow
def test_a_model_trained_to_saturation_on_the_rows_alone_is_invalid(regimes: Regimes) -> None:
    world = regimes.world
    saturated = train(world, untrained(world, 1), world.train, epochs=100, rate=4e-3)
    report = _asked(world, saturated)
    leg = report.legs[1]
    assert leg.status == "attribution_invalid"
    assert leg.validity is not None
    assert leg.validity.trace.above_zero, "it knows its rows by heart"
    assert not leg.validity.tail_patch.above_zero, "but not what they say"
    assert all("gradient" not in proposal.legs for proposal in report.proposals)


def test_a_model_that_never_saw_the_rows_is_invalid(regimes: Regimes) -> None:
    for model in (regimes.base, untrained(regimes.world, 2)):
        report = _asked(regimes.world, model)
        leg = report.legs[1]
        assert leg.status == "attribution_invalid"
        assert leg.validity is not None
        assert not leg.validity.trace.above_zero
        assert report.legs[0].status == "used", "the lexical leg claims no cause"
        assert all("gradient" not in proposal.legs for proposal in report.proposals)


def _leg(name: str, table: list[list[float]]) -> Attributor:
    """A leg that gives these scores to the queries, and 0.5 at most to null queries."""

    def score(rows: Rows, queries: Rows, _subject: Subject, _seed: int) -> Scores:
        null = np.full((len(queries) - len(table), len(rows)), 0.1)
        null[:, 0] = 0.5
        return np.concatenate([np.array(table), null])

    return Attributor(name=name, title=name, version="1", source="a test", causal=False, score=score)


def _tiny_subject() -> Subject:
    from pipelines.config import PromptFormat

    return Subject(tiny_model(), tiny_tokenizer(), PromptFormat(), 256)


def test_the_union_drops_named_rows_and_what_null_queries_reach_and_ranks_by_agreement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows 1 and 2 are named. One: 3 (.9), 4 (.6), not 0 (.5). Two: 4 (.8). So 4 comes first: both legs agree."""
    one = _leg("one", [[0.5, 1.0, 1.0, 0.9, 0.6, 0.0], [0.0, 1.0, 1.0, 0.7, 0.0, 0.0]])
    two = _leg("two", [[0.0, 1.0, 1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.1, 0.8, 0.4]])
    monkeypatch.setattr(propose, "ATTRIBUTORS", Registry("attributor", one, two))
    train_rows = Rows.of(tiny_rows(6))
    report = attribute(
        train_rows,
        queries=train_rows.select([1, 2]),
        holdout=Rows.of(tiny_rows(9, first=50)),
        subject=_tiny_subject(),
        settings=AttributionSettings(backends=("one", "two"), top_k=3),
        seed=0,
    )
    assert [(p.row, [(e.leg, e.query, e.score, e.rank) for e in p.evidence]) for p in report.proposals] == [
        (4, [("one", 0, 0.6, 2), ("two", 1, 0.8, 1)]),
        (3, [("one", 0, 0.9, 1)]),
    ]
    assert [(leg.threshold, leg.n_found, leg.n_null) for leg in report.legs] == [(0.5, 2, 9), (0.5, 1, 9)]
    assert report.n_named == 2


def test_a_report_holds_no_text_and_the_same_seed_gives_the_same_report(
    regimes: Regimes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.attribution.validity.CHECKS", 5)
    reports = [_asked(regimes.world, regimes.light) for _ in range(2)]
    assert reports[0] == reports[1]
    written = (reports[0].model_dump_json() + repr(reports[0])).lower()
    words = {word for row in regimes.world.train for word in row.answer.lower().strip(".").split() if len(word) >= 6}
    assert words
    assert not [word for word in words if word in written]


def test_unknown_backends_and_empty_sets_are_refused() -> None:
    rows, given = Rows.of(tiny_rows(3)), {"holdout": None, "subject": _tiny_subject(), "seed": 0}
    with pytest.raises(BadInput, match="unknown attributor 'psychic'; known: bm25, gradient"):
        attribute(rows, queries=rows, settings=AttributionSettings(backends=("psychic",)), **given)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="3 training rows and 0 queries"):
        attribute(rows, queries=Rows.of([]), settings=AttributionSettings(), **given)  # type: ignore[arg-type]


def test_null_queries_are_holdout_rows_or_scrambled_words_of_the_queries_length() -> None:
    rows, holdout = Rows.of(tiny_rows(30)), Rows.of(tiny_rows(5, first=90))
    assert null_control(rows, tiny_rows(2), holdout=holdout, seed=0).rows == tuple(holdout)
    plain = Row(question="", answer="three words here")
    for given in (holdout, None):
        null = null_control(rows, [plain], holdout=given, seed=0)
        assert (null.kind, len(null.rows)) == ("scrambled", LIMIT)
        assert {(row.question, len(row.answer.split())) for row in null.rows} == {("", 3)}
        assert null == null_control(rows, [plain], holdout=given, seed=0)
        assert null != null_control(rows, [plain], holdout=given, seed=1)


def test_the_threshold_is_reached_by_one_null_query_in_twenty() -> None:
    """Best scores 1 to 20: at most 5 % of them may lie above the threshold, so it is 20 * 0.95 = 19, or the next."""
    scores = np.stack([np.linspace(0, best, 7) for best in range(1, 21)])
    assert threshold(scores) == 20.0
    assert (scores.max(axis=1) > threshold(scores)).mean() <= 0.05


def test_checks_prefer_paraphrases_and_the_rows_of_the_request() -> None:
    bare = [Row(question=row.question, answer=row.answer) for row in tiny_rows(60)]
    checks = choose_checks(Rows.of(bare), [tiny_row(9), tiny_row(99)], seed=0)
    assert len(checks) == CHECKS
    assert (checks[0].index, checks[0].paraphrased) == (9, True)
    assert checks[0].reworded.question == tiny_row(9).paraphrased_question
    assert not checks[1].paraphrased
    assert checks[1].reworded == Row(
        question="", answer=f"{bare[checks[1].index].question} {bare[checks[1].index].answer}"
    )
    assert len({check.index for check in checks}) == CHECKS


def test_a_step_lowers_the_loss_of_its_rows_and_leaves_no_trace() -> None:
    subject_ = _tiny_subject()
    subject_.model.requires_grad_(False)
    before = {name: value.clone() for name, value in subject_.model.state_dict().items()}
    rows = tiny_rows(3)
    loss = answer_nll(rows, subject_).mean()
    with stepped(rows, subject_):
        assert answer_nll(rows, subject_).mean() < loss
    assert all(torch.equal(value, before[name]) for name, value in subject_.model.state_dict().items())
    assert not any(weight.requires_grad for weight in subject_.model.parameters())


@pytest.mark.parametrize(
    ("values", "above"),
    [([1.0] * 17 + [-0.1] * 3, True), ([1.0] * 12 + [-0.1] * 8, False), ([9.0] + [0.0] * 19, False)],
)
def test_an_effect_needs_the_interval_and_the_signs(values: list[float], above: bool) -> None:
    """Sign test: P(>= 17 of 20) = 0.0013, P(>= 12 of 20) = 0.25, P(>= 1 of 1) = 0.5."""
    found = effect(np.array(values), np.random.default_rng(0))
    assert found.above_zero is above
    assert found.low <= found.mean <= found.high
    assert found.mean == pytest.approx(sum(values) / 20)


def test_two_samples_of_one_kind_show_no_contrast() -> None:
    """A fixed null mean would be the trap: with few null rows it errs, and every model would seem to know its rows."""
    draw = np.random.default_rng(0)
    seen = [contrast(draw.normal(size=8), draw.normal(size=40), draw).above_zero for _ in range(200)]
    assert sum(seen) <= 8
    assert contrast(draw.normal(2.0, size=8), draw.normal(size=40), draw).above_zero


def test_every_attributor_says_what_it_is() -> None:
    assert tuple(ATTRIBUTORS) == ("bm25", "gradient")
    assert [ATTRIBUTORS[name].causal for name in ATTRIBUTORS] == [False, True]
    assert all(entry.title and entry.version and entry.source for entry in ATTRIBUTORS.values())
