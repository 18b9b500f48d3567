"""The curves over single rows: a ROC curve's area is the AUC, a truth-ratio curve ends at one, no row is named."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.evaluation.statistics import auc
from pipelines.report.distributions import roc, truth_ratio_plot
from pipelines.report.plots import ROLES
from pipelines.report.report import render_report
from pipelines.report.tables import MOST_ROWS
from tests.pipelines.report import sample

SCORES = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=12)


@given(members=SCORES, others=SCORES)
def test_the_area_below_a_roc_curve_is_the_auc_ties_included(members: list[float], others: list[float]) -> None:
    points = roc((*members, None, *others), n_members=len(members) + 1)
    assert points is not None
    assert (points[0] == 0).all()
    assert (points[-1] == 1).all()
    assert (np.diff(points, axis=0) >= 0).all()
    assert np.trapezoid(points[:, 1], points[:, 0]) == pytest.approx(auc(np.array(members), np.array(others)))


@pytest.mark.parametrize("values", [(), (1.0, 2.0), (None, None, 3.0)])
def test_no_curve_without_both_kinds_of_rows(values: tuple[float | None, ...]) -> None:
    assert roc(values, n_members=2) is None


def test_a_model_without_truth_ratios_has_no_curve() -> None:
    data = sample.registered()
    shown = tuple(one for one in data.row_values if one.role != "candidate")
    drawn = truth_ratio_plot(data.model_copy(update={"row_values": shown}))
    assert drawn is not None
    assert [colour in drawn for colour in ROLES.values()] == [True, False, True]


def test_rows_are_listed_by_index_up_to_a_limit() -> None:
    data = sample.registered()
    page = render_report(data)
    assert "<summary>20 rows</summary>" in page
    missing = page.index('<td class="num">0</td><td class="num">&ndash;</td>')
    first = next(one for one in data.row_values if one.metric == "probability" and one.role == "start").values[1]
    assert first is not None
    assert page.index(f'<td class="num">1</td><td class="num">{first:.3f}</td>') > missing
    many = data.forget.model_copy(update={"count": MOST_ROWS + 7})
    assert f"<summary>{MOST_ROWS} of {MOST_ROWS + 7} rows</summary>" in render_report(
        data.model_copy(update={"forget": many})
    )


def test_a_page_without_numbers_per_row_lists_none() -> None:
    page = render_report(sample.registered().model_copy(update={"row_values": ()}))
    assert 'id="rows"' not in page
