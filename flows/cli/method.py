"""``lethe unlearn``: one method alone, from model folder to model folder. Measures, signs and registers nothing."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.given import (
    Chat,
    Device,
    Forget,
    Model,
    Prompt,
    Retain,
    Seed,
    prompt_format,
    required_rows,
    rows,
)
from flows.cli.options import AsJson, HomeFolder, names, opened, print_json, print_table, settings
from flows.console import live_stages
from pipelines.config import LoraSettings, TrainingSettings, load_policy, validated

if TYPE_CHECKING:
    from pipelines.methods.base import AnyMethod, MethodParams
    from pipelines.records import Candidate, ModelRef
    from pipelines.training.loop import Progress as At
    from pipelines.unlearning.job import UnlearningJob

LOOP = TrainingSettings()


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    example = "--forget forget.jsonl --retain retain.jsonl --method npo --set beta=0.1 --out candidate"
    app.command("unlearn", epilog=f"Example: lethe unlearn --model start {example}")(unlearn)


def unlearn(  # noqa: PLR0917 - one parameter per option
    model: Model,
    forget: Forget,
    retain: Retain,
    method: Annotated[str, typer.Option(help="Name from 'lethe list methods'.")],
    out: Annotated[Path, typer.Option(help="Model folder to make; must not exist. OUT.work holds work in progress.")],
    holdout: Annotated[
        str | None,
        typer.Option(help="Rows nobody trained on, for --stop holdout and gates; measure on others. As --forget."),
    ] = None,
    parameters: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Parameter of the method; repeatable.")
    ] = None,
    learning_rate: Annotated[float, typer.Option(help="Peak rate of AdamW.")] = LOOP.learning_rate,
    epochs: Annotated[int, typer.Option(help="Most passes over the forget set.")] = LOOP.epochs,
    batch_size: Annotated[int, typer.Option(help="Forget rows per step.")] = LOOP.batch_size,
    stop: Annotated[
        str, typer.Option(help="epochs; holdout: rows look unseen; gates: the policy's marks hold.")
    ] = LOOP.stop,
    patience: Annotated[int, typer.Option(help="Epochs that the stop rule must hold.", min=1)] = LOOP.patience,
    policy: Annotated[
        Path | None, typer.Option(help="Policy whose marks --stop gates waits for; else the default policy's.")
    ] = None,
    wordings: Annotated[bool, typer.Option(help="Also push the paraphrases that forget rows carry.")] = LOOP.wordings,
    loop: Annotated[
        list[str] | None,
        typer.Option(
            "--training", metavar="KEY=VALUE", help="Any other setting of the loop, as in a run's file; repeatable."
        ),
    ] = None,
    lora_r: Annotated[int, typer.Option(help="Rank of LoRA adapters; 0 trains all weights.", min=0)] = 0,
    keep_adapter: Annotated[
        Path | None, typer.Option(help="Folder to keep the LoRA adapter in, for lethe fuse; as private as the rows.")
    ] = None,
    prompt: Prompt = None,
    chat: Chat = False,
    seed: Seed = 0,
    device: Device = "auto",
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> int:
    """Run one unlearning method. Run it again after a kill and it resumes."""
    opened(home)
    form = prompt_format(prompt, chat=chat)
    options = {"learning_rate": learning_rate, "epochs": epochs, "batch_size": batch_size, "stop": stop}
    named = {**options, "patience": patience, "wordings": wordings}
    training = validated(TrainingSettings, {**named, **_loop(loop or [])}, where="training")
    lora = validated(LoraSettings, {"r": lora_r, "alpha": 2 * lora_r}, where="--lora-r") if lora_r else None
    chosen, params = _method(method, parameters or [])
    from pipelines.scope.selection import refuse_copies, refuse_overlap
    from pipelines.training.gate_stop import StopMarks, marks_of
    from pipelines.unlearning.job import UnlearningJob

    gone, kept = required_rows(forget, name="forget"), required_rows(retain, name="retain")
    refuse_copies(gone, name="forget")
    refuse_overlap(gone, kept)
    job = UnlearningJob(
        model=_model_ref(model.absolute()),
        forget=gone,
        retain=kept,
        holdout=rows(holdout, name="holdout"),
        method=chosen,
        params=params,
        training=training,
        lora=lora,
        prompt_format=form,
        device=device,
        seed=seed,
        marks=StopMarks() if policy is None else marks_of(load_policy(policy).gates),
    )
    candidate = _run(job, out.absolute(), adapter=keep_adapter, quiet=as_json)
    if candidate is None:  # one of several processes, and not the one that speaks
        return 0
    if as_json:
        print_json(candidate.plain())
    else:
        _print(candidate)
    return 0


def _model_ref(folder: Path) -> "ModelRef":
    from pipelines.audit.manifest import folder_digest
    from pipelines.models.folder import check_model_folder
    from pipelines.records import ModelRef

    check_model_folder(folder)
    return ModelRef(path=str(folder), digest=folder_digest(folder))


def _loop(pairs: list[str]) -> dict[str, object]:
    found: dict[str, object] = dict(settings(pairs))
    if "layers" in found:
        found["layers"] = names(str(found["layers"]))
    return found


def _method(name: str, pairs: list[str]) -> "tuple[AnyMethod, MethodParams]":
    from pipelines.methods import METHODS

    chosen = METHODS.require(name)
    return chosen, validated(chosen.params, settings(pairs), where=f"--set of method {name}")


def _run(job: "UnlearningJob", out: Path, *, adapter: Path | None, quiet: bool) -> "Candidate | None":
    from pipelines.training.ranks import is_main, world_size
    from tasks.progress import Progress

    progress = Progress("unlearn")

    def tell(at: "At") -> None:
        progress(at.step, at.total, " ".join(f"{name} {value:.3g}" for name, value in at.metrics.items()))

    if world_size() > 1:
        from pipelines.training.sharded import unlearn_together as library_unlearn
    else:
        from pipelines.unlearning.stages import unlearn as library_unlearn
    with live_stages(quiet=quiet or not is_main()):
        made = library_unlearn(job, out, progress=tell, adapter=adapter)
        if made is not None:
            progress(1, 1, f"stopped by {made.stop_reason}")  # the stop rule may end before the last step
    return made


def _print(made: "Candidate") -> None:
    facts = [
        ("model", made.model.path),
        ("digest", made.model.digest),
        ("made from", made.parent_digest),
        ("method", f"{made.method} {made.method_version}"),
        ("training", f"{made.steps} steps, {made.epochs} epochs, stopped by {made.stop_reason}"),
    ]
    print_table("candidate", ("", "value"), facts)
    typer.echo(f"measure it: lethe evaluate --model {made.model.path} ...")
