"""Low-rank adapters (LoRA, arXiv 2106.09685) through peft: put on for training, merged into the weights for export.

The adapters' first values come from the seed, so that a merge elsewhere meets the same shapes and a second run the same
numbers. peft is imported only here, and only when adapters are asked for.
"""

import warnings
from collections.abc import Sequence
from fnmatch import fnmatchcase

import torch
from torch import nn
from transformers import PreTrainedModel

from pipelines.errors import BadInput
from pipelines.settings import LoraSettings


def add_adapters(model: PreTrainedModel, settings: LoraSettings, *, seed: int) -> nn.Module:
    """Freeze the model and put an untrained adapter on each target module; the model's answers do not change yet.

    Raises:
        BadInput: a target module is not in the model.
    """
    from peft import LoraConfig, get_peft_model  # noqa: PLC0415 -- only where adapters are used

    modules = settings.target_modules
    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=modules if isinstance(modules, str) else list(modules),
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(), warnings.catch_warnings():
        # peft asks the model under a name that transformers is about to drop.
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
        torch.manual_seed(seed)
        try:
            return get_peft_model(model, config)
        except ValueError:
            pass
    raise BadInput(
        f"lora.target_modules: {modules} name no linear module of a {type(model).__name__}; use all-linear or its names"
    )


def merge_adapters(model: nn.Module) -> PreTrainedModel:
    """The plain model with its adapters added to its weights.

    Raises:
        TypeError: the model has no adapters.
    """
    from peft import PeftModel  # noqa: PLC0415

    if not isinstance(model, PeftModel):
        raise TypeError(f"{type(model).__name__} has no adapters")
    merged: PreTrainedModel = model.merge_and_unload()
    return merged


def layer_patterns(layers: Sequence[str]) -> tuple[str, ...]:
    """Patterns of names: a number stands for the layer of that number, from 0, as names count; others stay."""
    return tuple(f"*.{layer}.*" if layer.isdecimal() else layer for layer in layers)


def train_only(model: nn.Module, patterns: Sequence[str]) -> None:
    """Freeze every weight that trains now and whose name matches no pattern (``*`` stands for anything).

    Raises:
        BadInput: nothing would be left; names what there is.
    """
    training = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    kept = {name for name in training if any(fnmatchcase(name, pattern) for pattern in patterns)}
    if not kept:
        some = ", ".join(list(training)[:3])
        raise BadInput(f"no weight is named {' or '.join(patterns)}; there are {len(training)}, for instance {some}")
    for name, weight in training.items():
        weight.requires_grad_(name in kept)
