"""One trial of a search: a setting, the configuration it stands for, and what came of it.

A trial is judged like any candidate, by the policy and nothing else; its margin is the worst over the policy's gates,
so that "how far from passing" is one number. A result holds figures, digests and names, no text.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from pipelines.audit.canonical import digest
from pipelines.audit.label import label_for
from pipelines.audit.manifest import folder_digest
from pipelines.config import RunConfig, validated
from pipelines.methods import METHODS
from pipelines.methods.base import Procedure
from pipelines.records import Digest, Evaluation, GateResult, Record, Verdict
from pipelines.scoring.table import FORGET
from pipelines.search.ranges import RATE
from pipelines.settings import Name, Scalar, TrainingSettings

FIGURES: Mapping[str, tuple[str, str]] = {
    "extraction": ("extraction_strength", FORGET),
    "probability": ("probability", FORGET),
    "membership": ("min_k", FORGET),
    "utility": ("model_utility", "utility"),
}
"""What a leaderboard shows of a model: a metric on a split."""

DIGITS = 4

Ending = Literal["complete", "early", "pruned", "diverged", "out_of_time", "refused", "failed"]
"""How a trial stands: measured in full; measured early and waiting; and why it has no measurement."""


class Setting(Record):
    """A method and what a search chose for it, by dotted name in a configuration."""

    method: Name
    values: dict[str, Scalar]

    @property
    def key(self) -> str:
        """A short name of the setting, the same wherever it is tried."""
        return digest(self.plain())[:16]

    @property
    def named(self) -> str:
        """The method as people read it, with its label where it erases nothing."""
        label = label_for(self.method)
        return f"{self.method} ({label})" if label else self.method

    def shown(self) -> str:
        """The values in one line."""
        return ", ".join(f"{name.rpartition('.')[2]} {value}" for name, value in sorted(self.values.items()))


class Gap(Record):
    """How far inside a gate's mark a candidate lies; below 0 it fails, None was not measured."""

    gate: str
    margin: float | None
    reason: str


class TrialResult(Record):
    """What came of a setting with one seed.

    Attributes:
        margin: the worst over the gates; None where one was not measured or there is no candidate.
        seconds: of training and measuring, over all tries.
        epochs: passes over the forget set.
        figures: of :data:`FIGURES`, those that were measured.
        reason: why there is no measurement.
    """

    setting: Setting
    seed: int
    ending: Ending
    margin: float | None = None
    passed: bool = False
    gaps: tuple[Gap, ...] = ()
    figures: dict[str, float] = Field(default={})
    candidate: Digest | None = None
    steps: int = 0
    epochs: int = 0
    stop_reason: str = ""
    seconds: float = 0.0
    reason: str = ""

    @property
    def tightest(self) -> Gap | None:
        """The gate that decides: one that was not measured, else the one with the least margin."""
        return min(self.gaps, key=lambda gap: (gap.margin is not None, gap.margin or 0.0), default=None)


def setting_of(base: RunConfig, method: str, chosen: Mapping[str, Scalar]) -> Setting:
    """A sampler's choice as a setting: rates made absolute, numbers short enough to be read.

    What a method has no use for stands at its default, whatever the configuration says for the others.
    """
    values: dict[str, Scalar] = {"training.wordings": True}
    if base.validation is not None:
        values["training.stop"] = "holdout"
    for name, value in chosen.items():
        number = float(value) * base.training.learning_rate if name == RATE else value
        values[name] = float(f"{number:.{DIGITS}g}") if isinstance(number, float) else number
    defaults = TrainingSettings().plain()
    untaken = {f"training.{name}": defaults[name] for name in sorted(_untaken(method))}
    return Setting.model_validate({"method": method, "values": {**values, **untaken}})


def _untaken(name: str) -> frozenset[str]:
    method = METHODS.require(name)
    return method.untaken if isinstance(method, Procedure) else frozenset()


def config_of(base: RunConfig, setting: Setting) -> RunConfig:
    """The configuration that a setting stands for: the base's, with the setting's values in it.

    A method that begins with the model before fine-tuning finds it where shadow models would.

    Raises:
        BadInput: the method does not take one of the values.
    """
    plain = base.plain()
    params: dict[str, Scalar] = {}
    if base.shadow is not None and "base" in METHODS.require(setting.method).params.model_fields:
        params = {"base": base.shadow.base, "base_digest": folder_digest(Path(base.shadow.base))}
    plain["params"] = {**params, **(base.params if base.method == setting.method else {})}
    for name, value in setting.values.items():
        part, _, field = name.partition(".")
        section = plain[part]
        plain[part] = {**(section if isinstance(section, dict) else {}), field: value}
    config = validated(RunConfig, {**plain, "method": setting.method}, where=f"setting of {setting.method}")
    config.method_params()
    return config


def judged(result: TrialResult, evaluation: Evaluation, verdict: Verdict) -> TrialResult:
    """The result with what was measured and what the policy says of it."""
    update = {
        "margin": worst_margin(verdict.gates),
        "passed": verdict.passed,
        "gaps": tuple(Gap(gate=gate.gate, margin=gate.margin, reason=gate.reason) for gate in verdict.gates),
        "figures": figures_of(evaluation),
    }
    return result.model_copy(update=update)


def figures_of(evaluation: Evaluation) -> dict[str, float]:
    """Those of :data:`FIGURES` that were measured."""
    found = {name: evaluation.find(*where) for name, where in FIGURES.items()}
    return {name: m.value for name, m in found.items() if m is not None and m.value is not None}


def worst_margin(gates: tuple[GateResult, ...], *, measured_only: bool = False) -> float | None:
    """The least margin over the gates; None where a gate was not measured.

    Args:
        gates: of a verdict.
        measured_only: leave out those that were not measured, as an early look does.
    """
    margins = [gate.margin for gate in gates if gate.margin is not None]
    whole = margins and (measured_only or len(margins) == len(gates))
    return min(margins) if whole else None
