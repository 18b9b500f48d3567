"""open-unlearning's ``TOFU_EVAL.json`` and ``TOFU_SUMMARY.json``: read, and written so that its tools take our results.

What is written holds indices and numbers, never text. Extraction strength keeps our definition (0 where nothing is
extracted; the public code gives 1/N there), so it may be lower than what that project would print.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.errors import BadInput
from pipelines.interop.imported import ImportedLog, number
from pipelines.records import Evaluation
from pipelines.scoring.row_values import (
    LARGEST_EXPONENT,
    RowValue,
    exact_memorization,
    extraction_strength,
    log_truth_ratio,
    mean_logprob,
    option_probability,
    probability,
    rouge_recall,
    truth_ratio_of,
)
from pipelines.scoring.table import FORGET, RETAIN, Floats, ModelScores, Variant

FILES = "TOFU_EVAL.json and TOFU_SUMMARY.json of open-unlearning"
PREFIXES = {"forget": "forget", "retain": "retain", "ra": "real_authors", "wf": "world_facts"}
TOTALS = {
    "forget_quality": ("forget_quality", FORGET),
    "model_utility": ("model_utility", "utility"),
    "privleak": ("privleak", FORGET),
    "mia_loss": ("membership_loss", FORGET),
    "mia_zlib": ("membership_zlib", FORGET),
    "mia_min_k": ("min_k", FORGET),
    "mia_min_k_plus_plus": ("min_k_plus_plus", FORGET),
    "mia_gradnorm": ("membership_gradient_norm", FORGET),
    "mia_reference": ("membership_reference", FORGET),
}
"""What is one number for a model, by their name: ours, and the split."""
TOLD = {
    "extraction_strength": ("extraction_strength", FORGET),
    "exact_memorization": ("exact_memorization", FORGET),
    "forget_verbmem_rouge": ("verbatim_memorization", FORGET),
    "forget_knowmem_rouge": ("knowledge_memorization", FORGET),
    "retain_knowmem_rouge": ("knowledge_memorization", RETAIN),
}
"""What is taken as the file states it; the last three stand in MUSE_SUMMARY.json."""

Table = dict[str, dict[str, float | None]]
Entry = dict[str, float | Table | None]


@dataclass(frozen=True, slots=True)
class OpenUnlearningLogs:
    """The two documents: ``evaluation`` with a number per row, ``summary`` with one per metric."""

    evaluation: Mapping[str, Entry]
    summary: Mapping[str, float]


def recognises(document: Mapping[str, object]) -> bool:
    """Whether any key is a metric of that project with a number, or an entry with an aggregate."""
    return any(_place(key) is not None and _total(value) is not None for key, value in document.items())


def parse(document: Mapping[str, object], *, where: Path) -> ImportedLog:
    """Every metric that has a name we know; others are left out, as a fork may add what it likes.

    Raises:
        BadInput: a value per row is no number.
    """
    probability_of: dict[str, Floats] = {}
    rouge: dict[str, Floats] = {}
    truth: dict[str, Floats] = {}
    reported: dict[tuple[str, str], float] = {}
    for key, value in document.items():
        place, total = _place(key), _total(value)
        if place is None:
            continue
        metric, split = place
        if total is not None and metric != "raw_probability":
            reported[place] = total
        if metric == "probability":
            _keep(probability_of, split, _column(value, "prob", where, key))
        elif metric == "rouge":
            _keep(rouge, split, _column(value, "rougeL_recall", where, key))
        elif metric == "truth_ratio":
            with np.errstate(divide="ignore", invalid="ignore"):
                _keep(truth, split, np.log(_column(value, "score", where, key)))
    return ImportedLog(
        format="open-unlearning", probability=probability_of, rouge=rouge, log_truth_ratio=truth, reported=reported
    )


def _keep(found: dict[str, Floats], split: str, value_R: Floats) -> None:
    if len(value_R):
        found[split] = value_R


def _place(key: str) -> tuple[str, str] | None:
    """Our metric and split for a name of theirs. Their recipes spell the truth ratio in two ways."""
    name = key.lower()
    if name in TOTALS or name in TOLD:
        return TOTALS.get(name) or TOLD[name]
    prefix, _, rest = name.partition("_")
    split = PREFIXES.get(prefix)
    if split is None:
        return None
    options = split not in {FORGET, RETAIN}
    metrics = {
        "q_a_prob": "raw_probability" if options else "probability",
        "q_a_prob_normalised": "probability",
        "q_a_rouge": "rouge",
        "truth_ratio": "truth_ratio",
    }
    return (metrics[rest], split) if rest in metrics else None


def _total(value: object) -> float | None:
    try:
        total = number(value.get("agg_value") if isinstance(value, dict) else value)
    except TypeError:
        return None
    return _finite(total)


def _column(value: object, name: str, where: Path, key: str) -> Floats:
    """One number per row, in the order of the row indices; empty where the file has totals only."""
    rows = value.get("value_by_index") if isinstance(value, dict) else None
    if rows is None:
        return np.empty(0)
    try:
        return np.array([number(rows[index].get(name)) for index in sorted(rows, key=_index)])
    except (TypeError, AttributeError, ValueError):
        problem = f"{where}: {key}: value_by_index must map row indices to tables with a number {name!r}"
    raise BadInput(problem)


def _index(index: str) -> int:
    return int(index)


def as_open_unlearning(scores: ModelScores, evaluation: Evaluation) -> OpenUnlearningLogs:
    """One model's scores and measurements in that project's form; what was not measured is left out.

    Args:
        scores: of the model, per row.
        evaluation: of the same model.
    """
    written: dict[str, Entry] = {}
    for prefix, split in PREFIXES.items():
        if split in scores.rows:
            written.update(_split_entries(scores, prefix, split))
    for name, place in TOTALS.items():
        found = evaluation.find(*place)
        if found is not None and found.value is not None:
            written[name] = {"agg_value": found.value}
    ordered = dict(sorted(written.items()))
    totals = {name: total for name, entry in ordered.items() if (total := _total(entry)) is not None}
    return OpenUnlearningLogs(evaluation=ordered, summary=totals)


def _split_entries(scores: ModelScores, prefix: str, split: str) -> dict[str, Entry]:
    options = split not in {FORGET, RETAIN}
    entries = {
        f"{prefix}_Q_A_Prob": _probability_entry(scores, split),
        f"{prefix}_Q_A_ROUGE": _entry(scores, split, "rougeL_recall", rouge_recall),
        "forget_truth_ratio" if split == FORGET else f"{prefix}_Truth_Ratio": _truth_entry(scores, split),
    }
    if options:
        entries[f"{prefix}_Q_A_Prob_normalised"] = _entry(scores, split, "prob", option_probability)
    if split == FORGET:
        entries["extraction_strength"] = _entry(scores, split, "score", extraction_strength)
        entries["exact_memorization"] = _entry(scores, split, "score", exact_memorization)
    return {name: entry for name, entry in entries.items() if entry["agg_value"] is not None}


def _entry(scores: ModelScores, split: str, name: str, value_of: RowValue) -> Entry:
    value_R = value_of(scores, split)
    return {"agg_value": _mean(value_R), "value_by_index": _by_index({name: value_R})}


def _probability_entry(scores: ModelScores, split: str) -> Entry:
    value_R = probability(scores, split)
    loss_R = -mean_logprob(scores, split, Variant.ANSWER)
    return {"agg_value": _mean(value_R), "value_by_index": _by_index({"prob": value_R, "avg_loss": loss_R})}


def _truth_entry(scores: ModelScores, split: str) -> Entry:
    log_R = log_truth_ratio(scores, split)
    return {
        "agg_value": _mean(truth_ratio_of(log_R, split)),
        "value_by_index": _by_index({"score": np.exp(np.minimum(log_R, LARGEST_EXPONENT))}),
    }


def _by_index(columns: Mapping[str, Floats]) -> Table:
    n_rows = len(next(iter(columns.values())))
    return {str(i): {name: _finite(column[i]) for name, column in columns.items()} for i in range(n_rows)}


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _mean(value_R: Floats) -> float | None:
    scored = value_R[np.isfinite(value_R)]
    return float(scored.mean()) if len(scored) else None
