"""Logit lens: what every layer's states would answer if the start model's output layer read them there and then.

``logit_lens`` is the layer that gives most away, row by row; ``logit_lens_layer_<l>`` are the layers. Knowledge that a
changed last layer keeps from being said is still read one layer earlier. Values are probabilities per answer token.
"""

import numpy as np

from pipelines.probes.base import Probe, Series, Subject
from pipelines.probes.layers import decoder_layers, transplanted
from pipelines.scoring.table import FORGET


def run(subject: Subject) -> tuple[Series, ...]:
    """The best layer and each layer."""
    n_layers = len(decoder_layers(subject.start.model))
    into = dict.fromkeys(range(n_layers), n_layers - 1)
    said = transplanted(subject.loaded, subject.start, subject.bare_items(), into=into, batch_size=subject.batch_size)
    layers = [np.exp(said[layer]) for layer in range(n_layers)]
    points = [Series(f"logit_lens_layer_{layer + 1}", FORGET, value_R) for layer, value_R in enumerate(layers)]
    return (Series("logit_lens", FORGET, np.max(layers, axis=0)), *points)


PROBE = Probe(
    name="logit_lens",
    title="Logit lens through the start model's output layer",
    version="1",
    source="nostalgebraist 2020, interpreting GPT: the logit lens; for unlearning: Patil et al. 2023, arXiv 2309.17410",
    cost="1 forward pass, and 1 of the start model per layer",
    run=run,
)
