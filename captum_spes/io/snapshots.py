"""Reading a file while another process changes it."""

from __future__ import annotations

import io
import os
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from captum_spes.errors import ArgumentError, warn_caller
from captum_spes.io.transactions import journal_of, recover

T = TypeVar("T")

_TRIES, _PAUSE_SECONDS = 200, 0.02
# Where HDF5's superblock, of version 2 or 3, tells the size of its file.
_SIGNATURE, _END_OF_FILE = b"\x89HDF\r\n\x1a\n", 28


class State(NamedTuple):
    """What tells one content of a file from another."""

    file: int
    size: int
    changed: int


class Snapshots:
    """An HDF5 file as it is between two commits of :class:`ChangedFile`.

    Nothing is locked: what was read while the file changed is read again.

    Args:
        path: the file.
        h5py: the module.
    """

    def __init__(self, path: Path, h5py: Any) -> None:
        self._path, self._h5py = path, h5py
        self._file: Any = None
        self._source: _ReadFile | None = None
        self._state: State | None = None

    def __del__(self) -> None:
        with suppress(Exception):  # the interpreter may be ending
            self.close()

    def state(self) -> State | None:
        """Of the file now; None where there is none, or nothing was ever written into it."""
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return None
        if not found.st_size:
            return None
        return State(found.st_ino, found.st_size, found.st_mtime_ns)

    def read(self, function: Callable[[Any], T]) -> T:
        """What a function makes of the open file.

        Raises:
            FileNotFoundError: there is no file.
            ArgumentError: it is no HDF5 file, or is changed all the time.
        """
        for _ in range(_TRIES):
            before = self._settled()
            try:
                found = function(self._opened(before))
            except Exception:
                if self._is(before):
                    raise
            else:
                if self._is(before):
                    return found
            time.sleep(_PAUSE_SECONDS)
        raise ArgumentError(f"{self._path} is changed all the time: wait until it is written.")

    def is_cut(self) -> bool:
        """Whether the end of the file is missing."""
        state = self.state()
        return state is not None and state.size < self._declared_size()

    def close(self) -> None:
        """Let go of the file; it is opened again when it is read."""
        for opened in (self._file, self._source):
            if opened is not None:
                opened.close()
        self._file = self._source = self._state = None

    def _settled(self) -> State:
        """The state when nobody changes the file; what a killed process left is finished."""
        for _ in range(_TRIES):
            state = self.state()
            if state is None:
                raise FileNotFoundError(f"no such file: {self._path}")
            if not journal_of(self._path).exists():
                return state
            time.sleep(_PAUSE_SECONDS)
        recover_if_alone(self._path)
        return self._settled()

    def _is(self, state: State) -> bool:
        return self.state() == state and not journal_of(self._path).exists()

    def _opened(self, state: State) -> Any:
        if self._file is None or self._state != state:
            self.close()
            self._file = self._open(state)
            self._state = state
        return self._file

    def _open(self, state: State) -> Any:
        declared = self._declared_size()
        if state.size < declared:
            warn_caller(
                f"{self._path} is cut off: {state.size} of {declared} bytes are there. What stands "
                "before the cut can be read; verify() names the rest."
            )
        # Opened by name, files of one process that are the same would share what HDF5 has cached.
        self._source = _ReadFile(self._path, max(declared, state.size))
        try:
            return self._h5py.File(self._source, "r")
        except OSError as error:
            self.close()
            raise ArgumentError(f"{self._path} is damaged, or no HDF5 file: {error}") from error

    def _declared_size(self) -> int:
        with open(self._path, "rb") as file:
            head = file.read(_END_OF_FILE + 8)
        if len(head) < _END_OF_FILE + 8 or not head.startswith(_SIGNATURE) or head[8] < 2:
            return 0
        size: int = struct.unpack_from("<Q", head, _END_OF_FILE)[0]
        return size


def recover_if_alone(path: Path) -> None:
    """Finish what a killed process left; where one still writes, that is its work."""
    from captum_spes.io.locks import only_writer_of

    with only_writer_of(path):
        recover(path)


class _ReadFile(io.FileIO):
    """A file that goes on with zeros up to a size, where it is shorter: HDF5 opens no file that is
    cut off."""

    def __init__(self, path: Path, size: int) -> None:
        super().__init__(path, "rb")
        self._size, self._position = size, 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._size - self._position))
        super().seek(self._position)
        there = super().read(count) or b""
        view[: len(there)] = there
        view[len(there) : count] = bytes(count - len(there))
        self._position += count
        return count
