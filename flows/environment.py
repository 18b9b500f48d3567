"""The environment every Lethe process runs in: nothing phones home, nothing is fetched, state stays under one folder.

Set before prefect, mlflow or transformers are imported, because they read it then. What the user has set stays,
except where a service would be told about a run.
"""

import os

from pipelines.home import Home

SILENT = {
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
DEFAULTS = {
    "PREFECT_SERVER_UI_V2_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "lethe",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}


def prepare(home: Home) -> None:
    """Set the environment for this process and its children.

    Args:
        home: Prefect's own state goes under it unless PREFECT_HOME says otherwise.
    """
    os.environ.update(SILENT)
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    os.environ["LETHE_HOME"] = str(home.root)
    if "PREFECT_HOME" not in os.environ:
        os.environ["PREFECT_HOME"] = str(
            home.room("prefect")
        )  # made here: Prefect makes only the last folder of a path
