"""What the registry serves: greedy completion of prompts by the certified weights.

MLflow copies this file beside the model and runs it on loading (models from code), so nothing is unpickled and Lethe
need not be installed where the model is served. It therefore imports nothing of ours, and leaves the model's own
chat template and the prompt format of a run to the caller.
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

DEFAULT_NEW_TOKENS = 64


class UnlearnedModel(PythonModel):
    """A causal language model from a folder of safetensors."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load weights and tokenizer from the artifact named ``model``: no remote code, no pickle, no network."""
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.folder = Path(context.artifacts["model"])
        self.tokenizer = AutoTokenizer.from_pretrained(self.folder, local_files_only=True, trust_remote_code=False)
        self.model = AutoModelForCausalLM.from_pretrained(
            self.folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype="auto"
        )

    # Were model_input a list by its hint, MLflow would derive a signature from that and drop the logged parameters.
    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: Mapping[str, int] | None = None
    ) -> list[str]:
        """Complete each prompt.

        Args:
            context: of MLflow.
            model_input: data frame whose first column holds the prompts.
            params: ``max_new_tokens``, the most tokens to add to a prompt.

        Returns:
            One completion per prompt, without the prompt.
        """
        most = (params or {}).get("max_new_tokens", DEFAULT_NEW_TOKENS)
        return [self.complete(prompt, max_new_tokens=most) for prompt in model_input.iloc[:, 0]]

    def complete(self, prompt: str, *, max_new_tokens: int) -> str:
        """The likeliest continuation, token by token."""
        encoded_1T = self.tokenizer(prompt, return_tensors="pt")
        made_1T = self.model.generate(  # type: ignore[misc]  # transformers declares self twice
            **encoded_1T,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            pad_token_id=self.tokenizer.eos_token_id,  # one row: nothing is padded
        )
        return str(self.tokenizer.decode(made_1T[0, encoded_1T["input_ids"].shape[1] :], skip_special_tokens=True))


set_model(UnlearnedModel())
