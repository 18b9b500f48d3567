"""Who runs trials: the runners that settings name, and what is refused before anything runs."""

import pytest
from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner

from pipelines.errors import BadInput
from pipelines.search.settings import SearchSettings
from tasks import fan_out
from tasks.fan_out import end_with_parent, runner_of


def test_processes_are_the_default_and_end_with_whoever_started_them() -> None:
    made = runner_of(SearchSettings(jobs=3))
    assert isinstance(made, ProcessPoolTaskRunner)
    assert made == ProcessPoolTaskRunner(max_workers=3)
    assert made._initializer is end_with_parent


def test_this_process_runs_one_trial_at_a_time() -> None:
    assert isinstance(runner_of(SearchSettings(runner="thread")), ThreadPoolTaskRunner)
    with pytest.raises(BadInput, match="'thread' takes 1"):
        runner_of(SearchSettings(runner="thread", jobs=2))


@pytest.mark.parametrize("name", ["ray", "dask"])
def test_a_cluster_whose_library_is_missing_is_refused_with_its_name(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(module: str) -> None:
        raise ImportError(module)

    monkeypatch.setattr(fan_out, "import_module", absent)
    with pytest.raises(BadInput, match=rf"needs prefect-{name}; install lethe-unlearning\[{name}\]"):
        runner_of(SearchSettings.model_validate({"runner": name}))
