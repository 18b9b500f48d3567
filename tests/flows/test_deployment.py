"""The deployments as an operator uses them: deployed from their file, triggered through the API, run by real workers.

Who makes the candidate and who measures and signs are two workers of two pools; the first has no evaluator's key.
"""

import os
import shutil
from contextlib import ExitStack
from pathlib import Path

import mlflow
import yaml

from pipelines.provenance import ROOT
from tests.flows.company import REQUEST, found
from tests.servers import PrefectServer, process_worker, wait_until

TERMINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


POOLS = ("lethe-gpu", "lethe-evaluator")


def _deploy(server: PrefectServer) -> dict[str, object]:
    for pool in POOLS:
        server.prefect("work-pool", "create", pool, "--type", "process", "--overwrite", cwd=ROOT)
    server.prefect("deploy", "--all", "--prefect-file", "deployments/prefect.yaml", cwd=ROOT)
    return _deployment(server)


def _deployment(server: PrefectServer) -> dict[str, object]:
    listed = server.post("deployments/filter", {}).json()
    found_one: dict[str, object] = next(item for item in listed if item["name"] == "on-request")
    return found_one


def test_deployment_runs_a_request_to_a_registered_version(local_server: PrefectServer, tmp_path: Path) -> None:
    company = found(tmp_path)
    deployment = _deploy(local_server)
    _check_form(deployment["parameter_openapi_schema"])

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    environment = {**local_server.environment, "LETHE_ROOT": str(ROOT), "MLFLOW_TRACKING_URI": uri}
    server = PrefectServer(url=local_server.url, api=local_server.api, environment=environment)
    parameters = {
        "request": {"id": REQUEST, "path": str(company.request)},
        "config": yaml.safe_load(company.config.read_text()),
        "policy": str(company.policy),
        "home": str(company.home),
    }
    with ExitStack() as workers:
        for pool in POOLS:
            workers.enter_context(process_worker(server, pool=pool, cwd=tmp_path, log=tmp_path / f"{pool}.log"))
        asked = {"parameters": parameters, "idempotency_key": REQUEST}
        run = server.post(f"deployments/{deployment['id']}/create_flow_run", asked).json()

        def ended() -> bool:
            states = server.post("flow_runs/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}}).json()
            return states[0]["state_type"] in TERMINAL

        wait_until(ended, seconds=400, what="the flow run")
    [ended_run] = server.post("flow_runs/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}}).json()
    assert ended_run["state_type"] == "COMPLETED", "".join(
        (tmp_path / f"{pool}.log").read_text()[-3000:] for pool in POOLS
    )
    client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
    version = client.get_model_version_by_alias("tiny", "challenger")
    assert version.tags["lethe.request"] == REQUEST
    _check_stages(server, run["id"], _assessment(server))


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


def test_invalid_parameters_are_refused_by_the_server(local_server: PrefectServer) -> None:
    import httpx

    deployment = _deploy(local_server)
    body = {"parameters": {"request": {"id": "!", "path": "x"}, "config": {}}}
    answer = local_server.ask(f"deployments/{deployment['id']}/create_flow_run", body)
    assert answer.status_code == httpx.codes.CONFLICT
    assert "Validation failed" in answer.text


def test_deployment_file_names_no_machine(tmp_path: Path) -> None:
    copied = shutil.copy(ROOT / "deployments" / "prefect.yaml", tmp_path)
    assert os.fspath(ROOT) not in Path(copied).read_text()
