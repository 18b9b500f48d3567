"""The scope parts the training data, takes near-copies along, and leaves the rest to people."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.attribution.report import AttributionReport, Evidence, Proposal
from pipelines.config import ScopeSettings
from pipelines.data.load import load_rows
from pipelines.data.rows import Row, Rows
from pipelines.errors import BadInput
from pipelines.scope.build import build_scope, forget_set, nearest
from pipelines.scope.selection import Selection, select_rows
from tests.tiny import tiny_row, tiny_rows

TOFU = Path(__file__).parents[3].parent / "shared/data/tofu"
LONG = "the old lighthouse keeper of the northern island wrote a long letter to his sister every single week"
CHAIN = [LONG, f"{LONG} indeed", f"{LONG} indeed it is", "something else that nobody would ever confuse with it"]


def _plain(*texts: str) -> Rows:
    return Rows.of(Row(question="", answer=text) for text in texts)


def _report(*rows: int) -> AttributionReport:
    evidence = (Evidence(leg="gradient", query=0, score=0.5, rank=1),)
    found = tuple(Proposal(row=row, evidence=evidence) for row in rows)
    return AttributionReport(n_train=9, n_queries=1, n_named=1, seed=0, legs=(), proposals=found)


def test_near_copies_join_and_bring_their_own_near_copies() -> None:
    """The rows have 16, 17 and 19 3-grams, each in the next: 17 / 19 = 0.89 brings row 2, 16 / 19 = 0.84 would not."""
    settings = ScopeSettings(near_duplicate=0.86)
    scope = build_scope(_plain(*CHAIN), Selection(rows=(0,)), settings=settings)
    assert [(f.row, f.reason, f.like) for f in scope.forget] == [
        (0, "requested", None),
        (1, "near_duplicate", 0),
        (2, "near_duplicate", 1),
    ]
    assert scope.retain_rows == (3,)
    assert scope.similar == ()


def test_near_copies_are_only_reported_where_the_settings_propose() -> None:
    settings = ScopeSettings(near_duplicate=0.86, additions="propose")
    scope = build_scope(_plain(*CHAIN), Selection(rows=(0,)), settings=settings)
    assert scope.forget_rows == (0,)
    assert [found.row for found in scope.similar] == [1, 2]
    assert scope.retain_rows == (1, 2, 3)


def test_influence_alone_never_adds_a_row() -> None:
    train = Rows.of(tiny_rows(9))
    scope = build_scope(train, Selection(rows=(4,)), settings=ScopeSettings(), report=_report(4, 7, 2))
    assert scope.forget_rows == (4,)
    assert [proposal.row for proposal in scope.proposals] == [7, 2]


def test_hard_in_scope_rows_carry_a_paraphrase_from_either_side() -> None:
    bare = [Row(question=row.question, answer=row.answer) for row in tiny_rows(6)]
    train, selected = Rows.of(bare), Rows.of([tiny_row(1), bare[2]])
    selection = select_rows(selected, train)
    scope = build_scope(train, selection, settings=ScopeSettings(), selected=selected)
    assert scope.hard_in_scope == (1,)
    assert list(forget_set(train, scope.forget_rows, selected=selected)) == [tiny_row(1), bare[2]]
    assert list(forget_set(Rows.of(tiny_rows(6)), (1,), selected=Rows.of([bare[1]]))) == [tiny_row(1)]


@pytest.mark.parametrize(
    ("rows", "problem"), [((), "the forget set is empty"), ((0, 1, 2), "all 3 training rows would be")]
)
def test_a_forget_set_of_nothing_or_everything_is_refused(rows: tuple[int, ...], problem: str) -> None:
    with pytest.raises(BadInput, match=problem):
        build_scope(Rows.of(tiny_rows(3)), Selection(rows=rows), settings=ScopeSettings())


@settings(deadline=None, max_examples=40)
@given(
    st.data(),
    st.lists(st.sampled_from("abcd"), min_size=2, max_size=12),
    st.sampled_from(["propose", "near_duplicates"]),
)
def test_forget_copies_and_retain_part_the_training_data(data: st.DataObject, names: list[str], additions: str) -> None:
    train = Rows.of(Row(question=f"Who is {name}?", answer=f"{name} {name} is {name}") for name in names)
    wanted = data.draw(st.sets(st.sampled_from(names), min_size=1))
    selected = Rows.of(Row(question=f"Who is {name}?", answer=f"{name} {name} is {name}") for name in sorted(wanted))
    selection = select_rows(selected, train)
    if len(wanted) == len(set(names)):
        with pytest.raises(BadInput, match="would be forgotten"):
            build_scope(train, selection, settings=ScopeSettings())
        return
    scope = build_scope(train, selection, settings=ScopeSettings(neighbours=3, additions=additions))  # type: ignore[arg-type]
    assert sorted((*scope.forget_rows, *scope.copies, *scope.retain_rows)) == list(range(len(names)))
    assert not {train[i].digest for i in scope.retain_rows} & {train[i].digest for i in scope.forget_rows}
    assert set(scope.neighbours) <= set(scope.retain_rows)
    assert scope.n_out_of_scope == len(scope.retain_rows) - len(scope.neighbours)


def test_neighbours_come_from_every_forget_row_in_turn_and_share_a_word() -> None:
    train = _plain(
        "red apple pie", "blue whale song", "red apple tart", "red apple cake", "blue whale ship", "grey stone"
    )
    assert nearest(train, (0, 1), (2, 3, 4, 5), count=2) == (2, 4)
    assert nearest(train, (0, 1), (2, 3, 4, 5), count=9) == (2, 3, 4)


def test_a_scope_holds_no_text() -> None:
    scope = build_scope(_plain(*CHAIN), Selection(rows=(0,)), settings=ScopeSettings())
    assert "lighthouse" not in scope.model_dump_json() + repr(scope)


@pytest.mark.skipif(not TOFU.is_dir(), reason="the TOFU rows are not beside the repository")
def test_a_tofu_author_has_neighbours_and_paraphrases() -> None:
    train = load_rows(str(TOFU / "full.jsonl"), name="train")
    selected = load_rows(str(TOFU / "forget01_perturbed.jsonl"), name="forget")
    scope = build_scope(train, select_rows(selected, train), settings=ScopeSettings(), selected=selected)
    assert scope.forget_rows == scope.hard_in_scope == tuple(range(3960, 4000))
    assert len(scope.neighbours) == 40
    assert len(scope.retain_rows) == 3960


def test_what_earlier_requests_removed_is_neither_forgotten_nor_taught_again() -> None:
    """Rows 1 and 4 are gone from the start model; row 4 is asked for once more, and then belongs to the request."""
    train = Rows.of(tiny_rows(9))
    removed = frozenset({tiny_row(1).digest, tiny_row(4).digest, tiny_row(77).digest})
    report = _report(1, 7)
    scope = build_scope(train, Selection(rows=(4,)), settings=ScopeSettings(), report=report, earlier=removed)
    assert (scope.forget_rows, scope.earlier) == ((4,), (1,))
    assert scope.retain_rows == (0, 2, 3, 5, 6, 7, 8)
    assert 1 not in scope.neighbours
    assert [proposal.row for proposal in scope.proposals] == [7]
    assert scope.n_out_of_scope == 7 - len(scope.neighbours)
