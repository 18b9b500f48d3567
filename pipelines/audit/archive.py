"""An archive with one spelling: a tar file of plain members, the same bytes for the same members on every machine.

Promises: `unpack` reads only what `pack` writes, byte for byte: names in ascending order, each once, below the folder;
no link, folder, device, extension header, owner, time or slack; bounded sizes; nothing is ever written to disk. Any tar
program reads the archive. What the members say is for who opened it.
"""

import re
import tarfile
from collections.abc import Mapping

from pipelines.audit.canonical import MAX_BYTES
from pipelines.errors import BadInput

MAX_MEMBERS = 256
MAX_ARCHIVE = 8 * MAX_BYTES
_BLOCK = 512
_END = bytes(2 * _BLOCK)
# No segment begins with a dot, so that none is hidden and none leads out of the folder.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*){0,3}")
_SIZE = re.compile(rb"[0-7]{11}\x00")
_LONGEST_NAME = 100


def pack(members: Mapping[str, bytes]) -> bytes:
    """The archive of these members.

    Args:
        members: content by relative POSIX path.

    Raises:
        BadInput: a name that is not plain and relative, a member or an archive that is too large.
    """
    parts = []
    for name in sorted(members):
        data = members[name]
        parts += [_header(_checked(name, len(data), what="archive"), len(data)), data, bytes(-len(data) % _BLOCK)]
    packed = b"".join([*parts, _END])
    if len(members) > MAX_MEMBERS or len(packed) > MAX_ARCHIVE:
        raise BadInput(f"archive: at most {MAX_MEMBERS} members and {MAX_ARCHIVE} bytes")
    return packed


def unpack(data: bytes, *, what: str = "archive") -> dict[str, bytes]:
    """The members of an archive.

    Raises:
        BadInput: anything that `pack` would not have written.
    """
    if len(data) > MAX_ARCHIVE:
        raise BadInput(f"{what}: at most {MAX_ARCHIVE} bytes are read")
    found: dict[str, bytes] = {}
    offset, last = 0, ""
    while len(data) - offset != len(_END) or not data.endswith(_END):
        header = data[offset : offset + _BLOCK]
        name, size = _read_header(header, what=f"{what}: member {len(found)}")
        begin = offset + _BLOCK
        offset = begin + size + -size % _BLOCK
        if offset > len(data) or any(data[begin + size : offset]):
            raise BadInput(f"{what}: member {len(found)} is cut short or padded with something")
        if name <= last or len(found) == MAX_MEMBERS:
            raise BadInput(f"{what}: members must stand in order, each once, at most {MAX_MEMBERS}")
        found[name], last = data[begin : begin + size], name
    return found


def _read_header(header: bytes, *, what: str) -> tuple[str, int]:
    """Name and size; the header must be the one that `pack` writes for them, so that nothing else can be in it."""
    if header[156:157] not in (b"0", b""):
        raise BadInput(f"{what}: only plain files are accepted (no link, folder, device or extension)")
    if len(header) < _BLOCK or not _SIZE.fullmatch(header[124:136]):
        raise BadInput(f"{what}: the archive does not go on or end as it must")
    size = int(header[124:135], 8)
    name = _checked(header[:100].rstrip(b"\0").decode("ascii", "replace"), size, what=what)
    if header != _header(name, size):
        raise BadInput(f"{what}: its header is not the one of a plain file without owner and time")
    return name, size


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")


def _checked(name: str, size: int, *, what: str) -> str:
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise BadInput(f"{what}: a name must be a plain relative path of letters, digits and _ . - below the folder")
    if size > MAX_BYTES:
        raise BadInput(f"{what}: {size} bytes, at most {MAX_BYTES} are read")
    return name
