"""Changes of a file that are there as a whole or not at all, whenever the process is killed."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_MAGIC = b"captum_spes journal 1\n"
_HEAD = struct.Struct("<QQ")  # the size of the file afterwards, and how many parts follow
_PART = struct.Struct("<QQ")  # offset and length of each


class ChangedFile(io.RawIOBase):
    """A file with changes that are kept in memory until :meth:`commit`.

    Reading sees them. A commit first writes all changes into a journal beside the file, then into
    the file, then removes the journal: what a killed process left is either no journal, or one from
    which :func:`recover` finishes its work.

    Args:
        path: the file, which is made if need be.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
        self._file = os.fdopen(os.open(path, flags, 0o666), "r+b", buffering=0)
        self._size = os.fstat(self._file.fileno()).st_size
        self._on_disk = self._size
        self._position = 0
        self._changes: list[tuple[int, bytes]] = []

    # What h5py asks a file for ---------------------------------------------------------

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def truncate(self, size: int | None = None) -> int:
        self._size = self._position if size is None else size
        return self._size

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        start = self._position
        count = max(0, min(len(view), self._size - start))
        view[:count] = bytes(count)
        self._file.seek(start)
        old = self._file.read(max(0, min(count, self._on_disk - start))) or b""
        view[: len(old)] = old
        for offset, data in self._changes:
            low, high = max(offset, start), min(offset + len(data), start + count)
            if low < high:
                view[low - start : high - start] = data[low - offset : high - offset]
        self._position += count
        return count

    def write(self, data: object) -> int:
        content = bytes(data)  # type: ignore[call-overload]
        self._changes.append((self._position, content))
        self._position += len(content)
        self._size = max(self._size, self._position)
        return len(content)

    def close(self) -> None:
        self._file.close()
        super().close()

    # Transactions ----------------------------------------------------------------------

    def commit(self) -> None:
        """Make the changes last.

        Raises:
            OSError: they cannot be written; the file is as it was.
        """
        if not self._changes and self._size == self._on_disk:
            return
        journal = journal_of(self._path)
        try:
            _write_journal(journal, self._size, self._changes)
            _reserve(self._file.fileno(), self._size)
        except BaseException:
            with suppress(OSError):
                os.ftruncate(self._file.fileno(), self._on_disk)
            journal.unlink(missing_ok=True)
            raise
        _apply(self._file.fileno(), self._size, self._changes)
        _remove(journal)
        self._on_disk, self._changes = self._size, []


def journal_of(path: Path) -> Path:
    """Where the changes of a file are kept while it is changed."""
    return path.with_name(f".{path.name}.journal")


def recover(path: Path) -> bool:
    """Finish a commit that was cut off, and return whether there was one.

    Only to be called by the one process that may write.

    Raises:
        OSError: the file cannot be written.
    """
    journal = journal_of(path)
    try:
        content = journal.read_bytes()
    except FileNotFoundError:
        return False
    found = _parsed(content)
    if found is not None:  # else it was cut off itself, before the file was touched
        size, changes = found
        with open(path, "r+b", buffering=0) as file:
            _apply(file.fileno(), size, changes)
    _remove(journal)
    return True


def _write_journal(journal: Path, size: int, changes: list[tuple[int, bytes]]) -> None:
    digest = hashlib.sha256()
    with open(journal, "wb") as file:
        for piece in _pieces(size, changes):
            file.write(piece)
            digest.update(piece)
        file.write(digest.digest())
        file.flush()
        os.fsync(file.fileno())
    _sync_folder(journal.parent)


def _pieces(size: int, changes: list[tuple[int, bytes]]) -> Iterator[bytes]:
    yield _MAGIC + _HEAD.pack(size, len(changes))
    for offset, data in changes:
        yield _PART.pack(offset, len(data))
        yield data


def _parsed(content: bytes) -> tuple[int, list[tuple[int, bytes]]] | None:
    """Size and changes of a journal; None for one that was not finished."""
    body, digest = content[:-32], content[-32:]
    if not body.startswith(_MAGIC) or hashlib.sha256(body).digest() != digest:
        return None
    place = len(_MAGIC)
    size, count = _HEAD.unpack_from(body, place)
    place += _HEAD.size
    changes = []
    for _ in range(count):
        offset, length = _PART.unpack_from(body, place)
        place += _PART.size
        changes.append((offset, body[place : place + length]))
        place += length
    return size, changes


def _reserve(descriptor: int, size: int) -> None:
    """Room on the disk, so that it cannot be full once the file is touched."""
    old = os.fstat(descriptor).st_size
    if size <= old:
        return
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, old, size - old)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
        else:
            return
    os.lseek(descriptor, old, os.SEEK_SET)
    os.write(descriptor, bytes(size - old))


def _apply(descriptor: int, size: int, changes: list[tuple[int, bytes]]) -> None:
    for offset, data in changes:
        os.lseek(descriptor, offset, os.SEEK_SET)
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]
    os.ftruncate(descriptor, size)
    os.fsync(descriptor)


def _remove(journal: Path) -> None:
    journal.unlink()
    _sync_folder(journal.parent)


def _sync_folder(folder: Path) -> None:
    """Names of files last, too, where the system can be asked for it."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
