"""What the library verbs are given (models, rows, prompt, device, seed), so that an option means the same in each."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import DATA_HELP
from pipelines.config import PromptFormat, validated

if TYPE_CHECKING:
    from pipelines.data.rows import Rows

Model = Annotated[Path, typer.Option(help="Folder of a causal language model (safetensors).")]
Train = Annotated[str, typer.Option(help=f"Rows the model was trained on: {DATA_HELP}.")]
Forget = Annotated[str, typer.Option(help=f"Rows to forget: {DATA_HELP}.")]
Retain = Annotated[str, typer.Option(help="Rows to keep; as --forget.")]
Holdout = Annotated[str | None, typer.Option(help="Rows nobody trained on; as --forget.")]
Prompt = Annotated[
    str | None,
    typer.Option(help="Text before the answer, with {question} in it.", show_default="Question: ... Answer:"),
]
Chat = Annotated[bool, typer.Option("--chat", help="Put questions through the tokenizer's own chat template.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Seed = Annotated[int, typer.Option(help="Of everything random.", min=0)]


def rows(ref: str | None, *, name: str) -> "Rows | None":
    """The rows that an option names, or None where it was left out.

    Raises:
        BadInput: as :func:`pipelines.data.load.load_rows`.
    """
    return required_rows(ref, name=name) if ref is not None else None


def required_rows(ref: str, *, name: str) -> "Rows":
    """The rows that an option names.

    Raises:
        BadInput: as :func:`pipelines.data.load.load_rows`.
    """
    from pipelines.data.load import load_rows

    return load_rows(ref, name=name)


def prompt_format(prompt: str | None, *, chat: bool) -> PromptFormat:
    """How questions are put.

    Raises:
        BadInput: the prompt has no place for the question.
    """
    given = {"chat": chat} if prompt is None else {"chat": chat, "prompt": prompt}
    return validated(PromptFormat, given, where="--prompt")
