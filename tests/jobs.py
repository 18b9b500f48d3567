"""A tiny model that knows its rows, and unlearning jobs on it; made from seeds in a few seconds."""

from pathlib import Path
from typing import Any

from pipelines.audit.manifest import folder_digest
from pipelines.config import LoraSettings, PromptFormat, TrainingSettings
from pipelines.data.encode import encode
from pipelines.data.rows import Rows
from pipelines.methods import METHODS
from pipelines.records import ModelRef
from pipelines.training.finetune import FineTuneSettings, fine_tune
from pipelines.unlearning.job import UnlearningJob
from tests.tiny import CONTEXT, save_tiny, tiny_model, tiny_rows, tiny_tokenizer

FORGET = tiny_rows(6)
RETAIN = tiny_rows(10, first=20)
HOLDOUT = tiny_rows(8, first=60)
PROMPT = PromptFormat(prompt="{question}")


def save_taught(path: Path) -> ModelRef:
    """A model that has been taught the forget and retain rows, but no holdout row."""
    save_tiny(path)
    model, tokenizer = tiny_model(), tiny_tokenizer()
    items = [
        encode(tokenizer, row.question, row.answer, prompt_format=PROMPT, max_length=CONTEXT, row=i)
        for i, row in enumerate((*FORGET, *RETAIN))
    ]
    fine_tune(model, items, settings=FineTuneSettings(epochs=60, batch_size=16, learning_rate=1e-2))
    model.save_pretrained(path)
    return ModelRef(path=str(path), digest=folder_digest(path))


def tiny_job(
    model: ModelRef, *, method: str = "npo", params: dict[str, Any] | None = None, **changes: Any
) -> UnlearningJob:
    """A job of a few steps: two epochs of three batches unless ``changes`` say otherwise."""
    chosen = METHODS.require(method)
    needed = {"base": model.path, "base_digest": model.digest} if method == "retrain" else {}
    fields: dict[str, Any] = {
        "model": model,
        "forget": Rows.of(FORGET),
        "retain": Rows.of(RETAIN),
        "holdout": Rows.of(HOLDOUT),
        "method": chosen,
        "params": chosen.params(**needed, **(params or {})),
        "training": TrainingSettings(epochs=2, batch_size=2, learning_rate=1e-3),
        "lora": LoraSettings(r=4, alpha=16) if chosen.adapters == "always" else None,
        "prompt_format": PROMPT,
        "device": "cpu",
        "seed": 3,
    }
    return UnlearningJob(**{**fields, **changes})
