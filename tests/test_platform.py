"""The platform works as installed: two libraries break Prefect in ways that ``pip check`` cannot see, so it is tried.

One of them keeps the server from being imported, the other lets everything start and the scheduler create no run.
"""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.servers import PrefectServer, process_worker, wait_until


def test_server_imports() -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", "import prefect.server.api.server"], check=True, timeout=120)


def test_cron_deployment_gets_a_scheduled_run(local_server: PrefectServer) -> None:
    flow = local_server.post("flows/", {"name": "nothing"}).json()["id"]
    schedule = {"schedule": {"cron": "0 2 * * *", "timezone": "UTC"}, "active": True}
    deployment = local_server.post("deployments/", {"name": "nightly", "flow_id": flow, "schedules": [schedule]}).json()
    of_it = {"deployments": {"id": {"any_": [deployment["id"]]}}}

    def scheduled() -> bool:
        runs = local_server.post("flow_runs/filter", of_it).json()
        return any(run["state_type"] == "SCHEDULED" for run in runs)

    wait_until(scheduled, seconds=60, what="a SCHEDULED run of a cron deployment")


def test_ui_calls_the_server_it_came_from_and_reports_to_nobody(local_server: PrefectServer) -> None:
    settings = httpx.get(f"{local_server.url}/ui-settings", timeout=30).json()
    assert settings["api_url"] == local_server.api
    assert settings["default_ui"] == "v1"
    server = httpx.get(f"{local_server.api}/admin/settings", timeout=30).json()["server"]
    assert server["analytics_enabled"] is False


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


def test_worker_comes_online_and_goes(local_server: PrefectServer, tmp_path: Path) -> None:
    local_server.prefect("work-pool", "create", "lethe-test", "--type", "process", cwd=tmp_path)
    with process_worker(local_server, pool="lethe-test", cwd=tmp_path, log=tmp_path / "worker.log") as worker:
        assert worker.poll() is None
    with pytest.raises(ProcessLookupError):
        os.killpg(worker.pid, 0)
