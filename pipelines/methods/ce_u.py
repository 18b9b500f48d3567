"""CE-U: the model learns its own present distribution without the true token.

The push on a token is its probability, so it fades out as the token is forgotten and never explodes as ascent does.
"""

import torch

from pipelines.methods.base import ForgetBatch, Method, MethodParams, brought, token_mean


class CEUParams(MethodParams):
    """Parameters of CE-U: the two weights."""


def forget_loss(batch: ForgetBatch, params: CEUParams) -> torch.Tensor:
    """Cross-entropy to softmax(z without the true token), mean over answer tokens: loss_B (arXiv 2503.01224, CE-U).

    The target is a constant to the gradient. The first answer token is spared, because many answers begin alike (the
    paper's footnote on its training settings); it counts where a row has no other.
    """
    logits_BAV = brought(batch.rows.logits_BAV, name="logits")
    labels_BA1 = brought(batch.rows.labels_BA, name="labels").unsqueeze(-1)
    target_BAV = logits_BAV.detach().scatter(-1, labels_BA1, -torch.inf).softmax(-1)
    loss_BA = -(target_BAV * logits_BAV.log_softmax(-1)).sum(-1)
    mask_BA = batch.stats.mask_BA
    spared_BA = (mask_BA.cumsum(dim=1) == 1) & (mask_BA.sum(dim=1, keepdim=True) > 1)
    return token_mean(loss_BA, mask_BA & ~spared_BA)


METHOD = Method(
    name="ce_u",
    title="Cross-entropy unlearning",
    version="1",
    source="Yang 2025, arXiv 2503.01224, CE-U",
    params=CEUParams,
    needs=frozenset({"logits", "retain"}),
    forget_loss=forget_loss,
)
