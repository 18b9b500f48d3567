"""What a run's settings put around a method's loss, whatever the method: penalties, a mask, a growing strength.

Parts a method brings itself are its own affair; those chosen here come behind them. Mixes that make no sense are
refused, with what is allowed, before a model is loaded.
"""

from pipelines.errors import BadInput
from pipelines.settings import TrainingSettings
from pipelines.training.masks import Mask
from pipelines.training.parts import Part
from pipelines.training.regularisers import SlicedWasserstein, SquaredDistance
from pipelines.training.schedules import Gradual


def chosen_parts(settings: TrainingSettings) -> tuple[Part, ...]:
    """The parts that settings ask for, in the order in which they act."""
    parts: list[Part] = []
    if settings.l2:
        parts.append(SquaredDistance(settings.l2))
    if settings.wasserstein:
        parts.append(SlicedWasserstein(settings.wasserstein))
    if settings.mask != "all":
        parts.append(Mask(settings.mask, settings.mask_share))
    if settings.strength == "gradual":
        parts.append(Gradual())
    return tuple(parts)


def refuse_mixes(settings: TrainingSettings, *, own: tuple[str, ...], one_loop: bool, adapters: bool) -> None:
    """Raise BadInput where chosen parts cannot do what they say.

    Args:
        settings: of the loop.
        own: names of the parts that the method brings.
        one_loop: whether the method is one loop.
        adapters: whether LoRA adapters train.
    """
    if not one_loop and (chosen_parts(settings) or settings.layers):
        raise BadInput(
            "training: l2, wasserstein, mask, layers and strength go with methods that are one loop; "
            "this one is a procedure: leave them out"
        )
    if settings.mask == "all":
        if settings.mask_share is not None:
            raise BadInput("training.mask_share: nothing is masked; choose a mask, or leave the share out")
        return
    if adapters:
        raise BadInput(
            f"training.mask: '{settings.mask}' masks weights of the model, and adapters leave these alone; "
            "allowed with lora: all, and training.layers"
        )
    if settings.weight_decay:
        raise BadInput(
            f"training.mask: '{settings.mask}' with weight_decay {settings.weight_decay} would move masked weights; "
            "allowed: weight_decay 0; l2 holds weights near the start model"
        )
    if "retained_space" in own:
        raise BadInput(f"training.mask: '{settings.mask}' and projected gradients would undo one another; allowed: all")
