"""What a leg of attribution is: a function from training rows and query rows to one score per pair.

Promises that a leg keeps nothing: it is called once with all queries, real and null together, and returns numbers.
Shapes: Q queries, N training rows. Scores of different legs are not comparable; :mod:`pipelines.attribution.propose`
compares a leg with itself.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pipelines.config import PromptFormat
from pipelines.data.rows import Rows

Scores = npt.NDArray[np.float64]
"""Matrix Q x N, higher is closer."""


@dataclass(frozen=True, slots=True, repr=False)
class Subject:
    """The model whose training is asked about.

    Attributes:
        model: a causal language model; left as it was found.
        tokenizer: of the model.
        prompt_format: how a question is written for it.
        max_length: the model's context in tokens.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    prompt_format: PromptFormat
    max_length: int


@dataclass(frozen=True, slots=True)
class Attributor:
    """One leg of attribution.

    Attributes:
        name: in the registry and in reports.
        title: what it measures, in a few words.
        version: raised when its numbers change.
        source: paper and equation.
        causal: it claims what changed the weights, so its validity is measured per model before its proposals count.
        score: training rows, query rows, subject and seed to a score per pair.
    """

    name: str
    title: str
    version: str
    source: str
    causal: bool
    score: Callable[[Rows, Rows, Subject, int], Scores]
