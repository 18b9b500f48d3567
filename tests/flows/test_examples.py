"""The files that users copy are valid, and the default policy can be judged."""

import pytest

from pipelines.config import load_config, load_policy, load_request
from pipelines.evaluation.judgement import check_policy
from pipelines.provenance import ROOT

DEPLOYMENTS = ROOT / "deployments"


def test_example_request_and_config_are_valid() -> None:
    assert load_request(DEPLOYMENTS / "examples" / "request.yaml").selector.kind == "rows"
    config = load_config(DEPLOYMENTS / "examples" / "config.yaml")
    assert config.method_params().content_digest()


@pytest.mark.parametrize("path", sorted((DEPLOYMENTS / "policies").glob("*.yaml")), ids=lambda path: path.stem)
def test_policies_can_be_judged(path: object) -> None:
    from pathlib import Path

    assert isinstance(path, Path)
    check_policy(load_policy(path))
