"""General capability must stay: what the candidate lost against the start model on named tasks, row by row."""

from pydantic import Field

from pipelines.gates.base import Finding, Gate, GateParams, Judged, all_of, at_most

MEASURED = "lm_eval_"
"""What measures of general tasks begin with; the rest is the harness's own name."""
LOST = "_lost"


class GeneralMarks(GateParams):
    """Pass marks."""

    most_lost: float = Field(
        ge=0, le=1, title="Most lost", description="Most that the upper end of the mean loss per row may be."
    )
    tasks: str = Field(
        pattern=r"^[\w.:-]+(,[\w.:-]+)*$",
        title="Tasks",
        description="Tasks of lm-evaluation-harness, by commas; they are run for the gate, and each one must pass.",
    )
    metric: str = Field(
        default="acc", pattern=r"^[\w.:-]+$", title="Metric", description="Which of the tasks' metrics is read."
    )

    @property
    def names(self) -> tuple[str, ...]:
        """The tasks, one by one."""
        return tuple(self.tasks.split(","))


def check(judged: Judged, params: GeneralMarks) -> Finding:
    """The paired loss of every task, at its upper end."""
    return all_of([_task(judged, name, params) for name in params.names])


def _task(judged: Judged, name: str, params: GeneralMarks) -> Finding:
    loss = judged.number("candidate", f"{MEASURED}{params.metric}{LOST}", name).interval
    return at_most(f"{params.metric} of {name}, lost against the start", high=loss.high, limit=params.most_lost)


GATE = Gate(
    name="general_tasks",
    title="General capability kept",
    version="1",
    source="lm-evaluation-harness, arXiv 2405.14782",
    params=GeneralMarks,
    check=check,
)
