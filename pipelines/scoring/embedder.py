"""A local sentence encoder: how alike two texts are in meaning, as the cosine of their mean-pooled hidden states.

Read from a folder of safetensors and JSON as any model is, never fetched and never run as code; named by its folder's
digest, because another encoder gives other numbers. Texts exist in memory for one batch. Whether the encoder's cosines
say anything about the language at hand is its maker's business, not looked at here.

Shapes: B texts in a batch, T tokens, D width of the encoder.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from pipelines.audit.manifest import folder_digest
from pipelines.errors import BadInput
from pipelines.models.folder import check_model_folder
from pipelines.models.loading import LOADER_ERRORS, context_length, quietly

BATCH = 32
"""Texts per forward pass; padding is masked, so it changes no number beyond rounding."""


@dataclass(frozen=True, slots=True)
class Embedder:
    """An encoder in memory.

    Attributes:
        model: in evaluation mode, on its device.
        tokenizer: of the model; pads on the right.
        digest: of the folder that both came from.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    digest: str

    def similarities(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Cosine of the two texts of each pair, -1 to 1; 0 where either says nothing."""
        texts = list(dict.fromkeys(text for pair in pairs for text in pair if text.strip()))
        unit = dict(zip(texts, self._units(texts), strict=True))
        return [float(unit[a] @ unit[b]) if a in unit and b in unit else 0.0 for a, b in pairs]

    def _units(self, texts: Sequence[str]) -> list[torch.Tensor]:
        """A vector of length 1 for each text."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        found: dict[int, torch.Tensor] = {}
        for first in range(0, len(order), BATCH):
            batch = order[first : first + BATCH]
            found.update(zip(batch, self._pooled([texts[i] for i in batch]), strict=True))
        return [found[i] for i in range(len(texts))]

    @torch.inference_mode()
    def _pooled(self, texts: list[str]) -> torch.Tensor:
        """Mean hidden state over each text's own tokens, divided by its length: unit_BD."""
        limit = min(context_length(self.model), self.tokenizer.model_max_length)
        longest = limit if limit < sys.maxsize else None
        encoded = self.tokenizer(
            texts, padding=True, truncation=longest is not None, max_length=longest, return_tensors="pt"
        ).to(self.model.device)
        hidden_BTD = self.model(
            input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"]
        ).last_hidden_state.float()
        mask_BT1 = encoded["attention_mask"].unsqueeze(-1)
        mean_BD = (hidden_BTD * mask_BT1).sum(dim=1) / mask_BT1.sum(dim=1).clamp(min=1)
        return torch.nn.functional.normalize(mean_BD, dim=-1).cpu()


def load_embedder(folder: Path, *, device: torch.device) -> Embedder:
    """Check a folder and load the encoder in it.

    Args:
        folder: Hugging Face encoder with its tokenizer and safetensors weights.
        device: where to put it.

    Raises:
        BadInput: the folder is refused by :func:`check_model_folder`, or does not load completely.
    """
    check_model_folder(folder)
    digest = folder_digest(folder)
    try:
        with quietly():
            loaded: Any = AutoModel.from_pretrained(
                folder, use_safetensors=True, trust_remote_code=False, local_files_only=True, output_loading_info=True
            )
            model, info = loaded
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except torch.OutOfMemoryError:
        raise
    except LOADER_ERRORS as error:
        problem = type(error).__name__
    else:
        absent = [name for name in info["missing_keys"] if not name.startswith("pooler.")]
        if not absent and tokenizer.pad_token_id is not None:
            torch.nn.Module.to(model, device=device)
            tokenizer.padding_side = "right"
            return Embedder(model=model.eval(), tokenizer=tokenizer, digest=digest)
        problem = f"weights absent: {', '.join(sorted(absent)[:3])}" if absent else "its tokenizer has no padding token"
    raise BadInput(f"evaluation.embedder: {folder}: not loadable as an encoder with its tokenizer: {problem}")
