"""Flows that run in the process of a test find a server, keep their results, and leave nothing with the user."""

from pathlib import Path

import pytest


@pytest.mark.usefixtures("prefect_env")
def test_flows_of_this_process_leave_nothing_with_the_user() -> None:
    from prefect import flow
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME, PREFECT_RESULTS_LOCAL_STORAGE_PATH

    @flow(persist_result=True)
    def double(number: int) -> int:
        return 2 * number

    assert double(2) == 4
    assert str(PREFECT_API_URL.value()).startswith("http://127.0.0.1:")
    assert any(PREFECT_RESULTS_LOCAL_STORAGE_PATH.value().iterdir())
    assert not PREFECT_HOME.value().is_relative_to(Path.home())
