"""Every method has a space that its own parameters accept, from the known setting to every end of every range."""

import pytest

from pipelines.config import RunConfig
from pipelines.errors import BadInput
from pipelines.methods import METHODS
from pipelines.search.ranges import RATE, Choice, LogUniform, Range, SearchSpace, Uniform
from pipelines.search.settings import Budget
from pipelines.search.spaces import COMMON, SPACES, space_named
from pipelines.search.trial import config_of, setting_of
from pipelines.settings import Scalar

BASE = RunConfig.model_validate(
    {
        "model": "m",
        "train": "t",
        "validation": "v",
        "method": "npo",
        "params": {"beta": 0.3},
        "training": {"learning_rate": 1e-3, "epochs": 12, "batch_size": 7},
    }
)


def ends(where: Range) -> tuple[Scalar, ...]:
    return where.options if isinstance(where, Choice) else (where.low, where.high)


def test_only_methods_that_exist_have_a_space_of_their_own() -> None:
    assert set(SPACES) <= set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_accepts_all_of_its_space(name: str) -> None:
    space = space_named(name)
    assert COMMON.ranges.keys() <= space.ranges.keys()
    tries = [space.known, *({**space.known, key: end} for key, where in space.ranges.items() for end in ends(where))]
    for chosen in tries:
        config = config_of(BASE, setting_of(BASE, name, chosen))
        assert config.method == name
        assert config.training.batch_size == 7


def test_a_setting_keeps_the_configured_rate_as_its_unit_and_steers_by_validation_rows() -> None:
    setting = setting_of(BASE, "npo", {RATE: 0.123456, "params.beta": 0.1})
    assert setting.values == {
        RATE: 0.0001235,
        "params.beta": 0.1,
        "training.wordings": True,
        "training.stop": "holdout",
    }
    alone = BASE.model_copy(update={"validation": None})
    assert "training.stop" not in setting_of(alone, "npo", {}).values


def test_parameters_of_the_configuration_are_those_of_its_own_method() -> None:
    assert config_of(BASE, setting_of(BASE, "npo", {})).params == {"beta": 0.3}
    assert config_of(BASE, setting_of(BASE, "wga", {})).params == {}


def test_a_space_whose_first_try_lies_outside_is_refused() -> None:
    for known, where in ((2.0, LogUniform(0.1, 1.0)), (2.0, Uniform(0.1, 1.0)), (2, Choice((1, 3)))):
        with pytest.raises(BadInput, match=r"params\.beta"):
            SearchSpace(known={"params.beta": known}, ranges={"params.beta": where})
    with pytest.raises(BadInput, match=r"params\.beta needs"):
        SearchSpace(known={}, ranges={"params.beta": Uniform(0, 1)})


@pytest.mark.parametrize("text", ["", "0", "0s", "ten", "-5", "600 s", "1d", "1.5h"])
def test_a_budget_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="600s, 10m, 1h"):
        Budget.parsed(text)
