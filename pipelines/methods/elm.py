"""Erasure of language memory: answers move to what the start model itself takes a novice's to be, and stay fluent.

The target is the start model's own distribution, moved away from an expert's text and towards a novice's; a retain term
holds other rows (KL), and answers sampled from the target keep the model fluent where it forgets. How much a model
makes of the words "expert" and "novice" decides how much is forgotten: one that does not follow instructions gets a
target that is little more than noise. The authors train low-rank adapters on early layers; all weights work, too.

Shapes: B rows, A answer positions, N answer tokens of the longest row, V vocabulary.
"""

import torch
from pydantic import Field

from pipelines.data.encode import Encoded
from pipelines.methods.base import (
    Companions,
    CompanionSource,
    ForgetBatch,
    Method,
    MethodParams,
    RetainTerm,
    brought,
    token_mean,
)
from pipelines.training.readings import Readings
from pipelines.unlearning.introspection import Preface, asked_as, lessened, lessened_answers, packed

NOVICE, EXPERT, FLUENT = "novice", "expert", "fluent"


class ELMParams(MethodParams):
    """Parameters of ELM."""

    retain_term: RetainTerm = Field(
        default="kl", title="Retain term", description="kl is the method: other rows keep the start model's words."
    )
    eta: float = Field(
        default=10.0,
        gt=0,
        le=10_000,
        title="Eta",
        description="How far the target lies from the start model; the authors use 500 with models of 7B and more.",
    )
    fluency: float = Field(
        default=1.0, ge=0, le=1000, title="Fluency", description="Weight of the NLL of answers sampled from the target."
    )
    expert: str = Field(
        default="The answer of an expert who knows everything about this.",
        min_length=1,
        max_length=1000,
        title="Expert",
        description="Said before the question, to get what is to go.",
    )
    novice: str = Field(
        default="The answer of a novice who knows nothing about this.",
        min_length=1,
        max_length=1000,
        title="Novice",
        description="Said before the question, to get what is to come instead.",
    )


def novices(source: CompanionSource, params: ELMParams) -> list[Encoded]:
    """The forget rows as a novice's."""
    return asked_as(source, params.novice)


def experts(source: CompanionSource, params: ELMParams) -> list[Encoded]:
    """The forget rows as an expert's."""
    return asked_as(source, params.expert)


def fluent(source: CompanionSource, params: ELMParams) -> list[Encoded]:
    """The forget questions with answers of the target's."""
    return lessened_answers(source, Preface(expert=params.expert, novice=params.novice), eta=params.eta)


def forget_loss(batch: ForgetBatch, params: ELMParams) -> torch.Tensor:
    """Cross entropy to the target, mean over answer tokens, + fluency NLL(sampled answer): loss_B.

    arXiv 2410.02760, the erasing and fluency objectives. Companions have the answer at other positions than the
    row, after longer prompts: token n is compared with token n.
    """
    n_B = batch.stats.n_tokens_B
    n = int(n_B.max())
    own, novice, expert = (
        _start_logits(readings, n) for readings in (batch.rows, batch.companions[NOVICE], batch.companions[EXPERT])
    )
    target_BNV = lessened(own, novice, expert, eta=params.eta).exp()
    now_BNV = packed(brought(batch.rows.logits_BAV, name="logits"), batch.stats.mask_BA, n=n).log_softmax(-1)
    entropy_BN = -(target_BNV * now_BNV).sum(-1)
    erased_B = token_mean(entropy_BN, torch.arange(n, device=n_B.device) < n_B.unsqueeze(1))
    return erased_B + params.fluency * batch.companions[FLUENT].stats.nll_mean_B


def _start_logits(readings: Readings, n: int) -> torch.Tensor:
    return packed(brought(readings.reference_logits_BAV, name="reference_logits"), readings.stats.mask_BA, n=n)


METHOD = Method(
    name="elm",
    title="Erasure of language memory",
    version="1",
    source="Gandikota et al. 2024, arXiv 2410.02760, erasing, retention and fluency objectives",
    params=ELMParams,
    needs=frozenset({"reference_logits", "retain"}),
    forget_loss=forget_loss,
    companions=(Companions(NOVICE, novices), Companions(EXPERT, experts), Companions(FLUENT, fluent)),
)
