"""What the figures draw, read back from the SVG; and what they leave alone."""

import re
import xml.etree.ElementTree as ET

import matplotlib as mpl
import pytest

from pipelines.probes import PROBES
from pipelines.report import curves, distributions, plots
from pipelines.report.data import Band, MetricNote, ReportData, TrainingPoint
from tests.pipelines.report import sample

ALL = (
    plots.forgotten_plot,
    plots.kept_plot,
    plots.membership_plot,
    plots.training_plot,
    distributions.roc_plot,
    distributions.truth_ratio_plot,
    curves.relearning_plot,
    curves.precision_plot,
    curves.depth_plot,
)


def parsed(svg: str | None) -> ET.Element:
    assert svg is not None
    return ET.fromstring(svg.replace("<svg", '<svg xmlns:xlink="x"', 1))  # noqa: S314 - our own


def texts(root: ET.Element) -> list[str]:
    return ["".join(element.itertext()).strip() for element in root.iter("text")]


def bar_lengths(root: ET.Element, colour: str) -> list[float]:
    """Widths of the filled rectangles of one colour, in the order drawn."""
    lengths = []
    for path in root.iter("path"):
        if f"fill: {colour}" in path.get("style", ""):
            xs = [float(x) for x in re.findall(r"[ML] (-?[\d.]+) ", path.get("d", ""))]
            lengths.append(max(xs) - min(xs))
    return lengths


def test_bars_are_as_long_as_their_values() -> None:
    root = parsed(plots.forgotten_plot(sample.registered()))
    metrics = [metric for metric in plots.FORGOTTEN if (metric, "forget") in sample.VALUES]
    lengths = {role: bar_lengths(root, colour) for role, colour in plots.ROLES.items()}
    unit = lengths["start"][0] / sample.VALUES[metrics[-1], "forget"][0]
    for i, role in enumerate(plots.ROLES):
        values = [sample.VALUES[metric, "forget"][i] for metric in reversed(metrics)]
        assert lengths[role] == pytest.approx([value * unit for value in values], rel=1e-4)


def test_labels_are_text_and_name_metric_and_split() -> None:
    assert "ROUGE-L recall" in texts(parsed(plots.forgotten_plot(sample.registered())))
    kept = texts(parsed(plots.kept_plot(sample.registered())))
    assert {"Model utility", "Probability, retain", "Probability, neighbours", "Probability, world facts"} <= set(kept)
    assert not [label for label in kept if "forget" in label]


def test_a_value_outside_the_scale_is_left_to_the_table() -> None:
    data = sample.registered()
    beyond = data.evaluations[1].measurements[0].model_copy(update={"value": 1.5, "high": 1.6})
    changed = data.evaluations[1].model_copy(update={"measurements": (beyond,)})
    alone = data.model_copy(update={"evaluations": (changed,)})
    assert plots.forgotten_plot(alone) is None
    assert plots.forgotten_plot(data) is not None


def test_the_band_is_drawn_only_where_the_policy_has_one() -> None:
    data = sample.registered()
    banded = plots.membership_plot(data)
    assert banded is not None
    assert "#2da44e" in banded
    unbanded = plots.membership_plot(data.model_copy(update={"membership_band": None}))
    assert unbanded is not None
    assert "#2da44e" not in unbanded
    assert banded != plots.membership_plot(data.model_copy(update={"membership_band": Band(low=0.3, high=0.7)}))


def test_a_figure_without_data_is_none() -> None:
    assert [draw(sample.refused_early()) for draw in ALL] == [None] * len(ALL)


def test_a_long_curve_is_thinned() -> None:
    def of(steps: int) -> ReportData:
        points = tuple(
            TrainingPoint(step=i, loss=1.0 + i % 7, forget_nll=float(i % 5), retain_nll=0.1) for i in range(steps)
        )
        return sample.registered().model_copy(update={"training": points})

    short, long = plots.training_plot(of(plots.MOST_POINTS)), plots.training_plot(of(40 * plots.MOST_POINTS))
    assert short is not None
    assert long is not None
    assert len(long) < 1.5 * len(short)


def test_matplotlib_is_left_as_it_was() -> None:
    before = dict(mpl.rcParams)
    for draw in ALL:
        draw(sample.registered())
    assert dict(mpl.rcParams) == before


def test_no_two_elements_of_a_page_share_an_id() -> None:
    drawn = "".join(svg for draw in ALL if (svg := draw(sample.registered())) is not None)
    named: dict[str, str] = {}
    for element in re.findall(r"<[^>]* id=\"[^\"]+\"[^>]*>", drawn):
        name = re.search(r'id="([^"]+)"', element)
        assert name is not None
        # Marks and clipping frames are named by their content, so equal names stand for equal elements.
        assert named.setdefault(name[1], element) == element


def test_whiskers_never_point_inwards() -> None:
    measured = sample.measured("rouge", "forget", 0.5)
    inverted = measured.model_copy(update={"low": 0.6, "high": 0.7})
    without = measured.model_copy(update={"low": None, "high": None})
    below, above = plots.whiskers([measured, inverted, without])
    assert below == pytest.approx([0.02, 0.0, 0.0])
    assert above == pytest.approx([0.02, 0.2, 0.0])


def labels_with(title: str) -> list[str]:
    notes = (MetricNote(metric="rouge", title=title, source=""),)
    return texts(parsed(plots.forgotten_plot(sample.registered().model_copy(update={"metric_notes": notes}))))


def test_a_long_title_leaves_room_for_the_bars() -> None:
    labels = labels_with("An uncommonly long title of a metric " * 4)
    assert max(len(label) for label in labels) == plots.MOST_LETTERS


def test_a_title_is_never_read_as_a_formula() -> None:
    assert "cost $\\frac{$ <b> &amp;" in labels_with("cost $\\frac{$ <b> &amp;")


def test_a_curve_runs_by_strength_and_a_model_that_was_not_attacked_has_none() -> None:
    data = sample.registered()
    root = parsed(curves.depth_plot(data))
    [drawn] = [
        path
        for path in root.iter("path")
        if f"stroke: {plots.ROLES['candidate']}" in path.get("style", "") and "fill: none" in path.get("style", "")
    ]
    points = [tuple(map(float, pair)) for pair in re.findall(r"[ML] (-?[\d.]+) (-?[\d.]+)", drawn.get("d", ""))]
    assert len(points) == 2
    assert points[0][0] < points[1][0]
    assert points[0][1] > points[1][1], "2.4 stands above 0.4"
    without = data.evaluations[0].model_copy(update={"measurements": data.evaluations[0].measurements[:5]})
    alone = curves.depth_plot(data.model_copy(update={"evaluations": (without, *data.evaluations[1:])}))
    assert alone is not None
    assert plots.ROLES["start"] not in alone


def test_every_probe_that_asks_in_another_way_has_its_bar() -> None:
    others = {"relearning", "quantisation", "pruning", "depth", "logit_lens"}
    bars = {name.rstrip("_0123456789") for name in plots.ASKED}
    assert bars == set(PROBES) - others
    found = sample.measured("rewrites", "forget", 0.4)
    data = sample.registered()
    changed = data.evaluations[1].model_copy(update={"measurements": (found,)})
    labels = texts(parsed(plots.asking_plot(data.model_copy(update={"evaluations": (changed,)}))))
    assert "Rewrites" in labels


def test_general_tasks_stand_with_what_was_to_be_kept_as_far_as_there_is_room() -> None:
    """Two models were asked, so two bars each; what was lost is in the table alone."""
    data = sample.registered()
    tasks = [f"task_{i:02}" for i in range(plots.MOST_GENERAL + 1)]
    general = tuple(sample.measured("lm_eval_acc", task, 0.5) for task in tasks)
    lost = sample.measured("lm_eval_acc_lost", tasks[0], 0.01)
    start, candidate, _ = data.evaluations
    asked = (
        start.model_copy(update={"measurements": general}),
        candidate.model_copy(update={"measurements": (*general, lost)}),
    )
    notes = (MetricNote(metric="lm_eval_acc", title="General tasks: acc", source="arXiv 2405.14782"),)
    root = parsed(plots.kept_plot(data.model_copy(update={"evaluations": asked, "metric_notes": notes})))
    labels = [text for text in texts(root) if text.startswith("General tasks")]
    assert sorted(labels) == [f"General tasks: acc, task {i:02}" for i in range(plots.MOST_GENERAL)]
    assert [len(bar_lengths(root, colour)) for colour in plots.ROLES.values()] == [plots.MOST_GENERAL] * 2 + [0]
