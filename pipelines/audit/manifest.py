"""What a folder holds: the SHA-256 of every file in it, and one digest over all of them.

Promises: every file counts, hidden ones too; nothing but plain files and folders is accepted, so that the digest covers
all that a loader could reach. It does not judge what the files are: which names a model folder may hold is the loader's
allowlist.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipelines.audit.canonical import digest
from pipelines.errors import BadInput

_THREADS = 8


def folder_manifest(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file under a folder, keyed by its relative POSIX path.

    Raises:
        BadInput: no such folder, an empty one, a symlink, a special file, or a name that is not UTF-8.
    """
    if folder.is_symlink() or not folder.is_dir():
        raise BadInput(f"{folder}: not a folder (symlinks are refused)")
    names = sorted(_files(folder, ""))
    if not names:
        raise BadInput(f"{folder}: the folder holds no file")
    # hashlib releases the interpreter lock, so threads read and hash side by side.
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        return dict(zip(names, pool.map(lambda name: _hash_plain(folder / name), names), strict=True))


def folder_digest(folder: Path) -> str:
    """The digest of a folder's manifest: what names a model.

    Raises:
        BadInput: as `folder_manifest`.
    """
    return digest(folder_manifest(folder))


def _files(folder: Path, prefix: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if (
                not entry.name.isprintable()
                or "\\" in entry.name
                or "\ufffd" in os.fsencode(entry.name).decode("utf-8", "replace")
            ):
                raise BadInput(f"{folder}: a file name is not printable UTF-8 without backslashes")
            if entry.is_dir(follow_symlinks=False):
                yield from _files(Path(entry.path), f"{prefix}{entry.name}/")
            elif entry.is_file(follow_symlinks=False):
                yield prefix + entry.name
            else:
                raise BadInput(
                    f"{folder / entry.name}: only plain files and folders are accepted (no symlink, pipe or device)"
                )


def _hash_plain(path: Path) -> str:
    # A file that became a symlink or a pipe since the folder was listed is refused here, not followed or waited for.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BadInput(f"{path}: not a plain file")
        return hashlib.file_digest(stream, "sha256").hexdigest()
