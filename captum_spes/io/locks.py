"""Folders that one process at a time works in."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from captum_spes.errors import ArgumentError, warn_caller
from captum_spes.io.files import write_whole

_LOCK = ".captum-spes.lock"
# Beside the lock, which is emptied by whoever asks for it.
_HOLDER = ".captum-spes.lock.json"


@contextmanager
def only_process_in(folder: Path) -> Iterator[None]:
    """Keep other processes from working in a folder; the system ends the lock with the process.

    Raises:
        ArgumentError: another process works there; the message says which.
        OSError: the folder cannot be written.
    """
    lock = FileLock(folder / _LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ArgumentError(
            f"{folder} is in use by {_holder(folder)}: wait until it ends, or give another folder."
        ) from None
    except NotImplementedError:
        warn_caller(
            f"the file system of {folder} knows no locks: let one process at a time work there."
        )
    else:
        holder = {
            "process": os.getpid(),
            "host": platform.node(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        }
        write_whole(folder / _HOLDER, json.dumps(holder) + "\n")
    try:
        yield
    finally:
        if lock.is_locked:
            with suppress(OSError):
                (folder / _HOLDER).unlink(missing_ok=True)
            lock.release()


def _holder(folder: Path) -> str:
    try:
        found = json.loads((folder / _HOLDER).read_text(encoding="utf-8"))
        return f"process {found['process']} on {found['host']}, since {found['since']}"
    except (OSError, ValueError, KeyError, TypeError):  # it has only just begun
        return "another process"
