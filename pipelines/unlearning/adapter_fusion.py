"""Adapters kept apart, one per request: fused in closed form, or one request taken back by leaving it out.

A kept adapter is a folder: the low-rank factors, the gram matrix of each adapted layer's inputs over the request's
forget rows, and what it was made from. All of it has seen the forget set: it belongs where the vault is. What a fused
model has forgotten is not promised: it is measured like any other candidate.

Shapes: I inputs of a layer, O outputs, R rank, T tokens of a row.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from pipelines.audit.canonical import canonical, parse_strict
from pipelines.config import validated
from pipelines.data.encode import Encoded
from pipelines.errors import BadInput
from pipelines.models.loading import full_disk_refused, load_model, save_model
from pipelines.models.weights import Share, fused
from pipelines.records import Digest, ModelRef, Record
from pipelines.settings import LoraSettings

WEIGHTS = "adapter.safetensors"
FACTS = "adapter.json"
PEFT = "base_model.model."


class AdapterFacts(Record):
    """What an adapter was made from: the start model, the adapter's settings, the method."""

    start: Digest
    lora: LoraSettings
    method: str
    rows: int = Field(ge=1)


def keep_adapter(model: nn.Module, items: Sequence[Encoded], *, facts: AdapterFacts, out: Path) -> None:
    """Write a trained adapter with the gram matrices of its layers' inputs.

    Args:
        model: with its trained adapter on.
        items: the forget rows, as the model reads them.
        facts: what the adapter was made from.
        out: folder to make, under ``.part`` and renamed; one that is there is replaced.

    Raises:
        BadInput: no space left on the device.
    """
    layers = {name: layer for name, layer in model.named_modules() if hasattr(layer, "lora_A")}
    device = next(model.parameters()).device
    with _grams(layers) as grams, torch.no_grad():
        for item in items:
            model(input_ids=torch.tensor([item.input_ids], device=device), use_cache=False)
    tensors = {f"gram/{name.removeprefix(PEFT)}": gram.cpu() for name, gram in grams.items()}
    for name, layer in layers.items():
        for factor in ("lora_A", "lora_B"):
            weight: torch.Tensor = getattr(layer, factor)["default"].weight
            tensors[f"{factor}/{name.removeprefix(PEFT)}"] = weight.detach().float().cpu().contiguous()
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    with full_disk_refused(part):
        part.mkdir(mode=0o700, parents=True)
        save_file(tensors, part / WEIGHTS)
        (part / FACTS).write_bytes(canonical(facts.plain()))
        shutil.rmtree(out, ignore_errors=True)
        part.rename(out)


@contextmanager
def _grams(layers: dict[str, nn.Module]) -> Iterator[dict[str, torch.Tensor]]:
    """X' X of every layer's inputs, summed over all that passes while the block runs."""
    grams: dict[str, torch.Tensor] = {}

    def collect(name: str, inputs: tuple[torch.Tensor, ...]) -> None:
        inputs_TI = inputs[0].detach().flatten(0, -2).float()
        grams[name] = grams[name] + inputs_TI.T @ inputs_TI if name in grams else inputs_TI.T @ inputs_TI

    handles = [
        layer.register_forward_pre_hook(lambda _, inputs, name=name: collect(name, inputs))
        for name, layer in layers.items()
    ]
    try:
        yield grams
    finally:
        for handle in handles:
            handle.remove()


def fuse(start: Path, adapters: Sequence[Path], out: Path, *, ridge: float = 1e-6) -> ModelRef:
    """The start model with the adapters of several requests in it (arXiv 2310.20150, fusion).

    To take one request back, leave its adapter out.

    Args:
        start: the model folder that every adapter was made from.
        adapters: kept ones, at least one.
        out: model folder to make; must not exist.
        ridge: as for :func:`pipelines.models.weights.fused`.

    Raises:
        BadInput: no adapter, one twice, one of another start model, or a folder that cannot be used.
    """
    if not adapters or len({path.resolve() for path in adapters}) < len(adapters):
        raise BadInput("adapters: there are none, or one is given twice; give each kept adapter once")
    loaded = load_model(start, device=torch.device("cpu"), dtype=torch.float32)
    facts = [read_facts(path) for path in adapters]
    strange = next((path for path, said in zip(adapters, facts, strict=True) if said.start != loaded.ref.digest), None)
    if strange is not None:
        raise BadInput(f"{strange}: made from another model than {start} ({loaded.ref.digest}); fuse those of one")
    for name, shares in _shares(adapters, facts):
        with torch.no_grad():
            loaded.model.get_parameter(f"{name}.weight").add_(fused(shares, ridge=ridge))
    nn.Module.to(loaded.model, dtype=loaded.stored_dtype)
    return save_model(loaded.model, out, like=start)


def read_facts(adapter: Path) -> AdapterFacts:
    """What a kept adapter was made from.

    Raises:
        BadInput: no kept adapter is there.
    """
    if not (adapter / FACTS).is_file() or not (adapter / WEIGHTS).is_file():
        raise BadInput(f"{adapter}: no kept adapter; 'lethe unlearn --keep-adapter' makes one")
    return validated(AdapterFacts, parse_strict((adapter / FACTS).read_bytes()), where=str(adapter / FACTS))


def _shares(adapters: Sequence[Path], facts: Sequence[AdapterFacts]) -> Iterator[tuple[str, list[Share]]]:
    """Each adapted layer with what every adapter that has it contributes, layer by layer."""
    opened: list[Any] = [safe_open(path / WEIGHTS, framework="pt") for path in adapters]
    keys = [set(stored.keys()) for stored in opened]
    for name in sorted({key.removeprefix("gram/") for found in keys for key in found if key.startswith("gram/")}):
        present = [i for i, found in enumerate(keys) if f"gram/{name}" in found]
        yield name, [_share(opened[i], facts[i].lora, name) for i in present]


def _share(stored: Any, lora: LoraSettings, name: str) -> Share:
    first_RI, second_OR = stored.get_tensor(f"lora_A/{name}"), stored.get_tensor(f"lora_B/{name}")
    change_OI = lora.alpha / lora.r * (second_OR @ first_RI)
    return Share(change_OI=change_OI, gram_II=stored.get_tensor(f"gram/{name}"))
