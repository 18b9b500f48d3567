"""Point estimates and seeded bootstrap intervals, all as matrix products over resampling counts.

Promises: the same seed, stream name and number of rows give the same resamples, so quantities of the same rows (three
measures of one split, two models on one split) are resampled together. Intervals are percentile intervals (Efron
1979): honest for means of dozens of rows, too narrow for a handful, and of width zero where all rows agree; they
say nothing about the spread between training runs.

Shapes: N rows of one sample, M of another, S resamples.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

from pipelines.audit.canonical import sha256_bytes
from pipelines.scoring.table import Floats


@dataclass(frozen=True)
class Interval:
    """Two-sided interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Bootstrap:
    """Resampling counts by stream name, and the interval of what was computed from them.

    Attributes:
        samples: number of resamples S.
        confidence: coverage of the interval, for example .95.
        seed: of every stream.
    """

    samples: int
    confidence: float
    seed: int
    _drawn: dict[tuple[str, int], Floats] = field(default_factory=dict, repr=False, compare=False)

    def counts(self, stream: str, n: int) -> Floats:
        """How often each of n rows is drawn in each resample: count_SN, each line adds up to n."""
        if (stream, n) not in self._drawn:
            entropy = int(sha256_bytes(stream.encode())[:16], 16)
            generator = np.random.default_rng([self.seed, entropy])
            self._drawn[stream, n] = generator.multinomial(n, np.full(n, 1.0 / n), size=self.samples).astype(np.float64)
        return self._drawn[stream, n]

    def means(self, stream: str, value_N: Floats) -> Floats:
        """The mean of each resample: mean_S."""
        mean_S: Floats = self.counts(stream, len(value_N)) @ value_N / len(value_N)
        return mean_S

    def interval(self, draw_S: Floats) -> Interval:
        """The percentile interval of a statistic's resamples."""
        tail = (1.0 - self.confidence) / 2.0
        low, high = np.quantile(draw_S, [tail, 1.0 - tail])
        return Interval(low=float(low), high=float(high))


def harmonic_mean(parts: Sequence[Floats]) -> Floats:
    """Harmonic mean over the first axis; 0 where any part is 0 or below.

    Of nine parts it is TOFU's model utility (arXiv 2401.06121, section 2.2.3).

    Args:
        parts: equally shaped arrays, at least one.
    """
    stacked = np.stack(parts)
    positive = (stacked > 0).all(axis=0)
    mean: Floats = np.where(positive, len(parts) / (1.0 / np.where(stacked > 0, stacked, 1.0)).sum(axis=0), 0.0)
    return mean


def auc(positive_N: Floats, negative_M: Floats) -> float:
    """P(positive > negative) + P(equal) / 2: the area under the ROC curve, exact with ties (Mann-Whitney U over N M).

    Args:
        positive_N: scores that ought to be higher, at least one.
        negative_M: scores that ought to be lower, at least one.
    """
    n, m = len(positive_N), len(negative_M)
    rank = stats.rankdata(np.concatenate([positive_N, negative_M]))
    return float((rank[:n].sum() - n * (n + 1) / 2) / (n * m))


def auc_draws(positive_N: Floats, negative_M: Floats, *, count_SN: Floats, count_SM: Floats) -> Floats:
    """The AUC of each two-sample resample: auc_S.

    With C[i, j] = 1 if positive i > negative j, 1/2 if equal, else 0, a resample's AUC is c' C d / (N M).
    """
    wins_NM = np.sign(positive_N[:, None] - negative_M[None, :]) / 2.0 + 0.5
    auc_S: Floats = ((count_SN @ wins_NM) * count_SM).sum(axis=1) / wins_NM.size
    return auc_S


def ks_p_value(first_N: Floats, second_M: Floats) -> float:
    """Two-sided p-value of the two-sample Kolmogorov-Smirnov test, as scipy gives it."""
    with warnings.catch_warnings():
        # Where rounding carries an exact p-value past 1, scipy takes the asymptotic one (above .9999) and says so.
        warnings.filterwarnings("ignore", message="ks_2samp: Exact calculation unsuccessful", category=RuntimeWarning)
        return float(stats.ks_2samp(first_N, second_M).pvalue)


def ks_p_draws(first_N: Floats, second_N: Floats, *, count_SN: Floats) -> Floats:
    """The KS p-value of each resample of paired rows: p_S.

    A resample draws rows, so both samples keep N values and the statistic is one of 0, 1/N, ..., 1. The p-value
    depends on the statistic alone, so each distinct one is worked out once, on two ramps that lie that far apart.
    """
    n = len(first_N)
    points = np.unique(np.concatenate([first_N, second_N]))
    below_first_S = _ecdf_counts(first_N, points, count_SN)
    below_second_S = _ecdf_counts(second_N, points, count_SN)
    steps_S = np.rint(np.abs(below_first_S - below_second_S).max(axis=1)).astype(np.int64)
    ramp = np.arange(n, dtype=np.float64)
    p_value = {int(k): ks_p_value(ramp, ramp + k - 0.5) if k else 1.0 for k in np.unique(steps_S)}
    return np.array([p_value[int(k)] for k in steps_S])


def _ecdf_counts(value_N: Floats, points: Floats, count_SN: Floats) -> Floats:
    order = np.argsort(value_N, kind="stable")
    cumulative_SN = np.cumsum(count_SN[:, order], axis=1)
    padded = np.concatenate([np.zeros((len(count_SN), 1)), cumulative_SN], axis=1)
    counted: Floats = padded[:, np.searchsorted(value_N[order], points, side="right")]
    return counted
