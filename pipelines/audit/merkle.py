"""The Merkle tree of RFC 6962: roots, proofs, and their verification.

Promises: `root` and the proofs are those of RFC 6962 section 2.1 over leaf hashes; a `Frontier` gives the same root
while holding O(log n) hashes; the two verifiers trust nothing but their arguments. It keeps no state and reads no file.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

EMPTY_ROOT = hashlib.sha256(b"").digest()

Subtree: TypeAlias = Callable[[int, int], bytes]


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256(0x00 || entry); the prefix keeps a leaf from passing as an inner node (RFC 6962, 2.1)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True)
class Frontier:
    """The roots of the full subtrees of a log, largest first: one per set bit of its size."""

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def append(self, leaf: bytes) -> "Frontier":
        """The frontier after one more leaf hash; amortised O(1) hashing."""
        kept, carried = self.hashes, leaf
        for _ in range(_trailing_ones(self.size)):
            kept, carried = kept[:-1], node_hash(kept[-1], carried)
        return Frontier(self.size + 1, (*kept, carried))

    def root(self) -> bytes:
        """The tree head over all leaves appended so far."""
        if not self.hashes:
            return EMPTY_ROOT
        *rest, head = self.hashes
        for left in reversed(rest):
            head = node_hash(left, head)
        return head


def root(leaves: Sequence[bytes]) -> bytes:
    """The tree head over leaf hashes, level by level, a lone last node moving up unchanged; O(n)."""
    level = list(leaves)
    while len(level) > 1:
        paired = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = paired + level[len(paired) * 2 :]
    return level[0] if level else EMPTY_ROOT


def split(size: int) -> int:
    """The largest power of two smaller than a size of at least 2: where RFC 6962 splits a tree."""
    return 1 << ((size - 1).bit_length() - 1)


def inclusion_proof(index: int, *, size: int, subtree: Subtree) -> tuple[bytes, ...]:
    """The audit path of one leaf, deepest sibling first (RFC 6962, 2.1.1).

    Args:
        index: of the leaf.
        size: of the tree.
        subtree: the root over leaves from `begin` to `end` (excluded).

    Raises:
        IndexError: no leaf has this index.
    """
    if not 0 <= index < size:
        raise IndexError(f"leaf {index} of {size}")
    path, begin, end = [], 0, size
    while end - begin > 1:
        middle = begin + split(end - begin)
        if index < middle:
            path.append(subtree(middle, end))
            end = middle
        else:
            path.append(subtree(begin, middle))
            begin = middle
    return tuple(reversed(path))


def consistency_proof(old_size: int, *, size: int, subtree: Subtree) -> tuple[bytes, ...]:
    """That the first `old_size` leaves are a prefix of all (RFC 6962, 2.1.2); empty for 0 and for equal sizes.

    Args:
        old_size: of the earlier tree.
        size: of the tree.
        subtree: the root over leaves from `begin` to `end` (excluded).

    Raises:
        IndexError: the old tree is larger than the new one.
    """
    if not 0 <= old_size <= size:
        raise IndexError(f"a tree of {old_size} leaves is no prefix of {size}")
    if old_size in (0, size):
        return ()
    path, begin, end = [], 0, size
    while old_size != end:
        middle = begin + split(end - begin)
        if old_size <= middle:
            path.append(subtree(middle, end))
            end = middle
        else:
            path.append(subtree(begin, middle))
            begin = middle
    # The old tree itself is known to who holds its head, unless it is only a part of a node on its right edge.
    return tuple(reversed(path if begin == 0 else [*path, subtree(begin, end)]))


def verify_inclusion(leaf: bytes, *, index: int, size: int, proof: Sequence[bytes], head: bytes) -> bool:
    """Whether the leaf hash sits at this index of the tree of this size and head (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    node, last, result = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            result = node_hash(sibling, result)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            result = node_hash(result, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and result == head


def verify_consistency(*, old_size: int, old_head: bytes, size: int, head: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the tree (size, head) extends the tree (old_size, old_head) (RFC 9162, 2.1.4.2)."""
    if not 0 <= old_size <= size:
        return False
    if old_size == size:
        return not proof and old_head == head
    if old_size == 0:
        return not proof and old_head == EMPTY_ROOT
    # A full old tree is itself a node of the new one, and the proof leaves it out.
    path = list(proof) if old_size & (old_size - 1) else [old_head, *proof]
    return bool(path) and _walk(path, old_size=old_size, old_head=old_head, size=size, head=head)


def _walk(path: list[bytes], *, old_size: int, old_head: bytes, size: int, head: bytes) -> bool:
    shift = _trailing_ones(old_size - 1)
    node, last = (old_size - 1) >> shift, (size - 1) >> shift
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and old == old_head and new == head


def _trailing_ones(number: int) -> int:
    return (~number & (number + 1)).bit_length() - 1
