"""Preference losses between two answers to one question, measured from the start model.

Shapes: B rows in a batch.
"""

import torch
from torch.nn import functional as F

from pipelines.training.readings import Readings, brought


def preference_loss(wanted: Readings, unwanted: Readings, *, beta: float) -> torch.Tensor:
    """-(2 / beta) log sigmoid(beta ((S_l - S_l,ref) - (S_w - S_w,ref))) of each pair: loss_B (arXiv 2305.18290, eq. 7).

    S are negative log-likelihoods of whole answers, w wanted, l unwanted. The factor is that of NPO (arXiv 2404.05868,
    the NPO loss), which is this loss without the wanted answer: a forget weight means the same for both.
    """
    gain_B = brought(unwanted.reference_nll_B, name="reference_nll") - unwanted.stats.nll_sum_B
    kept_B = brought(wanted.reference_nll_B, name="reference_nll") - wanted.stats.nll_sum_B
    return -(2 / beta) * F.logsigmoid(beta * (kept_B - gain_B))
