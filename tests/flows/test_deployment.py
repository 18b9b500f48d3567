"""The deployments as an operator uses them: deployed from their file, triggered through the API, run by real workers.

Who makes the candidate and who measures and signs are two workers of two pools; the first has no evaluator's key. Two
libraries break Prefect in ways that ``pip check`` cannot see: one keeps the server from being imported, the other lets
everything start and the scheduler create no run.
"""

import os
from contextlib import ExitStack

import httpx
import mlflow
import pytest
import yaml

from pipelines.provenance import ROOT
from tests.flows.company import REQUEST, Company
from tests.servers import PrefectServer, process_worker, wait_until

TERMINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
POOLS = ("lethe-gpu", "lethe-evaluator")


@pytest.fixture(scope="module")
def deployed(local_server: PrefectServer) -> PrefectServer:
    """A server with the deployments of the file."""
    for pool in POOLS:
        local_server.prefect("work-pool", "create", pool, "--type", "process", "--overwrite", cwd=ROOT)
    local_server.prefect("deploy", "--all", "--prefect-file", "deployments/prefect.yaml", cwd=ROOT)
    return local_server


def _deployment(server: PrefectServer, name: str = "on-request") -> dict[str, object]:
    listed = server.post("deployments/filter", {}).json()
    found: dict[str, object] = next(item for item in listed if item["name"] == name)
    return found


def test_deployment_runs_a_request_to_a_registered_version(deployed: PrefectServer, quick: Company) -> None:
    deployment = _deployment(deployed)
    _check_form(deployment["parameter_openapi_schema"])

    uri = f"sqlite:///{quick.home}/mlflow/mlflow.db"
    environment = {**deployed.environment, "LETHE_ROOT": str(ROOT), "MLFLOW_TRACKING_URI": uri}
    server = PrefectServer(url=deployed.url, api=deployed.api, environment=environment)
    parameters = {
        "request": {"id": REQUEST, "path": str(quick.request)},
        "config": yaml.safe_load(quick.config.read_text()),
        "policy": str(quick.policy),
        "home": str(quick.home),
    }
    logs = {pool: quick.root / f"{pool}.log" for pool in POOLS}
    with ExitStack() as stack:
        workers = [
            stack.enter_context(process_worker(server, pool=pool, cwd=quick.root, log=log))
            for pool, log in logs.items()
        ]
        asked = {"parameters": parameters, "idempotency_key": REQUEST}
        run = server.post(f"deployments/{deployment['id']}/create_flow_run", asked).json()
        of_it = {"flow_runs": {"id": {"any_": [run["id"]]}}}
        wait_until(
            lambda: server.post("flow_runs/filter", of_it).json()[0]["state_type"] in TERMINAL,
            seconds=400,
            what="the flow run",
        )
    [ended] = server.post("flow_runs/filter", of_it).json()
    assert ended["state_type"] == "COMPLETED", "".join(log.read_text()[-3000:] for log in logs.values())
    client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
    version = client.get_model_version_by_alias("tiny", "challenger")
    assert version.tags["lethe.request"] == REQUEST
    _check_stages(server, run["id"], _assessment(server))
    for worker in workers:
        with pytest.raises(ProcessLookupError):
            os.killpg(worker.pid, 0)


def _assessment(server: PrefectServer) -> str:
    """The evaluator's run: of its own deployment, on its own pool, below the run that asked for it."""
    [found] = server.post("flow_runs/filter", {"flows": {"name": {"any_": ["assess"]}}}).json()
    assert found["work_pool_name"] == "lethe-evaluator"
    assert found["parent_task_run_id"]
    return str(found["id"])


def _check_form(schema: object) -> None:
    """The UI draws its form from this: every field has a title and says what it is."""
    assert isinstance(schema, dict)
    for name, definition in schema["definitions"].items():
        for field, spec in definition.get("properties", {}).items():
            assert {"title", "description"} <= set(spec), f"{name}.{field}"
    assert {"request", "config", "policy", "home", "evaluator"} == set(schema["properties"])
    for field, spec in schema["properties"].items():
        assert "description" in spec or "$ref" in spec or "allOf" in spec, field


def _tasks(server: PrefectServer, run_id: str) -> set[str]:
    tasks = server.post("task_runs/filter", {"flow_runs": {"id": {"any_": [run_id]}}}).json()
    return {task["name"].rsplit("-", 1)[0] for task in tasks}


def _check_stages(server: PrefectServer, run_id: str, assessment_id: str) -> None:
    """Every stage is a task run of its own, and artifacts are there to be looked at."""
    wanted = {
        "intake",
        "attribution",
        "scope",
        "quality",
        "seal",
        "unlearn: train",
        "assess",
        "register",
        "report",
    }
    theirs = {"evaluate: candidate", "judge", "certify"}
    names = _tasks(server, run_id)
    assert wanted <= names
    assert not theirs & names, "measured or signed by whoever trained"
    assert theirs <= _tasks(server, assessment_id)
    both = {"artifacts": {"flow_run_id": {"any_": [run_id, assessment_id]}}}
    artifacts = server.post("artifacts/filter", both).json()
    assert "progress" in {artifact["type"] for artifact in artifacts}
    notes = {f"{stage}-note" for stage in ("intake", "unlearn", "certify", "register", "report")}
    stages = (
        "attribution",
        "scope",
        "quality",
        "seal",
        "evaluate-start",
        "evaluate-candidate",
        "evaluate-reference",
        "judge",
    )
    assert notes | {f"{stage}-table" for stage in stages} <= {artifact["key"] for artifact in artifacts}


def test_invalid_parameters_are_refused_by_the_server(deployed: PrefectServer) -> None:
    body = {"parameters": {"request": {"id": "!", "path": "x"}, "config": {}}}
    answer = deployed.ask(f"deployments/{_deployment(deployed)['id']}/create_flow_run", body)
    assert answer.status_code == httpx.codes.CONFLICT
    assert "Validation failed" in answer.text


def test_a_scheduled_deployment_gets_a_scheduled_run(deployed: PrefectServer) -> None:
    of_it = {"deployments": {"id": {"any_": [_deployment(deployed, "hourly")["id"]]}}}

    def scheduled() -> bool:
        runs = deployed.post("flow_runs/filter", of_it).json()
        return any(run["state_type"] == "SCHEDULED" for run in runs)

    wait_until(scheduled, seconds=60, what="a SCHEDULED run of a cron deployment")


def test_ui_calls_the_server_it_came_from_and_reports_to_nobody(local_server: PrefectServer) -> None:
    settings = httpx.get(f"{local_server.url}/ui-settings", timeout=30).json()
    assert settings["api_url"] == local_server.api
    assert settings["default_ui"] == "v1"
    server = httpx.get(f"{local_server.api}/admin/settings", timeout=30).json()["server"]
    assert server["analytics_enabled"] is False


def test_deployment_file_names_no_machine() -> None:
    assert os.fspath(ROOT) not in (ROOT / "deployments" / "prefect.yaml").read_text()
