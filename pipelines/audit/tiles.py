"""The Merkle tree over a log's lines; the roots of full tiles are kept beside the log, so that none is hashed twice.

Promises: the roots and proofs are those of the lines. The file of tiles can be deleted at any time and is never
believed: a tile counts only if its lines still have the bytes that it was made from, only below the signed head, and
only if all tiles together give the root that was signed; otherwise every line is hashed again. No verifier reads it.
"""

import hashlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pipelines.audit import merkle
from pipelines.audit.checkpoint import Checkpoint
from pipelines.audit.encoding import write_atomic
from pipelines.audit.entries import ENTRIES, raw_lines

TILES = "tiles"
WIDTH = 1024
"""Lines per tile: a power of two, so that a tile is a node of every tree that reaches beyond it."""

# end of its lines in the file, SHA-256 of their bytes, root of their subtree
_FORM = struct.Struct(">Q32s32s")


@dataclass(frozen=True)
class Tile:
    """A full tile: where its lines end in the file, the SHA-256 of their bytes, and the root of their subtree."""

    end: int
    content: bytes
    root: bytes


@dataclass(frozen=True)
class LineTree:
    """The tree over the complete lines of a log.

    Attributes:
        directory: the log's folder.
        tiles: the full ones, in order.
        tail: leaf hashes of the lines after the last full tile.
    """

    directory: Path
    tiles: tuple[Tile, ...]
    tail: tuple[bytes, ...]

    @property
    def size(self) -> int:
        """How many lines the tree has."""
        return len(self.tiles) * WIDTH + len(self.tail)

    def root(self, size: int) -> bytes:
        """The head of the tree of the first `size` lines."""
        return self.subtree(0, size)

    def subtree(self, begin: int, end: int) -> bytes:
        """The root over lines `begin` to `end` (excluded): a node of RFC 6962's tree, so that `begin` is aligned."""
        if begin % WIDTH + end - begin <= WIDTH:
            number = begin // WIDTH
            if end - begin == WIDTH and number < len(self.tiles):
                return self.tiles[number].root
            return merkle.root(self._leaves(number)[begin % WIDTH : begin % WIDTH + end - begin])
        middle = begin + merkle.split(end - begin)
        return merkle.node_hash(self.subtree(begin, middle), self.subtree(middle, end))

    def lines(self, begin: int) -> Iterator[tuple[int, bytes]]:
        """Index and bytes of every line from `begin` on."""
        number = min(begin // WIDTH, len(self.tiles))
        offset = self.tiles[number - 1].end if number else 0
        found = enumerate(raw_lines(self.directory, offset=offset), number * WIDTH)
        return (line for line in found if line[0] >= begin)

    def save(self) -> None:
        """Keep the tiles for the next time."""
        packed = b"".join(_FORM.pack(tile.end, tile.content, tile.root) for tile in self.tiles)
        write_atomic(self.directory / TILES, packed)

    def _leaves(self, number: int) -> list[bytes]:
        if number >= len(self.tiles):
            return list(self.tail)
        begin = self.tiles[number - 1].end if number else 0
        return [merkle.leaf_hash(raw) for raw in islice(raw_lines(self.directory, offset=begin), WIDTH)]


def read_tree(directory: Path, *, signed: Checkpoint) -> LineTree:
    """The tree over the lines as they are, by way of the kept tiles where these can be shown to be right.

    Args:
        directory: the log's folder.
        signed: the latest signed head; what lies above it is hashed line by line.

    Raises:
        BadInput: the log cannot be read, or a line is too long to be one.
    """
    kept = tuple(_kept(directory, limit=signed.size // WIDTH))
    tree = _grown(directory, kept)
    if not kept or (tree.size >= signed.size and tree.root(signed.size) == signed.root):
        return tree
    return _grown(directory, ())


def _kept(directory: Path, *, limit: int) -> Iterator[Tile]:
    """The tiles whose lines have not changed since, up to the first that have."""
    path = directory / TILES
    data = path.read_bytes() if path.exists() and not path.is_symlink() else b""
    begin = 0
    if len(data) % _FORM.size:
        return
    with (directory / ENTRIES).open("rb", buffering=0) as lines:
        for fields in islice(_FORM.iter_unpack(data), limit):
            tile = Tile(*fields)
            if not begin < tile.end <= os.fstat(lines.fileno()).st_size:
                return
            if hashlib.sha256(os.pread(lines.fileno(), tile.end - begin, begin)).digest() != tile.content:
                return
            yield tile
            begin = tile.end


def _grown(directory: Path, kept: tuple[Tile, ...]) -> LineTree:
    """The tree from these tiles and every line after them."""
    tiles, leaves = list(kept), list[bytes]()
    end = kept[-1].end if kept else 0
    content = hashlib.sha256()
    for raw in raw_lines(directory, offset=end):
        leaves.append(merkle.leaf_hash(raw))
        content.update(raw + b"\n")
        end += len(raw) + 1
        if len(leaves) == WIDTH:
            tiles.append(Tile(end, content.digest(), merkle.root(leaves)))
            leaves, content = [], hashlib.sha256()
    return LineTree(directory, tuple(tiles), tuple(leaves))
