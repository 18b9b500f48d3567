"""Arithmetic on trained weights: one tensor in memory at a time, and the fusion of adapters in closed form.

Files are safetensors, read and written tensor by tensor, so that nothing here needs a second model in memory. What a
combination of weights has forgotten is measured elsewhere.

Shapes: I inputs of a linear layer, O its outputs, S samples.
"""

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import nn

from pipelines.models.loading import full_disk_refused

Change = Callable[[str, torch.Tensor], torch.Tensor]


def rewrite(source: Path, out: Path, change: Change) -> None:
    """Write a safetensors file with every tensor of another one changed; one tensor is in memory at a time.

    Args:
        source: file to read.
        out: file to write, under ``.part`` and renamed.
        change: (name, tensor) to a tensor of the same shape and element type.

    Raises:
        ValueError: a changed tensor has another shape or element type.
        BadInput: no space left on the device.
    """
    part = out.with_name(out.name + ".part")
    with full_disk_refused(part), safe_open(source, framework="pt") as tensors, part.open("wb") as file:
        header = _header(source)
        file.write(struct.pack("<Q", len(header)) + header)
        for name in _in_file_order(header):
            old = tensors.get_tensor(name)
            new = change(name, old)
            if (new.shape, new.dtype) != (old.shape, old.dtype):
                raise ValueError(f"{name}: {new.dtype} {tuple(new.shape)} instead of {old.dtype} {tuple(old.shape)}")
            file.write(new.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    part.replace(out)


def _header(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(struct.unpack("<Q", stream.read(8))[0])


def _in_file_order(header: bytes) -> list[str]:
    entries = {name: entry for name, entry in json.loads(header).items() if name != "__metadata__"}
    return sorted(entries, key=lambda name: int(entries[name]["data_offsets"][0]))


def subtracted(start: nn.Module, trained: Path, out: Path, *, scale: float) -> None:
    """Write theta - scale (theta_trained - theta) (task arithmetic, arXiv 2212.04089, negation).

    Of a low-rank adapter the second factor alone is turned: it is 0 at the start, and the update is linear in it.

    Args:
        start: theta: what would be trained, at its start weights.
        trained: theta_trained: safetensors with the weights of ``start`` that train, under their names.
        out: file to write, with the same names.
        scale: s; 0 gives the start weights back.
    """
    parameters = dict(start.named_parameters())

    def turned(name: str, tensor: torch.Tensor) -> torch.Tensor:
        if ".lora_A." in name:
            return tensor
        before = parameters[name].detach().to(tensor)
        return before - scale * (tensor - before)

    rewrite(trained, out, turned)


@dataclass(frozen=True, slots=True)
class Share:
    """What one request's adapter contributes to a layer: the change of its weight, and the gram matrix of its inputs.

    Attributes:
        change_OI: W_i - W_0.
        gram_II: X_i' X_i over the tokens of its forget rows.
    """

    change_OI: torch.Tensor
    gram_II: torch.Tensor


def fused(shares: Sequence[Share], *, ridge: float = 1e-6) -> torch.Tensor:
    """One change of a layer's weight for several requests: change_OI (arXiv 2310.20150, fusion).

    (sum_i X_i' X_i)^-1 sum_i X_i' X_i dW_i', the least-squares answer to "on the inputs of request i, do what its
    adapter does". Few rows do not span all inputs: each gram matrix gets ``ridge`` times its mean diagonal on the
    diagonal, so that in directions which no request has seen the changes are averaged.

    Args:
        shares: of the requests, at least one.
        ridge: relative weight of the average; above 0.
    """
    scale = ridge * torch.stack([share.gram_II.double().diagonal().mean() for share in shares]).mean().clamp(min=1e-12)
    eye_II = torch.eye(shares[0].gram_II.shape[0], dtype=torch.float64, device=shares[0].gram_II.device)
    grams = [share.gram_II.double() + scale * eye_II for share in shares]
    right_IO = torch.stack([g @ s.change_OI.double().T for g, s in zip(grams, shares, strict=True)]).sum(0)
    change_OI: torch.Tensor = torch.linalg.solve(torch.stack(grams).sum(0), right_IO).T
    return change_OI.to(shares[0].change_OI.dtype)
