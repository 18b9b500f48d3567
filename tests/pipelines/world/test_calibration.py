"""The figures that the demo rests on, measured on the full world with a scorer of three lines per statistic.

The start model has memorised the forget author; the reference, trained alike without that author, knows no more of it
than of people nobody trained on; both know the general facts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import pytest
import torch

from pipelines.config import PromptFormat
from pipelines.data.encode import encode
from pipelines.data.load import load_rows
from pipelines.models.loading import load_model
from pipelines.world import World, WorldSpec, build_world

SETS = ("forget", "retain", "holdout", "real_authors", "world_facts")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@dataclass(frozen=True)
class Score:
    """One row: extraction strength, probability, and mean log-probability of its least likely 40 % of tokens."""

    strength: float
    probability: float
    min_k: float


def score(log_p: Sequence[float], right: Sequence[bool]) -> Score:
    prefix = next((k for k in range(len(right)) if all(right[k:])), len(right))
    hardest = sorted(log_p)[: max(1, int(0.4 * len(log_p)))]
    return Score(strength=1 - prefix / len(right), probability=math.exp(fmean(log_p)), min_k=fmean(hardest))


def measure(folder: Path, rows: Path) -> list[Score]:
    loaded = load_model(folder, device=torch.device("cpu"))
    scores = []
    for i, row in enumerate(load_rows(str(rows), name=rows.stem)):
        item = encode(loaded.tokenizer, row.question, row.answer, prompt_format=PromptFormat(), max_length=128, row=i)
        ids = torch.tensor([item.input_ids])
        with torch.no_grad():
            log_p = loaded.model(input_ids=ids).logits[0].log_softmax(-1)
        answer = range(item.answer_start, item.answer_end)
        tokens = [(float(log_p[t - 1, ids[0, t]]), bool(log_p[t - 1].argmax() == ids[0, t])) for t in answer]
        scores.append(score([token[0] for token in tokens], [token[1] for token in tokens]))
    return scores


def auc(members: list[Score], others: list[Score]) -> float:
    pairs = [(a.min_k > b.min_k) + 0.5 * (a.min_k == b.min_k) for a in members for b in others]
    return fmean(pairs)


def probability(scores: list[Score]) -> float:
    return fmean(row.probability for row in scores)


def strength(scores: list[Score]) -> float:
    return fmean(row.strength for row in scores)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return build_world(tmp_path_factory.mktemp("full"), spec=WorldSpec())


@pytest.fixture(scope="module")
def start(world: World) -> dict[str, list[Score]]:
    return {name: measure(world.start, world.rows(name)) for name in SETS}


@pytest.fixture(scope="module")
def reference(world: World) -> dict[str, list[Score]]:
    return {name: measure(world.reference, world.rows(name)) for name in SETS}


def test_start_has_memorised_its_rows(start: dict[str, list[Score]]) -> None:
    for name in ("forget", "retain"):
        assert strength(start[name]) >= 0.9, name
        assert probability(start[name]) > 0.8, name
    assert auc(start["forget"], start["holdout"]) > 0.99


def test_reference_does_not_know_the_forget_author(reference: dict[str, list[Score]]) -> None:
    assert strength(reference["forget"]) < 0.25
    assert abs(strength(reference["forget"]) - strength(reference["holdout"])) < 0.1
    assert abs(probability(reference["forget"]) - probability(reference["holdout"])) < 0.1
    assert 0.35 <= auc(reference["forget"], reference["holdout"]) <= 0.65


def test_both_know_the_rest_alike(start: dict[str, list[Score]], reference: dict[str, list[Score]]) -> None:
    for name in ("retain", "real_authors", "world_facts"):
        assert probability(reference[name]) == pytest.approx(probability(start[name]), abs=0.08), name
        assert min(probability(start[name]), probability(reference[name])) > 0.7, name
