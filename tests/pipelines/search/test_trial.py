"""The known setting of every method makes a job that could be trained; what a method has no use for is left alone."""

from pathlib import Path

import pytest

from pipelines.config import RunConfig
from pipelines.data.rows import Rows
from pipelines.errors import BadInput
from pipelines.methods import METHODS
from pipelines.records import ModelRef
from pipelines.search.spaces import space_named
from pipelines.search.trial import Setting, config_of, setting_of
from pipelines.settings import ShadowSettings
from pipelines.unlearning.job import UnlearningJob
from tests.jobs import FORGET, HOLDOUT, RETAIN
from tests.tiny import save_tiny


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """What a search starts from: a stop rule and wordings, a start model, and the model that it came from."""
    root = tmp_path_factory.mktemp("models")
    for name, seed in (("start", 0), ("base", 1)):
        save_tiny(root / name, seed=seed)
    return RunConfig.model_validate(
        {
            "model": str(root / "start"),
            "train": "train.jsonl",
            "validation": "validation.jsonl",
            "method": "npo",
            "training": {"learning_rate": 1e-3, "stop": "holdout", "wordings": True, "patience": 5},
            "shadow": ShadowSettings(base=str(root / "base")).plain(),
        }
    )


def job_of(config: RunConfig) -> UnlearningJob:
    return UnlearningJob(
        model=ModelRef(path=config.model, digest="0" * 64),
        forget=Rows.of(FORGET),
        retain=Rows.of(RETAIN),
        holdout=Rows.of(HOLDOUT),
        method=METHODS.require(config.method),
        params=config.method_params(),
        training=config.training,
        lora=config.lora,
    )


def known(base: RunConfig, method: str) -> Setting:
    return setting_of(base, method, space_named(method).known)


@pytest.mark.parametrize("method", METHODS)
def test_a_search_can_try_every_method(base: RunConfig, method: str) -> None:
    assert job_of(config_of(base, known(base, method))).method.name == method


def test_a_method_that_never_sees_the_forget_rows_neither_waits_for_them_nor_asks_in_other_words(
    base: RunConfig,
) -> None:
    training = config_of(base, known(base, "retrain")).training
    assert (training.stop, training.wordings) == ("epochs", False)
    assert training.learning_rate == pytest.approx(5 * base.training.learning_rate)
    assert config_of(base, known(base, "npo")).training.stop == "holdout"


def test_without_a_model_to_begin_with_retraining_is_refused_with_the_reason(base: RunConfig) -> None:
    config = config_of(base.model_copy(update={"shadow": None}), known(base, "retrain"))
    with pytest.raises(BadInput, match="method retrain: no base model"):
        job_of(config)


def test_where_it_begins_is_bound_by_digest_and_stands_in_no_table(base: RunConfig) -> None:
    setting = known(base, "retrain")
    assert len(str(config_of(base, setting).params["base_digest"])) == 64
    assert base.shadow is not None
    assert str(Path(base.shadow.base).parent) not in setting.shown()
