"""No mutation of an evidence archive verifies, and the count would notice one that did."""

import pytest

from pipelines.audit import archive
from pipelines.errors import BadInput
from tests.attacks.mutations import FOOLISH, FORGED, accepted
from tests.attacks.world import World, build_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return build_world(tmp_path_factory.mktemp("mutations") / "world")


def test_hundreds_of_mutations_and_none_accepted(world: World) -> None:
    tried, through = accepted(world, count=330, seed=1)
    assert not through
    assert tried.keys() == {*FOOLISH, *FORGED}


@pytest.mark.slow
def test_ten_thousand_mutations_and_none_accepted(world: World) -> None:
    tried, through = accepted(world, count=10_000)
    assert not through
    assert tried.total() == 10_000


def test_a_reader_that_passes_over_what_it_does_not_know_is_noticed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slack after the last member accepted, as tar programs do: some insertions get through and are counted."""
    strict = archive.unpack

    def loose(data: bytes, *, what: str = "archive") -> dict[str, bytes]:
        try:
            return strict(data, what=what)
        except BadInput:
            honest = world.archive.read_bytes()
            return strict(honest) if data[: len(honest) - 1024] == honest[:-1024] else strict(data, what=what)

    monkeypatch.setattr("pipelines.audit.evidence.unpack", loose)
    assert accepted(world, count=330, seed=1)[1]
