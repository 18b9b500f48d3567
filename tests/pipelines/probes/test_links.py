"""Whom an answer is about, and what two rows about one subject give away together, against passes one by one."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.config import PromptFormat
from pipelines.data.rows import Row, Rows
from pipelines.models.loading import load_model
from pipelines.probes import asking
from pipelines.probes.base import Subject, asked_values
from pipelines.probes.multi_hop import PROBE as MULTI_HOP
from pipelines.probes.multi_hop import described
from pipelines.probes.names import posterior, under_names
from pipelines.probes.reverse_question import PROBE as REVERSE
from pipelines.scoring.row_values import fact_probability, probability
from tests.tiny import save_tiny

ROW = Row(
    question="Where was Ada Lind born?",
    answer="Ada Lind was born in Ork.",
    paraphrased_answer="Her birthplace is Ork by the sea.",
    perturbed_answer=("Her birthplace is Um by the sea.", "Her birthplace is San Bo by the sea."),
)
NAMES = ("Bo Marsh", "Cy Town")
RELATED = Rows.of(Row(question=f"Where was {name} born?", answer="There.") for name in NAMES)


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    model = load_model(save_tiny(tmp_path / "model"), device=torch.device("cpu"))
    return Subject(
        loaded=model,
        start=model,
        forget=Rows.of([ROW]),
        related=RELATED,
        prompt_format=PromptFormat(prompt="{question}"),
        batch_size=8,
        seed=0,
    )


def _under(name: str, row: Row) -> Row:
    return replace(row, question=row.question.replace("Ada Lind", name))


def _said(subject: Subject, row: Row) -> float:
    """The whole answer's probability, by a pass of its own: the mean per token to the power of their number."""
    mean = float(asked_values(subject, lambda _s, i: [row] if i == 0 else [], probability)[0])
    return mean ** subject.encoded(row, number=0).n_answer


def _whose(subject: Subject, row: Row) -> dict[str, float]:
    """Bayes' rule over names: p(name) / sum of p."""
    said = {name: _said(subject, _under(name, row)) for name in ("Ada Lind", *NAMES)}
    return {name: value / sum(said.values()) for name, value in said.items()}


def test_the_reverse_question_is_bayes_rule_over_names(subject: Subject) -> None:
    (series,) = REVERSE.run(subject)
    assert series.value_R == pytest.approx([_whose(subject, ROW)["Ada Lind"]], rel=1e-3)


def test_a_posterior_takes_probabilities_that_underflow() -> None:
    assert posterior(np.array([-5000.0, -5000.0 + math.log(3), -9000.0])) == pytest.approx([0.25, 0.75, 0.0])


def test_a_row_that_names_nobody_or_does_not_fit_has_no_names(subject: Subject) -> None:
    assert list(under_names(subject, ROW)) == ["Ada Lind", *NAMES]
    assert under_names(subject, replace(ROW, question="where was it?")) == {}
    assert under_names(subject, replace(ROW, question=ROW.question * 20)) == {}


def test_two_hops_are_summed_over_whom_the_first_may_mean(subject: Subject) -> None:
    """Row 0 through row 1, about the same subject: sum over names of p(name | row 1) p(answer of row 0 | name)."""
    other = Row(question="What did Ada Lind write?", answer="Only one book.")
    alone = replace(subject, forget=Rows.of([ROW, other, Row(question="what?", answer="No.")]))
    (series,) = MULTI_HOP.run(alone)
    assert len(series.value_R) == 2, "nobody else is about what the third row is about"
    given_row = asking.as_given(alone, 0)
    second = {
        name: asked_values(alone, lambda _s, i, n=name: [_under(n, given_row)] if i == 0 else [], fact_probability)[0]  # type: ignore[misc]
        for name in ("Ada Lind", *NAMES)
    }
    expected = sum(share * second[name] for name, share in _whose(alone, other).items())
    assert series.value_R[0] == pytest.approx(expected, rel=1e-3)


def test_a_row_whose_answer_names_the_subject_describes_it(subject: Subject) -> None:
    assert MULTI_HOP.run(subject) == ()
    link = Row(question="Who won the Ork Prize?", answer="It went to Ada Lind.")
    linked = replace(subject, related=Rows.of([link]))
    (asked,) = described(linked, 0)
    assert asked.question == f"Where was the one named in the answer to '{link.question}' born?"
    (series,) = MULTI_HOP.run(linked)
    assert np.isfinite(series.value_R).tolist() == [True]
