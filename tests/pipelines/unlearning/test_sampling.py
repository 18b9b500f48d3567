"""Other answers: sampled from one seed, never the truth, and refusals from theirs."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipelines.data.encode import Encoded
from pipelines.data.rows import Row, Rows
from pipelines.errors import BadInput
from pipelines.methods.base import CompanionSource
from pipelines.records import ModelRef
from pipelines.unlearning import sampling
from pipelines.unlearning.job import encode_set, load_start
from pipelines.unlearning.refusals import REFUSALS, refused
from pipelines.unlearning.sampling import alternates_of
from tests.jobs import FORGET, save_taught, tiny_job


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return save_taught(tmp_path_factory.mktemp("taught") / "model")


@pytest.fixture(scope="module")
def source(model: ModelRef) -> CompanionSource:
    job = tiny_job(model)
    loaded = load_start(job)
    encode: Callable[[Sequence[Row]], list[Encoded]] = lambda rows: encode_set(  # noqa: E731
        loaded, job, Rows.of(rows), name="companion"
    )
    return CompanionSource(
        forget=job.forget, retain=job.retain, start=loaded, encode=encode, n_rows=len(job.forget), seed=5
    )


def test_alternates_answer_the_same_questions_otherwise(source: CompanionSource) -> None:
    """Three per row, row by row: the row's prompt, other words than its answer, and its end."""
    found = alternates_of(source, per_row=3, temperature=1.0)
    items = source.encode(list(source.forget))
    assert len(found) == 3 * len(items)
    for i, other in enumerate(found):
        item = items[i // 3]
        assert other.input_ids[: other.answer_start] == item.input_ids[: item.answer_start]
        assert other.input_ids[other.answer_end :] == item.input_ids[item.answer_end :]
        said = [
            str(source.start.tokenizer.decode(list(e.input_ids[e.answer_start : e.answer_end]))).lower().split()
            for e in (other, item)
        ]
        assert said[0]
        assert said[0] != said[1]


def test_alternates_follow_from_the_seed_and_leave_the_random_state_alone(source: CompanionSource) -> None:
    before = torch.random.get_rng_state()
    first = alternates_of(source, per_row=2, temperature=1.0)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert [e.input_ids for e in alternates_of(source, per_row=2, temperature=1.0)] == [e.input_ids for e in first]
    other = alternates_of(replace(source, seed=6), per_row=2, temperature=1.0)
    assert [e.input_ids for e in other] != [e.input_ids for e in first]


def test_a_model_that_says_the_truth_is_asked_hotter(source: CompanionSource, monkeypatch: pytest.MonkeyPatch) -> None:
    """At temperatures below 4 the sampler is made to say the truth; above, it says what it says."""
    asked: list[float] = []
    sample = sampling._sample

    def stubborn(start: object, item: Encoded, *, n: int, temperature: float) -> list[tuple[int, ...]]:
        asked.append(temperature)
        if temperature < 4:
            return [item.input_ids[item.answer_start : item.answer_end]] * n
        return sample(source.start, item, n=n, temperature=temperature)

    monkeypatch.setattr(sampling, "_sample", stubborn)
    one = replace(source, forget=Rows.of(FORGET[:1]))
    assert len(alternates_of(one, per_row=2, temperature=0.5)) == 2
    assert asked[:4] == [0.5, 1.0, 2.0, 4.0]
    monkeypatch.setattr(
        sampling,
        "_sample",
        lambda start, item, *, n, temperature: [item.input_ids[item.answer_start : item.answer_end]],
    )
    with pytest.raises(BadInput, match="row 0: the start model gives no answer but the row's own"):
        alternates_of(one, per_row=2, temperature=0.5)


def test_plain_text_has_no_other_answer(source: CompanionSource) -> None:
    plain = replace(source, forget=Rows.of([*FORGET[:1], Row(question="", answer="Once upon a time.")]))
    with pytest.raises(BadInput, match="forget set: row 1: plain text without a question"):
        plain.questions()


def test_refusals_are_drawn_without_repetition_from_the_seed() -> None:
    found = refused(FORGET, per_row=3, seed=1)
    assert [row.question for row in found] == [row.question for row in FORGET for _ in range(3)]
    assert all(len({row.answer for row in found[i : i + 3]}) == 3 for i in range(0, len(found), 3))
    assert {row.answer for row in found} <= set(REFUSALS)
    assert found == refused(FORGET, per_row=3, seed=1)
    assert found != refused(FORGET, per_row=3, seed=2)
    assert len(set(REFUSALS)) == len(REFUSALS)


def test_companions_take_turns_over_the_epochs(model: ModelRef, tmp_path: Path) -> None:
    """Row i of 6 with 4 refusals goes with refusal 4 i + e mod 4 in epoch e, whatever batch it is in."""
    from pipelines.training.pairing import PairedBatch
    from pipelines.unlearning.reference import REFERENCE, reference_statistics, training_data

    job = tiny_job(model, method="dpo")
    reference_statistics(job, tmp_path)
    data = training_data(load_start(job), job, tmp_path / REFERENCE)
    assert len(data.companions["refusal"]) == 24
    pair = PairedBatch(forget=(5, 0), retain=())
    assert [data.members(pair, epoch=e)["refusal"] for e in (0, 3, 4)] == [(20, 0), (23, 3), (20, 0)]
    questions = encode_set(load_start(job), job, job.forget, name="forget")
    for i, item in enumerate(data.companions["refusal"]):
        own = questions[i // 4]
        assert item.input_ids[: item.answer_start] == own.input_ids[: own.answer_start]
