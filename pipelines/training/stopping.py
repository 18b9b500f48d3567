"""When a row, and when the whole run, has forgotten enough: as unlikely as rows that nobody trained on, and no more.

A row's score is its mean NLL over its hardest tokens, the score that min-k membership inference reads. The forget rows'
scores are matched by rank with the scores that the start model gives the holdout rows, so that the whole distribution
comes to look untrained, not its median alone. A row that has reached its level gets no further push: a row that is
*less* likely than an untrained one gives itself away too.

Likelihood alone lets a row go whose hardest tokens are unlikely and whose ending still comes word for word. So a row is
also pushed while more of it can be extracted than of nine in ten holdout rows. Pure functions; the loop calls them and
keeps the levels.

Shapes: B rows in a batch, N forget rows, M holdout rows, A answer positions, V vocabulary.
"""

import numpy as np
import torch

from pipelines.scoring.likelihood import AnswerStats

HARDEST = 0.4
"""Share of a row's tokens, the least likely ones, that its score looks at."""

EXTRACTED_BELOW = 0.9
"""Share of the holdout rows of which no more can be extracted than of a forget row that is let go."""


def min_k_scores(stats: AnswerStats) -> torch.Tensor:
    """Mean NLL over the least likely 40 % of each row's answer tokens, at least one: score_B.

    The negative of Min-K% (arXiv 2310.16789, eq. 1).
    """
    hardest_first_BA = stats.token_nll_BA.masked_fill(~stats.mask_BA, -torch.inf).sort(dim=1, descending=True).values
    n_hardest_B = (stats.n_tokens_B * HARDEST).long().clamp(min=1)
    chosen_BA = torch.arange(hardest_first_BA.shape[1], device=n_hardest_B.device) < n_hardest_B.unsqueeze(1)
    return hardest_first_BA.masked_fill(~chosen_BA, 0.0).sum(dim=1) / n_hardest_B


def extraction_strengths(logits_BAV: torch.Tensor, labels_BA: torch.Tensor, mask_BA: torch.Tensor) -> torch.Tensor:
    """1 - k/n of each row: k the shortest prefix after which argmax gives the rest of its n answer tokens: strength_B.

    arXiv 2012.07805; 0 where argmax does not give the last one. An answer starts and ends anywhere among the positions:
    what stands outside counts as neither hit nor miss.
    """
    missed_BA = (logits_BAV.argmax(-1) != labels_BA) & mask_BA
    clean_BA = missed_BA.flip(1).cumsum(1).flip(1) == 0
    return (clean_BA & mask_BA).sum(1) / mask_BA.sum(1)


def most_extracted(unseen_M: torch.Tensor) -> float:
    """The extraction strength up to which a row may leave: that of the ninth in ten rows that nobody trained on.

    Args:
        unseen_M: extraction strengths of the holdout rows under the start model; at least one.
    """
    return float(np.quantile(unseen_M.double().cpu().numpy(), EXTRACTED_BELOW))


def matched_levels(scores_N: torch.Tensor, holdout_M: torch.Tensor) -> torch.Tensor:
    """The score at which each row counts as forgotten: level_N.

    The row of rank r among N gets the holdout's quantile (r + 0.5) / N. With as many holdout rows as forget rows these
    are the holdout's own scores; with others they are interpolated between two neighbours (Hazen).

    Args:
        scores_N: scores of the forget rows now.
        holdout_M: scores of the holdout rows under the start model; at least one.
    """
    n = len(scores_N)
    ranks_N = scores_N.argsort(stable=True).argsort(stable=True)
    points = (np.arange(n) + 0.5) / n
    quantiles = np.quantile(holdout_M.double().cpu().numpy(), points, method="hazen")
    return torch.from_numpy(quantiles).to(scores_N)[ranks_N]


def grouped_levels(scores_N: torch.Tensor, holdout_M: torch.Tensor, *, n_rows: int) -> torch.Tensor:
    """:func:`matched_levels` of the forget rows and, apart from them, of their other wordings: level_N.

    Args:
        scores_N: of the forget rows, then of the other wordings.
        holdout_M: as there.
        n_rows: how many forget rows there are.
    """
    groups = [group for group in (scores_N[:n_rows], scores_N[n_rows:]) if len(group)]
    return torch.cat([matched_levels(group, holdout_M) for group in groups])


def known_still(
    scores_B: torch.Tensor,
    levels_B: torch.Tensor,
    extracted_B: torch.Tensor | None = None,
    *,
    most_extracted: float = 1.0,
) -> torch.Tensor:
    """True for rows to push on: likelier than an untrained row of their rank, or with more to extract: active_B.

    Args:
        scores_B: of the rows now.
        levels_B: at which each counts as forgotten.
        extracted_B: extraction strengths of the rows; None asks for likelihood alone.
        most_extracted: above which a row is pushed whatever its score.
    """
    likelier_B = scores_B < levels_B
    return likelier_B if extracted_B is None else likelier_B | (extracted_B > most_extracted)
