"""What the registry serves: greedy completion of prompts by the champion's weights, checked before they are loaded.

MLflow copies this file beside the model and runs it on loading (models from code), so nothing is unpickled. It loads
only what the verifier of the machine that serves calls the champion; the verifier never comes out of the registry. Who
can edit the registry can edit this file too: it stops mistakes and altered weights, and :mod:`tasks.champion`, which
runs nothing of what is stored, stops the rest. The model's own chat template and the prompt format of a run are left to
the caller. A model that is labelled "access control, not erasure" answers only behind its context, which is read from
the vault of its request on the machine that serves and is never part of what is stored.
"""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import torch
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

DEFAULT_NEW_TOKENS = 64
CERTIFIED = "certified"
"""``accept`` in the model's configuration: load what is certified, champion or not. For looking at a challenger."""


class UnlearnedModel(PythonModel):
    """A causal language model from a folder of safetensors."""

    def load_context(self, context: PythonModelContext) -> None:
        """Check the artifact named ``model``, then load it: no remote code, no pickle, no network.

        Args:
            context: its ``model_config`` may name ``home``, the folder with trust file, log, approvals and vaults
                (default ``$LETHE_HOME`` or ``./.lethe``), and ``accept``.

        Raises:
            VerificationFailed: uncertified, altered, revoked or, unless ``accept`` is :data:`CERTIFIED`, not champion.
            BadInput: it answers behind a context, and the vault of its request does not hold that.
        """
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.folder = Path(context.artifacts["model"])
        vault = _checked(self.folder, Path(context.artifacts["certificate"]), settings=context.model_config or {})
        from pipelines.unlearning.in_context import context_of

        self.guard = context_of(self.folder, vault=vault)
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
        """The likeliest continuation, token by token; none where a guarded question leaves its context no room."""
        ids = tuple(self.tokenizer(prompt)["input_ids"])
        before = self.guard.prefix(ids, room=self.guard.limit - len(ids) - 1) if self.guard else ()
        if self.guard and not before and self.guard.guard_of(ids):
            return ""
        room = self.guard.limit - len(before) - len(ids) if self.guard else max_new_tokens
        ids_1T = torch.tensor([[*before, *ids]])
        made_1T = self.model.generate(  # type: ignore[misc]  # transformers declares self twice
            input_ids=ids_1T,
            attention_mask=torch.ones_like(ids_1T),
            max_new_tokens=min(max_new_tokens, room),
            do_sample=False,
            pad_token_id=self.tokenizer.eos_token_id,  # one row: nothing is padded
        )
        return str(self.tokenizer.decode(made_1T[0, ids_1T.shape[1] :], skip_special_tokens=True))


def _checked(folder: Path, certificate: Path, *, settings: Mapping[str, object]) -> Path:
    """Hold a folder against its certificate; returns the vault of the request that it was made for."""
    try:
        from pipelines.audit.champion import Sources, check_certified, check_champion, statement_in
        from pipelines.audit.statement import parse_statement
        from pipelines.audit.trust import Trust
        from pipelines.models.folder import check_model_folder
    except ImportError as error:
        missing = error.name
    else:
        home = Path(str(settings.get("home") or os.environ.get("LETHE_HOME") or ".lethe")).absolute()
        trust = Trust.load(home / "keys" / "trust.json")
        sources = Sources(trust=trust, log=home / "log", approvals=home / "approvals")
        check = check_certified if settings.get("accept") == CERTIFIED else check_champion
        check(certificate, model=folder, sources=sources, now=datetime.now(UTC))
        check_model_folder(folder)
        made = parse_statement(statement_in(certificate)).evidence.candidate
        return home / "vault" / (made.version if made else "")
    raise ImportError(f"a Lethe model is loaded only where its verifier is installed: {missing} is missing here")


set_model(UnlearnedModel())
