"""Depth: in how many layers is the knowledge gone, and not only at the end, where answers are read?

The subject's hidden states at the answer replace the start model's, one layer at a time; the rest of the start model
then says how much of the answer they still hold. ``depth_layer_<l>`` is what that costs the answer, in nats per token:
0 where the subject's states say what the start model's do. ``depth`` holds it against what the reference's states cost
(a model that never saw the rows): the share of it that the subject reaches, layer by layer and never more than 1, each
layer weighing as much as the reference loses there. 1: gone as deeply as from the reference; 0: all still there. It
does not look at over-forgetting, which membership and probability show.

Needs a subject and a reference with the start model's shapes and tokens. Where the reference loses nothing, the start
model knew nothing that could be found in its states, and depth has no value.

Shapes: L layers, R rows, S resamples.
"""

from collections.abc import Sequence

import numpy as np

from pipelines.evaluation.statistics import Bootstrap
from pipelines.metrics.base import Reading, unmeasured
from pipelines.probes.base import Found, Probe, Series, Subject, means_and_gaps
from pipelines.probes.layers import answer_logprob, decoder_layers, transplanted
from pipelines.scoring.table import FORGET, Floats

LAYER = "depth_layer_"
LEAST_LOSS = 0.05
"""Nats per token that the reference must lose, as a mean over layers, for the start model to have known the rows."""


def run(subject: Subject) -> tuple[Series, ...]:
    """One series per layer, from 1."""
    items = subject.bare_items()
    n_layers = len(decoder_layers(subject.start.model))
    own_R = answer_logprob(subject.start, items, batch_size=subject.batch_size)
    places = {layer: layer for layer in range(n_layers)}
    left = transplanted(subject.loaded, subject.start, items, into=places, batch_size=subject.batch_size)
    return tuple(Series(f"{LAYER}{layer + 1}", FORGET, own_R - said_R) for layer, said_R in left.items())


def read(ours: Sequence[Series], theirs: Sequence[Series] | None, bootstrap: Bootstrap) -> tuple[Found, ...]:
    """The layers' own means and gaps, and the depth that they add up to."""
    return (Found("depth", _depth(ours, theirs, bootstrap)), *means_and_gaps(ours, theirs, bootstrap))


def _depth(ours: Sequence[Series], theirs: Sequence[Series] | None, bootstrap: Bootstrap) -> Reading:
    loss_LR = np.stack([series.value_R for series in ours])
    items = loss_LR.mean(axis=0)
    if theirs is None or [series.measure for series in theirs] != [series.measure for series in ours]:
        return unmeasured(FORGET, np.full(len(items), np.nan))
    reference_LR = np.stack([series.value_R for series in theirs])
    both_R = np.isfinite(loss_LR).all(axis=0) & np.isfinite(reference_LR).all(axis=0)
    items = np.where(both_R, items, np.nan)
    if not both_R.any() or reference_LR[:, both_R].mean() < LEAST_LOSS:
        return unmeasured(FORGET, items)
    count_SR = bootstrap.counts(FORGET, int(both_R.sum())) / both_R.sum()
    draw_S = _share(loss_LR[:, both_R] @ count_SR.T, reference_LR[:, both_R] @ count_SR.T)
    value = _share(loss_LR[:, both_R].mean(axis=1, keepdims=True), reference_LR[:, both_R].mean(axis=1, keepdims=True))
    return Reading(
        split=FORGET,
        value=float(value[0]),
        interval=bootstrap.interval(draw_S),
        n_expected=len(items),
        items=items,
    )


def _share(loss_LS: Floats, reference_LS: Floats) -> Floats:
    """Sum over layers of min(ours, theirs) over the sum of theirs; a layer where the reference gains weighs nothing."""
    weight_LS = np.maximum(reference_LS, 0.0)
    reached_LS = np.clip(loss_LS, 0.0, weight_LS)
    share_S: Floats = reached_LS.sum(axis=0) / np.maximum(weight_LS.sum(axis=0), np.finfo(np.float64).tiny)
    return share_S


PROBE = Probe(
    name="depth",
    title="Depth of forgetting, by activation patching",
    version="1",
    source="Unlearning Depth Score, arXiv 2605.24614 (states of the answer, weighted by the reference's loss)",
    cost="1 forward pass, and 1 of the start model per layer",
    run=run,
    read=read,
)
