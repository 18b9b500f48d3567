"""The gradient leg: cosine between the gradients of a training row's and a query's answer on the linear layers.

What is compared is the gradient of the training loss (answer and end-of-sequence token) with respect to the weights
of every linear layer but the output layer, each projected on both sides by a seeded random matrix, preconditioned
per layer by R^(-1/2), where R is the second moment of training rows and queries together, joined and normalised
(TrackStar, arXiv 2410.17413, section 3, without its optimiser correction). R takes out what all rows share, the
wording of a template above all: on a lightly fine-tuned test model the mean reciprocal rank of the source of a
paraphrase rose from 0.34 to 0.89. It says what a step on the row would do to the query at this model's weights;
whether that is what training did is measured by :mod:`pipelines.attribution.validity`.

Cost: one forward pass and the activations' half of a backward pass per row, B T (in + out) p multiplications and
one eigendecomposition of p^2 x p^2 per layer; no weight's gradient is formed per row. Memory: p^2 numbers per row
and layer (28 kB for 28 layers). Nothing is kept: a gradient is nearly as good as the text (arXiv 2405.15586).
Shapes: B rows, T tokens, I and O a layer's inputs and outputs, P projected, D all layers joined, K one layer's part
of D, Q queries, N training rows.
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

PROJECTION = 16
"""Rows and columns that a layer's gradient is projected to; a side that is no longer than this is kept as it is."""

DAMPING = 0.1
"""Added to R as this multiple of its mean eigenvalue; the answer hardly changes between 0.01 and 1."""

BATCH = 16


def gradient_scores(
    train: Rows,
    queries: Rows,
    *,
    subject: Subject,
    seed: int,
    projection: int | None = PROJECTION,
    damping: float | None = DAMPING,
) -> Scores:
    """Cosine of projected, preconditioned answer-loss gradients of every query with every training row.

    Args:
        train: rows that the model was trained on.
        queries: rows asked about; part of the preconditioner, so a query's scores depend on the others a little.
        subject: the model and how it is asked.
        seed: of the projection matrices.
        projection: length of each projected side; None projects nothing.
        damping: of the preconditioner; None leaves it out.

    Returns:
        Matrix Q x N, in [-1, 1].

    Raises:
        BadInput: a row does not fit into the model's context.
    """
    trained, asked = encoded(train, subject, name="training data"), encoded(queries, subject, name="queries")
    sketch = Sketch(subject.model, seed=seed, size=projection)
    with _captured(subject.model, sketch):
        train_ND, queries_QD = _sketched(trained, subject, sketch), _sketched(asked, subject, sketch)
    if damping is not None:
        precondition(train_ND, queries_QD, sketch.parts, damping=damping)
    scores_QN = nn.functional.normalize(queries_QD, dim=1) @ nn.functional.normalize(train_ND, dim=1).T
    return scores_QN.numpy().astype(np.float64)


def precondition(train_ND: torch.Tensor, queries_QD: torch.Tensor, parts: Sequence[slice], *, damping: float) -> None:
    """Multiply each layer's part by (R + damping * mean eigenvalue of R)^(-1/2), R its second moment; in place."""
    for part in parts:
        both_K = torch.cat([train_ND[:, part], queries_QD[:, part]])
        values_K, vectors_KK = torch.linalg.eigh(both_K.T @ both_K / len(both_K))
        floor = damping * values_K.mean() + torch.finfo(values_K.dtype).tiny
        root_KK = vectors_KK * (values_K.clamp(min=0) + floor).rsqrt() @ vectors_KK.T
        train_ND[:, part] = train_ND[:, part] @ root_KK
        queries_QD[:, part] = queries_QD[:, part] @ root_KK


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

    @property
    def parts(self) -> list[slice]:
        """Where each layer's numbers stand."""
        return [slice(start, stop) for start, stop, _, _ in self._places.values()]

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
    head = model.get_output_embeddings()
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


def _sketched(items: Sequence[Encoded], subject: Subject, sketch: Sketch) -> torch.Tensor:
    found_ND = torch.zeros(len(items), sketch.width)
    for indices in length_batches(items, batch_size=BATCH):
        loss = answer_loss(subject.model, batch_of(items, indices, device=subject.model.device))
        found_ND[indices] = sketch.gradients_BD(loss).cpu()
    return found_ND


@contextmanager
def _captured(model: PreTrainedModel, sketch: Sketch) -> Iterator[None]:
    """Layers are listened to, dropout is off, and frozen weights do not cut the graph; all of it undone at the end."""
    was_training = model.training
    hooks = [layer.register_forward_hook(sketch.hook(name)) for name, layer in sketch.layers.items()]
    hooks.append(model.get_input_embeddings().register_forward_hook(lambda _m, _i, output: output.requires_grad_()))
    model.eval()
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
    source="TrackStar arXiv 2410.17413 section 3, without its optimiser correction",
    causal=True,
    score=_score,
)
