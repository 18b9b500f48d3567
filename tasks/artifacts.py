"""What a stage shows in the Prefect UI: a note or a table, kept with the run.

Numbers, names and digests only: an artifact lies in Prefect's database, where nothing is erased with a request.
Outside of a run there is nobody to show it to, and nothing happens.
"""

from collections.abc import Sequence

from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.context import FlowRunContext, TaskRunContext

Cell = str | int | float | bool | None


def show_note(stage: str, markdown: str) -> None:
    """Show a note.

    Args:
        stage: names the artifact, whose history over runs the UI shows: lower-case letters, digits and dashes.
        markdown: what it says.
    """
    if _in_a_run():
        create_markdown_artifact(markdown, key=f"{stage}-note", description=f"Stage {stage}")


def show_table(stage: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Show a table.

    Args:
        stage: as in :func:`show_note`.
        columns: their headings.
        rows: as many cells each.

    Raises:
        ValueError: a row has another number of cells than there are columns.
    """
    table = [dict(zip(columns, row, strict=True)) for row in rows]
    if _in_a_run():
        create_table_artifact(table, key=f"{stage}-table", description=f"Stage {stage}")


def _in_a_run() -> bool:
    return TaskRunContext.get() is not None or FlowRunContext.get() is not None
