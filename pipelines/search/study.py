"""What a search has tried and what to try next: Optuna's seeded TPE over each method's space, kept in a journal file.

Whatever was told is in the journal when the call returns; a search that was killed opens it and goes on. Trials that
were under way then are given up, and their settings asked again first. Numbers and names only are written.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from pipelines.audit.encoding import write_atomic
from pipelines.config import RunConfig
from pipelines.search.ranges import Choice, LogUniform, Range
from pipelines.search.spaces import space_named
from pipelines.search.trial import Setting, TrialResult, setting_of
from pipelines.settings import Scalar

RESULT, SPENT, METHOD, FIRST, KEY, FINAL = "result", "spent_s", "method", "first", "setting", "final:"
WORST = -100.0
"""What the sampler is told of a setting that diverged or ran out of time: no measured margin is as low."""

ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Asked:
    """A setting that is to be tried, and the sampler's own note of it.

    Attributes:
        setting: what to try.
        first: whether it is the method's known setting.
        trial: Optuna's.
    """

    setting: Setting
    first: bool
    trial: optuna.Trial


@dataclass(frozen=True, slots=True)
class Study:
    """The trials of one search."""

    base: RunConfig
    inner: optuna.Study

    @classmethod
    def opened(cls, path: Path, *, base: RunConfig, name: str) -> "Study":
        """The study in a journal file, made where there is none.

        Args:
            path: of the journal.
            base: configuration that the settings go into; its seed is the sampler's.
            name: of the study.
        """
        _mend(path)
        with _quiet():
            storage = JournalStorage(JournalFileBackend(str(path)))
            made = optuna.create_study(study_name=name, storage=storage, direction="maximize", load_if_exists=True)
            # Another seed at each opening: the same draws again would repeat what was tried before.
            seed = (base.seed + len(made.trials)) % 2**31
            made.sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True)
        return cls(base=base, inner=made)

    def left_behind(self) -> list[Asked]:
        """What was under way when an earlier process ended, asked anew."""
        running = self.inner.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        for trial in running:
            self.inner.tell(trial.number, state=TrialState.FAIL)
        return [
            self._asked(
                trial.user_attrs[METHOD],
                {name.partition(":")[2]: value for name, value in trial.params.items()},
                first=trial.user_attrs[FIRST],
            )
            for trial in running
            if KEY in trial.user_attrs  # the last thing noted when it was asked
        ]

    def ask(self, method: str) -> Asked | None:
        """A setting of the method that was not tried yet, its known one first; None where none is found any more."""
        tried = {trial.user_attrs.get(KEY) for trial in self.inner.get_trials(deepcopy=False)}
        if not any(trial.user_attrs.get(METHOD) == method for trial in self.inner.get_trials(deepcopy=False)):
            return self._asked(method, space_named(method).known, first=True)
        for _ in range(ATTEMPTS):
            asked = self._asked(method, {}, first=False)
            if asked.setting.key not in tried:
                return asked
            self.inner.tell(asked.trial, state=TrialState.FAIL)
        return None

    def look(self, asked: Asked, margin: float, *, look: int) -> None:
        """Note the margin at an early look."""
        with _quiet():
            asked.trial.report(margin, step=look)

    def looked(self, look: int) -> list[float]:
        """The margins of all trials at that look."""
        values = (trial.intermediate_values.get(look) for trial in self.inner.get_trials(deepcopy=False))
        return [value for value in values if value is not None]

    def tell(self, asked: Asked, result: TrialResult, *, spent: float) -> None:
        """Note how a trial ended, and the seconds that the whole search has used.

        The result is written before the trial is closed: a kill in between leaves it running, and it is asked anew.
        """
        asked.trial.set_user_attr(RESULT, result.plain())
        self.inner.set_user_attr(SPENT, spent)
        if result.ending == "pruned":
            self.inner.tell(asked.trial, state=TrialState.PRUNED)
        elif result.ending in ("refused", "failed"):
            self.inner.tell(asked.trial, state=TrialState.FAIL)
        else:
            self.inner.tell(asked.trial, WORST if result.margin is None else result.margin)

    def tell_final(self, result: TrialResult, *, spent: float) -> None:
        """Note what came of a finalist with a further seed."""
        self.inner.set_user_attr(f"{FINAL}{result.setting.key}:{result.seed}", result.plain())
        self.inner.set_user_attr(SPENT, spent)

    @property
    def results(self) -> list[TrialResult]:
        """Every trial that has ended, in the order in which they were asked."""
        trials = (t for t in self.inner.get_trials(deepcopy=False) if t.state.is_finished() and RESULT in t.user_attrs)
        return [TrialResult.model_validate(trial.user_attrs[RESULT]) for trial in trials]

    @property
    def finals(self) -> list[TrialResult]:
        """What finalists did with further seeds."""
        attrs = self.inner.user_attrs
        return [TrialResult.model_validate(value) for name, value in attrs.items() if name.startswith(FINAL)]

    @property
    def spent(self) -> float:
        """Seconds that were used up to the last thing told."""
        return float(self.inner.user_attrs.get(SPENT, 0.0))

    def _asked(self, method: str, fixed: Mapping[str, Scalar], *, first: bool) -> Asked:
        with _quiet():
            if fixed:
                self.inner.enqueue_trial({f"{method}:{name}": value for name, value in fixed.items()})
            trial = self.inner.ask()
            ranges = space_named(method).ranges
            chosen = {name: _suggest(trial, f"{method}:{name}", where) for name, where in ranges.items()}
        setting = setting_of(self.base, method, chosen)
        for name, value in {METHOD: method, FIRST: first, KEY: setting.key}.items():
            trial.set_user_attr(name, value)
        return Asked(setting=setting, first=first, trial=trial)


def _suggest(trial: optuna.Trial, name: str, where: Range) -> Scalar:
    if isinstance(where, Choice):
        chosen: Scalar = trial.suggest_categorical(name, where.options)  # type: ignore[assignment]  # of ours, no None
        return chosen
    return trial.suggest_float(name, where.low, where.high, log=isinstance(where, LogUniform))


def _mend(path: Path) -> None:
    """Cut off a line that a kill left half-written, and take away its lock: who searches holds the request."""
    path.with_name(path.name + ".lock").unlink(missing_ok=True)
    if path.is_file():
        text = path.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        if whole != text:
            write_atomic(path, whole)


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna without its log lines and without its notes that parts of it may change."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", category=optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)
