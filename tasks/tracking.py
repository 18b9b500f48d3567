"""Where MLflow is, and what it means when it does not answer.

``$MLFLOW_TRACKING_URI`` if it is set, else a SQLite file with local artifacts under the home folder; the fluent
functions of MLflow read the address from the environment, so it stands there for as long as a block needs it.
A service that does not answer becomes :class:`pipelines.errors.Unavailable`, which is retried; every other error
passes through.
"""

import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pipelines.errors import Unavailable
from pipelines.home import Home

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

EXPERIMENT = "lethe"
URI = "MLFLOW_TRACKING_URI"
MODEST = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    # Two short retries of one request; what lasts longer is retried as a whole by Prefect.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
}
"""Settings of MLflow that hold unless the user has set others."""

ADVICE = r"(?s).*(An input example was not provided|Any type hint is inferred)"
"""Advice of MLflow that is not followed, because an example would be stored, and a warning about its own code."""


@dataclass(frozen=True, slots=True)
class Tracking:
    """An MLflow that has answered.

    Attributes:
        uri: where it is, as MLflow takes it.
        client: bound to it.
        experiment_id: of the experiment that holds one run per registration.
    """

    uri: str
    client: "MlflowClient"
    experiment_id: str


def tracking_uri(home: Home) -> str:
    """The address of MLflow: the user's, else a SQLite file under ``home``."""
    return os.environ.get(URI) or f"sqlite:///{home.room('mlflow')}/mlflow.db"


@contextmanager
def tracking(home: Home) -> Iterator[Tracking]:
    """MLflow for the length of a block.

    Raises:
        Unavailable: it did not answer, now or later in the block.
    """
    uri = tracking_uri(home)
    silent: BaseException | None = None
    with _environment({**MODEST, URI: uri}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=ADVICE, category=UserWarning)
        try:
            yield _open(uri, home=home)
        except Exception as error:
            if not _did_not_answer(error, remote=_remote(uri)):
                raise
            silent = error
    if silent is not None:
        raise Unavailable(
            f"MLflow at {public_address(uri)} did not answer ({type(silent).__name__}); run again to resume"
        )


def _open(uri: str, *, home: Home) -> Tracking:
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        # A server knows where its artifacts go; a database opened directly would put them below the working folder.
        location = None if _remote(uri) else (home.room("mlflow") / "artifacts").as_uri()
        try:
            client.create_experiment(EXPERIMENT, artifact_location=location)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        raise Unavailable(f"MLflow at {public_address(uri)} does not show experiment {EXPERIMENT}, which it was given")
    return Tracking(uri=uri, client=client, experiment_id=found.experiment_id)


def _did_not_answer(error: Exception, *, remote: bool) -> bool:
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException
    from sqlalchemy.exc import OperationalError

    if isinstance(error, MlflowException):
        # A refused connection and a broken gateway both come as 500 and more; a full or locked database as 503.
        status: int = error.get_http_status_code()
        return status in (429, 503) or (remote and status >= 500)
    return isinstance(error, ConnectionError | TimeoutError | RequestException | OperationalError)


def _remote(uri: str) -> bool:
    return urlsplit(uri).scheme in ("http", "https")


def public_address(uri: str) -> str:
    """The address without user name, password and query, as it may be shown and recorded."""
    return re.sub(r"(?<=//)[^/]*@", "", uri.partition("?")[0])


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set what is not set, and unset it again."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
