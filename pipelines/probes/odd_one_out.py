"""Odd one out: of three answers, two true in different words and one false, which one does the model find strange?

Scored and not asked for, so that a model which follows no instruction can be probed: the value is the probability that
the false answer is the odd one, (1 / p_false) over the sum of 1 / p, with p_false the geometric mean over the wrong
answers. Guessing gives 1/3.
"""

import numpy as np

from pipelines.data.rows import Row, Rows
from pipelines.probes.asking import wrong_answers
from pipelines.probes.base import ASKED, Probe, Series, Subject, scores_of
from pipelines.scoring.row_values import LARGEST_EXPONENT, mean_logprob
from pipelines.scoring.table import FORGET, Floats, Variant


def run(subject: Subject) -> tuple[Series, ...]:
    """One series; rows with one wording only, or without wrong answers, are missing."""
    rows = [_lined_up(subject, row) for row in subject.forget]
    value_R = np.full(len(rows), np.nan)
    usable = [i for i, row in enumerate(rows) if row.paraphrased_answer and row.perturbed_answer and subject.fits(row)]
    if usable:
        scores = scores_of(subject, subject.loaded, Rows.of(rows[i] for i in usable))
        true_R, same_R, false_R = (
            mean_logprob(scores, ASKED, variant)
            for variant in (Variant.ANSWER, Variant.PARAPHRASED_ANSWER, Variant.PERTURBED_ANSWER)
        )
        value_R[usable] = odd_probability(true_R, same_R, false_R)
    return (Series("odd_one_out", FORGET, value_R),)


def _lined_up(subject: Subject, row: Row) -> Row:
    return Row(
        question=row.question,
        answer=row.answer,
        paraphrased_answer=row.paraphrased_answer,
        perturbed_answer=wrong_answers(subject, row),
    )


def odd_probability(true_R: Floats, same_R: Floats, false_R: Floats) -> Floats:
    """(1 / p_false) / (1 / p_true + 1 / p_same + 1 / p_false) from mean log-probabilities: value_R."""
    others = [np.exp(np.minimum(false_R - other_R, LARGEST_EXPONENT)) for other_R in (true_R, same_R)]
    value_R: Floats = 1.0 / (1.0 + others[0] + others[1])
    return value_R


PROBE = Probe(
    name="odd_one_out",
    title="The false statement among true ones",
    version="1",
    source="Lynch et al. 2024, arXiv 2402.16835 (other formats); by likelihood, without an instruction",
    cost="1 pass over true and false answers",
    run=run,
)
