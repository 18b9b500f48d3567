"""The Merkle tree against the recursive definitions of RFC 6962, section 2.1, written down as they stand there."""

import hashlib
from collections.abc import Callable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from pipelines.audit.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root,
    verify_consistency,
    verify_inclusion,
)

LARGEST = 130
ENTRIES = [f"entry {i}".encode() for i in range(LARGEST)]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]


def _over(leaves: Sequence[bytes]) -> Callable[[int, int], bytes]:
    return lambda begin, end: root(leaves[begin:end])


def _split(n: int) -> int:
    """The largest power of two smaller than n."""
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def mth(entries: Sequence[bytes]) -> bytes:
    """MTH(D[n])."""
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    k = _split(len(entries))
    return hashlib.sha256(b"\x01" + mth(entries[:k]) + mth(entries[k:])).digest()


def path(m: int, entries: Sequence[bytes]) -> list[bytes]:
    """PATH(m, D[n])."""
    if len(entries) == 1:
        return []
    k = _split(len(entries))
    if m < k:
        return [*path(m, entries[:k]), mth(entries[k:])]
    return [*path(m - k, entries[k:]), mth(entries[:k])]


def subproof(m: int, entries: Sequence[bytes], known: bool) -> list[bytes]:
    """SUBPROOF(m, D[n], b)."""
    if m == len(entries):
        return [] if known else [mth(entries)]
    k = _split(len(entries))
    if m <= k:
        return [*subproof(m, entries[:k], known), mth(entries[k:])]
    return [*subproof(m - k, entries[k:], False), mth(entries[:k])]


def test_roots_of_every_size_are_those_of_the_definition() -> None:
    tree = Frontier()
    for size in range(LARGEST + 1):
        expected = mth(ENTRIES[:size])
        assert root(LEAVES[:size]) == expected
        assert (tree.size, tree.root()) == (size, expected)
        assert len(tree.hashes) == size.bit_count()
        if size < LARGEST:
            tree = tree.append(LEAVES[size])


def test_the_known_roots_of_certificate_transparency() -> None:
    """The eight inputs and the roots that RFC 6962's reference implementation has published since 2012."""
    inputs = [bytes.fromhex(h) for h in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
    leaves = [leaf_hash(item) for item in [*inputs, bytes(range(0x60, 0x70))]]
    assert root(leaves[:1]).hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert root(leaves[:2]).hex() == "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
    assert root(leaves).hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


@given(st.data())
def test_inclusion_proofs(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, LARGEST))
    index = data.draw(st.integers(0, size - 1))
    head, proof = mth(ENTRIES[:size]), inclusion_proof(index, size=size, subtree=_over(LEAVES))
    assert list(proof) == path(index, ENTRIES[:size])
    assert verify_inclusion(LEAVES[index], index=index, size=size, proof=proof, head=head)
    other = data.draw(st.integers(-1, LARGEST + 1))
    if other != index:
        assert not verify_inclusion(LEAVES[index], index=other, size=size, proof=proof, head=head)
    assert not verify_inclusion(leaf_hash(b"another"), index=index, size=size, proof=proof, head=head)
    assert not verify_inclusion(LEAVES[index], index=index, size=size, proof=(*proof, head), head=head)
    for i in range(len(proof)):
        assert not verify_inclusion(LEAVES[index], index=index, size=size, proof=proof[:i] + proof[i + 1 :], head=head)


@given(st.data())
def test_consistency_proofs(data: st.DataObject) -> None:
    size = data.draw(st.integers(0, LARGEST))
    old = data.draw(st.integers(0, size))
    old_head, head = mth(ENTRIES[:old]), mth(ENTRIES[:size])
    proof = consistency_proof(old, size=size, subtree=_over(LEAVES))
    assert list(proof) == (subproof(old, ENTRIES[:size], True) if 0 < old < size else [])
    assert verify_consistency(old_size=old, old_head=old_head, size=size, head=head, proof=proof)
    wrong = hashlib.sha256(b"another").digest()
    assert not verify_consistency(old_size=old, old_head=wrong, size=size, head=head, proof=proof)
    assert not verify_consistency(old_size=old, old_head=old_head, size=size, head=head, proof=(*proof, wrong))
    assert not verify_consistency(old_size=size + 1, old_head=old_head, size=size, head=head, proof=proof)
    if old > 0:
        assert not verify_consistency(old_size=old, old_head=old_head, size=size, head=wrong, proof=proof)
    for i in range(len(proof)):
        shorter, changed = proof[:i] + proof[i + 1 :], (*proof[:i], wrong, *proof[i + 1 :])
        for bad in (shorter, changed):
            assert not verify_consistency(old_size=old, old_head=old_head, size=size, head=head, proof=bad)


@given(st.data())
def test_a_rewritten_past_is_not_consistent(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, LARGEST))
    old = data.draw(st.integers(1, size - 1))
    changed = data.draw(st.integers(0, old - 1))
    rewritten = [leaf_hash(b"changed") if i == changed else leaf for i, leaf in enumerate(LEAVES[:size])]
    proof = consistency_proof(old, size=len(rewritten), subtree=_over(rewritten))
    assert not verify_consistency(
        old_size=old, old_head=root(LEAVES[:old]), size=size, head=root(rewritten), proof=proof
    )


def test_an_inner_node_passes_as_no_leaf() -> None:
    """Without the prefixes the entry `left || right` would hash to the node above it: a leaf that nobody appended."""
    node = node_hash(LEAVES[0], LEAVES[1])
    assert node == root(LEAVES[:2])
    assert leaf_hash(LEAVES[0] + LEAVES[1]) != node
    assert root([]) == EMPTY_ROOT
