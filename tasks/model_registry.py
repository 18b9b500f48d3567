"""What promotion and watch need of a model registry, and MLflow as one: aliases, stored bytes, a kept checkpoint.

Nothing that comes from here is believed: stored bytes are hashed, certificates verified, aliases compared with the log.
The registry's one service to trust is to keep a checkpoint of the log elsewhere: who puts the log back to an earlier
state must put the registry back as well.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipelines.errors import VerificationFailed
from tasks.tracking import Tracking

CHAMPION, PREVIOUS, CHALLENGER = "champion", "previous", "challenger"
CERTIFICATE = "certificate.json"
"""Name of the certificate's file, beside the model folder in the registry and under a request's run."""
CHECKPOINT_TAG = "lethe.checkpoint"
MODEL_ARTIFACT = "model"
ABSENT = frozenset({"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"})
"""How MLflow says that there is no such alias, model, version or file."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A version as the registry gave it back: its model folder and the certificate beside it."""

    folder: Path
    certificate: Path


class ModelRegistry(Protocol):
    """A place that keeps model versions and points aliases at them."""

    def alias(self, model: str, alias: str) -> str | None:
        """The version that an alias points at; None where there is none."""

    def point(self, model: str, alias: str, version: str) -> None:
        """Point an alias at a version."""

    def fetch(self, model: str, version: str, *, into: Path) -> Stored:
        """Copy a version out of the registry.

        Raises:
            VerificationFailed: it is not there, or no model folder and certificate are in it.
        """

    def kept(self, model: str) -> bytes | None:
        """The checkpoint of the log that was kept with the model."""

    def keep(self, model: str, checkpoint: bytes) -> None:
        """Keep a checkpoint of the log with the model."""


@dataclass(frozen=True, slots=True)
class MlflowRegistry:
    """MLflow's model registry, within a block of :func:`tasks.tracking.tracking`."""

    mlflow: Tracking

    def alias(self, model: str, alias: str) -> str | None:
        """The version that an alias points at; None where there is none."""
        from mlflow.exceptions import MlflowException

        try:
            return str(self.mlflow.client.get_model_version_by_alias(model, alias).version)
        except MlflowException as error:
            if error.error_code not in ABSENT:
                raise
        return None

    def point(self, model: str, alias: str, version: str) -> None:
        """Point an alias at a version."""
        self.mlflow.client.set_registered_model_alias(model, alias, version)

    def fetch(self, model: str, version: str, *, into: Path) -> Stored:
        """Copy a version's files; nothing of them is run.

        Raises:
            VerificationFailed: it is not there, or no model folder and certificate are in it.
        """
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        try:
            source = self.mlflow.client.get_model_version_download_uri(model, version)
            root = Path(download_artifacts(artifact_uri=source, dst_path=str(into))) / "artifacts"
        except (MlflowException, FileNotFoundError, NotADirectoryError) as error:
            if isinstance(error, MlflowException) and error.error_code not in ABSENT:
                raise
            missing = "it is not there"
        else:
            if (root / MODEL_ARTIFACT).is_dir() and (root / CERTIFICATE).is_file():
                return Stored(folder=root / MODEL_ARTIFACT, certificate=root / CERTIFICATE)
            missing = "no model folder with a certificate beside it"
        raise VerificationFailed(f"{model} version {version}: the registry does not give it back: {missing}")

    def kept(self, model: str) -> bytes | None:
        """The checkpoint of the log that was kept with the model."""
        from mlflow.exceptions import MlflowException

        try:
            tags = self.mlflow.client.get_registered_model(model).tags
        except MlflowException as error:
            if error.error_code not in ABSENT:
                raise
            return None
        text = tags.get(CHECKPOINT_TAG)
        return None if text is None else str(text).encode()

    def keep(self, model: str, checkpoint: bytes) -> None:
        """Keep a checkpoint of the log with the model."""
        self.mlflow.client.set_registered_model_tag(model, CHECKPOINT_TAG, checkpoint.decode())
