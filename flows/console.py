"""What a person sees in a terminal: a live line per stage while work goes on, tables when it is done.

Logs and progress go to stderr.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table


class StageBars(logging.Handler):
    """Shows the records of ``lethe.progress`` as one bar per stage."""

    def __init__(self, progress: Progress) -> None:
        super().__init__(level=logging.INFO)
        self._progress = progress
        self._bars: dict[str, TaskID] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Move the bar of the record's stage."""
        stage = getattr(record, "stage", None)
        if not isinstance(stage, str):
            return
        if stage not in self._bars:
            self._bars[stage] = self._progress.add_task(stage, total=1, detail="")
        fields = {name: getattr(record, name, None) for name in ("done", "total", "detail")}
        done, total = fields["done"], fields["total"]
        if isinstance(done, int) and isinstance(total, int):
            self._progress.update(self._bars[stage], completed=done, total=total, detail=str(fields["detail"] or ""))


@contextmanager
def live_stages(*, quiet: bool) -> Iterator[None]:
    """Show progress on stderr while the block runs; plain lines where stderr is no terminal, nothing when quiet."""
    logger = logging.getLogger("lethe")
    logger.setLevel(logging.INFO)
    console = Console(stderr=True)
    if quiet:
        yield
        return
    if not console.is_terminal:
        handler: logging.Handler = PlainLines(console)
        with _attached(logger, handler):
            yield
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TimeElapsedColumn(),
    )
    with (
        Progress(*columns, TextColumn("{task.fields[detail]}"), console=console) as progress,
        _attached(logger, StageBars(progress)),
    ):
        yield


class PlainLines(logging.Handler):
    """One line when a stage begins and ends, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        super().__init__(level=logging.INFO)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record; of progress records only the last of a stage."""
        unfinished = getattr(record, "done", None) != getattr(record, "total", None)
        if record.name == "lethe.progress" and unfinished:
            return
        self._console.print(record.getMessage(), markup=False, highlight=False)


@contextmanager
def _attached(logger: logging.Logger, handler: logging.Handler) -> Iterator[None]:
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table of strings; the first column is left-aligned, the others right."""
    made = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        made.add_column(column, justify="left" if i == 0 else "right", overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made
