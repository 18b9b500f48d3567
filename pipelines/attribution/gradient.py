"""The gradient leg: cosine between the gradients of a training row's and a query's answer on the linear layers.

What is compared is the gradient of the training loss (answer and end-of-sequence token) with respect to the weights of
every linear layer but the output layer, each projected on both sides by a seeded random matrix, joined and normalised
(TracIn, arXiv 2002.08484, eq. 3, with the unit norm and the two-sided projection of TrackStar, arXiv 2410.17413,
section 3, without its preconditioner). It says what a step on the row would do to the query at this model's weights;
whether that is what training did is measured by :mod:`pipelines.attribution.validity`.

Cost: one forward pass and the activations' half of a backward pass per row, plus B T (in + out) p multiplications per
layer; no weight's gradient is formed per row. Memory: Q + B vectors of at most p x p numbers per layer; training rows
are scored batch by batch and not kept, because a gradient is nearly as good as the text (arXiv 2405.15586). Shapes: B
rows, T tokens, I and O a layer's inputs and outputs, P projected, D all layers joined, Q queries, N training rows.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from pipelines.attribution.contract import Attributor, Scores, Subject
from pipelines.data.encode import IGNORED, Batch, Encoded, collate, encode, length_batches
from pipelines.data.rows import Row, Rows
from pipelines.errors import BadInput

PROJECTION = 32
"""Rows and columns that a layer's gradient is projected to; a side that is no longer than this is kept as it is."""

BATCH = 16


def gradient_scores(
    train: Rows, queries: Rows, *, subject: Subject, seed: int, projection: int | None = PROJECTION
) -> Scores:
    """Cosine of projected answer-loss gradients of every query with every training row.

    Args:
        train: rows that the model was trained on.
        queries: rows asked about.
        subject: the model and how it is asked.
        seed: of the projection matrices.
        projection: length of each projected side; None compares the gradients themselves.

    Returns:
        Matrix Q x N, in [-1, 1].

    Raises:
        BadInput: a row does not fit into the model's context.
    """
    sketch = Sketch(subject.model, seed=seed, size=projection)
    trained, asked = encoded(train, subject, name="training data"), encoded(queries, subject, name="queries")
    queries_QD, scores_QN = torch.zeros(len(asked), sketch.width), torch.zeros(len(asked), len(trained))
    with _captured(subject.model, sketch):
        for batch, found_BD in _sketched(asked, subject, sketch):
            queries_QD[batch] = found_BD
        for batch, found_BD in _sketched(trained, subject, sketch):
            scores_QN[:, batch] = queries_QD @ found_BD.T
    return scores_QN.numpy().astype(np.float64)


@dataclass(slots=True, repr=False)
class _Seen:
    """One call of one layer: what went in, what came out, and where its numbers stand in the sketch."""

    start: int
    stop: int
    left_OP: torch.Tensor | None
    right_IP: torch.Tensor | None
    input_BTI: torch.Tensor
    output_BTO: torch.Tensor


class Sketch:
    """Random projections of every linear layer's gradient, and what the layers saw in the running pass."""

    def __init__(self, model: PreTrainedModel, *, seed: int, size: int | None) -> None:
        self.layers = linear_layers(model)
        self.seen: list[_Seen] = []
        self._places: dict[str, tuple[int, int, torch.Tensor | None, torch.Tensor | None]] = {}
        self.width = 0
        generator = torch.Generator().manual_seed(seed)
        for name, layer in self.layers.items():
            n_in, n_out = _sides(layer)
            left_OP, right_IP = _projection(n_out, size, generator), _projection(n_in, size, generator)
            rows, columns = (
                n if matrix is None else matrix.shape[1] for n, matrix in ((n_out, left_OP), (n_in, right_IP))
            )
            self._places[name] = (self.width, self.width + rows * columns, left_OP, right_IP)
            self.width += rows * columns

    def hook(self, name: str) -> Callable[[nn.Module, tuple[torch.Tensor, ...], torch.Tensor], None]:
        """A forward hook that notes what the layer saw."""
        start, stop, left_OP, right_IP = self._places[name]

        def note(_layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            self.seen.append(_Seen(start, stop, left_OP, right_IP, inputs[0].detach(), output))

        return note

    def gradients_BD(self, loss: torch.Tensor) -> torch.Tensor:
        """Unit-length sketches of the rows whose losses sum to ``loss``: per layer, sum_t (P_O g_t)(P_I x_t)^T."""
        grads = torch.autograd.grad(loss, [seen.output_BTO for seen in self.seen])
        sketch_BD = torch.zeros(len(self.seen[0].input_BTI), self.width, device=loss.device)
        for seen, grad_BTO in zip(self.seen, grads, strict=True):
            left, right = _onto(grad_BTO, seen.left_OP), _onto(seen.input_BTI, seen.right_IP)
            sketch_BD[:, seen.start : seen.stop] += torch.einsum("bto,bti->boi", left, right).flatten(1)
        self.seen.clear()
        return nn.functional.normalize(sketch_BD, dim=1)


def linear_layers(model: PreTrainedModel) -> dict[str, nn.Module]:
    """The layers whose weights are compared: all linear ones (GPT-2's kind included) but the output layer.

    The output layer is left out because it is often the embedding itself, and says mostly which words occur, which the
    lexical leg knows.
    """
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    return {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear | Conv1D) and m is not head}


def answer_loss(model: PreTrainedModel, batch: Batch) -> torch.Tensor:
    """Sum over rows of the summed negative log-likelihood of the learnt tokens, in nats."""
    logits_BTV = model(input_ids=batch.input_ids_BT, attention_mask=batch.attention_mask_BT, use_cache=False).logits
    flat_NV, targets_N = logits_BTV[:, :-1].flatten(0, 1).float(), batch.labels_BT[:, 1:].flatten()
    return nn.functional.cross_entropy(flat_NV, targets_N, ignore_index=IGNORED, reduction="sum")


def encoded(rows: Iterable[Row], subject: Subject, *, name: str) -> list[Encoded]:
    """The rows as the subject reads them; ``name`` begins the message of the BadInput for a row that does not fit."""
    form, limit = subject.prompt_format, subject.max_length
    try:
        return [
            encode(subject.tokenizer, row.question, row.answer, prompt_format=form, max_length=limit, row=i)
            for i, row in enumerate(rows)
        ]
    except BadInput as error:
        problem = str(error)
    raise BadInput(f"{name}: {problem}")


def batch_of(items: Sequence[Encoded], indices: Sequence[int], *, device: torch.device) -> Batch:
    """Tensors of some rows on a device; padding is masked, so its value does not matter."""
    batch = collate([items[i] for i in indices], pad_id=0)
    return Batch(batch.input_ids_BT.to(device), batch.attention_mask_BT.to(device), batch.labels_BT.to(device))


def _sketched(items: Sequence[Encoded], subject: Subject, sketch: Sketch) -> Iterator[tuple[list[int], torch.Tensor]]:
    for indices in length_batches(items, batch_size=BATCH):
        loss = answer_loss(subject.model, batch_of(items, indices, device=subject.model.device))
        yield indices, sketch.gradients_BD(loss).cpu()


@contextmanager
def _captured(model: PreTrainedModel, sketch: Sketch) -> Iterator[None]:
    """Layers are listened to, dropout is off, and frozen weights do not cut the graph; all of it undone at the end."""
    was_training = model.training
    hooks = [layer.register_forward_hook(sketch.hook(name)) for name, layer in sketch.layers.items()]
    hooks.append(model.get_input_embeddings().register_forward_hook(lambda _m, _i, output: output.requires_grad_()))
    model.eval()  # type: ignore[no-untyped-call]
    try:
        with torch.enable_grad():
            yield
    finally:
        for hook in hooks:
            hook.remove()
        model.train(was_training)


def _sides(layer: nn.Module) -> tuple[int, int]:
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    n_in, n_out = layer.get_parameter("weight").shape  # GPT-2's Conv1D holds the transpose
    return n_in, n_out


def _projection(n: int, size: int | None, generator: torch.Generator) -> torch.Tensor | None:
    if size is None or n <= size:
        return None
    scale: float = size**0.5
    return torch.randn(n, size, generator=generator) / scale


def _onto(values: torch.Tensor, matrix: torch.Tensor | None) -> torch.Tensor:
    values = values.float()
    return values if matrix is None else values @ matrix.to(values.device)


def _score(train: Rows, queries: Rows, subject: Subject, seed: int) -> Scores:
    return gradient_scores(train, queries, subject=subject, seed=seed)


ATTRIBUTOR = Attributor(
    name="gradient",
    title="gradient cosine",
    version="1",
    source="TracIn arXiv 2002.08484 eq. 3; TrackStar arXiv 2410.17413 section 3 (unit norm, two-sided projection)",
    causal=True,
    score=_score,
)
