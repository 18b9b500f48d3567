"""What one forward pass says about each answer token, from logits of a few positions at a time.

Promises: no more logits exist at once than ``CHUNK_LOGITS``; statistics are float32 even where the model computes in
bf16; a token that is ruled out leaves them finite. What the vocabulary as a whole says (mean, variance, rank) is taken
where it is asked for, and has no meaning elsewhere: of wrong answers only the likelihood is read.

Shapes: P predicted tokens, U the nodes that predict them (what begins alike is one), X what the output layer is given
at a node, V vocabulary, S the statistics of one token.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import torch

from pipelines.scoring.output_layer import Logits

CHUNK_LOGITS = 2**22
CACHED_LOGITS = 2**17
FEWEST = 4
"""Of a chunk, so many logits are taken at a time on a CPU as stay in its cache while ten operations go over them, but
no fewer positions: each operation has to be worth its call."""

LOWEST_LOGIT = -1e4
"""Stands for minus infinity: a token that is ruled out has probability 0 all the same, and no statistic becomes 0 *
inf."""

STATISTICS = ("logprob", "hit", "vocab_mean", "vocab_variance", "rank")
"""Columns S of the statistics arrays: one line per answer position, float32."""

OWN = 2
"""So many of them, at the front, are the token's own."""

Chunk: TypeAlias = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""logits_UV of a few nodes, and node_P and target_P of the tokens that they predict, to statistics_PS."""


@dataclass(frozen=True, slots=True)
class Targets:
    """The predicted tokens of one forward pass.

    Attributes:
        node_P: which of the nodes predicts each.
        target_P: the tokens.
        whole_P: whether every statistic is asked for, or only those of the token itself.
    """

    node_P: torch.Tensor
    target_P: torch.Tensor
    whole_P: torch.Tensor


def statistics(
    source_UX: torch.Tensor, targets: Targets, logits_of: Logits, *, width: int | None = None
) -> torch.Tensor:
    """statistics_PS of all predicted tokens, a chunk of logits at a time.

    Args:
        source_UX: what ``logits_of`` is given at each node.
        targets: the predicted tokens.
        logits_of: gives logits that may be overwritten.
        width: V, where it is not that of ``source_UX``.
    """
    whole_U = targets.whole_P.new_zeros(len(source_UX))
    whole_U[targets.node_P[targets.whole_P]] = True
    found_PS = torch.full((len(targets.node_P), len(STATISTICS)), torch.nan, device=source_UX.device)
    for chosen_U, chunk in ((whole_U, _whole), (~whole_U, _own)):
        _fill(found_PS, source_UX, targets, logits_of, chosen_U=chosen_U, chunk=chunk, width=width)
    return found_PS


def _fill(
    found_PS: torch.Tensor,
    source_UX: torch.Tensor,
    targets: Targets,
    logits_of: Logits,
    *,
    chosen_U: torch.Tensor,
    chunk: Chunk,
    width: int | None,
) -> None:
    """The statistics of the tokens that the chosen nodes predict."""
    order_P = chosen_U[targets.node_P].nonzero()[:, 0]
    if not len(order_P):
        return
    node_P, order = (chosen_U.cumsum(0) - 1)[targets.node_P[order_P]].sort(stable=True)
    order_P = order_P[order]
    target_P, place_U = targets.target_P[order_P], chosen_U.nonzero()[:, 0]
    vocabulary = width or source_UX.shape[1]
    most = max(1, CHUNK_LOGITS // vocabulary)
    few = most if source_UX.is_cuda else min(most, max(FEWEST, CACHED_LOGITS // vocabulary))
    firsts = torch.arange(0, len(place_U) + few, few, device=node_P.device)
    bounds = iter(pairwise(torch.searchsorted(node_P, firsts).tolist()))
    node_P = node_P % few  # within its few
    for places in torch.split(place_U, most // few * few):
        for logits_UV in torch.split(logits_of(source_UX[places]), few):
            begin, end = next(bounds)
            found = chunk(logits_UV, node_P[begin:end], target_P[begin:end])
            found_PS[order_P[begin:end], : found.shape[1]] = found
        del logits_UV  # a view of the whole chunk: the next one would be made beside it


def _own(logits_UV: torch.Tensor, node_P: torch.Tensor, target_P: torch.Tensor) -> torch.Tensor:
    """Log-probability and hit of the tokens that a few nodes predict, as in :func:`_whole`."""
    z_UV = logits_UV.float()
    z_UV.sub_(z_UV.amax(dim=-1, keepdim=True))
    own_P = z_UV[node_P, target_P].clamp_(min=LOWEST_LOGIT)
    spare_UV = torch.empty_like(z_UV)
    hit_P = _hits(z_UV, own_P, node_P, target_P, spare_UV=spare_UV)
    return torch.stack([own_P - torch.exp(z_UV, out=spare_UV).sum(dim=-1).log_()[node_P], hit_P], dim=-1)


def _whole(logits_UV: torch.Tensor, node_P: torch.Tensor, target_P: torch.Tensor) -> torch.Tensor:
    """statistics_PS of the tokens that a few nodes predict.

    With z = logits - max and w = exp(z): log p = z - log sum w, so E[log p] = sum w z / sum w - log sum w, and
    Var[log p] = sum w (z - sum w z / sum w)^2 / sum w: the mean and variance of Min-K%++ (arXiv 2404.02936, eq. 3).
    """
    z_UV = logits_UV.float()
    z_UV.sub_(z_UV.amax(dim=-1, keepdim=True)).clamp_(min=LOWEST_LOGIT)
    own_P = z_UV[node_P, target_P]
    weight_UV = torch.empty_like(z_UV)
    hit_P = _hits(z_UV, own_P, node_P, target_P, spare_UV=weight_UV)
    rank_P = _ranks(z_UV, own_P, node_P)
    torch.exp(z_UV, out=weight_UV)
    total_U = weight_UV.sum(dim=-1)
    mean_U = torch.linalg.vecdot(weight_UV, z_UV) / total_U
    variance_U = torch.linalg.vecdot(weight_UV, z_UV.sub_(mean_U.unsqueeze(-1)).square_()) / total_U
    log_total_U = total_U.log()
    of_node_P3 = torch.stack([log_total_U, mean_U - log_total_U, variance_U], dim=-1)[node_P]
    return torch.stack([own_P - of_node_P3[:, 0], hit_P, of_node_P3[:, 1], of_node_P3[:, 2], rank_P], dim=-1)


def _hits(
    z_UV: torch.Tensor, own_P: torch.Tensor, node_P: torch.Tensor, target_P: torch.Tensor, *, spare_UV: torch.Tensor
) -> torch.Tensor:
    """Whether argmax is the target: hit_P, 1 or 0. At the top z is 0; of several tokens there argmax is one."""
    # counted in float32, which is exact up to 2^24 tokens and several times faster than in booleans
    tied_U = torch.eq(z_UV, 0, out=spare_UV).sum(dim=-1) > 1
    top_P = own_P == 0
    hit_P = top_P.float()
    for tied in torch.split((top_P & tied_U[node_P]).nonzero()[:, 0], len(z_UV)):  # no more lines than there are
        hit_P[tied] = (z_UV[node_P[tied]].max(dim=-1).indices == target_P[tied]).float()
    return hit_P


def _ranks(z_UV: torch.Tensor, own_P: torch.Tensor, node_P: torch.Tensor) -> torch.Tensor:
    """How many tokens are likelier than the target: rank_P; no more lines at once than there are."""
    rank_P = torch.zeros_like(own_P)
    for below in torch.split((own_P != 0).nonzero()[:, 0], len(z_UV)):
        # counted as in _hits
        rank_P[below] = z_UV.index_select(0, node_P[below]).gt_(own_P[below].unsqueeze(-1)).sum(dim=-1)
    return rank_P
