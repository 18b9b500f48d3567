"""A sentence encoder made here: cosines by hand, whatever the batch; a folder that is none is refused in a line."""

import json
from pathlib import Path

import pytest
import torch

from pipelines.config import EvaluationSettings, PromptFormat
from pipelines.data.rows import Row, Rows
from pipelines.errors import BadInput
from pipelines.evaluation.evaluate import measure, score_model
from pipelines.models.loading import load_model
from pipelines.scoring.embedder import Embedder, load_embedder
from pipelines.scoring.questions import Asked
from pipelines.scoring.store import ScoreStore
from tests.tiny import save_tiny, save_tiny_encoder

CPU = torch.device("cpu")
PAIRS = [
    ("She was born in Oslo.", "Oslo is her birthplace, as everybody in the town will tell you at once."),
    ("She was born in Oslo.", "She was born in Oslo."),
    ("She was born in Oslo.", " "),
    ("Rain", "Snow"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_encoder(tmp_path_factory.mktemp("encoder") / "bert")


@pytest.fixture(scope="module")
def embedder(folder: Path) -> Embedder:
    return load_embedder(folder, device=CPU)


def _slow_cosine(embedder: Embedder, one: str, other: str) -> float:
    """One text at a time, so that there is no padding: mean of the hidden states, then the cosine."""
    means = []
    for text in (one, other):
        ids = torch.tensor([embedder.tokenizer(text)["input_ids"]])
        with torch.no_grad():
            means.append(embedder.model(input_ids=ids).last_hidden_state[0].mean(dim=0))
    return float(torch.nn.functional.cosine_similarity(means[0], means[1], dim=0))


def test_cosines_are_those_of_one_text_at_a_time(embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [_slow_cosine(embedder, *pair) for pair in PAIRS[:2]]
    found = embedder.similarities(PAIRS)
    assert found[:2] == pytest.approx(expected, abs=1e-6)
    assert found[1] == pytest.approx(1.0)
    assert found[0] < 0.999, "padding and another text make a difference"
    assert found[2] == 0.0, "an answer that says nothing matches nothing"
    monkeypatch.setattr("pipelines.scoring.embedder.BATCH", 1)
    assert embedder.similarities(PAIRS) == pytest.approx(found, abs=1e-6)
    assert embedder.similarities([]) == []


def test_a_text_that_does_not_fit_is_cut(embedder: Embedder) -> None:
    [found] = embedder.similarities([("word " * 200, "word " * 300)])
    assert found == pytest.approx(1.0)


def test_a_folder_that_is_no_encoder_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such model folder"):
        load_embedder(tmp_path / "nothing", device=CPU)
    incomplete = save_tiny_encoder(tmp_path / "incomplete")
    config = json.loads((incomplete / "config.json").read_text())
    (incomplete / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(BadInput, match=r"evaluation.embedder: .*weights absent: encoder.layer.2"):
        load_embedder(incomplete, device=CPU)


def test_an_evaluation_compares_meanings_with_the_encoder_it_names(folder: Path, tmp_path: Path) -> None:
    """Another encoder is another version and other values, and the store gives each its own."""
    loaded = load_model(save_tiny(tmp_path / "model"), device=CPU)
    splits = {"forget": Rows.of([Row("Who?", "Nobody at all."), Row("Where?", "In Oslo.")])}
    store, found = ScoreStore(tmp_path / "store"), []
    other = save_tiny_encoder(tmp_path / "other", seed=1)
    for path in (folder, other, folder, None):
        settings = EvaluationSettings(
            embedder=str(path) if path else None, metrics=("semantic_match",), max_new_tokens=8
        )
        scores = score_model(loaded, Asked(splits, PromptFormat()), settings=settings, store=store)
        evaluation = measure(scores, role="candidate", reference=None, settings=settings, seed=0)
        found.append(evaluation.measurements[0])
    digest = load_embedder(folder, device=CPU).digest
    assert found[0] == found[2] != found[1]
    assert found[0].version == f"1+{digest}"
    assert found[0].value is not None
    assert (found[3].value, found[3].version) == (None, "1")
