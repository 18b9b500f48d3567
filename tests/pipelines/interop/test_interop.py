"""Logs of other projects: our figures are scipy's and TOFU's own, bad files are refused in a line, text never shows."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipelines.config import EvaluationSettings
from pipelines.errors import BadInput
from pipelines.evaluation.evaluate import measure
from pipelines.interop import Figure, ImportedLog, as_open_unlearning, figures, read_log
from pipelines.scoring.table import ModelScores, Variant
from tests.scored import answer, generated, model_scores

SECRET = "zanzibar cobalt"
NAMES = ("eval_log.json", "eval_log_forget.json", "eval_real_author_wo_options.json", "eval_real_world_wo_options.json")


def tofu_set(seed: int, *, n: int = 30, wrong: int = 3) -> dict[str, dict[str, object]]:
    """One set as TOFU writes it, generated text included."""
    draw = np.random.default_rng(seed)
    loss = draw.uniform(0.01, 3, size=(n, 2))
    return {
        "avg_gt_loss": {str(i): loss[i, 0] for i in range(n)},
        "gt_loss": {str(i): loss[i, 0] * 9 for i in range(n)},
        "avg_paraphrased_loss": {str(i): loss[i, 1] for i in range(n)},
        "average_perturb_loss": {str(i): list(draw.uniform(0.5, 4, size=wrong)) for i in range(n)},
        "rougeL_recall": {str(i): draw.uniform() for i in range(n)},
        "generated_text": {str(i): [SECRET, SECRET, SECRET] for i in range(n)},
    }


def written(folder: Path, document: object, name: str = "eval_log_aggregated.json") -> Path:
    """The document as a file."""
    path = folder / name
    path.write_text(json.dumps(document))
    return path


def found(log: ImportedLog, metric: str, split: str, reference: ImportedLog | None = None) -> Figure:
    """The one figure of that name."""
    [one] = [f for f in figures(log, reference=reference) if (f.metric, f.split) == (metric, split)]
    return one


def _column(table: dict[str, dict[str, object]], name: str) -> np.ndarray:
    return np.array(list(table[name].values()))


def _utility_by_the_book(document: dict[str, dict[str, dict[str, object]]]) -> float:
    """TOFU, section 2.2.3, written out: harmonic mean over three sets of probability, ROUGE and truth ratio."""
    parts = []
    for name in (NAMES[0], *NAMES[2:]):
        one = document[name]
        right, wrong = np.exp(-_column(one, "avg_gt_loss")), np.exp(-_column(one, "average_perturb_loss"))
        parts.append(np.mean(right if name == NAMES[0] else right / (right + wrong.sum(axis=1))))
        parts.append(np.mean(_column(one, "rougeL_recall")))
        ratio = np.exp(_column(one, "avg_paraphrased_loss") - _column(one, "average_perturb_loss").mean(axis=1))
        parts.append(np.mean(np.maximum(0, 1 - ratio)))
    return float(stats.hmean(parts))


def test_model_utility_of_an_aggregated_log_is_tofus(tmp_path: Path) -> None:
    document = {name: tofu_set(seed) for seed, name in enumerate(NAMES)}
    log = read_log(written(tmp_path, document))
    assert found(log, "model_utility", "utility").value == pytest.approx(_utility_by_the_book(document), rel=1e-12)


def test_forget_quality_is_scipys_whatever_the_order_of_the_keys(tmp_path: Path) -> None:
    ours, theirs = tofu_set(1), tofu_set(2)
    ratios = [
        np.exp(_column(one, "average_perturb_loss").mean(axis=1) - _column(one, "avg_paraphrased_loss"))
        for one in (ours, theirs)
    ]
    shuffled = {name: dict(reversed(table.items())) for name, table in ours.items()}
    shuffled["avg_gt_loss"] = ours["avg_gt_loss"]
    log = read_log(written(tmp_path, {NAMES[1]: shuffled}))
    reference = read_log(written(tmp_path, {NAMES[1]: theirs}, "reference.json"))
    expected = stats.ks_2samp(*ratios)
    assert found(log, "forget_quality", "forget", reference).value == expected.pvalue
    assert found(log, "ks_statistic", "forget", reference).value == expected.statistic


def test_one_log_is_read_by_its_usual_name(tmp_path: Path) -> None:
    log = read_log(written(tmp_path, tofu_set(3), "eval_real_author_wo_options.json"))
    assert set(log.probability) == {"real_authors"}


def test_published_parts_give_the_published_utility(tmp_path: Path) -> None:
    """The public retrained Llama-3.2-1B of TOFU forget10: its nine parts, its utility, its PrivLeak against AUC .5."""
    parts = {
        "retain_Q_A_Prob": 0.8802840007841587,
        "retain_Q_A_ROUGE": 0.8264372396779979,
        "retain_Truth_Ratio": 0.5138097597002513,
        "ra_Q_A_Prob": 0.013936679118596657,
        "ra_Q_A_Prob_normalised": 0.3915799226316357,
        "ra_Q_A_ROUGE": 0.8145,
        "ra_Truth_Ratio": 0.5022027051450156,
        "wf_Q_A_Prob_normalised": 0.4279515925645054,
        "wf_Q_A_ROUGE": 0.8022792022792024,
        "wf_Truth_Ratio": 0.6156096615954564,
    }
    summary = {**parts, "model_utility": 0.5892923390686856, "mia_min_k": 0.339891, "some_fork": 3.0}
    log = read_log(written(tmp_path, summary, "TOFU_SUMMARY.json"))
    utility = found(log, "model_utility", "utility")
    assert utility.value == pytest.approx(utility.reported, abs=1e-12)
    reference = read_log(written(tmp_path, {"mia_min_k": {"agg_value": 0.382331}}, "TOFU_EVAL.json"))
    assert found(log, "privleak", "forget", reference).value == pytest.approx(6.871, abs=5e-4)


FULL = {
    "exact_memorization": 0.9739357572793961,
    "extraction_strength": 0.706268493976531,
    "forget_Q_A_Prob": 0.8804820564389229,
    "forget_Q_A_ROUGE": 0.8201171050577979,
    "forget_quality": 3.9054713571083378e-22,
    "mia_gradnorm": 0.99848125,
    "mia_loss": 0.9964875,
    "mia_min_k": 0.99665,
    "mia_min_k_plus_plus": 0.99803125,
    "mia_reference": 0.99848125,
    "mia_zlib": 0.9979375,
    "model_utility": 0.5991534707368931,
    "privleak": -99.45739100654656,
}
"""TOFU_SUMMARY.json of the public Llama-3.2-1B-Instruct that was taught all of TOFU, forget10."""


def test_every_line_of_a_published_summary_is_read_and_its_privleak_follows(tmp_path: Path) -> None:
    """Against the published retrained model, whose min-k AUC is .3826125: 100 (.3826125 - .99665) / (1 - .3826125)."""
    log = read_log(written(tmp_path, FULL, "TOFU_SUMMARY.json"))
    reference = read_log(written(tmp_path, {"mia_min_k": 0.38261249999999997}, "reference.json"))
    told = {f.metric: f.reported for f in figures(log, reference=reference)}
    assert {value for value in told.values() if value is not None} == set(FULL.values())
    assert told["membership_zlib"] == FULL["mia_zlib"]
    leak = found(log, "privleak", "forget", reference)
    assert leak.value == pytest.approx(FULL["privleak"], abs=1e-6)


def test_a_summary_of_muse_is_read(tmp_path: Path) -> None:
    summary = {"forget_knowmem_ROUGE": 0.644, "forget_verbmem_ROUGE": 0.579, "retain_knowmem_ROUGE": 0.555}
    log = read_log(written(tmp_path, summary, "MUSE_SUMMARY.json"))
    assert log.reported == {
        ("knowledge_memorization", "forget"): 0.644,
        ("verbatim_memorization", "forget"): 0.579,
        ("knowledge_memorization", "retain"): 0.555,
    }


def _scores(seed: int) -> ModelScores:
    draw = np.random.default_rng(seed)
    rows = {"forget": 12, "retain": 10, "holdout": 11, "real_authors": 8, "world_facts": 9}
    answers, generations = [], []
    for split, n in rows.items():
        for row in range(n):
            for variant, count in ((Variant.ANSWER, 1), (Variant.PARAPHRASED_ANSWER, 1), (Variant.PERTURBED_ANSWER, 3)):
                for index in range(count):
                    tokens = draw.uniform(-3, -0.01, size=5)
                    hit = list(draw.uniform(size=5) < 0.7)
                    answers.append(answer(split, row, list(tokens), variant=variant, index=index, hit=hit))
            generations.append(generated(split, row, rouge=float(draw.uniform(0.2, 1))))
    return model_scores(rows, answers, generations, model=str(seed))


def test_what_we_write_reads_back_as_what_we_measured(tmp_path: Path) -> None:
    ours, theirs = _scores(1), _scores(2)
    settings = EvaluationSettings(bootstrap=100)
    evaluation = measure(ours, role="candidate", reference=theirs, settings=settings, seed=0)
    reference = measure(theirs, role="reference", reference=theirs, settings=settings, seed=0)
    logs = as_open_unlearning(ours, evaluation)
    log = read_log(written(tmp_path, logs.evaluation, "TOFU_EVAL.json"))
    other = read_log(written(tmp_path, as_open_unlearning(theirs, reference).evaluation, "reference.json"))
    for figure in figures(log, reference=other):
        name = "option" if figure.metric == "probability" and figure.split in {"real_authors", "world_facts"} else ""
        measured = evaluation.find(figure.metric, figure.split)
        if measured is None or name:
            continue
        assert measured.value == pytest.approx(figure.reported if figure.value is None else figure.value, abs=1e-9)
    compared = {f.metric for f in figures(log, reference=other) if f.value is not None}
    assert compared >= {"forget_quality", "model_utility", "privleak", "truth_ratio", "rouge", "probability"}
    summary = read_log(written(tmp_path, logs.summary, "TOFU_SUMMARY.json"))
    measured = evaluation.find("model_utility", "utility")
    assert measured is not None
    assert found(summary, "model_utility", "utility").value == pytest.approx(measured.value, abs=1e-9)


def test_a_log_with_missing_rows_has_no_value_of_ours(tmp_path: Path) -> None:
    table = tofu_set(4)
    table["avg_gt_loss"]["3"] = float("nan")
    figure = found(read_log(written(tmp_path, {NAMES[1]: table})), "probability", "forget")
    assert (figure.value, figure.n_rows) == (None, 30)


def _without(table: dict[str, dict[str, object]], name: str) -> dict[str, dict[str, object]]:
    return {key: value for key, value in table.items() if key != name}


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ([1], "not a JSON object"),
        ({}, "format not known"),
        ({"eval_log.json": 3}, "none of"),
        ({"eval_log.json": tofu_set(0), "other.json": {}}, "none of"),
        ({"eval_log.json": _without(tofu_set(0), "rougeL_recall")}, "rougeL_recall is missing"),
        ({"eval_log.json": {**tofu_set(0), "rougeL_recall": {"0": SECRET}}}, "rougeL_recall holds"),
        ({"eval_log.json": {**tofu_set(0), "rougeL_recall": {"7": 0.5}}}, "different rows"),
        ({"eval_log.json": {**tofu_set(0), "average_perturb_loss": {"0": []}}}, "average_perturb_loss holds"),
        ({"forget_Q_A_Prob": {"agg_value": 1, "value_by_index": {"0": {"prob": SECRET}}}}, "must map row indices"),
        ({"forget_Q_A_Prob": {"agg_value": 1, "value_by_index": {SECRET: {"prob": 1}}}}, "must map row indices"),
        ({"forget_Q_A_Prob": {"agg_value": 1, "value_by_index": [SECRET]}}, "must map row indices"),
    ],
)
def test_bad_logs_are_refused_in_one_line_without_their_text(tmp_path: Path, document: object, says: str) -> None:
    with pytest.raises(BadInput, match=says) as refused:
        read_log(written(tmp_path, document))
    assert "\n" not in str(refused.value)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"{", b'"x', b"[" * 100_000, b'{"a":\xff}'])
def test_a_file_that_is_no_json_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "log.json"
    path.write_bytes(content)
    with pytest.raises(BadInput, match="not valid JSON"):
        read_log(path)
    with pytest.raises(BadInput, match="no such file"):
        read_log(tmp_path / "missing.json")


WORDS = (
    "avg_gt_loss avg_paraphrased_loss average_perturb_loss rougeL_recall 0 1 agg_value value_by_index forget_Q_A_Prob "
    "forget_truth_ratio prob score mia_min_k x"
)
KEYS = st.sampled_from([*NAMES, *WORDS.split()])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(document=st.dictionaries(KEYS, VALUES, max_size=5))
def test_only_a_refusal_comes_out_of_any_document(tmp_path_factory: pytest.TempPathFactory, document: object) -> None:
    path = written(tmp_path_factory.mktemp("log"), document, "eval_log.json")
    try:
        log = read_log(path)
    except BadInput:
        return
    figures(log, reference=log)
