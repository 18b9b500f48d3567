"""THREATS.md lists the attacks that are there, and every attack of the published list is tried somewhere."""

import pytest

from tests.attacks.threats import BEGIN, DOCUMENT, END, HERE, table, written

# The names under which the attacks are known; the folders may be in any of the suites.
PUBLISHED = """
edited_value nan_metric partial_scoring unknown_evaluator other_model file_added gitattributes_added
swapped_forget_set one_row_less duplicate_rows other_retain overlap policy_after_plan replayed_approval self_approval
expired same_key_two_roles rollback alias_moved stale_checkpoint truncated rewritten reordered two_heads_one_size
node_as_leaf revoked_key before_validity wrong_predicate duplicate_key extra_field poisoned_cache colliding_cache
pickle_renamed auto_map attn_internal symlink tar_traversal guessable_commitment missing_probe other_evidence
crash_after_promote crash_before_log
""".split()


def test_the_table_is_current() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    assert document.count(BEGIN) == document.count(END) == 1
    assert document == written(document), "run python -m tests.attacks.threats"


def test_every_folder_is_in_the_table_and_has_a_test_beside_it() -> None:
    folders = [*HERE.rglob("*_fail")]
    assert len(table().splitlines()) == len(folders) + 2
    assert all((folder.parent / "test_attacks.py").is_file() for folder in folders)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_attack_is_tried(name: str) -> None:
    assert [*HERE.rglob(f"{name}_fail/attack.py")]
