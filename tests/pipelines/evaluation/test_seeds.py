"""Several seeds as one evaluation: means, the widest interval, and nothing counts as whole that one seed lacks."""

import pytest

from pipelines.evaluation.seeds import over_seeds, seed_list
from pipelines.records import Evaluation
from tests.scored import evaluation, measurement


def _of_three() -> list[Evaluation]:
    values, spreads = (0.2, 0.5, 0.8), (0.05, 0.4, 0.1)
    return [
        evaluation("candidate", measurement("m", "forget", v, spread=s)) for v, s in zip(values, spreads, strict=True)
    ]


def test_the_value_is_the_mean_and_the_interval_holds_every_seeds() -> None:
    """0.2 +- .05, 0.5 +- .4 and 0.8 +- .1 are .5 and reach from .1 to .9."""
    [found] = over_seeds(_of_three()).measurements
    assert found.value == pytest.approx(0.5)
    assert [found.low, found.high] == pytest.approx([0.1, 0.9])
    assert found.version == "1+3-seeds"
    assert found.complete


@pytest.mark.parametrize("missing", [0, 2])
def test_what_one_seed_lacks_is_missing(missing: int) -> None:
    found = _of_three()
    found[missing] = evaluation("candidate", measurement("m", "forget", None))
    [together] = over_seeds(found).measurements
    assert (together.value, together.low, together.high, together.n_scored) == (None, None, None, 0)
    partial = [*_of_three(), evaluation("candidate", measurement("m", "forget", 0.5, n_scored=19))]
    assert over_seeds(partial).measurements[0].n_scored == 19
    assert not over_seeds(partial).measurements[0].complete


def test_one_seed_is_left_as_it_is() -> None:
    [first, *_] = _of_three()
    assert over_seeds([first]) == first
    assert seed_list(4, 3) == (4, 5, 6)
