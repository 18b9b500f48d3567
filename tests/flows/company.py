"""A tiny company on disk: an untrained model, its "training" rows, a request, a configuration and policies.

The model knows nothing, so nothing here says anything about forgetting; it makes every stage of a run real and fast.
Whether a run forgets is tested on the demo world.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from pipelines.data.rows import Row
from tests.tiny import save_tiny, tiny_rows

REQUEST = "REQ-TEST-1"
LENIENT = {"extraction_strength": {"margin": 1.0}}
"""Any candidate passes: for tests of what happens after a pass."""


@dataclass(frozen=True, slots=True)
class Company:
    """Where everything of the tiny company is."""

    root: Path

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def request(self) -> Path:
        return self.root / "request.yaml"

    @property
    def config(self) -> Path:
        return self.root / "config.yaml"

    @property
    def policy(self) -> Path:
        return self.root / "policy.yaml"

    def set_config(self, **changes: object) -> None:
        """Change fields of the configuration file."""
        _yaml(self.config, {**yaml.safe_load(self.config.read_text()), **changes})

    def set_request(self, **changes: object) -> None:
        """Change fields of the request file."""
        _yaml(self.request, {**yaml.safe_load(self.request.read_text()), **changes})

    def set_policy(self, **changes: object) -> None:
        """Change fields of the policy file."""
        _yaml(self.policy, {**yaml.safe_load(self.policy.read_text()), **changes})

    def hurry(self) -> None:
        """Settings with which a run does no more than it must."""
        evaluation = {"bootstrap": 100, "max_new_tokens": 1}
        self.set_config(attribution={"backends": ["bm25"]}, utility={}, evaluation=evaluation)

    def arguments(self, *more: str) -> list[str]:
        """The command line that runs the request."""
        files = {"--request": self.request, "--config": self.config, "--policy": self.policy, "--home": self.home}
        return ["run", *(str(part) for pair in files.items() for part in pair), *more]


def write_rows(path: Path, rows: Iterable[Row]) -> Path:
    """Rows as JSON lines in TOFU's columns."""
    fields = ("question", "answer", "paraphrased_question", "paraphrased_answer", "perturbed_answer")
    lines = [json.dumps({name: getattr(row, name) for name in fields}, ensure_ascii=False) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def found(
    root: Path, *, gates: Mapping[str, Mapping[str, object]] = LENIENT, forget: Iterable[Row] | None = None
) -> Company:
    """Write a company under ``root``: 16 training rows, the first four of them to be forgotten."""
    company = Company(root)
    save_tiny(root / "start", seed=0)
    save_tiny(root / "reference", seed=1)
    rows = [*forget, *tiny_rows(12, first=4)] if forget else list(tiny_rows(16))
    write_rows(root / "train.jsonl", rows)
    write_rows(root / "forget.jsonl", rows[: len(rows) - 12])
    write_rows(root / "holdout.jsonl", tiny_rows(6, first=100))
    write_rows(root / "validation.jsonl", tiny_rows(6, first=150))
    write_rows(root / "facts.jsonl", tiny_rows(4, first=200))
    _yaml(
        company.request,
        {
            "id": REQUEST,
            "target": "data_points",
            "selector": {"rows": str(root / "forget.jsonl")},
            "legal_basis": "gdpr_art_17",
            "requester": "Ada Example, ada@example.org",
            "received": "2026-11-02T09:00:00+00:00",
        },
    )
    _yaml(
        company.config,
        {
            "model": str(root / "start"),
            "reference": str(root / "reference"),
            "train": str(root / "train.jsonl"),
            "holdout": str(root / "holdout.jsonl"),
            "validation": str(root / "validation.jsonl"),
            "utility": {"world_facts": str(root / "facts.jsonl")},
            "method": "npo",
            "training": {"learning_rate": 1e-3, "epochs": 2, "batch_size": 2},
            "evaluation": {"bootstrap": 100, "max_new_tokens": 8},
            "scope": {"neighbours": 4},
            "registered_name": "tiny",
            "device": "cpu",
        },
    )
    _yaml(
        company.policy,
        {
            "name": "test",
            "description": "Marks for tests of the machinery.",
            "gates": {k: dict(v) for k, v in gates.items()},
        },
    )
    return company


def _yaml(path: Path, value: object) -> None:
    path.write_text(yaml.safe_dump(value), encoding="utf-8")
