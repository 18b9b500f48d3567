"""MUSE's six views as one picture: bars where a view is one number per model, curves where it follows runs."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipelines.evaluation.muse import Curve, View
from pipelines.report.plots import ROLES, drawing, svg_of, whiskers

KINDS = {"retain": "#1a7f37", "forget": "#0b62b8", "earlier": "#8250df"}
"""Colours of the curves, which are all of candidates; no model's but the candidate's own."""

MARKERS = {"retain": "s-", "forget": "o-", "earlier": "^--"}
WIDTH_IN = 7.2
APART = 0.012
"""Between curves, as a share of the axis, so that no interval hides another."""

MARGIN = 0.1
"""Beside the first and the last place, as a share of what lies between them."""

NOTHING = "not measured"
NAMESPACES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
"""A picture that stands in a page needs none; a file does."""


def muse_svg(views: Sequence[View]) -> str:
    """All views in a grid, as a file of its own; a view that is missing is named as such."""
    n_rows = (len(views) + 1) // 2
    with drawing(height=2.0 * n_rows, width=WIDTH_IN) as figure:
        for axes, view in zip(figure.subplots(n_rows, 2, squeeze=False).flat, views, strict=False):
            axes.set_title(view.title, fontsize=8.5, loc="left")
            axes.set_axisbelow(True)
            if view.axis and view.curves:
                _draw_curves(axes, view)
            elif view.curves:
                _draw_bars(axes, view.curves)
            else:
                axes.text(0.5, 0.5, NOTHING, ha="center", va="center", transform=axes.transAxes)
                axes.set_axis_off()
        _explain(figure)
        return svg_of(figure).replace("<svg", f"<svg {NAMESPACES}", 1)


def _draw_bars(axes: Axes, curves: Sequence[Curve]) -> None:
    measured = [curve.points[0].measurement for curve in curves]
    values = [m.value or 0.0 for m in measured]
    colours = [ROLES[curve.name] for curve in curves]
    axes.barh(range(len(curves)), values, xerr=whiskers(measured), color=colours, height=0.6, ecolor="#24292f")
    axes.set_yticks(range(len(curves)), [curve.name for curve in curves])
    axes.grid(visible=False, axis="y")
    if all(0.0 <= value <= 1.0 for value in values):
        axes.set_xlim(0.0, 1.02)
    axes.invert_yaxis()


def _draw_curves(axes: Axes, view: View) -> None:
    places = sorted({point.x for curve in view.curves for point in curve.points})
    span = max(places[-1] - places[0], 1)
    step = APART * span
    for shift, curve in enumerate(view.curves):
        measured = [point.measurement for point in curve.points]
        axes.errorbar(
            [point.x + (shift - 1) * step for point in curve.points],
            [m.value or 0.0 for m in measured],
            yerr=whiskers(measured),
            fmt=MARKERS[curve.name],
            markersize=3.5,
            capsize=2,
            color=KINDS[curve.name],
            label=curve.name,
        )
    axes.set_xticks(places)
    axes.set_xlabel(view.axis)
    axes.set_xlim(places[0] - MARGIN * span, places[-1] + MARGIN * span)  # one place alone is not blown up
    axes.set_ylim(0.0, 1.05)


def _explain(figure: Figure) -> None:
    """One legend for all curves, below them, where it hides nothing."""
    named = [axes.get_legend_handles_labels() for axes in figure.axes]
    curves = {label: handle for handles, labels in named for handle, label in zip(handles, labels, strict=True)}
    if curves:
        figure.legend(curves.values(), curves.keys(), loc="outside lower center", ncols=len(curves))
