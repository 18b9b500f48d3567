"""The verifier needs the standard library, cryptography and rfc8785, read from its source module by module."""

import ast
import sys
from pathlib import Path

import pytest

AUDIT = Path(__file__).parents[3] / "pipelines" / "audit"
ALLOWED = {*sys.stdlib_module_names, "cryptography", "rfc8785"}


@pytest.mark.parametrize("path", sorted(AUDIT.glob("*.py")), ids=lambda path: path.stem)
def test_a_module_imports_nothing_that_an_auditor_lacks(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            ours = name == "pipelines.errors" or name.split(".")[:2] == ["pipelines", "audit"]
            assert ours or name.split(".")[0] in ALLOWED, name
