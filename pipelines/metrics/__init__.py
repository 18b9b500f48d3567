"""Metrics: one module each, named in one place."""

from pipelines.metrics import (
    exact_memorization,
    extraction_strength,
    extraction_strength_gap,
    fluency,
    forget_quality,
    membership_gap,
    min_k,
    min_k_plus_plus,
    model_utility,
    paraphrase_extraction_strength,
    paraphrase_extraction_strength_gap,
    paraphrase_probability,
    paraphrase_probability_gap,
    privleak,
    probability,
    probability_gap,
    rouge,
    truth_ratio,
)
from pipelines.metrics.base import Evidence, Metric, Reading
from pipelines.registry import Registry

METRICS: Registry[Metric] = Registry(
    "metric",
    probability.METRIC,
    probability_gap.METRIC,
    rouge.METRIC,
    truth_ratio.METRIC,
    forget_quality.METRIC,
    model_utility.METRIC,
    extraction_strength.METRIC,
    extraction_strength_gap.METRIC,
    exact_memorization.METRIC,
    paraphrase_probability.METRIC,
    paraphrase_probability_gap.METRIC,
    paraphrase_extraction_strength.METRIC,
    paraphrase_extraction_strength_gap.METRIC,
    min_k.METRIC,
    min_k_plus_plus.METRIC,
    membership_gap.METRIC,
    privleak.METRIC,
    fluency.METRIC,
)

__all__ = ["METRICS", "Evidence", "Metric", "Reading"]
