"""``docs/methods.md``: one line for every method, from a finished search.

Every method is listed, those that were not tried or refused the configuration too, with what they said.
"""

from collections.abc import Mapping

from pipelines.methods import METHODS, AnyMethod
from pipelines.search.leaderboard import Leaderboard
from pipelines.search.trial import TrialResult

COLUMNS = (
    "method", "title", "passes", "margin", "tightest gate", "extraction", "probability", "membership", "utility",
    "epochs", "seconds", "setting", "source",
)  # fmt: skip
HEAD = """# Methods

Written by `make methods`; do not edit. Every method once, with the best setting known so far
(`pipelines/search/spaces.py`), on one author of the demo world, judged by policy `{policy}`. Extraction strength,
probability and membership AUC (min-k) are of the forget set and are to come down to the reference's, which never saw
it; utility is to stay. The margin is the share of the room that the tightest gate leaves: 1 is faultless, below 0
fails. Settings were chosen on this very world, so the figures flatter; a run on other data needs a search of its own
(`lethe compare`). Seconds are of training and measuring on a shared machine: compare them with one another only.
"""


def methods_table(board: Leaderboard) -> str:
    """The page: start model, reference, then every method in the registry's order."""
    best: dict[str, TrialResult] = {}
    for standing in board.standings:
        best.setdefault(standing.result.setting.method, standing.result)
    others = {"start model": board.others.start, "reference": board.others.reference}
    lines = [_line(COLUMNS), _line(["---"] * len(COLUMNS))]
    lines += [_line(_other(name, figures)) for name, figures in others.items()]
    lines += [_line(_tried(method, best.get(method.name))) for method in METHODS.values()]
    return "\n".join([HEAD.format(policy=board.policy_digest[:12]), *lines, ""])


def _other(name: str, figures: Mapping[str, float]) -> list[str]:
    shown = [_number(figures.get(key)) for key in ("extraction", "probability", "membership", "utility")]
    return [name, "", "", "", "", *shown, "", "", "", ""]


def _tried(method: AnyMethod, result: TrialResult | None) -> list[str]:
    head = [f"`{method.name}`", method.title]
    if result is None:
        return [*head, "not tried", *[""] * 9, method.source]
    if result.ending != "complete":
        return [
            *head,
            result.ending.replace("_", " "),
            *[""] * 8,
            result.reason or result.setting.shown(),
            method.source,
        ]
    gap = result.tightest
    figures = [_number(result.figures.get(key)) for key in ("extraction", "probability", "membership", "utility")]
    verdict = ["yes" if result.passed else "no", _number(result.margin), gap.gate if gap else ""]
    return [
        *head, *verdict, *figures, str(result.epochs), f"{result.seconds:.0f}", result.setting.shown(), method.source,
    ]  # fmt: skip


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _line(cells: "list[str] | tuple[str, ...]") -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
