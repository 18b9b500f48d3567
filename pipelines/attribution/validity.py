"""Does a causal leg mean anything on this model? Measured on training rows, for each model anew.

A leg's first-order claim ("a step on these rows raises the query") is true of any model by construction, an untrained
one too. So two things must hold. Trace: the model knows its training rows better than the null rows; otherwise nothing
taught it anything. Tail patch across wordings (after TrackStar, arXiv 2410.17413, section 4.3): the rows found for a
training row's *paraphrase* are stepped on, and the row in its *own* wording must gain more likelihood than from as many
random rows. On a model trained to saturation on the rows themselves, and on one that was never trained, that gain is
not there. Weights are put back bit for bit. Memory: one copy of the linear layers' weights and one gradient. Without
rows the model never saw (a scrambled null), trace says only that the model was trained.
"""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import binomtest, mannwhitneyu

from pipelines.attribution.contract import Scores, Subject
from pipelines.attribution.gradient import answer_loss, batch_of, encoded, linear_layers
from pipelines.attribution.report import Effect, Validity
from pipelines.data.encode import IGNORED
from pipelines.data.rows import Row, Rows

CHECKS = 40
"""Training rows checked per model: a sign test at 1 % over 40 needs 28."""

CHANCE = 3
"""Draws of random rows per check, averaged: one draw is mostly noise."""

PATCH_ROWS = 4
STEP = 1e-3
"""Length of the step over the length of the stepped weights: large against rounding, small against the model."""

BOOTSTRAP = 1000

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Check:
    """One training row, and the other wording in which it is asked about."""

    index: int
    row: Row
    reworded: Row
    paraphrased: bool


def choose_checks(train: Rows, queries: Sequence[Row], *, seed: int) -> list[Check]:
    """Training rows to check on: rows with paraphrases first, the queries' own rows before others."""
    draw = random.Random(seed)
    place = {digest: i for i, digest in reversed(list(enumerate(train.digests)))}
    asked = [(place[row.digest], row) for row in queries if row.digest in place]
    others = [(i, train[i]) for i in draw.sample(range(len(train)), min(4 * CHECKS, len(train)))]
    found: dict[int, Check] = {}
    for index, row in asked + others:
        found.setdefault(index, _check(index, row))
    ordered = sorted(found.values(), key=lambda check: not check.paraphrased)
    return ordered[:CHECKS]


def _check(index: int, row: Row) -> Check:
    question, answer = row.paraphrased_question or row.question, row.paraphrased_answer or row.answer
    reworded = Row(question=question, answer=answer)
    if reworded.digest != row.digest:
        return Check(index=index, row=row, reworded=reworded, paraphrased=True)
    if row.question:
        return Check(index, row, Row(question="", answer=f"{row.question} {row.answer}"), paraphrased=False)
    words = row.answer.split()
    return Check(index, row, Row(question="", answer=" ".join(words[len(words) // 2 :])), paraphrased=False)


def measure_validity(
    train: Rows, checks: Sequence[Check], scores: Scores, *, null: Sequence[Row], subject: Subject, seed: int
) -> Validity:
    """Trace and tail patch of one leg on one model.

    Args:
        train: training rows.
        checks: rows from :func:`choose_checks`.
        scores: the leg's scores of their other wordings, one line per check.
        null: rows of the null control.
        subject: the model.
        seed: of random rows and of the bootstrap.
    """
    draw = np.random.default_rng(seed)
    own = answer_nll([check.row for check in checks], subject)
    never = answer_nll(null, subject)
    gains = np.array([_gain(train, check, line, subject, draw) for check, line in zip(checks, scores, strict=True)])
    return Validity(
        trace=contrast(never, own, draw),
        tail_patch=effect(gains, draw),
        paraphrased=sum(check.paraphrased for check in checks),
    )


def _gain(
    train: Rows, check: Check, scores: npt.NDArray[np.float64], subject: Subject, draw: np.random.Generator
) -> float:
    """How much more the found rows help the row in its own wording than random rows do, in nats per token."""
    found = np.argsort(-scores, kind="stable")[:PATCH_ROWS]
    others = np.setdiff1d(np.arange(len(train)), [check.index, *found])
    if not len(others):
        return 0.0  # too few rows to tell: counts as no gain
    chance = [draw.choice(others, size=min(PATCH_ROWS, len(others)), replace=False) for _ in range(CHANCE)]
    after = []
    for indices in (found, *chance):
        with stepped([train[int(i)] for i in indices], subject):
            after.append(float(answer_nll([check.row], subject)[0]))
    return sum(after[1:]) / CHANCE - after[0]


def answer_nll(rows: Sequence[Row], subject: Subject) -> Floats:
    """Mean negative log-likelihood of each row's learnt tokens, in nats; one row per pass, so none touches another."""
    items, device = encoded(rows, subject, name="rows checked"), subject.model.device
    values = []
    with torch.no_grad():
        for i in range(len(items)):
            batch = batch_of(items, [i], device=device)
            values.append(float(answer_loss(subject.model, batch)) / int((batch.labels_BT != IGNORED).sum()))
    return np.array(values)


@contextmanager
def stepped(rows: Sequence[Row], subject: Subject) -> Iterator[None]:
    """One gradient step of length ``STEP`` on these rows inside the block; the very same weights after it."""
    weights = [layer.get_parameter("weight") for layer in linear_layers(subject.model).values()]
    wanted = [weight.requires_grad for weight in weights]
    items = encoded(rows, subject, name="rows stepped on")
    for weight in weights:
        weight.requires_grad_(True)
    with torch.enable_grad():
        loss = answer_loss(subject.model, batch_of(items, range(len(items)), device=subject.model.device))
        grads = torch.autograd.grad(loss, weights)
    kept = [weight.detach().clone() for weight in weights]
    scale = STEP * _norm(kept) / max(_norm(grads), torch.finfo(torch.float32).tiny)
    try:
        with torch.no_grad():
            for weight, grad in zip(weights, grads, strict=True):
                weight.sub_(grad, alpha=scale)
        yield
    finally:
        with torch.no_grad():
            for weight, before, flag in zip(weights, kept, wanted, strict=True):
                weight.copy_(before)
                weight.requires_grad_(flag)


def _norm(tensors: Sequence[torch.Tensor]) -> float:
    return float(torch.stack([tensor.float().square().sum() for tensor in tensors]).sum().sqrt())


def effect(values: Floats, draw: np.random.Generator) -> Effect:
    """Mean of paired differences, with a one-sided sign test."""
    samples = draw.choice(values, size=(BOOTSTRAP, len(values))).mean(axis=1)
    decided = int((values != 0).sum())
    p_value = binomtest(int((values > 0).sum()), decided, alternative="greater").pvalue if decided else 1.0
    return _effect(float(values.mean()), samples, p_value=float(p_value), n=len(values))


def contrast(upper: Floats, lower: Floats, draw: np.random.Generator) -> Effect:
    """How far the mean of one sample lies above another's, both resampled, with a one-sided Mann-Whitney test."""
    samples = [draw.choice(values, size=(BOOTSTRAP, len(values))).mean(axis=1) for values in (upper, lower)]
    p_value = mannwhitneyu(upper, lower, alternative="greater").pvalue
    return _effect(float(upper.mean() - lower.mean()), samples[0] - samples[1], p_value=float(p_value), n=len(lower))


def _effect(mean: float, samples: Floats, *, p_value: float, n: int) -> Effect:
    low, high = np.quantile(samples, [0.025, 0.975])
    return Effect(mean=mean, low=float(low), high=float(high), p_value=p_value, n=n)
