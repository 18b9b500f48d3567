"""Settings of one part of a run each: the prompt, the loop, adapters, measuring, looking for rows, forming the sets.

Records with bounds and one line about every field; a run's configuration is put together from them. Nothing here says
what a method's own parameters are, nor what must hold afterwards.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from pipelines.records import Record

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Scalar = bool | int | float | str
LayerName = Annotated[str, StringConstraints(pattern=r"^[\w.*?-]+$")]
TaskName = Annotated[str, StringConstraints(pattern=r"^[\w.:-]+$")]
MaskRule = Literal["all", "salun", "sure", "channels", "essential"]
FilterRule = Literal["none", "twins", "untrained", "either", "both"]


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
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        title="Precision",
        description=(
            "Arithmetic of the training passes; weights and their updates stay in float32. "
            "auto: bfloat16 on a GPU, float32 on a CPU."
        ),
    )
    wordings: bool = Field(
        default=False,
        title="Wordings",
        description="Also push every other wording that a forget row carries: its paraphrased question and answer.",
    )
    strength: Literal["constant", "gradual"] = Field(
        default="constant",
        title="Strength",
        description="Of the forget term. gradual: grows epoch by epoch to its full weight, or until the stop rule.",
    )
    l2: float = Field(
        default=0.0, ge=0, title="L2", description="Weight of the squared distance from the start weights."
    )
    wasserstein: float = Field(
        default=0.0,
        ge=0,
        title="Wasserstein",
        description="Weight of the squared sliced Wasserstein distance of the weights' rows from the start weights.",
    )
    layers: tuple[LayerName, ...] = Field(
        default=(),
        title="Layers",
        description="What trains: numbers of layers from 0, or patterns of weights' names (* is anything); empty: all.",
    )
    mask: MaskRule = Field(
        default="all",
        title="Mask",
        description=(
            "Which weights are updated. all; salun: those of largest gradient on the forget rows; sure: whole neurons; "
            "channels: rows and columns that matter for the forget rows; essential: rows that matter for these only."
        ),
    )
    mask_share: float | None = Field(
        default=None,
        gt=0,
        le=1,
        title="Mask share",
        description="Share of weights, neurons or channels a mask takes; unset: salun .5, sure and channels .1, "
        "essential .25.",
    )
    stop: Literal["epochs", "holdout", "gates"] = Field(
        default="epochs",
        title="Stop rule",
        description=(
            "epochs: run them all. holdout: a row leaves training once it is as unlikely as rows nobody trained on and "
            "no more of it can be extracted (a per-record stop, as in ICU); training ends when all have. "
            "gates: rows leave in the same way; training ends when the policy's pass marks hold against those rows."
        ),
    )
    patience: int = Field(
        default=1,
        ge=1,
        title="Patience",
        description="Epochs in a row that the stop rule must hold before the run ends; retain rows recover.",
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
    probes: tuple[Name, ...] = Field(
        default=(),
        title="Probes",
        description="Names from 'lethe list probes', beside those that the policy's gates read.",
    )
    rewrites: str | None = Field(
        default=None,
        title="Rewrites",
        description=(
            "DATA reference of other questions for training rows, written by a person or a language model: a row's own "
            "question and answer, and the other question as paraphrased_question. Read by the probe rewrites."
        ),
    )
    retain_sample: int = Field(
        default=400,
        ge=1,
        title="Retain sample",
        description="Most retain rows measured (a seeded sample, neighbours apart).",
    )
    samples: int = Field(
        default=0,
        ge=0,
        le=1000,
        title="Samples",
        description="Answers sampled per forget row, to see what sampling lets out; 0 samples none.",
    )
    samples_taken: int = Field(
        default=1, ge=1, title="Samples taken", description="How many of the samples an attacker looks at (k of n)."
    )
    temperature: float = Field(default=1.0, gt=0, le=10, title="Temperature", description="Of the sampled answers.")
    gradient_norms: bool = Field(
        default=False,
        title="Gradient norms",
        description="Also one backward pass per forget and holdout row: membership by gradient norm.",
    )
    embedder: str | None = Field(
        default=None,
        title="Embedder",
        description="Folder of a sentence encoder (safetensors) that compares answers by meaning; none: not compared.",
    )
    general_tasks: tuple[TaskName, ...] = Field(
        default=(),
        title="General tasks",
        description=(
            "Tasks of lm-evaluation-harness (extra lm-eval), run on start model and candidate, beside those that the "
            "policy's gate reads."
        ),
    )
    general_task_folder: str | None = Field(
        default=None,
        title="General task folder",
        description="Folder of further task files. Paths in them begin there; the evaluator runs code that they name.",
    )
    seeds: int = Field(
        default=1,
        ge=1,
        le=100,
        title="Seeds",
        description="How often whatever is drawn (resamples, answers, probes) is drawn anew; intervals hold all.",
    )

    @model_validator(mode="after")
    def _no_more_than_sampled(self) -> Self:
        if self.samples and self.samples_taken > self.samples:
            raise ValueError(f"samples_taken {self.samples_taken} exceeds samples {self.samples}")
        return self


class ShadowSettings(Record):
    """Small models that never saw the forget rows, for policies that let them stand in for a retrained one."""

    base: str = Field(
        title="Base model", description="Folder of the model that the start model was fine-tuned from (safetensors)."
    )
    models: int = Field(default=4, ge=2, le=64, title="Models", description="How many are trained.")
    rows: int = Field(default=400, ge=1, title="Rows", description="Most retain rows that each one is taught.")
    epochs: int = Field(default=48, ge=1, le=1000, title="Epochs", description="Passes over them.")
    rank: int = Field(default=32, ge=1, le=1024, title="Rank", description="Rank of the adapters.")


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
    filter: FilterRule = Field(
        default="none",
        title="Filter",
        description=(
            "Forget rows that are measured but not pushed. none; twins: a retain row says nearly the same; "
            "untrained: the start model finds them as unlikely as validation rows; either of these; both of these."
        ),
    )
    filter_similarity: float = Field(
        default=0.6, gt=0, le=1, title="Twin", description="Jaccard similarity of word 3-grams that makes rows twins."
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
