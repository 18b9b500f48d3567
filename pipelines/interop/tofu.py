"""TOFU's own logs: ``eval_log_aggregated.json``, or one of the files that it is put together from.

Each file holds, by row index, the mean token loss of the answer, of its paraphrase and of each wrong answer, and the
ROUGE-L recall. Rows are matched by their index, where the public script relies on the order of the keys.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np

from pipelines.errors import BadInput
from pipelines.interop.imported import ImportedLog, number
from pipelines.scoring.table import Floats

SPLITS = {
    "eval_log.json": "retain",
    "eval_log_forget.json": "forget",
    "eval_real_author_wo_options.json": "real_authors",
    "eval_real_world_wo_options.json": "world_facts",
}
FILES = "eval_log_aggregated.json and the files of TOFU that it holds"
OPTIONS = ("real_authors", "world_facts")
ANSWER, PARAPHRASED, PERTURBED = "avg_gt_loss", "avg_paraphrased_loss", "average_perturb_loss"
ROUGE = "rougeL_recall"
CellT = TypeVar("CellT")


def recognises(document: Mapping[str, object], name: str) -> bool:
    """Whether this is an aggregated log, or a log of one set under its usual name."""
    return any(key in SPLITS for key in document) or (ANSWER in document and name in SPLITS)


def parse(document: Mapping[str, object], *, where: Path) -> ImportedLog:
    """Every set that the document holds.

    Raises:
        BadInput: a set lacks a table, tables name different rows, or a value is no number.
    """
    sets = {SPLITS[where.name]: document} if ANSWER in document else _sets(document, where)
    read = {split: _Tables(table, where=f"{where}: {split}") for split, table in sets.items()}
    return ImportedLog(
        format="tofu",
        probability={split: one.probability(options=split in OPTIONS) for split, one in read.items()},
        rouge={split: one.rouge for split, one in read.items()},
        log_truth_ratio={split: one.log_truth_ratio for split, one in read.items()},
        reported={},
    )


def _sets(document: Mapping[str, object], where: Path) -> dict[str, Mapping[str, object]]:
    sets: dict[str, Mapping[str, object]] = {}
    for name, table in document.items():
        if name not in SPLITS or not isinstance(table, dict):
            raise BadInput(f"{where}: holds something that is none of {', '.join(SPLITS)}")
        sets[SPLITS[name]] = table
    return sets


class _Tables:
    """The four tables of one set, on the rows that the answers' table names."""

    def __init__(self, tables: Mapping[str, object], *, where: str) -> None:
        self._answer = _table(tables, ANSWER, number, where)
        paraphrased = _table(tables, PARAPHRASED, number, where)
        self._perturbed = _table(tables, PERTURBED, _losses, where)
        rouge = _table(tables, ROUGE, number, where)
        for name, table in ((PARAPHRASED, paraphrased), (PERTURBED, self._perturbed), (ROUGE, rouge)):
            if set(table) != set(self._answer):
                raise BadInput(f"{where}: {name} and {ANSWER} name different rows")
        self.rouge: Floats = np.array([rouge[i] for i in self._answer])
        wrong_R = np.array([np.mean(self._perturbed[i]) for i in self._answer])
        self.log_truth_ratio: Floats = np.array([paraphrased[i] for i in self._answer]) - wrong_R

    def probability(self, *, options: bool) -> Floats:
        """exp(-loss), over the wrong answers too where those are options: value_R."""
        right_R: Floats = np.exp(-np.array(list(self._answer.values())))
        if not options:
            return right_R
        wrong_R = np.array([np.exp(-np.array(self._perturbed[i])).sum() for i in self._answer])
        shared: Floats = right_R / (right_R + wrong_R)
        return shared


def _table(tables: Mapping[str, object], name: str, cell: Callable[[object], CellT], where: str) -> dict[str, CellT]:
    table = tables.get(name)
    if not isinstance(table, dict) or not table:
        raise BadInput(f"{where}: {name} is missing or empty; needed: {ANSWER}, {PARAPHRASED}, {PERTURBED}, {ROUGE}")
    try:
        return {str(index): cell(value) for index, value in table.items()}
    except TypeError:
        problem = f"{where}: {name} holds something that is no number"
    raise BadInput(problem)


def _losses(value: object) -> list[float]:
    if not isinstance(value, list) or not value:
        raise TypeError("a list of losses is needed")
    return [number(item) for item in value]
