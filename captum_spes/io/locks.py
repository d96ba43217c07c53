"""Folders that one process at a time works in, and files that one at a time writes."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from captum_spes.errors import ArgumentError, warn_caller
from captum_spes.io.files import write_whole

# In a folder, and what is added to the name of a file.
_OF_FOLDER, _OF_FILE = ".captum-spes.lock", ".lock"


def only_process_in(folder: Path) -> AbstractContextManager[None]:
    """Keep other processes from working in a folder; the system ends the lock with the process.

    Raises:
        ArgumentError: another process works there; the message says which.
        OSError: the folder cannot be written.
    """
    return _only_process(folder / _OF_FOLDER, folder, "give another folder")


def only_writer_of(path: Path) -> AbstractContextManager[None]:
    """Keep other processes from writing a file; they can read it.

    Raises:
        ArgumentError: another process writes it; the message says which.
        OSError: its folder cannot be written.
    """
    return _only_process(path.with_name(f".{path.name}{_OF_FILE}"), path, "give another file")


@contextmanager
def _only_process(place: Path, guarded: Path, advice: str) -> Iterator[None]:
    # Beside the lock, which is emptied by whoever asks for it.
    holder = place.with_name(f"{place.name}.json")
    lock = FileLock(place, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ArgumentError(
            f"{guarded} is in use by {_named(holder)}: wait until it ends, or {advice}."
        ) from None
    except NotImplementedError:
        warn_caller(
            f"the file system of {guarded} knows no locks: let one process at a time work there."
        )
    else:
        write_whole(holder, json.dumps(_this_process()) + "\n")
    try:
        yield
    finally:
        if lock.is_locked:
            with suppress(OSError):
                holder.unlink(missing_ok=True)
            lock.release()


def _this_process() -> dict[str, object]:
    return {
        "process": os.getpid(),
        "host": platform.node(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def _named(holder: Path) -> str:
    try:
        found = json.loads(holder.read_text(encoding="utf-8"))
        return f"process {found['process']} on {found['host']}, since {found['since']}"
    except (OSError, ValueError, KeyError, TypeError):  # it has only just begun
        return "another process"
