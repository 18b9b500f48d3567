"""The archive format: one spelling, read by any tar program, and nothing in it that a plain file has not."""

import io
import tarfile
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.audit.archive import MAX_MEMBERS, pack, unpack
from pipelines.audit.canonical import MAX_BYTES
from pipelines.errors import BadInput

NAMES = st.from_regex(r"[a-z0-9_][a-z0-9_.-]{0,9}(/[a-z0-9_][a-z0-9_.-]{0,9}){0,3}", fullmatch=True)


@given(st.dictionaries(NAMES, st.binary(max_size=1500), max_size=6))
def test_what_is_packed_comes_out(members: dict[str, bytes]) -> None:
    packed = pack(members)
    assert unpack(packed) == members
    assert pack(dict(reversed(members.items()))) == packed


def test_any_tar_program_reads_it() -> None:
    members = {"a.json": b"{}", "b/c.txt": b"x" * 513, "empty": b""}
    with tarfile.open(fileobj=io.BytesIO(pack(members))) as tar:
        read = {info.name: tar.extractfile(info) for info in tar}
    assert {name: stream.read() for name, stream in read.items() if stream} == members


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../up", "a/../b", ".hidden", "a//b", "a/", "", "a\\b", "a b", "\xe4", "a/b/c/d/e", "x" * 101],
)
def test_a_name_that_is_not_plain_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match="plain relative path"):
        pack({name: b""})


def _kind(kind: bytes) -> Callable[[tarfile.TarInfo], None]:
    def change(info: tarfile.TarInfo) -> None:
        info.type, info.linkname = kind, "b"

    return change


def _set(**values: object) -> Callable[[tarfile.TarInfo], None]:
    def change(info: tarfile.TarInfo) -> None:
        for name, value in values.items():
            setattr(info, name, value)

    return change


KINDS = (
    tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE,
    tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE,
    tarfile.AREGTYPE,
)  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        *(_kind(kind) for kind in KINDS),
        *(_set(**{name: value}) for name, value in (("mode", 0o755), ("uid", 1), ("mtime", 1), ("uname", "root"))),
        _set(linkname="b"),
        _set(name="../a"),
        _set(size=2 * MAX_BYTES),
    ],
)
def test_a_member_that_is_no_plain_file_is_refused(change: Callable[[tarfile.TarInfo], None]) -> None:
    info = tarfile.TarInfo("a")
    info.size = 1
    change(info)
    with pytest.raises(BadInput):
        unpack(info.tobuf(tarfile.USTAR_FORMAT) + b"x".ljust(512, b"\0") + bytes(1024))


def test_order_repetition_and_slack_are_refused() -> None:
    a, b = pack({"a": b"1"})[:-1024], pack({"b": b"2"})[:-1024]
    assert unpack(a + b + bytes(1024)) == {"a": b"1", "b": b"2"}
    for spoiled in (
        b + a + bytes(1024),
        a + a + bytes(1024),
        a + bytes(512) + b + bytes(1024),
        a + bytes(512),
        a + bytes(1536),
        a,
        a[:-1] + b"x" + bytes(1024),
        b"",
        bytes(512),
        a + bytes(1024) + b,
    ):
        with pytest.raises(BadInput):
            unpack(spoiled)


def test_too_many_or_too_much_is_refused() -> None:
    with pytest.raises(BadInput, match="at most"):
        pack({f"m{i:03}": b"" for i in range(MAX_MEMBERS + 1)})
    many = b"".join(pack({f"m{i:03}": b""})[:-1024] for i in range(MAX_MEMBERS + 1))
    with pytest.raises(BadInput, match="at most"):
        unpack(many + bytes(1024))
    with pytest.raises(BadInput, match="at most"):
        pack({"large": bytes(MAX_BYTES + 1)})


@given(st.binary(max_size=2000))
def test_no_bytes_crash_the_reader(data: bytes) -> None:
    with pytest.raises(BadInput):
        unpack(data)


def test_every_changed_byte_is_refused_or_is_content() -> None:
    """Whatever is accepted packs to the very same bytes again: there is one spelling."""
    honest, random = pack({"a.json": b"{}", "b/c": b"12345"}), Random(3)
    for position in range(len(honest)):
        changed = honest[:position] + bytes([honest[position] ^ 1 << random.randrange(8)]) + honest[position + 1 :]
        try:
            assert pack(unpack(changed)) == changed
        except BadInput:
            continue
