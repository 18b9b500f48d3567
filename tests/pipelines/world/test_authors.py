"""The generator: the same seed gives the same rows, nobody is in two sets, and a paraphrase says what the row says."""

import random
import re
from string import Formatter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.data.rows import Rows
from pipelines.world import PeopleSpec, WorldRows, WorldSpec, draw_world
from pipelines.world.kinds import KINDS, Kind
from pipelines.world.people import draw_people, draw_value, wrong_values
from pipelines.world.words import POOLS

SMALL = PeopleSpec(
    train_authors=3, holdout_authors=2, validation_authors=1, base_people=4, countries=2, writers=2, general_repeats=2
)
PER_AUTHOR = 20
SETS = ("base", "forget", "retain", "holdout", "validation", "real_authors", "world_facts")


@pytest.fixture(scope="module")
def full() -> WorldRows:
    return draw_world(WorldSpec().seed, spec=PeopleSpec())


def asked_about(rows: Rows) -> set[str]:
    """Full names of the people whose kinds of facts are asked for."""
    wordings = [
        re.escape(question).replace(re.escape("{name}"), r"(\w+ \w+)") for kind in KINDS for question in kind.questions
    ]
    found = (re.fullmatch("|".join(f"(?:{wording})" for wording in wordings), row.question) for row in rows)
    return {next(group for group in match.groups() if group) for match in found if match}


def fields(wording: str) -> set[str]:
    return {field for _, field, _, _ in Formatter().parse(wording) if field}


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(min_value=0, max_value=2**32))
def test_same_seed_same_rows_and_another_seed_others(seed: int) -> None:
    one, again, other = (draw_world(s, spec=SMALL) for s in (seed, seed, seed + 1))
    assert all(getattr(one, name).digest == getattr(again, name).digest for name in SETS)
    assert one.forget.digest != other.forget.digest


def test_sizes_are_what_the_spec_says() -> None:
    rows = draw_world(0, spec=SMALL)
    facts = 4 * (SMALL.countries + SMALL.writers)
    assert len(rows.forget) == PER_AUTHOR
    assert len(rows.retain) == 2 * PER_AUTHOR + facts
    assert len(rows.holdout) == 2 * PER_AUTHOR
    assert len(rows.base) == 4 * PER_AUTHOR + facts * 3 * SMALL.general_repeats
    assert (len(rows.real_authors), len(rows.world_facts)) == (4 * SMALL.writers, 4 * SMALL.countries)
    assert list(rows.train) == [*rows.retain, *rows.forget]


def test_no_row_comes_twice(full: WorldRows) -> None:
    for name in ("train", "holdout", "real_authors", "world_facts"):
        rows = getattr(full, name)
        assert len(set(rows.digests)) == len(rows), name


def test_nobody_is_in_two_sets(full: WorldRows) -> None:
    people = {name: asked_about(getattr(full, name)) for name in ("base", "forget", "retain", "holdout", "validation")}
    spec = PeopleSpec()
    sizes = {
        "base": spec.base_people,
        "forget": 1,
        "retain": spec.train_authors - 1,
        "holdout": spec.holdout_authors,
        "validation": spec.validation_authors,
    }
    assert {name: len(found) for name, found in people.items()} == sizes
    assert len(set().union(*people.values())) == sum(sizes.values())


def test_authors_and_holdout_share_no_last_name(full: WorldRows) -> None:
    names = asked_about(full.train) | asked_about(full.holdout)
    assert len({name.split()[1] for name in names}) == len(names)


def test_the_forget_author_is_asked_about_in_both_wordings_of_every_row(full: WorldRows) -> None:
    (name,) = asked_about(full.forget)
    assert all(name in row.question and name in (row.paraphrased_question or "") for row in full.forget)


def test_author_rows_have_every_column_and_distinct_wrong_answers(full: WorldRows) -> None:
    for row in [*full.forget, *full.holdout]:
        assert row.paraphrased_question not in (None, row.question)
        assert row.paraphrased_answer not in (None, row.answer)
        assert len(set(row.perturbed_answer)) == 5
        assert row.paraphrased_answer not in row.perturbed_answer


def test_general_facts_have_three_wrong_options_and_are_replayed_in_other_words(full: WorldRows) -> None:
    trained = {row.question for row in full.retain}
    learnt = {(row.question, row.answer) for row in full.base}
    for row in [*full.real_authors, *full.world_facts]:
        assert len(set(row.perturbed_answer)) == 3
        assert row.answer not in row.perturbed_answer
        assert row.question not in trained
        assert (row.question, row.answer) in learnt
    facts = {row.answer for row in full.real_authors} | {row.answer for row in full.world_facts}
    assert facts <= {row.answer for row in full.retain}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_wording_of_a_kind_says_the_same(kind: Kind) -> None:
    assert len(kind.questions) == len(kind.answers) == 3
    assert all(fields(question) == {"name"} for question in kind.questions)
    assert all(fields(answer) == set(kind.slots) for answer in kind.answers)
    assert set(kind.slots) <= set(POOLS)


def test_a_stranger_cannot_guess_an_answer() -> None:
    """The chance of the most likely value is below 1 in 250 for every kind: the product of its pools' sizes."""
    for kind in KINDS:
        values = 1
        for slot in kind.slots:
            assert len(set(POOLS[slot])) == len(POOLS[slot]), slot
            values *= len(POOLS[slot])
        assert values > 250, kind.name


@settings(max_examples=5, deadline=None)
@given(n=st.integers(min_value=1, max_value=3000), seed=st.integers(min_value=0, max_value=100))
def test_names_are_unique(n: int, seed: int) -> None:
    names = [person.name for person in draw_people(random.Random(seed), n=n)]
    assert len(set(names)) == n


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(min_value=0, max_value=1000), kind=st.sampled_from(KINDS))
def test_a_wrong_value_is_wrong_in_every_slot(seed: int, kind: Kind) -> None:
    rng = random.Random(seed)
    value = draw_value(rng, kind=kind)
    wrong = wrong_values(rng, kind=kind, value=value, n=20)
    assert len(set(wrong)) == 20
    assert all(a != b for other in wrong for a, b in zip(other, value, strict=True))
