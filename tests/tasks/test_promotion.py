"""Killed between any two steps of a promotion, what comes next finishes it once, or says that it was not done."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from pipelines.audit.keys import Keyring, generate_key
from pipelines.audit.promotions import INTENT, OUTCOME, ROLLBACK, read_facts
from pipelines.errors import BadInput, LetheError, Refused, VerificationFailed
from tasks import promotion
from tasks.approval import approve
from tasks.champion import fetched
from tasks.drift import look
from tasks.promotion import ALIAS_MOVED, CHECK_FAILED, Wish, log_intent, move_alias, one_promoter, request_of, settle
from tests.attacks.promotion.world import (
    APPROVER,
    FIRST,
    MODEL,
    NOW,
    REQUESTER,
    SECOND,
    FolderRegistry,
    World,
    build_world,
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return build_world(tmp_path)


def kinds(world: World) -> list[str]:
    """Kinds of the log's entries about the second version's promotion."""
    lines = [line.entry for line in world.log.lines() if line.entry.get("request") == SECOND]
    return [str(entry["kind"]) for entry in lines if entry["kind"] in {INTENT, OUTCOME}]


def killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def before_the_intent_is_signed(patch: pytest.MonkeyPatch) -> None:
    whole = promotion.sign_log
    calls: list[object] = []

    def second_call(home: object) -> bytes:
        calls.append(home)
        if len(calls) == 3:  # settle, plan, then the intent
            raise KeyboardInterrupt
        return whole(home)  # type: ignore[arg-type]

    patch.setattr(promotion, "sign_log", second_call)


def before_the_alias_moves(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("tests.attacks.promotion.world.move_alias", killed)


def between_the_aliases(patch: pytest.MonkeyPatch) -> None:
    whole = FolderRegistry.point

    def point(self: FolderRegistry, model: str, alias: str, version: str) -> None:
        if alias == "champion":
            raise KeyboardInterrupt
        whole(self, model, alias, version)

    patch.setattr(FolderRegistry, "point", point)


def before_the_outcome(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("tests.attacks.promotion.world.log_outcome", killed)


KILLS = (before_the_intent_is_signed, before_the_alias_moves, between_the_aliases, before_the_outcome)


@pytest.mark.parametrize("kill", KILLS)
def test_what_was_killed_is_finished_once(
    kill: Callable[[pytest.MonkeyPatch], None], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        kill(patched)
        with pytest.raises(KeyboardInterrupt):
            world.carry_out(Wish(SECOND))
    assert world.champion() == "1"
    with pytest.raises(VerificationFailed):
        world.serve("2")
    done = world.carry_out(Wish(SECOND))
    assert (done.version, done.changed) == ("2", False), "settled, then found done"
    assert (world.registry.alias(MODEL, "champion"), world.registry.alias(MODEL, "previous")) == ("2", "1")
    assert kinds(world) == [INTENT, OUTCOME]
    world.watch()
    assert world.serve().version == "2"


def test_killed_before_the_intent_leaves_the_approval_unspent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("tests.attacks.promotion.world.log_intent", killed)
        with pytest.raises(KeyboardInterrupt):
            world.carry_out(Wish(SECOND))
    assert world.carry_out(Wish(SECOND)).changed


def test_an_interrupted_promotion_is_dropped_where_the_alias_went_elsewhere(world: World) -> None:
    world.begin(Wish(SECOND))
    world.registry.point(MODEL, "champion", "7")
    [line] = settle(world.home, world.registry, now=NOW)
    assert ALIAS_MOVED in line
    assert world.champion() == "1"
    assert read_facts(world.home.log).open == ()


def test_an_interrupted_promotion_is_dropped_where_its_checks_fail_by_now(world: World) -> None:
    world.begin(Wish(SECOND))
    (world.registry.folder("2") / "model" / "extra.json").write_text("{}")
    [line] = settle(world.home, world.registry, now=NOW)
    assert CHECK_FAILED in line
    assert (world.champion(), world.registry.alias(MODEL, "champion")) == ("1", "1")


def test_an_approval_that_ran_out_after_the_intent_still_finishes(world: World) -> None:
    world.begin(Wish(SECOND))
    [line] = settle(world.home, world.registry, now=NOW + timedelta(days=40))
    assert "finished" in line
    assert world.champion() == "2"


def test_a_serving_machine_waits_for_an_open_promotion(world: World) -> None:
    world.begin(Wish(SECOND))
    with pytest.raises(VerificationFailed, match="was not concluded"):
        world.serve("1")


def test_one_process_promotes_at_a_time(world: World) -> None:
    with one_promoter(world.home), pytest.raises(BadInput, match="another promotion"), one_promoter(world.home):
        pass


def test_promoting_without_an_approval_is_refused(world: World) -> None:
    for path in (world.home.root / "approvals").glob("*.json"):
        path.unlink()
    with pytest.raises(BadInput, match="cannot be read"):
        world.carry_out(Wish(SECOND))
    world.log.entries_path.write_bytes(
        b"".join(raw + b"\n" for raw in world.log.entries_path.read_bytes().splitlines() if b'"approval"' not in raw)
    )
    with pytest.raises(LetheError):
        world.carry_out(Wish(SECOND))


def test_a_rollback_needs_an_approval_of_its_own_that_shows_what_it_undoes(world: World) -> None:
    world.promote()
    assert request_of(world.home, model=None, version=None) == FIRST
    back = Wish(FIRST, ROLLBACK, reason="quality_regression")
    with pytest.raises(VerificationFailed, match="evidence"):
        world.carry_out(back)
    page = world.page(FIRST)
    assert (page.action, page.replaces, page.undoes) == (ROLLBACK, "2", (SECOND,))
    world.approve(FIRST)
    with pytest.raises(Refused, match="lethe rollback"):
        world.carry_out(Wish(FIRST))
    assert world.carry_out(back).changed
    assert (world.champion(), world.registry.alias(MODEL, "previous")) == ("1", "2")
    world.watch()
    assert world.serve().reason == "quality_regression"


def test_only_a_version_that_was_champion_is_put_back(world: World) -> None:
    with pytest.raises(BadInput, match="versions that were: 1"):
        request_of(world.home, model=MODEL, version="2")
    with pytest.raises(Refused, match="lethe promote"):
        world.carry_out(Wish(SECOND, ROLLBACK, reason="x"))


def test_after_a_purge_an_earlier_champion_comes_back_and_nothing_else_is_promoted(world: World) -> None:
    world.promote()
    (world.home.vault(FIRST) / "salt").unlink()
    world.approve(FIRST)
    assert world.carry_out(Wish(FIRST, ROLLBACK, reason="x")).changed


def test_a_purged_request_is_not_promoted(world: World) -> None:
    (world.home.vault(SECOND) / "salt").unlink()
    with pytest.raises(Refused, match="before its request is purged"):
        world.approve(SECOND)


@pytest.mark.parametrize("name", [REQUESTER, "ada example", "ADA@example.org", f"{REQUESTER} (legal)"])
def test_who_asked_cannot_approve_under_the_same_name(name: str, world: World) -> None:
    key = Keyring(world.home.keys).private("approver")
    with pytest.raises(Refused, match="cannot approve"):
        approve(world.home, world.page(), key=key, name=name, lasts=timedelta(days=1), now=NOW)


def test_an_unknown_key_signs_nothing(world: World, tmp_path: Path) -> None:
    generate_key(tmp_path / "own.pem")
    before = sorted(world.home.room("approvals").iterdir())
    with pytest.raises(BadInput, match="not the key of an approver"):
        approve(world.home, world.page(), key=tmp_path / "own.pem", name=APPROVER, lasts=timedelta(days=1), now=NOW)
    assert sorted(world.home.room("approvals").iterdir()) == before


def test_an_approval_from_elsewhere_is_kept_for_those_who_check(world: World, tmp_path: Path) -> None:
    [path] = [p for p in (world.home.root / "approvals").glob("*.json") if SECOND in _requests_approved(world, p.stem)]
    carried = path.rename(tmp_path / "signed.json")
    assert world.carry_out(Wish(SECOND, approval=carried)).changed
    assert world.serve().approval == path.stem


def _requests_approved(world: World, digest: str) -> list[str]:
    lines = (line.entry for line in world.log.lines())
    return [
        str(entry["request"]) for entry in lines if entry.get("statement") == digest and entry["kind"] == "approval"
    ]


def test_a_fetched_champion_is_used_again_and_an_altered_copy_is_not(world: World) -> None:
    first = fetched(world.home, world.registry, MODEL)
    (world.registry.root / "1").rename(world.registry.root / "away")
    assert fetched(world.home, world.registry, MODEL) == first, "nothing was fetched"
    (first.folder / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError):
        fetched(world.home, world.registry, MODEL)
    (world.registry.root / "away").rename(world.registry.root / "1")
    assert "llama" in (fetched(world.home, world.registry, MODEL).folder / "config.json").read_text()
    world.registry.point(MODEL, "champion", "2")
    with pytest.raises(VerificationFailed, match="log's champion is version 1"):
        fetched(world.home, world.registry, MODEL)


def test_a_watch_logs_what_it_finds_when_it_changes(world: World) -> None:
    def logged() -> list[object]:
        return [line.entry["findings"] for line in world.log.lines() if line.entry["kind"] == "watch"]

    assert look(world.home, world.registry, now=NOW).findings == ()
    assert logged() == [], "nothing to tell"
    world.registry.point(MODEL, "champion", "2")
    for _ in range(2):
        assert [finding.what for finding in look(world.home, world.registry, now=NOW).findings] == ["alias moved"]
        settle(world.home, world.registry, now=NOW)
    world.registry.point(MODEL, "champion", "1")
    assert look(world.home, world.registry, now=NOW).findings == ()
    assert logged() == [1, 0]


def test_a_watch_names_every_kind_of_drift(world: World) -> None:
    world.registry.point(MODEL, "previous", "2")
    (world.registry.folder("2") / "model" / "config.json").write_text("{}")
    world.registry.point(MODEL, "challenger", "9")
    for path in (world.home.root / "approvals").glob("*.json"):
        path.unlink()
    world.log.append({**_intent_again(world)}, now=NOW)
    promotion.sign_log(world.home)
    found = {finding.what for finding in look(world.home, world.registry, now=NOW).findings}
    assert found == {"alias moved", "altered or revoked", "unknown version", "approval", "replay"}


def _intent_again(world: World) -> dict[str, str | int | bool | None]:
    [first] = read_facts(world.home.log).promotions
    return replace(first.intent, version="2").entry()


def test_the_alias_is_not_moved_twice_by_one_intent(world: World) -> None:
    intent = world.intent("0" * 64, "1" * 64)
    log_intent(world.home, intent, now=NOW)
    move_alias(world.home, world.registry, intent)
    settle(world.home, world.registry, now=NOW)
    assert world.champion() == "1", "an approval that is not there allows nothing"
