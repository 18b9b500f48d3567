"""The rules of the tree that no single module can hold: what is loaded from where, what a wheel holds, what names mean.

Layers and forbidden imports are import-linter's work (pyproject.toml); here is what it does not see.
"""

import ast
import importlib.util
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType

import pytest

from flows.environment import DEFAULTS, SILENT
from pipelines.registry import Named, Registry

ROOT = Path(__file__).resolve().parent.parent
TREES = ("flows", "tasks", "pipelines")
OURS = {*TREES, "tests", "bench"}
HEAVY = ("torch", "transformers", "peft", "datasets", "prefect", "mlflow", "great_expectations", "pandas", "matplotlib")
KINDS = {
    "pipelines.methods": "METHOD",
    "pipelines.metrics": "METRIC",
    "pipelines.probes": "PROBE",
    "pipelines.gates": "GATE",
    "pipelines.attribution": "ATTRIBUTOR",
    "bench": "BENCH",
}
FOREIGN = {
    "a path of one machine": r"(?<![\w.~])/(?:root|home|tmp|work|srv|Users)/\w",
    "a package index": r"(?:--(?:extra-)?index-url|pythonhosted\.org|pypi\.org/simple)",
    "a marker for later": r"\b(?:TODO|FIXME|XXX)\b",
    "an issue by number": r"(?i)\bissues? #?\d",
}
UNNAMED = re.compile(r"(?:^|_)(?:utils?|helpers?|misc|common|managers?|handlers?)$")


def source_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> Iterator[str]:
    """The top-level names that a file imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


def external_imports(*folders: str) -> set[str]:
    return {name for path in source_files(*folders) for name in imports_of(path)} - OURS


def test_every_module_is_loaded_from_this_repository() -> None:
    for path in source_files(*TREES):
        spec = importlib.util.find_spec(module_name(path))
        assert spec is not None, path
        assert spec.origin == str(path)


def test_no_other_distribution_provides_our_names() -> None:
    providers = packages_distributions()
    for tree in TREES:
        assert set(providers.get(tree, [])) <= {"lethe-unlearning"}, tree


def test_wheel_holds_exactly_the_three_trees(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        held = {name for name in wheel.namelist() if not name.split("/")[0].endswith(".dist-info")}
    python = {str(path.relative_to(ROOT)) for path in source_files(*TREES)}
    assert {name.split("/")[0] for name in held} == set(TREES)
    assert {name for name in held if name.endswith(".py")} == python
    assert all((ROOT / name).is_file() for name in held)


def test_no_module_is_named_like_an_import_we_use() -> None:
    used = external_imports(*TREES)
    for path in source_files(*TREES):
        assert path.stem not in used, f"{path} would hide {path.stem} once its folder is on sys.path"


def normal(distribution: str) -> str:
    return distribution.lower().replace("_", "-")


def test_every_library_we_import_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {normal(re.split(r"[<>=!~ \[]", entry)[0]) for entry in project["dependencies"]}
    providers = packages_distributions()
    libraries = external_imports(*TREES) - set(sys.stdlib_module_names)
    undeclared = {name for name in libraries if not {normal(dist) for dist in providers.get(name, [])} & declared}
    assert not undeclared


@pytest.mark.parametrize("package", KINDS)
def test_every_plugin_module_is_named_in_its_registry(package: str) -> None:
    folder = ROOT / package.replace(".", "/")
    if not (folder / "__init__.py").is_file():
        pytest.skip(f"{package} does not exist yet")
    listed = {id(entry) for registry in registries(import_module(package)) for entry in registry.values()}
    modules = [import_module(module_name(path)) for path in sorted(folder.glob("*.py")) if path.stem[0] != "_"]
    constants = [getattr(module, KINDS[package]) for module in modules if hasattr(module, KINDS[package])]
    assert constants
    assert {id(constant) for constant in constants} == listed


def registries(package: ModuleType) -> list[Registry[Named]]:
    return [value for value in vars(package).values() if isinstance(value, Registry)]


@pytest.mark.parametrize("folder", [*TREES, "tests", "bench", "deployments"])
def test_every_module_says_what_it_promises(folder: str) -> None:
    for path in source_files(folder):
        assert ast.get_docstring(ast.parse(path.read_text())), path


def test_names_say_something() -> None:
    for path in source_files(*TREES):
        assert not UNNAMED.search(path.stem), path


def test_the_project_speaks_of_itself_alone() -> None:
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    for path in (ROOT / name for name in done.stdout.splitlines()):
        if path.suffix in {".py", ".md", ".toml", ".yaml", ".yml", ".lock", ".html", ""} and path.is_file():
            text = path.read_text(errors="replace")
            for what, pattern in FOREIGN.items():
                found = re.findall(pattern, text)
                assert not found or path == Path(__file__), f"{path.relative_to(ROOT)}: {what}: {found}"


def test_flow_and_task_modules_keep_their_annotations() -> None:
    for path in source_files("flows", "tasks"):
        assert "from __future__ import annotations" not in path.read_text(), (
            f"{path}: prefect resolves them at run time"
        )


def modules_loaded_by(statement: str) -> set[str]:
    code = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    return {name.split(".")[0] for name in json.loads(done.stdout)}


def test_command_line_starts_without_heavy_libraries() -> None:
    assert not modules_loaded_by("import flows.cli") & set(HEAVY)


def test_verifier_starts_without_heavy_libraries() -> None:
    assert not modules_loaded_by("import pipelines.audit.verify") & {*HEAVY, "pydantic", "numpy"}


def test_make_is_as_silent_as_the_program() -> None:
    exported = dict(re.findall(r"^export (\w+) = (\S+)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert SILENT.items() <= exported.items()
    assert exported.items() <= {**DEFAULTS, **SILENT}.items()


def test_lock_names_no_index_and_no_torch() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    assert not re.search(r"^(torch|nvidia-\S+|triton)==", lock, flags=re.MULTILINE)
    entries = re.split(r"\n(?=\w)", lock)[1:] if lock.startswith("#") else re.split(r"\n(?=\w)", lock)
    assert entries
    assert all("--hash=sha256:" in entry for entry in entries)
