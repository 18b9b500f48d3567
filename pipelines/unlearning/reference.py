"""The first stage: ask the start model once about everything the loop will want to know, so that no copy of it stays.

What is asked follows from the method's needs, its retain term and the parts: log-probabilities, hidden states, rows
that go with the forget rows, and whatever the parts prepare. All of it is one file that has seen the forget set: vault
only.

Shapes: N forget rows, M holdout rows, P answer positions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from pipelines.data.encode import Encoded
from pipelines.data.rows import Row, Rows
from pipelines.errors import BadInput
from pipelines.methods.base import CompanionSource, Method
from pipelines.models.loading import LoadedModel, full_disk_refused, resolve_device
from pipelines.scoring.likelihood import AnswerPass, AnswerStats, pass_rows
from pipelines.training.gate_stop import values_of
from pipelines.training.inputs import StartWord, TrainingData
from pipelines.training.pairing import draw_retain
from pipelines.training.parts import Start
from pipelines.training.stopping import min_k_scores
from pipelines.unlearning.job import UnlearningJob, encode_set, load_start
from pipelines.unlearning.start_states import FINAL, OutputHead, StartStates, states_of

REFERENCE = "reference.safetensors"

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked about one group of rows: S, the states before the head, a layer's output (or None)."""

    nll: bool
    final: bool
    layer: int | None


def asked(job: UnlearningJob, group: str, *, depth: int) -> Asked:
    """What is asked about a group: ``retain`` by its term, all others by the method's needs."""
    needs = job.method.needs
    hidden = job.params.retain_term == "hidden" if group == "retain" else "reference_hidden_states" in needs
    return Asked(
        nll=group != "retain" and "reference_nll" in needs,
        final=job.params.retain_term in ("kl", "kl_nll") if group == "retain" else "reference_logits" in needs,
        layer=job.params.layer_of(depth) if hidden else None,
    )


def depth_of(loaded: LoadedModel) -> int:
    """Number of layers."""
    return int(loaded.model.config.get_text_config().num_hidden_layers)


def reference_statistics(job: UnlearningJob, folder: Path) -> None:
    """Write what the start model says, once.

    Args:
        job: the run.
        folder: receives :data:`REFERENCE`; if that is there already, nothing is done.

    Raises:
        BadInput: the model or a row cannot be used, or there is no space left on the device.
    """
    path = folder / REFERENCE
    if path.exists() or not isinstance(job.method, Method):
        return
    loaded = load_start(job)
    _refuse_layer(job, depth=depth_of(loaded))
    forget = encode_set(loaded, job, job.pushed, name="forget")
    tensors = _levels(loaded, job, forget)
    tensors |= _word(loaded, job, "forget", forget)
    for companion in job.method.companions:
        made = companion.make(_source(loaded, job), job.params)
        tensors |= {**_word(loaded, job, companion.name, made), **_tokens(companion.name, made)}
    tensors |= _of_retain(loaded, job, forget)
    part = path.with_name(path.name + ".part")
    with full_disk_refused(part):
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, part)
        part.replace(path)


def _refuse_layer(job: UnlearningJob, *, depth: int) -> None:
    if job.params.layer > depth:
        raise BadInput(
            f"method {job.method.name}: layer {job.params.layer}, but the model has {depth}; "
            f"allowed are 1 to {depth}, and 0 for two fifths of the depth"
        )


def _levels(loaded: LoadedModel, job: UnlearningJob, forget: list[Encoded]) -> Tensors:
    """S and min-k scores of the forget rows, and scores of the holdout rows where the stop rule needs them."""
    both = _score(loaded, forget, job, lambda stats: torch.stack([stats.nll_sum_B, min_k_scores(stats)], 1))
    tensors = {"forget_nll": both[:, 0].contiguous(), "forget_score": both[:, 1].contiguous()}
    if job.training.stop != "epochs" and job.holdout is not None:
        holdout = encode_set(loaded, job, job.holdout, name="holdout")
        tensors["holdout_values"] = _pass(loaded, holdout, job, values_of)
    return tensors


def _word(loaded: LoadedModel, job: UnlearningJob, group: str, items: list[Encoded]) -> Tensors:
    """What the start model says of a group."""
    wanted, tensors = asked(job, group, depth=depth_of(loaded)), Tensors()
    device, size = resolve_device(job.device), 2 * job.training.batch_size
    if wanted.nll and group != "forget":
        tensors[f"{group}_nll"] = _score(loaded, items, job, lambda stats: stats.nll_sum_B, ended=True)
    if wanted.final:
        tensors[f"{group}_final"] = states_of(loaded, items, layer=FINAL, batch_size=size, device=device)
    if wanted.layer is not None:
        tensors[f"{group}_layer"] = states_of(loaded, items, layer=wanted.layer, batch_size=size, device=device)
    return tensors


def _of_retain(loaded: LoadedModel, job: UnlearningJob, forget: list[Encoded]) -> Tensors:
    """What is asked about retain rows, and what the parts prepare."""
    wanted = asked(job, "retain", depth=depth_of(loaded))
    if not (job.parts or (job.params.retains and (wanted.final or wanted.layer is not None))):
        return {}
    retain = list(drawn_retain(loaded, job).values())
    start = Start(
        model=loaded.model,
        forget=forget,
        retain=retain if job.params.retains else list(drawn_retain(loaded, job, anyway=True).values()),
        pad_id=loaded.pad_id,
        batch_size=2 * job.training.batch_size,
        device=resolve_device(job.device),
        seed=job.seed,
    )
    tensors = _word(loaded, job, "retain", retain) if retain else Tensors()
    for part in job.parts:
        tensors |= {f"{part.name}/{name}": tensor.contiguous() for name, tensor in part.prepare(start).items()}
    return tensors


def _source(loaded: LoadedModel, job: UnlearningJob) -> CompanionSource:
    def encoded(rows: Sequence[Row]) -> list[Encoded]:
        return encode_set(loaded, job, Rows.of(rows), name="companion")

    return CompanionSource(
        forget=job.pushed, retain=job.retain, start=loaded, encode=encoded, n_rows=job.n_pushed, seed=job.seed
    )


def _tokens(name: str, items: list[Encoded]) -> Tensors:
    spans = [(len(item), item.answer_start, item.answer_end) for item in items]
    return {
        f"{name}_tokens": torch.tensor([i for item in items for i in item.input_ids]),
        f"{name}_spans": torch.tensor(spans),
    }


def _score(
    loaded: LoadedModel,
    items: list[Encoded],
    job: UnlearningJob,
    measure: Callable[[AnswerStats], torch.Tensor],
    *,
    ended: bool = False,
) -> torch.Tensor:
    return _pass(loaded, items, job, lambda seen: measure(seen.stats), ended=ended)


def _pass(
    loaded: LoadedModel,
    items: list[Encoded],
    job: UnlearningJob,
    measure: Callable[[AnswerPass], torch.Tensor],
    *,
    ended: bool = False,
) -> torch.Tensor:
    return pass_rows(
        loaded.model,
        items,
        measure=measure,
        pad_id=loaded.pad_id,
        batch_size=2 * job.training.batch_size,
        device=resolve_device(job.device),
        ended=ended,
    )


def min_k_of(loaded: LoadedModel, job: UnlearningJob, rows: Rows, *, name: str) -> list[float]:
    """The start model's min-k scores of some rows, in nats. Raises BadInput where one cannot be encoded."""
    scores_N = _score(loaded, encode_set(loaded, job, rows, name=name), job, min_k_scores)
    return [float(score) for score in scores_N]


def drawn(job: UnlearningJob, *, anyway: bool = False) -> list[list[int]]:
    """Positions of the retain rows of each epoch; ``anyway`` also where the retain term has no use for them."""
    return draw_retain(
        len(job.retain) if job.params.retains or anyway else 0,
        per_epoch=len(job.pushed),
        epochs=job.training.epochs,
        seed=job.seed,
    )


def drawn_retain(loaded: LoadedModel, job: UnlearningJob, *, anyway: bool = False) -> dict[int, Encoded]:
    """The retain rows that will be drawn, by position, in that order."""
    wanted = sorted({i for epoch in drawn(job, anyway=anyway) for i in epoch})
    retain = encode_set(loaded, job, job.retain.select(wanted), name="retain", positions=wanted)
    return dict(zip(wanted, retain, strict=True))


def training_data(loaded: LoadedModel, job: UnlearningJob, file: Path) -> TrainingData:
    """What the loop reads.

    Args:
        loaded: the start model, before any training.
        job: the run.
        file: what :func:`reference_statistics` wrote.
    """
    depth = depth_of(loaded)
    rows = {
        "forget": dict(enumerate(encode_set(loaded, job, job.pushed, name="forget"))),
        "retain": drawn_retain(loaded, job),
    }
    companions = job.method.companions if isinstance(job.method, Method) else ()
    with safe_open(file, framework="pt") as stored:
        rows |= {companion.name: dict(enumerate(_items(stored, companion.name))) for companion in companions}
        word = {
            group: _stored_word(stored, file, group, items, asked(job, group, depth=depth))
            for group, items in rows.items()
        }
        scores = stored.get_tensor("forget_score")
        unseen = stored.get_tensor("holdout_values") if job.training.stop != "epochs" else None
    hidden = "hidden_states" in job.method.needs or any(said.layer is not None for said in word.values())
    return TrainingData(
        forget=list(rows["forget"].values()),
        retain=rows["retain"],
        companions={companion.name: list(rows[companion.name].values()) for companion in companions},
        drawn=drawn(job),
        n_rows=job.n_pushed,
        start=word,
        head=OutputHead.of(loaded.model) if any(said.final is not None for said in word.values()) else None,
        layer=job.params.layer_of(depth) if hidden else None,
        scores_N=scores,
        validation=_validation(loaded, job),
        unseen_M3=unseen,
        pad_id=loaded.pad_id,
    )


def _validation(loaded: LoadedModel, job: UnlearningJob) -> list[Encoded]:
    if job.training.stop != "gates" or job.holdout is None:
        return []
    return encode_set(loaded, job, job.holdout, name="holdout")


def _stored_word(stored: Any, file: Path, group: str, items: Mapping[int, Encoded], wanted: Asked) -> StartWord:
    def states(key: str, *, there: bool) -> StartStates | None:
        return StartStates(file, f"{group}_{key}", items) if there and items else None

    return StartWord(
        nll_N=stored.get_tensor(f"{group}_nll") if wanted.nll else None,
        final=states("final", there=wanted.final),
        layer=states("layer", there=wanted.layer is not None),
    )


def _items(stored: Any, name: str) -> list[Encoded]:
    ids, start, items = stored.get_tensor(f"{name}_tokens").tolist(), 0, []
    for length, first, last in stored.get_tensor(f"{name}_spans").tolist():
        items.append(Encoded(tuple(ids[start : start + length]), answer_start=first, answer_end=last))
        start += length
    return items


def prepared(file: Path, part: str) -> Tensors:
    """What a part remembered."""
    with safe_open(file, framework="pt") as stored:
        names = [key for key in stored.keys() if key.startswith(f"{part}/")]  # noqa: SIM118 -- no mapping
        return {key.removeprefix(f"{part}/"): stored.get_tensor(key) for key in names}
