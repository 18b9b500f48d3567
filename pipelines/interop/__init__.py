"""Results in other projects' files: TOFU's evaluation logs are read, open-unlearning's are read and written."""

from pipelines.interop.figures import Figure, figures
from pipelines.interop.imported import ImportedLog
from pipelines.interop.open_unlearning import OpenUnlearningLogs, as_open_unlearning
from pipelines.interop.read import read_log

__all__ = ["Figure", "ImportedLog", "OpenUnlearningLogs", "as_open_unlearning", "figures", "read_log"]
