"""One number per row: the definitions that several metrics share, as pure functions of a score table.

Every function gives an array over all rows of a split, NaN where a row lacks what the definition needs. No function
loops over rows. Nothing is averaged over rows here; that is the metrics' work.

Shapes: R rows of a split, N answers, P answer tokens.
"""

from collections.abc import Callable

import numpy as np

from pipelines.scoring.table import FORGET, AnswerScores, Floats, ModelScores, Variant, per_row

RowValue = Callable[[ModelScores, str], Floats]
"""(scores, split) to value_R."""

LOWEST_SHARE = (2, 5)
"""Share of an answer's tokens that min-k looks at: 40 %, as an exact fraction."""

VARIANCE_FLOOR = 1e-12
"""Below this the float32 statistics hold only rounding; keeps min-k++ finite where a model is certain."""


LARGEST_EXPONENT = 700.0
"""exp of it is still a float64."""


def mean_logprob(scores: ModelScores, split: str, variant: Variant) -> Floats:
    """-NLL of the answer, or the mean -NLL over a row's answers of that variant: value_R, in nats per token."""
    answers = scores.answers.answers(split, variant)
    n_rows = scores.rows[split]
    if len(answers) == 0:
        return np.full(n_rows, np.nan)
    count_R = np.bincount(answers.row_N, minlength=n_rows)
    total_R = np.bincount(answers.row_N, weights=_answer_means(answers), minlength=n_rows)
    return np.where(count_R > 0, total_R / np.maximum(count_R, 1), np.nan)


def probability(scores: ModelScores, split: str, variant: Variant = Variant.ANSWER) -> Floats:
    """exp(-NLL), the answer's probability per token (geometric mean): value_R (arXiv 2401.06121, section 2.2.1)."""
    return np.exp(mean_logprob(scores, split, variant))


def option_probability(scores: ModelScores, split: str) -> Floats:
    """P(answer) / (P(answer) + sum of P(perturbed)), each exp(-NLL): value_R (arXiv 2401.06121, section 2.2.1)."""
    return _among_wrong(scores, split, mean_logprob(scores, split, Variant.ANSWER))


def fact_probability(scores: ModelScores, split: str) -> Floats:
    """As :func:`option_probability`, of the answer in the wording that the wrong ones share: value_R.

    The paraphrased answer where a row has one, as in the truth ratio. Between two wordings it would be the wording that
    is measured, and whoever pushed one of them away would seem to know the fact.
    """
    return _among_wrong(scores, split, _right_logprob(scores, split))


def _among_wrong(scores: ModelScores, split: str, right_R: Floats) -> Floats:
    answers = scores.answers.answers(split, Variant.PERTURBED_ANSWER)
    n_rows = scores.rows[split]
    if len(answers) == 0:
        return np.full(n_rows, np.nan)
    # As 1 / (1 + sum of ratios): stays defined where every probability underflows.
    ratio_N = np.exp(np.minimum(_answer_means(answers) - right_R[answers.row_N], LARGEST_EXPONENT))
    ratio_R = np.bincount(answers.row_N, weights=ratio_N, minlength=n_rows)
    offered_R = np.bincount(answers.row_N, minlength=n_rows) > 0
    return np.where(offered_R, 1.0 / (1.0 + ratio_R), np.nan)


def _right_logprob(scores: ModelScores, split: str) -> Floats:
    """The right answer in the wording that wrong ones share: paraphrased where there is such a one: value_R."""
    said_R = np.zeros(scores.rows[split], dtype=np.bool_)
    said_R[scores.answers.answers(split, Variant.PARAPHRASED_ANSWER).row_N] = True
    paraphrased_R = mean_logprob(scores, split, Variant.PARAPHRASED_ANSWER)
    return np.where(said_R, paraphrased_R, mean_logprob(scores, split, Variant.ANSWER))


def log_truth_ratio(scores: ModelScores, split: str) -> Floats:
    """Log of the truth ratio R = exp(-mean NLL of perturbed answers) / exp(-NLL of the paraphrased one): value_R.

    TOFU (arXiv 2401.06121), eq. 1. Rows without a paraphrased answer use the answer itself, as TOFU does for real
    authors and world facts.
    """
    return mean_logprob(scores, split, Variant.PERTURBED_ANSWER) - _right_logprob(scores, split)


def truth_ratio_utility(scores: ModelScores, split: str) -> Floats:
    """max(0, 1 - R): value_R, high where the right answer is likelier than the wrong ones (arXiv 2401.06121)."""
    return right_wins(log_truth_ratio(scores, split))


def right_wins(log_R: Floats) -> Floats:
    """max(0, 1 - R) of log truth ratios."""
    return -np.expm1(np.minimum(log_R, 0.0))


def truth_ratio_of(log_R: Floats, split: str) -> Floats:
    """TOFU's truth ratio on a split: min(R, 1/R) on the forget set, max(0, 1 - R) elsewhere (arXiv 2401.06121)."""
    if split != FORGET:
        return right_wins(log_R)
    closeness_R: Floats = np.exp(-np.abs(log_R))
    return closeness_R


def extraction_strength(scores: ModelScores, split: str, variant: Variant = Variant.ANSWER) -> Floats:
    """1 - k/N, k the shortest prefix of the N answer tokens after which argmax gives all the rest: value_R.

    Extraction strength (arXiv 2310.16111). Equals the share of the answer in its longest suffix of argmax hits, so it
    is 0 when the last token is missed.
    """
    answers = scores.answers.answers(split, variant)
    if len(answers) == 0:
        return np.full(scores.rows[split], np.nan)
    missed_P = np.where(answers.hit_P, -1, np.arange(len(answers.hit_P)))
    last_miss_N = np.maximum(np.maximum.reduceat(missed_P, answers.offset_N), answers.offset_N - 1)
    suffix_N = answers.offset_N + answers.length_N - 1 - last_miss_N
    value_N = _finite_only(suffix_N / answers.length_N, answers)
    return per_row(answers.row_N, value_N, n_rows=scores.rows[split])


def exact_memorization(scores: ModelScores, split: str) -> Floats:
    """Share of answer tokens that argmax hits: value_R (arXiv 2205.10770, section 3)."""
    answers = scores.answers.answers(split, Variant.ANSWER)
    if len(answers) == 0:
        return np.full(scores.rows[split], np.nan)
    share_N = np.add.reduceat(answers.hit_P.astype(np.float64), answers.offset_N) / answers.length_N
    return per_row(answers.row_N, _finite_only(share_N, answers), n_rows=scores.rows[split])


def min_k(scores: ModelScores, split: str) -> Floats:
    """Mean log-probability of the least likely 40 % of an answer's tokens: value_R (Min-K%, arXiv 2310.16789)."""
    answers = scores.answers.answers(split, Variant.ANSWER)
    return per_row(answers.row_N, _lowest_mean(answers, answers.logprob_P), n_rows=scores.rows[split])


def min_k_plus_plus(scores: ModelScores, split: str) -> Floats:
    """As :func:`min_k`, of (log p - mean) / deviation over the vocabulary: value_R (Min-K%++, arXiv 2404.02936)."""
    answers = scores.answers.answers(split, Variant.ANSWER)
    deviation_P = np.sqrt(np.maximum(answers.vocab_variance_P, VARIANCE_FLOOR))
    token_P = (answers.logprob_P - answers.vocab_mean_P) / deviation_P
    return per_row(answers.row_N, _lowest_mean(answers, token_P), n_rows=scores.rows[split])


def _answer_means(answers: AnswerScores) -> Floats:
    mean_N: Floats = np.add.reduceat(answers.logprob_P, answers.offset_N) / answers.length_N
    return mean_N


def _finite_only(value_N: Floats, answers: AnswerScores) -> Floats:
    """NaN where the log-probabilities are: argmax over NaN hits nothing, and that must not look like forgetting."""
    return np.where(np.isnan(_answer_means(answers)), np.nan, value_N)


def _lowest_mean(answers: AnswerScores, token_P: Floats) -> Floats:
    """Mean of each answer's lowest 40 % of token values, at least one token: value_N."""
    part, whole = LOWEST_SHARE
    keep_N = np.maximum(1, answers.length_N * part // whole)
    sorted_P = token_P[np.lexsort((token_P, answers.answer_P))]
    rank_P = np.arange(len(token_P)) - np.repeat(answers.offset_N, answers.length_N)
    kept_P = rank_P < np.repeat(keep_N, answers.length_N)
    total_N = np.bincount(answers.answer_P[kept_P], weights=sorted_P[kept_P], minlength=len(answers))
    # What is no number is sorted last, where the lowest would not see it.
    return np.where(np.logical_or.reduceat(np.isnan(token_P), answers.offset_N), np.nan, total_N / keep_N)


def known_probability(scores: ModelScores, split: str) -> Floats:
    """How likely the right answer is: over the options on utility sets, by itself elsewhere: value_R."""
    return option_probability(scores, split) if split in scores.utility_sets() else probability(scores, split)


def paraphrase_probability(scores: ModelScores, split: str) -> Floats:
    """:func:`probability` of the answer after the paraphrased question: value_R."""
    return probability(scores, split, Variant.PARAPHRASED_QUESTION)


def paraphrase_extraction_strength(scores: ModelScores, split: str) -> Floats:
    """:func:`extraction_strength` of the answer after the paraphrased question: value_R."""
    return extraction_strength(scores, split, Variant.PARAPHRASED_QUESTION)


def rouge_recall(scores: ModelScores, split: str) -> Floats:
    """ROUGE-L recall of the greedy answer: value_R."""
    return scores.generations.column(split, "rouge_l_recall", n_rows=scores.rows[split])


def distinct_4(scores: ModelScores, split: str) -> Floats:
    """Share of distinct 4-grams in the greedy answer, 0 for an empty one: value_R."""
    return scores.generations.column(split, "distinct_4", n_rows=scores.rows[split])


def column_of(name: str) -> RowValue:
    """What the generation pass wrote into one column: a function to value_R."""
    return lambda scores, split: scores.generations.column(split, name, n_rows=scores.rows[split])


def entropy(scores: ModelScores, split: str) -> Floats:
    """Mean over answer tokens of the entropy of the model's next-token distribution, in nats: value_R."""
    return _token_means(scores, split, lambda answers: -answers.vocab_mean_P)


def log_rank(scores: ModelScores, split: str) -> Floats:
    """Mean over answer tokens of log(1 + rank of the right token): value_R; 0 where argmax is always right."""
    return _token_means(scores, split, lambda answers: np.log1p(answers.rank_P))


def _token_means(scores: ModelScores, split: str, token_of: Callable[[AnswerScores], Floats]) -> Floats:
    answers = scores.answers.answers(split, Variant.ANSWER)
    if len(answers) == 0:
        return np.full(scores.rows[split], np.nan)
    mean_N = np.add.reduceat(token_of(answers), answers.offset_N) / answers.length_N
    return per_row(answers.row_N, _finite_only(mean_N, answers), n_rows=scores.rows[split])


def loss_score(scores: ModelScores, split: str) -> Floats:
    """Mean log-probability of the answer: value_R, the loss attack (arXiv 1709.01604), higher for members."""
    return mean_logprob(scores, split, Variant.ANSWER)


def zlib_score(scores: ModelScores, split: str) -> Floats:
    """Minus log perplexity per byte that zlib needs: value_R, higher for members (arXiv 2012.07805, section 5.2)."""
    answers = scores.answers.answers(split, Variant.ANSWER)
    if len(answers) == 0:
        return np.full(scores.rows[split], np.nan)
    return per_row(answers.row_N, _answer_means(answers) / answers.zlib_bytes_N, n_rows=scores.rows[split])


def gradient_score(scores: ModelScores, split: str) -> Floats:
    """The gradient's norm, negated: value_R, higher for members (arXiv 1812.00910)."""
    answers = scores.answers.answers(split, Variant.ANSWER)
    return per_row(answers.row_N, -answers.gradient_norm_N, n_rows=scores.rows[split])


def exposure(scores: ModelScores, split: str) -> Floats:
    """log2 of the number of candidates minus log2 of the answer's rank among them: value_R, in bits.

    Exposure (arXiv 1802.08232, definition 2), with the answer and its perturbed answers as the candidates, by mean
    log-probability; ties count against the answer's secrecy. 0 where every other candidate is likelier.
    """
    wrong = scores.answers.answers(split, Variant.PERTURBED_ANSWER)
    n_rows = scores.rows[split]
    right_R = mean_logprob(scores, split, Variant.ANSWER)
    if len(wrong) == 0:
        return np.full(n_rows, np.nan)
    count_R = np.bincount(wrong.row_N, minlength=n_rows)
    wrong_N = _answer_means(wrong)
    ahead_N = np.where(np.isnan(wrong_N), np.nan, wrong_N > right_R[wrong.row_N])
    ahead_R = np.bincount(wrong.row_N, weights=ahead_N, minlength=n_rows)
    bits_R = np.log2(count_R + 1) - np.log2(ahead_R + 1)
    return np.where((count_R > 0) & np.isfinite(right_R), bits_R, np.nan)


def truth_ratio_probability(scores: ModelScores, split: str) -> Floats:
    """1 / (1 + R), the paraphrase's share of the probability: value_R, .5 where right and wrong look alike."""
    shared_R: Floats = 1.0 / (1.0 + np.exp(np.clip(log_truth_ratio(scores, split), None, LARGEST_EXPONENT)))
    return shared_R
