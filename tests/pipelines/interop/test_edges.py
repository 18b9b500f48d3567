"""Logs that are almost right: two columns of one name, rows that are no numbers, files that are too large."""

import json
from pathlib import Path

import pytest

from pipelines.errors import BadInput
from pipelines.interop import Figure, as_open_unlearning, figures, read, read_log
from pipelines.scoring.table import Variant
from tests.scored import answer, evaluation, generated, model_scores

Entry = dict[str, float | dict[str, dict[str, float | bool]]]


def _entry(name: str, *values: float | bool) -> Entry:
    rows = {str(row): {name: value} for row, value in enumerate(values)}
    return {"agg_value": 0.5, "value_by_index": rows}


def _written(folder: Path, document: dict[str, Entry], name: str = "TOFU_EVAL.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(document))
    return path


def _by_name(found: tuple[Figure, ...]) -> dict[tuple[str, str], Figure]:
    return {(one.metric, one.split): one for one in found}


@pytest.mark.parametrize("backwards", [False, True])
def test_of_two_probabilities_the_one_among_options_counts_in_any_order(tmp_path: Path, backwards: bool) -> None:
    """The bare one is no part of the utility, and is not passed on under another name."""
    entries = {"ra_Q_A_Prob": _entry("prob", 0.9), "ra_Q_A_Prob_normalised": _entry("prob", 0.4)}
    document = dict(reversed(entries.items())) if backwards else entries
    found = _by_name(figures(read_log(_written(tmp_path, document))))
    assert found["probability", "real_authors"].value == 0.4
    assert {metric for metric, _ in found} == {"probability", "model_utility"}


@pytest.mark.parametrize("broken", ["ours", "theirs"])
def test_one_ratio_that_is_no_number_leaves_no_forget_quality(tmp_path: Path, broken: str) -> None:
    logs = {}
    for name in ("ours", "theirs"):
        values = (0.5, 0.7, float("nan") if name == broken else 0.6)
        logs[name] = read_log(_written(tmp_path, {"forget_truth_ratio": _entry("score", *values)}, f"{name}.json"))
    found = _by_name(figures(logs["ours"], reference=logs["theirs"]))
    for metric in ("forget_quality", "ks_statistic"):
        assert found[metric, "forget"].value is None
        assert found[metric, "forget"].n_rows == 3


def test_true_is_no_number(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="must map row indices to tables with a number 'prob'"):
        read_log(_written(tmp_path, {"forget_Q_A_Prob": _entry("prob", True)}))


def test_a_file_that_is_no_log_by_its_size_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _written(tmp_path, {"forget_Q_A_Prob": _entry("prob", 0.5)})
    monkeypatch.setattr(read, "LARGEST_BYTES", path.stat().st_size)
    read_log(path)
    monkeypatch.setattr(read, "LARGEST_BYTES", path.stat().st_size - 1)
    with pytest.raises(BadInput, match="a log of at most"):
        read_log(path)


def test_what_is_written_bears_the_names_that_leaderboards_look_for() -> None:
    splits = ("forget", "retain", "real_authors", "world_facts")
    records = [
        answer(split, 0, [-1.0], variant=variant)
        for split in splits
        for variant in (Variant.ANSWER, Variant.PARAPHRASED_ANSWER, Variant.PERTURBED_ANSWER)
    ]
    scores = model_scores(dict.fromkeys(splits, 1), records, [generated(split, 0, rouge=0.5) for split in splits])
    measured = {f"{prefix}_Q_A_{name}" for prefix in ("forget", "retain", "ra", "wf") for name in ("Prob", "ROUGE")}
    measured |= {f"{prefix}_Q_A_Prob_normalised" for prefix in ("ra", "wf")}
    measured |= {"forget_truth_ratio", *(f"{prefix}_Truth_Ratio" for prefix in ("retain", "ra", "wf"))}
    measured |= {"extraction_strength", "exact_memorization"}
    logs = as_open_unlearning(scores, evaluation("candidate"))
    assert set(logs.evaluation) == set(logs.summary) == measured
