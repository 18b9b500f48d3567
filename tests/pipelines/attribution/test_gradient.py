"""The hooked, batched gradients against autograd, one row at a time."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel

from pipelines.attribution.contract import Scores, Subject
from pipelines.attribution.gradient import (
    answer_loss,
    batch_of,
    encoded,
    gradient_scores,
    linear_layers,
    precondition,
)
from pipelines.config import PromptFormat
from pipelines.data.rows import Row, Rows
from pipelines.errors import BadInput
from tests.tiny import tiny_model, tiny_rows, tiny_tokenizer

TRAIN = Rows.of([*tiny_rows(5), Row(question="", answer="Short."), Row(question="Why?", answer="Because " * 8)])
QUERIES = Rows.of([*tiny_rows(2, first=7), Row(question="", answer="Plain text.")])


def _subject(model: PreTrainedModel | None = None, *, context: int = 256) -> Subject:
    return Subject(model or tiny_model(), tiny_tokenizer(), PromptFormat(), context)


def _exact(rows: Rows, subject: Subject) -> torch.Tensor:
    """The definition: each row's own backward pass, the weights' gradients joined."""
    items = encoded(rows, subject, name="rows")
    weights = [layer.get_parameter("weight") for layer in linear_layers(subject.model).values()]
    found = []
    for i in range(len(items)):
        loss = answer_loss(subject.model, batch_of(items, [i], device=subject.model.device))
        found.append(torch.cat([grad.flatten() for grad in torch.autograd.grad(loss, weights)]))
    return torch.nn.functional.normalize(torch.stack(found), dim=1)


def _oracle(subject: Subject) -> Scores:
    scores: Scores = (_exact(QUERIES, subject) @ _exact(TRAIN, subject).T).numpy().astype(np.float64)
    return scores


def _gpt2() -> GPT2LMHeadModel:
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=259, n_embd=32, n_layer=2, n_head=2, n_positions=256))
    model.eval()
    return model


@pytest.mark.parametrize("model", [tiny_model, _gpt2])
def test_unprojected_scores_are_the_cosines_of_exact_gradients(model: Callable[[], PreTrainedModel]) -> None:
    subject = _subject(model())
    scores = gradient_scores(TRAIN, QUERIES, subject=subject, seed=0, projection=None, damping=None)
    np.testing.assert_allclose(scores, _oracle(subject), atol=2e-5)


def test_projected_scores_come_close_to_the_exact_ones() -> None:
    """Two-sided projection to 16 x 16 keeps about 10 digits' worth of order on 21 pairs: correlation above 0.8."""
    subject = _subject()
    scores = gradient_scores(TRAIN, QUERIES, subject=subject, seed=0, damping=None)
    assert np.corrcoef(scores.ravel(), _oracle(subject).ravel())[0, 1] > 0.8


def test_preconditioning_is_the_inverse_root_of_the_damped_second_moment() -> None:
    """X^T X / n is whitened: with damping near 0 the second moment of all rows becomes the identity."""
    draw = torch.Generator().manual_seed(0)
    train, queries = torch.randn(30, 6, generator=draw), torch.randn(20, 6, generator=draw)
    train[:, 0] += 5  # what all rows share
    precondition(train, queries, [slice(0, 4), slice(4, 6)], damping=1e-9)
    both = torch.cat([train, queries])
    for part in (slice(0, 4), slice(4, 6)):
        second_moment = both[:, part].T @ both[:, part] / 50
        torch.testing.assert_close(second_moment, torch.eye(part.stop - part.start), atol=1e-4, rtol=0)


def test_a_row_is_its_own_nearest_row() -> None:
    scores = gradient_scores(TRAIN, TRAIN, subject=_subject(), seed=0)
    assert (scores.argmax(axis=1) == np.arange(len(TRAIN))).all()
    np.testing.assert_allclose(scores.diagonal(), 1.0, atol=1e-5)


def test_same_seed_same_bits_other_seed_other_projection() -> None:
    first, again, other = (gradient_scores(TRAIN, QUERIES, subject=_subject(), seed=seed) for seed in (0, 0, 1))
    assert (first == again).all()
    assert not np.allclose(first, other)


def test_padding_and_batching_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    together = gradient_scores(TRAIN, QUERIES, subject=_subject(), seed=0)
    monkeypatch.setattr("pipelines.attribution.gradient.BATCH", 1)
    np.testing.assert_allclose(gradient_scores(TRAIN, QUERIES, subject=_subject(), seed=0), together, atol=1e-4)


def test_frozen_weights_give_the_same_scores() -> None:
    frozen = tiny_model()
    frozen.requires_grad_(False)
    scores = gradient_scores(TRAIN, QUERIES, subject=_subject(frozen), seed=0)
    np.testing.assert_allclose(scores, gradient_scores(TRAIN, QUERIES, subject=_subject(), seed=0), atol=1e-6)
    assert not any(weight.requires_grad for weight in frozen.parameters())


def test_the_model_is_left_as_it_was_found() -> None:
    model = tiny_model().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    gradient_scores(TRAIN, QUERIES, subject=_subject(model), seed=0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())


def test_the_output_layer_is_left_out() -> None:
    names = linear_layers(tiny_model())
    assert "lm_head" not in names
    assert len(names) == 14, "two blocks of q, k, v, o, gate, up, down"


@pytest.mark.parametrize(("rows", "name"), [("train", "training data"), ("queries", "queries")])
def test_a_row_that_does_not_fit_is_named_by_set_and_position(rows: str, name: str) -> None:
    long = Rows.of([TRAIN[5], Row(question="", answer="Zanzibar " * 30)])
    given = {"train": Rows.of([TRAIN[5]]), "queries": Rows.of([TRAIN[5]])} | {rows: long}
    with pytest.raises(BadInput, match=f"^{name}: row 1: 27[0-9] tokens") as caught:
        gradient_scores(given["train"], given["queries"], subject=_subject(context=64), seed=0)
    assert "Zanzibar" not in str(caught.value)
