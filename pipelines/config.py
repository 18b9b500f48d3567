"""The two files that decide a run, each with its own digest.

RunConfig says what is done, with what; Policy says what must hold afterwards. Both are read from YAML or built in
Python; there is no interpolation and no inheritance. They are separate because who runs a method must not choose the
pass mark afterwards: the policy's digest is logged before training begins. Method parameters are validated here through
the method's own model, gate parameters through the gate's.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import yaml
from pydantic import BaseModel, Field, StringConstraints, ValidationError, field_validator

from pipelines.errors import BadInput
from pipelines.records import Record, RequestFile

if TYPE_CHECKING:
    from pipelines.methods import MethodParams

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Scalar = bool | int | float | str
RecordT = TypeVar("RecordT", bound=BaseModel)


class PromptFormat(Record):
    """How a question is written before the answer; part of a run's identity, because it changes every number."""

    prompt: str = Field(
        default="Question: {question}\nAnswer:",
        title="Prompt",
        description="Text before the answer; '{question}' is replaced. Not used with the chat template.",
        pattern=r"\{question\}",
    )
    separator: str = Field(default=" ", title="Separator", description="Text between the prompt and the answer.")
    chat: bool = Field(
        default=False, title="Chat template", description="Put the question through the tokenizer's own chat template."
    )


class LoraSettings(Record):
    """Train low-rank adapters (LoRA, arXiv 2106.09685) instead of all weights; merged into the candidate."""

    r: int = Field(default=16, ge=1, le=1024, title="Rank", description="Rank of each adapter.")
    alpha: int = Field(default=32, ge=1, title="Alpha", description="Scale: the update is alpha / r times the product.")
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0, title="Dropout", description="Dropout on the adapter's input.")
    target_modules: tuple[str, ...] | Literal["all-linear"] = Field(
        default="all-linear",
        title="Target modules",
        description="Names of the modules that get an adapter, or all-linear.",
    )


class TrainingSettings(Record):
    """The loop that every method shares."""

    learning_rate: float = Field(default=1e-5, gt=0, le=1, title="Learning rate", description="Peak rate of AdamW.")
    epochs: int = Field(
        default=10,
        ge=1,
        le=1000,
        title="Epochs",
        description="Most passes over the forget set; the stop rule may end earlier.",
    )
    batch_size: int = Field(
        default=8, ge=1, title="Batch size", description="Forget rows per step; as many retain rows go with them."
    )
    gradient_accumulation: int = Field(
        default=1, ge=1, title="Gradient accumulation", description="Batches per optimiser step."
    )
    warmup_steps: int = Field(default=0, ge=0, title="Warm-up steps", description="Optimiser steps of linear warm-up.")
    schedule: Literal["constant", "linear"] = Field(
        default="constant", title="Schedule", description="Learning rate after the warm-up."
    )
    weight_decay: float = Field(default=0.0, ge=0, title="Weight decay", description="Decoupled weight decay of AdamW.")
    max_grad_norm: float = Field(
        default=1.0, gt=0, title="Gradient norm", description="Gradients are clipped to this norm."
    )
    gradient_checkpointing: bool = Field(
        default=False, title="Gradient checkpointing", description="Trade time for memory."
    )
    wordings: bool = Field(
        default=False,
        title="Wordings",
        description="Also push every other wording that a forget row carries: its paraphrased question and answer.",
    )
    stop: Literal["epochs", "holdout"] = Field(
        default="epochs",
        title="Stop rule",
        description=(
            "epochs: run them all. holdout: a row leaves training once it is as unlikely as rows nobody trained on, "
            "and training ends when all have."
        ),
    )
    patience: int = Field(
        default=1,
        ge=1,
        title="Patience",
        description="Epochs in a row that rows must stay at their level before the run ends; retain rows recover.",
    )


class EvaluationSettings(Record):
    """How the models are measured."""

    batch_size: int = Field(default=32, ge=1, title="Batch size", description="Rows per forward pass.")
    max_new_tokens: int = Field(default=64, ge=1, title="New tokens", description="Most tokens generated per answer.")
    bootstrap: int = Field(default=1000, ge=100, title="Bootstrap samples", description="Resamples per interval.")
    confidence: float = Field(default=0.95, gt=0.5, lt=1, title="Confidence", description="Coverage of the intervals.")
    metrics: tuple[Name, ...] = Field(
        default=(), title="Metrics", description="Names from 'lethe list metrics'; empty for all."
    )
    retain_sample: int = Field(
        default=400,
        ge=1,
        title="Retain sample",
        description="Most retain rows measured (a seeded sample, neighbours apart).",
    )


class AttributionSettings(Record):
    """How training rows that the request did not name are looked for."""

    backends: tuple[Name, ...] = Field(
        default=("bm25", "gradient"), title="Backends", description="Names from 'lethe list attributors'."
    )
    top_k: int = Field(default=20, ge=1, title="Top k", description="Rows kept per query row and backend.")


class ScopeSettings(Record):
    """What becomes of rows that attribution found, and which retain rows count as neighbours."""

    additions: Literal["propose", "near_duplicates"] = Field(
        default="near_duplicates",
        title="Additions",
        description=(
            "propose: only report rows the request did not name. "
            "near_duplicates: also add near-copies of forget rows to the forget set."
        ),
    )
    near_duplicate: float = Field(
        default=0.8,
        gt=0,
        le=1,
        title="Near duplicate",
        description="Jaccard similarity of word 3-grams from which two rows are near-duplicates.",
    )
    neighbours: int = Field(
        default=40, ge=1, title="Neighbours", description="Retain rows closest to the forget set, measured apart."
    )


class QualitySettings(Record):
    """Bounds of the data-quality gates on the forget and retain sets."""

    max_forget_fraction: float = Field(
        default=0.5,
        gt=0,
        lt=1,
        title="Forget fraction",
        description="Largest share of the training rows that may be forgotten.",
    )
    min_retain: int = Field(default=10, ge=1, title="Retain rows", description="Fewest retain rows.")
    min_neighbours: int = Field(default=1, ge=0, title="Neighbour rows", description="Fewest neighbour rows.")


class RunConfig(Record):
    """Everything that a run does, and with what; its digest is in every log entry and certificate of the run."""

    model: str = Field(title="Start model", description="Folder of the fine-tuned causal language model (safetensors).")
    train: str = Field(title="Training data", description="DATA reference of the rows the model was fine-tuned on.")
    reference: str | None = Field(
        default=None,
        title="Reference model",
        description="Folder of a matched model retrained without the forget rows, where there is one.",
    )
    holdout: str | None = Field(
        default=None,
        title="Holdout",
        description="DATA reference of rows like the forget set that no model was trained on.",
    )
    validation: str | None = Field(
        default=None,
        title="Validation",
        description="DATA reference of further rows like the holdout; the stop rule looks at them, so no measure does.",
    )
    utility: dict[Name, str] = Field(
        default={}, title="Utility sets", description="Name to DATA reference: what the model must still know."
    )
    method: Name = Field(title="Method", description="Name from 'lethe list methods'.")
    params: dict[Name, Scalar] = Field(
        default={}, title="Method parameters", description="Parameters of the method; 'lethe list methods' shows them."
    )
    lora: LoraSettings | None = Field(
        default=None, title="LoRA", description="Adapter settings; empty trains all weights."
    )
    training: TrainingSettings = Field(default=TrainingSettings(), title="Training", description="The loop.")
    attribution: AttributionSettings = Field(
        default=AttributionSettings(), title="Attribution", description="Looking for rows."
    )
    scope: ScopeSettings = Field(default=ScopeSettings(), title="Scope", description="Forming the sets.")
    quality: QualitySettings = Field(default=QualitySettings(), title="Data quality", description="Gates on the sets.")
    evaluation: EvaluationSettings = Field(default=EvaluationSettings(), title="Evaluation", description="Measuring.")
    prompt_format: PromptFormat = Field(
        default=PromptFormat(), title="Prompt format", description="How a question is put to the model."
    )
    registered_name: str = Field(
        default="lethe",
        pattern=r"^[A-Za-z0-9_.-]{1,128}$",
        title="Registered model",
        description="Name in the MLflow registry.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", title="Device", description="Where the model runs.")
    seed: int = Field(default=0, ge=0, le=2**31 - 1, title="Seed", description="Of everything random in the run.")

    @field_validator("method")
    @classmethod
    def _known_method(cls, name: str) -> str:
        from pipelines.methods import METHODS  # noqa: PLC0415 - loads torch, when a run is configured

        return METHODS.require(name).name

    def method_params(self) -> "MethodParams":
        """The method's parameters, validated through its own model.

        Raises:
            BadInput: an unknown parameter, or one out of range.
        """
        from pipelines.methods import METHODS  # noqa: PLC0415 - loads torch, when a run is configured

        params: type[MethodParams] = METHODS.require(self.method).params
        return validated(params, self.params, where=f"params of method {self.method}")


class Policy(Record):
    """What must hold before a candidate is registered: gates by name, each with its pass marks. Judged fail-closed."""

    name: Name = Field(title="Name", description="Of the policy.")
    description: str = Field(title="Description", description="Why these marks; where each comes from.")
    gates: dict[Name, dict[Name, Scalar]] = Field(
        min_length=1, title="Gates", description="Name from 'lethe list gates' to its parameters."
    )


def _allowed(error: Mapping[str, object]) -> str:
    context = error.get("ctx")
    bounds = ", ".join(f"{k} {v}" for k, v in context.items() if k != "error") if isinstance(context, Mapping) else ""
    return f" ({bounds})" if bounds else ""


def validated(model: type[RecordT], value: object, *, where: str) -> RecordT:
    """``value`` through ``model``; every problem in one line, without the values (they may be a person's).

    Raises:
        BadInput: naming each wrong field and what is allowed.
    """
    try:
        return model.model_validate(value)
    except BadInput as error:  # a registry's, which pydantic lets through
        problems = [str(error)]
    except ValidationError as error:
        problems = []
        for item in error.errors(include_url=False, include_input=False):
            field = ".".join(str(part) for part in item["loc"]) or "(whole)"
            known = (
                f"; known: {', '.join(model.model_fields)}"
                if item["type"] == "extra_forbidden" and len(item["loc"]) == 1
                else ""
            )
            problems.append(f"{field}: {item['msg']}{known}")
    raise BadInput(f"{where}: {'; '.join(problems)}")


def _read_yaml(path: Path) -> object:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        problem = "no such file"
    except (OSError, UnicodeDecodeError) as error:
        problem = type(error).__name__
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = f"not valid YAML{f' at line {mark.line + 1}' if mark else ''}"
    raise BadInput(f"{path}: {problem}; a readable YAML file is needed")


def load_config(path: Path) -> RunConfig:
    """The run's configuration from a YAML file. Raises BadInput."""
    return validated(RunConfig, _read_yaml(path), where=str(path))


def load_policy(path: Path) -> Policy:
    """The policy from a YAML file. Raises BadInput."""
    return validated(Policy, _read_yaml(path), where=str(path))


def load_request(path: Path) -> RequestFile:
    """The request from a YAML file, its text included: call it for the vault only. Raises BadInput."""
    return validated(RequestFile, _read_yaml(path), where=str(path))
