"""What every loss must do, whatever it reads: count answer tokens only, row by row, and move only what is its own."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from pipelines.methods import METHODS
from pipelines.methods.base import ForgetBatch, Method
from tests.pipelines.methods.made import disturbed, leaves, made_batch, row_of

LOSSES = {name: method for name, method in METHODS.items() if isinstance(method, Method)}
EVERY_LOSS = pytest.mark.parametrize("method", LOSSES.values(), ids=LOSSES.keys())


@EVERY_LOSS
def test_what_stands_outside_the_answers_counts_for_nothing(method: Method[Any]) -> None:
    """Other logits, states and labels there: the same loss, and no gradient there."""
    batch = made_batch(method)
    other = ForgetBatch(
        rows=disturbed(batch.rows, by=3.0),
        companions={name: disturbed(read, by=3.0) for name, read in batch.companions.items()},
    )
    loss_B = method.forget_loss(other, method.params())
    torch.testing.assert_close(loss_B, method.forget_loss(batch, method.params()))
    assert loss_B.shape == (2,)
    loss_B.sum().backward()
    for leaf in leaves(other):
        assert leaf.grad is None or not leaf.grad[~batch.stats.mask_BA].any()


@EVERY_LOSS
def test_a_row_has_the_loss_it_has_alone(method: Method[Any]) -> None:
    batch = made_batch(method)
    together_B = method.forget_loss(batch, method.params())
    for b in range(2):
        alone = ForgetBatch(
            rows=row_of(batch.rows, b), companions={name: row_of(read, b) for name, read in batch.companions.items()}
        )
        torch.testing.assert_close(method.forget_loss(alone, method.params()), together_B[b : b + 1])


@EVERY_LOSS
def test_a_loss_is_finite_and_has_a_gradient(method: Method[Any]) -> None:
    batch = made_batch(method)
    loss_B = method.forget_loss(batch, method.params())
    loss_B.sum().backward()
    assert bool(loss_B.isfinite().all())
    grads = [leaf.grad for leaf in leaves(batch) if leaf.grad is not None]
    assert any(bool(grad.any()) for grad in grads)
    assert all(bool(grad.isfinite().all()) for grad in grads)


@EVERY_LOSS
def test_a_loss_reads_only_what_it_needs(method: Method[Any]) -> None:
    """Only what ``needs`` names is read: with the rest taken away the loss is the same."""
    batch = made_batch(method)
    asked = {
        "reference_nll": "reference_nll_B",
        "reference_logits": "reference_logits_BAV",
        "hidden_states": "hidden_BAD",
        "reference_hidden_states": "reference_hidden_BAD",
    }
    dropped: dict[str, Any] = {field: None for need, field in asked.items() if need not in method.needs}
    bare = ForgetBatch(
        rows=replace(batch.rows, **dropped),
        companions={name: replace(read, **dropped) for name, read in batch.companions.items()},
    )
    torch.testing.assert_close(
        method.forget_loss(bare, method.params()), method.forget_loss(batch, method.params()), rtol=0, atol=0
    )
