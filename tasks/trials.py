"""Trials of a search, each a task run: train as far as allowed, measure, judge by the run's own policy.

The start model and the reference are measured once, by the stages of every run; a trial reads those measurements from
the vault. What a trial trained stays in the vault while it may go on and is removed when it has been measured or has
lost: a winner is made again, to the same digest, by the run that erases with it.
"""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pipelines.errors import BadInput, TrainingDiverged
from pipelines.evaluation.evaluate import evaluation_of, score_model
from pipelines.evaluation.judgement import judge
from pipelines.evaluation.probing import probe_model, wanted_probes
from pipelines.evaluation.seeds import over_seeds, seed_list
from pipelines.models.loading import LoadedModel, load_model, resolve_device
from pipelines.records import Evaluation, Record, Role
from pipelines.scoring.questions import Asked
from pipelines.scoring.store import ScoreStore
from pipelines.scoring.table import HOLDOUT, ModelScores
from pipelines.search.training import Allowance, OutOfTime, Paused, clear, epochs_so_far, train_within, trained_so_far
from pipelines.search.trial import Setting, TrialResult, config_of, judged, worst_margin
from pipelines.steps import IDENTITY
from pipelines.training.loop import Progress as StepProgress
from pipelines.unlearning.job import UnlearningJob
from pipelines.unlearning.stages import export as export_model
from pipelines.unlearning.stages import reference_statistics
from tasks.device import device_slot
from tasks.evaluation import (
    metrics_of,
    model_of,
    read_scores,
    readings_under,
    scored_seeds,
    settings_of,
    splits_of,
    write_scores,
)
from tasks.general import general_added, readings_on
from tasks.intake import rows_of
from tasks.probes import subject_of
from tasks.progress import Progress
from tasks.stage import stage
from tasks.surrogate import other_roles
from tasks.unlearning import job_of
from tasks.workspace import RunContext, Workspace, read_record, write_record

LOOK_ROWS = 20
"""Rows of each split at an early look."""

LOOK = "search-look"


class Spent(Record):
    """Seconds of earlier tries of a trial."""

    seconds: float = 0.0


@stage("compare: early look at start and reference", retries=0)
def prepare_looks(run: RunContext) -> None:
    """Score start model and reference once on the few rows that early looks use."""
    ws = Workspace.of(run)
    asked, roles = _looked_at(ws), other_roles(run)

    def build(part: Path) -> None:
        for role in roles:
            model = model_of(ws, role)
            with _slot(ws):
                loaded = load_model(model.path, device=resolve_device(run.config.device), expected_digest=model.digest)
                store = ScoreStore(ws.home.vault(run.request_id) / "scores")
                scores = _scored(ws, loaded, asked, store=store, seed=run.config.seed)
            (part / role).mkdir(exist_ok=True)
            write_scores(part / role, scores)

    inputs = {
        "models": [model_of(ws, role).digest for role in roles],
        "splits": {name: ws.keyed(rows.digest) for name, rows in asked.splits.items()},
        "evaluation": run.config.evaluation.plain(),
        "format": run.config.prompt_format.plain(),
    }
    ws.step(LOOK, inputs, build, private=True)


@stage("compare: trial", retries=0)
def try_setting(run: RunContext, setting: Setting, seed: int, allowance: Allowance) -> TrialResult:
    """Try a setting with one seed of its training, as far as allowed.

    Args:
        run: whose configuration the setting goes into; models and rows are measured with its seed.
        setting: what to try.
        seed: of the training.
        allowance: how far.
    """
    result = TrialResult(setting=setting, seed=seed, ending="failed")
    try:
        ws = Workspace.of(run.model_copy(update={"config": config_of(run.config, setting)}))
        job = _seeded(job_of(ws), seed)
    except BadInput as error:
        return result.model_copy(update={"ending": "refused", "reason": str(error)})
    trial = _Trial(ws=ws, job=job, name=trial_name(setting, seed), began=time.monotonic(), result=result)
    return trial.run(allowance)


def trial_name(setting: Setting, seed: int) -> str:
    """The name of a trial's step."""
    return f"trial-{setting.key}-{seed}"


def discard(run: RunContext, setting: Setting, seed: int) -> None:
    """Remove what a trial left that will not go on."""
    part = Workspace.of(run).folder(f"{trial_name(setting, seed)}.part", private=True)
    shutil.rmtree(part, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class _Trial:
    """One try of a trial."""

    ws: Workspace
    job: UnlearningJob
    name: str
    began: float
    result: TrialResult

    def run(self, allowance: Allowance) -> TrialResult:
        """As far as allowed; what is trained so far stays for the next try where there may be one."""
        part = self.ws.folder(f"{self.name}.part", private=True)
        ended: dict[str, object]
        try:
            with _slot(self.ws):
                folder = self.ws.step(self.name, self._inputs(), lambda at: self._build(at, allowance), private=True)
            return read_record(folder, "result", TrialResult)
        except Paused:
            ended = {"ending": "early", "margin": self._look(part), "epochs": epochs_so_far(part)}
        except OutOfTime:
            ended = {"ending": "out_of_time", "reason": f"stopped after {epochs_so_far(part)} epochs"}
        except (BadInput, TrainingDiverged) as error:
            ended = {"ending": "diverged" if isinstance(error, TrainingDiverged) else "refused", "reason": str(error)}
        seconds = self._seconds(part)
        if ended["ending"] == "early":
            write_record(part, "spent", Spent(seconds=seconds))
        else:
            shutil.rmtree(part, ignore_errors=True)
        return self.result.model_copy(update={**ended, "seconds": seconds})

    def _inputs(self) -> dict[str, object]:
        others = {role: self.ws.outputs(f"evaluate-{role}") for role in other_roles(self.ws.run)}
        policy = self.ws.run.policy.content_digest()
        return {"job": self.ws.keyed(self.job.identity), "others": others, "policy": policy, "seed": self.result.seed}

    def _build(self, part: Path, allowance: Allowance) -> None:
        config, progress = self.ws.run.config, Progress(f"trial {self.name}")

        def tell(at: StepProgress) -> None:
            progress(at.step, at.total)

        reference_statistics(self.job, part)
        trained = train_within(self.job, part, reference=part, allowance=allowance, clock=time.monotonic, tell=tell)
        shutil.rmtree(part / "model", ignore_errors=True)
        made = export_model(self.job, part / "model", trained=part)
        loaded = load_model(made.model.path, device=resolve_device(config.device), expected_digest=made.model.digest)
        evaluation = general_added(self.ws, self._evaluated(loaded), readings_on(self.ws, loaded, "candidate", part))
        others = [
            read_record(self.ws.folder(f"evaluate-{r}"), "evaluation", Evaluation) for r in other_roles(self.ws.run)
        ]
        facts = {"candidate": made.model.digest, "steps": trained.steps, "epochs": trained.epochs}
        measured = judged(
            self.result.model_copy(update={**facts, "ending": "complete", "stop_reason": trained.stop_reason}),
            evaluation,
            judge(self.ws.run.policy, (evaluation, *others)),
        )
        result = measured.model_copy(update={"seconds": self._seconds(part)})
        clear(part, keep=frozenset({IDENTITY}))
        write_record(part, "evaluation", evaluation)
        write_record(part, "result", result)

    def _evaluated(self, loaded: LoadedModel) -> Evaluation:
        """The candidate as the run itself would measure it."""
        ws, config = self.ws, self.ws.run.config
        names, splits = wanted_probes(config.evaluation.probes, ws.run.policy), splits_of(ws)
        start = load_model(self.job.model.path, device=resolve_device(config.device)) if names else None
        asked = Asked(splits, config.prompt_format)
        scored = [_scored(ws, loaded, asked, store=None, seed=seed) for seed in scored_seeds(ws.run)]
        found = []
        for place, seed in enumerate(seed_list(config.seed, config.evaluation.seeds)):
            subject = replace(subject_of(ws, loaded, start, splits), seed=seed) if start else None
            table = probe_model(subject, names) if subject else None
            taken = readings_under(ws, scored[min(place, len(scored) - 1)], table, place=place)
            found.append(evaluation_of(taken, role="candidate", model_digest=loaded.ref.digest))
        return over_seeds(found)

    def _look(self, part: Path) -> float | None:
        """The worst margin of what is trained so far, on few rows, over the gates that those can speak for."""
        ws = self.ws
        folder = ws.folder(LOOK, private=True)
        scores: dict[Role, ModelScores] = {role: read_scores(folder / role) for role in other_roles(ws.run)}
        so_far = trained_so_far(self.job, part)
        scores["candidate"] = _scored(ws, so_far, _looked_at(ws), store=None, seed=ws.run.config.seed)
        taken = {role: metrics_of(ws.run, one, scores.get("reference")) for role, one in scores.items()}
        evaluations = [evaluation_of(t, role=r, model_digest=scores[r].model_digest) for r, t in taken.items()]
        return worst_margin(judge(ws.run.policy, evaluations).gates, measured_only=True)

    def _seconds(self, part: Path) -> float:
        spent = part / "spent.json"
        before = read_record(part, "spent", Spent).seconds if spent.is_file() else 0.0
        return before + time.monotonic() - self.began


def _seeded(job: UnlearningJob, seed: int) -> UnlearningJob:
    return replace(job, seed=seed)


def _looked_at(ws: Workspace) -> Asked:
    """A few rows of each split; validation rows stand in for the holdout, which measures and must not steer."""
    splits, validation = splits_of(ws), rows_of(ws, "validation")
    splits.pop(HOLDOUT, None)
    if validation is not None:
        splits[HOLDOUT] = validation
    few = {name: rows.select(range(min(LOOK_ROWS, len(rows)))) for name, rows in splits.items()}
    return Asked(few, ws.run.config.prompt_format)


def _scored(ws: Workspace, loaded: LoadedModel, asked: Asked, *, store: ScoreStore | None, seed: int) -> ModelScores:
    return score_model(loaded, asked, settings=settings_of(ws), seed=seed, store=store)


@contextmanager
def _slot(ws: Workspace) -> Iterator[None]:
    """The device where it is one that runs must not share; processors are shared by as many trials as were asked."""
    if resolve_device(ws.run.config.device).type == "cpu":
        yield
        return
    with device_slot(ws.home):
        yield
