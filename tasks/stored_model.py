"""Puts a candidate's folder into MLflow's store, and refuses to go on unless the store gives the same model back.

What is stored is the folder as it is, byte for byte, and ``served_model.py`` beside it; no pickle, no example, no
merging or conversion. A store can lose, replace or misread what it was given: the bytes are compared before anything
is loaded, the logits after.
"""

import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pipelines.audit.canonical import sha256_file
from pipelines.audit.manifest import folder_digest
from pipelines.errors import BadInput, VerificationFailed
from pipelines.home import Home
from pipelines.records import ModelRef
from tasks.tracking import Tracking

if TYPE_CHECKING:
    from mlflow.models import ModelSignature
    from torch import Tensor
    from transformers import PreTrainedModel

    from tasks.served_model import UnlearnedModel

SERVED = Path(__file__).with_name("served_model.py")
REQUIRED = (
    "mlflow", "torch", "transformers", "tokenizers", "safetensors", "numpy", "pandas", "cryptography", "rfc8785",
)  # fmt: skip
EXPECTED = frozenset(
    {"MLmodel", "artifacts", "conda.yaml", "python_env.yaml", "registered_model_meta", "requirements.txt", SERVED.name}
)
"""All that MLflow keeps beside each other for a model of this kind."""

PROBE_TOKENS = 16
PROBE_STRIDE = 7919
"""A prime: the probe's token ids spread over any vocabulary and come from no data set."""


def stored_model(mlflow: Tracking, model: ModelRef, *, certificate: str, run_id: str, tags: Mapping[str, str]) -> str:
    """Id of the run's model in the store; stored now unless an earlier call got to the end of it.

    Args:
        mlflow: where to.
        model: the folder to store.
        certificate: the file that certifies it, stored beside it so that whoever loads it can check it.
        run_id: run that it belongs to.
        tags: shown beside it.
    """
    import mlflow as fluent

    stored = mlflow.client.search_logged_models([mlflow.experiment_id], filter_string=f"source_run_id = '{run_id}'")
    ready = [logged.model_id for logged in stored if str(logged.status) == "READY"]
    if ready:
        return ready[0]
    with fluent.start_run(run_id=run_id):
        made = fluent.pyfunc.log_model(
            name="model",
            python_model=str(SERVED),
            artifacts={"model": model.path, "certificate": certificate},
            signature=_signature(),
            model_config={"home": "", "accept": "champion"},  # named here, or nobody could set them on loading
            # Named here: inferring them would load the model once more, in another process.
            pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in REQUIRED],
            tags=dict(tags),
        )
    return str(made.model_id)


def _signature() -> "ModelSignature":
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    from tasks.served_model import DEFAULT_NEW_TOKENS

    text = Schema([ColSpec(DataType.string)])
    most = ParamSpec("max_new_tokens", DataType.integer, DEFAULT_NEW_TOKENS)
    return ModelSignature(inputs=text, outputs=text, params=ParamSchema([most]))


def check_stored(model_id: str, model: ModelRef, *, certificate: str, home: Home) -> None:
    """Fetch the stored model and compare it with the candidate: bytes, then logits on a fixed probe, then context.

    Args:
        model_id: of the stored model.
        model: the candidate.
        certificate: the file that certifies it.
        home: has the trust file and the log, and room for one copy in its cache; nothing stays there.

    Raises:
        VerificationFailed: the store holds something else, or it loads as something else.
    """
    import torch
    from mlflow.artifacts import download_artifacts

    from pipelines.models.loading import load_model

    with tempfile.TemporaryDirectory(dir=home.cache) as fetched:
        download_artifacts(artifact_uri=f"models:/{model_id}", dst_path=fetched)
        folder = Path(fetched) / "artifacts" / Path(model.path).name
        _check_bytes(Path(fetched), folder, model_id=model_id, expected=model.digest)
        if sha256_file(folder.with_name(Path(certificate).name)) != sha256_file(Path(certificate)):
            raise VerificationFailed(
                f"stored model {model_id}: the certificate beside it is not the one stored with it"
            )
        served = _served(Path(fetched), folder, home=home)
        served_1TV = probe_logits(served.model)
    candidate = load_model(model.path, device=torch.device("cpu"), expected_digest=model.digest)
    if not torch.equal(served_1TV, probe_logits(candidate.model)) or served.guard != candidate.context:
        raise VerificationFailed(f"stored model {model_id}: it answers differently from the candidate {model.digest}")


def _check_bytes(fetched: Path, folder: Path, *, model_id: str, expected: str) -> None:
    extra = sorted({path.name for path in fetched.iterdir()} - EXPECTED)
    if extra:
        raise VerificationFailed(f"stored model {model_id}: holds {extra[0]}, which was not stored with it")
    if sha256_file(fetched / SERVED.name) != sha256_file(SERVED):
        raise VerificationFailed(f"stored model {model_id}: {SERVED.name} is not the file that was stored")
    try:
        found = folder_digest(folder)
    except BadInput:
        found = "nothing readable"
    if found != expected:
        raise VerificationFailed(
            f"stored model {model_id}: digest {found}, but {expected} was certified; delete it in MLflow and run again"
        )


def _served(fetched: Path, folder: Path, *, home: Home) -> "UnlearnedModel":
    from mlflow.pyfunc import load_model

    from tasks.served_model import CERTIFIED

    settings = {"home": str(home.root), "accept": CERTIFIED}  # it is no champion yet
    served = load_model(str(fetched), model_config=settings).unwrap_python_model()
    if Path(served.folder).resolve() != folder.resolve():
        raise VerificationFailed(f"{fetched}: the served model loads another folder than the one that was checked")
    return cast("UnlearnedModel", served)  # its class is of the copy in the store, loaded under another name


def probe_logits(model: "PreTrainedModel") -> "Tensor":
    """Logits on a fixed row of tokens that is in no data set; shape (1, PROBE_TOKENS, vocabulary)."""
    import torch

    n_tokens = model.config.get_text_config().vocab_size
    ids_1T = (torch.arange(PROBE_TOKENS).unsqueeze(0) * PROBE_STRIDE + 1) % n_tokens
    with torch.inference_mode():
        logits_1TV: Tensor = model(input_ids=ids_1T).logits
    return logits_1TV
