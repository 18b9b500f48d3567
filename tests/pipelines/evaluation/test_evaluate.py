"""A model scored once, every metric read off the scores; what is stored is reused only where it may be."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from pipelines.audit.canonical import digest
from pipelines.config import EvaluationSettings, PromptFormat
from pipelines.data.rows import Row, Rows
from pipelines.errors import BadInput
from pipelines.evaluation import evaluate as evaluation
from pipelines.evaluation.evaluate import (
    evaluation_of,
    measure,
    read_metrics,
    score_model,
    select_metrics,
    write_items,
)
from pipelines.metrics import METRICS
from pipelines.models.loading import LoadedModel
from pipelines.records import ModelRef
from pipelines.scoring.questions import Asked, tokenizer_digest
from pipelines.scoring.store import ScoreStore
from pipelines.scoring.table import ModelScores
from tests.tiny import tiny_model, tiny_rows, tiny_tokenizer

NOT_ALWAYS = ("privleak", "semantic_match")
"""An untrained reference may leave no room; no encoder was given."""

SETTINGS = EvaluationSettings(batch_size=8, max_new_tokens=4, bootstrap=100)
CANARY = "Canary Quillfeather"
TOFU = Path(__file__).parents[4] / "shared" / "data" / "tofu"


@pytest.fixture(scope="module")
def splits() -> dict[str, Rows]:
    secret = Row(f"Who is {CANARY}?", f"{CANARY} is a baker.", f"Tell of {CANARY}.", "A baker.", ("A cook.",))
    return {
        "forget": Rows.of([secret, *tiny_rows(2)]),
        "retain": Rows.of(tiny_rows(3, first=10)),
        "neighbours": Rows.of(tiny_rows(2, first=12)),
        "holdout": Rows.of(tiny_rows(3, first=20)),
        "world_facts": Rows.of([Row("One and one?", "Two", perturbed_answer=("Three", "Four"))]),
    }


def _loaded(seed: int = 0) -> LoadedModel:
    return LoadedModel(
        model=tiny_model(seed),
        tokenizer=tiny_tokenizer(),
        ref=ModelRef(path="models/tiny", digest=f"{seed}" * 64),
        stored_dtype=torch.float32,
    )


def _score(splits: dict[str, Rows], *, seed: int = 0, store: ScoreStore | None = None, **changed: int) -> ModelScores:
    settings = SETTINGS.model_copy(update=changed)
    return score_model(_loaded(seed), Asked(splits, PromptFormat()), settings=settings, store=store)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The scoring and generation passes that were made."""
    made: list[str] = []
    for name in ("_score", "_generate"):
        original = getattr(evaluation, name)

        def watched(*args: object, name: str = name, original: object = original) -> object:
            made.append(name.strip("_"))
            assert callable(original)
            return original(*args)

        monkeypatch.setattr(evaluation, name, watched)
    return made


@pytest.fixture(scope="module")
def scores(splits: dict[str, Rows]) -> ModelScores:
    return _score(splits)


@pytest.fixture(scope="module")
def reference(splits: dict[str, Rows]) -> ModelScores:
    return _score(splits, seed=1)


def test_every_metric_has_a_complete_measurement_on_whole_data(splits: dict[str, Rows]) -> None:
    scores, reference = (_score(splits, seed=seed, samples=2, samples_taken=2, gradient_norms=True) for seed in (0, 1))
    found = measure(scores, role="candidate", reference=reference, settings=SETTINGS, seed=0)
    assert {m.metric for m in found.measurements} == set(METRICS)
    assert found.model_digest == "0" * 64
    for m in found.measurements:
        if m.metric not in NOT_ALWAYS:
            assert m.complete, (m.metric, m.split)


def test_measuring_is_deterministic(splits: dict[str, Rows], scores: ModelScores, reference: ModelScores) -> None:
    again = _score(splits)
    one, other = (measure(s, role="candidate", reference=reference, settings=SETTINGS, seed=0) for s in (scores, again))
    assert one.content_digest() == other.content_digest()


def test_a_second_metric_costs_no_forward_pass(splits: dict[str, Rows], tmp_path: Path, passes: list[str]) -> None:
    store = ScoreStore(tmp_path)
    first = _score(splits, store=store)
    assert passes == ["score", "generate"]
    again = _score(splits, store=store)
    assert passes == ["score", "generate"]
    assert again.answers.table.equals(first.answers.table)
    assert again.generations.table.equals(first.generations.table)


def test_another_model_never_reads_them(splits: dict[str, Rows], tmp_path: Path, passes: list[str]) -> None:
    store = ScoreStore(tmp_path)
    first, second = _score(splits, store=store), _score(splits, seed=1, store=store)
    assert passes == ["score", "generate"] * 2
    assert not first.answers.table.equals(second.answers.table)


def test_other_rows_never_read_them(splits: dict[str, Rows], tmp_path: Path, passes: list[str]) -> None:
    store = ScoreStore(tmp_path)
    _score(splits, store=store)
    _score({**splits, "retain": splits["retain"][:2]}, store=store)
    assert passes == ["score", "generate"] * 2


def test_answer_length_concerns_generation_alone_and_batch_size_nothing(
    splits: dict[str, Rows], tmp_path: Path, passes: list[str]
) -> None:
    store = ScoreStore(tmp_path)
    _score(splits, store=store)
    _score(splits, store=store, max_new_tokens=5)
    _score(splits, store=store, batch_size=3)
    assert passes == ["score", "generate", "generate"]


def test_another_prompt_is_another_score(splits: dict[str, Rows], tmp_path: Path, passes: list[str]) -> None:
    for prompt in ("Q: {question}\nA:", "{question}"):
        score_model(
            _loaded(),
            Asked(splits, PromptFormat(prompt=prompt)),
            settings=SETTINGS,
            store=ScoreStore(tmp_path),
        )
    assert passes == ["score", "generate"] * 2


def test_a_corrupted_table_is_computed_anew(splits: dict[str, Rows], tmp_path: Path, passes: list[str]) -> None:
    store = ScoreStore(tmp_path)
    first = _score(splits, store=store)
    for path in tmp_path.glob("*.parquet"):
        path.write_bytes(path.read_bytes()[:-9])
    second = _score(splits, store=store)
    assert passes == ["score", "generate"] * 2
    assert second.answers.table.equals(first.answers.table)


def test_killed_between_the_passes_keeps_the_first(
    splits: dict[str, Rows], tmp_path: Path, passes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ScoreStore(tmp_path)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "_generate", killed)
        with pytest.raises(KeyboardInterrupt):
            _score(splits, store=store)
    _score(splits, store=store)
    assert passes == ["score", "generate"]


def test_models_scored_on_different_rows_are_not_compared(splits: dict[str, Rows], scores: ModelScores) -> None:
    other = _score({**splits, "holdout": splits["holdout"][:2]}, seed=1)
    with pytest.raises(BadInput, match="scored on different rows"):
        read_metrics(scores, reference=other, settings=SETTINGS, seed=0)


def test_no_rows_at_all_is_bad_input() -> None:
    with pytest.raises(BadInput, match="no rows in any of the splits forget"):
        _score({"forget": Rows.of([])})


def test_an_empty_split_is_measured_as_nothing(splits: dict[str, Rows]) -> None:
    scores = _score({"forget": splits["forget"], "holdout": Rows.of([])})
    found = measure(scores, role="start", reference=None, settings=SETTINGS, seed=0)
    empty = found.find("probability", "holdout")
    assert empty is not None
    assert (empty.value, empty.n_expected) == (None, 0)
    gap = found.find("min_k", "forget")
    assert gap is not None
    assert gap.value is None


def test_metrics_are_selected_by_name_in_the_registrys_order() -> None:
    assert [m.name for m in select_metrics(["rouge", "probability"])] == ["probability", "rouge"]
    assert len(select_metrics([])) == len(METRICS)
    with pytest.raises(BadInput, match="unknown metric 'speed'; known: probability, probability_gap"):
        select_metrics(["speed"])


def test_selected_metrics_have_the_same_values_as_among_all(scores: ModelScores, reference: ModelScores) -> None:
    whole = measure(scores, role="candidate", reference=reference, settings=SETTINGS, seed=0)
    some = SETTINGS.model_copy(update={"metrics": ("model_utility", "min_k")})
    for one in measure(scores, role="candidate", reference=reference, settings=some, seed=0).measurements:
        assert one == whole.find(one.metric, one.split)


def test_written_items_match_the_digests_in_the_record(
    scores: ModelScores, reference: ModelScores, tmp_path: Path
) -> None:
    taken = read_metrics(scores, reference=reference, settings=SETTINGS, seed=0)
    record = evaluation_of(taken, role="candidate", model_digest=scores.model_digest)
    path = tmp_path / "items.parquet"
    write_items(taken, path)
    assert path.stat().st_mode & 0o777 == 0o600
    frame = pq.read_table(path).to_pandas()
    for one in record.measurements:
        values = frame[(frame["metric"] == one.metric) & (frame["split"] == one.split)].sort_values("item")["value"]
        plain = [float(v) if np.isfinite(v) else None for v in values]
        assert digest(plain) == one.items_digest


def test_no_text_leaves(
    splits: dict[str, Rows], tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(0)
    scores = _score(splits, store=ScoreStore(tmp_path))
    taken = read_metrics(scores, reference=None, settings=SETTINGS, seed=0)
    write_items(taken, tmp_path / "items.parquet")
    record = json.dumps(evaluation_of(taken, role="start", model_digest=scores.model_digest).plain())
    output = capsys.readouterr()
    said = record + caplog.text + output.out + output.err + repr(scores)
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for word in CANARY.split():
        assert word not in said
        assert word.encode() not in files


def test_tokenizer_digest_ignores_padding_and_sees_everything_else() -> None:
    tokenizer = tiny_tokenizer()
    before = tokenizer_digest(tokenizer)
    tokenizer(["a", "bcd"], padding=True, truncation=True, max_length=2)
    tokenizer.padding_side = "left"
    assert tokenizer_digest(tokenizer) == before
    tokenizer.add_tokens(["<new>"])
    added = tokenizer_digest(tokenizer)
    tokenizer.chat_template = "{{ messages }}"
    assert len({before, added, tokenizer_digest(tokenizer)}) == 3


def _tofu(name: str, count: int) -> Iterator[Row]:
    with (TOFU / f"{name}.jsonl").open(encoding="utf-8") as lines:
        for _, line in zip(range(count), lines, strict=False):
            record = json.loads(line)
            texts = {key: value[:40] for key, value in record.items() if isinstance(value, str)}
            yield Row(**texts, perturbed_answer=tuple(text[:40] for text in record["perturbed_answer"]))


@pytest.mark.skipif(not TOFU.is_dir(), reason="the TOFU rows are not beside the repository")
def test_tofus_own_rows_are_measured_whole() -> None:
    splits = {
        "forget": Rows.of(_tofu("forget01_perturbed", 3)),
        "retain": Rows.of(_tofu("retain_perturbed", 3)),
        "holdout": Rows.of(_tofu("forget05_perturbed", 3)),
        "real_authors": Rows.of(_tofu("real_authors_perturbed", 3)),
        "world_facts": Rows.of(_tofu("world_facts_perturbed", 3)),
    }
    scores = _score(splits, samples=2, gradient_norms=True)
    found = measure(scores, role="reference", reference=scores, settings=SETTINGS, seed=0)
    assert all(m.complete for m in found.measurements if m.metric not in NOT_ALWAYS)
    utility, quality = found.find("model_utility", "utility"), found.find("forget_quality", "forget")
    assert utility is not None
    assert quality is not None
    assert utility.n_expected == 27
    assert quality.value == 1.0
