"""Artifacts are kept with a run, and are nothing outside of one."""

import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from tasks.artifacts import show_note, show_table


def test_outside_of_a_run_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("talked to a server")

    monkeypatch.setattr("tasks.artifacts.create_markdown_artifact", refused)
    monkeypatch.setattr("tasks.artifacts.create_table_artifact", refused)
    show_note("scope", "20 rows")
    show_table("scope", ["rows"], [[20]])


def test_a_row_with_a_cell_missing_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        show_table("scope", ["part", "rows"], [["forget"]])


@pytest.mark.usefixtures("prefect_env")
def test_a_run_keeps_them_by_stage() -> None:
    @task
    def shown_by_a_task() -> None:
        show_table("test-only", ["part", "rows"], [["forget", 20], ["retain", None]])

    @flow
    def shown_by_a_flow() -> None:
        show_note("test-only", "**20** rows")
        shown_by_a_task()

    shown_by_a_flow()
    with get_client(sync_client=True) as client:
        ours = ArtifactFilter(key=ArtifactFilterKey(like_="test-only-%"))
        kept = {artifact.key: artifact for artifact in client.read_artifacts(artifact_filter=ours)}
    assert kept["test-only-note"].data == "**20** rows"
    assert '"retain"' in str(kept["test-only-table"].data)
    assert kept["test-only-table"].task_run_id is not None
