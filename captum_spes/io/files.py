"""Files that appear complete or not at all, and folders in which a run can be continued."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from captum_spes.errors import ArgumentError, ArgumentTypeError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# Those that ``Path.exists`` takes for an answer in every version of Python.
_NOTHING_THERE = (errno.ENOENT, errno.ENOTDIR, errno.EBADF, errno.ELOOP)
# The name of a temporary file is a dot, its target's name or a digest of it, a dot and this.
_RANDOM = re.compile(r"[0-9a-f]{32}")
_LONGEST_NAME = 200
# Where the writer of a temporary file cannot be asked whether it lives, its age tells.
_OLD_SECONDS = 24 * 3600.0


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that gets its name only when all is written.

    If the disk fills or the process is killed, a file that was there before stays. What killed
    processes left of the same file is removed.
    """
    _remove_abandoned(path)
    # Beside the target: os.replace is atomic within a file system.
    temporary, file = _open_temporary(path)
    try:
        with file:
            yield file
            file.flush()
            if fcntl is not None:  # still locked, so that nobody takes it for abandoned
                os.replace(temporary, path)
        if fcntl is None:
            os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        names = ("None", str(temporary))
        if isinstance(error, OSError) and error.errno and str(error.filename) in names:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def _open_temporary(path: Path) -> tuple[Path, IO[bytes]]:
    """A new file, locked as long as it is open."""
    while True:
        temporary = path.with_name(f"{_temporary_prefix(path)}{uuid.uuid4().hex}")
        try:
            file = open(temporary, "xb")  # noqa: SIM115
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error
        with suppress(OSError):  # some file systems know no locks
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return temporary, file
        file.close()  # another process took it for abandoned before it was locked


def _temporary_prefix(path: Path) -> str:
    name = path.name
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = hashlib.blake2b(os.fsencode(name), digest_size=16).hexdigest()
    return f".{name}."


def _remove_abandoned(path: Path) -> None:
    """Remove temporary files of this target whose writers are dead."""
    prefix = _temporary_prefix(path)
    with suppress(OSError), os.scandir(path.parent) as entries:  # whoever writes will be told
        for entry in entries:
            if entry.name.startswith(prefix) and _RANDOM.fullmatch(entry.name[len(prefix) :]):
                with suppress(OSError):
                    _remove_if_abandoned(entry.path)


def _remove_if_abandoned(name: str) -> None:
    if fcntl is None:
        if time.time() - os.stat(name).st_mtime > _OLD_SECONDS:
            os.unlink(name)
        return
    with open(name, "rb") as file:
        # Raises where the writer lives and holds its lock.
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(name)


def check_regular(path: str | os.PathLike[str], kind: str) -> None:
    """Refuse all but files: opening a pipe can wait forever, and a device might never end.

    Args:
        path: the file.
        kind: what it should be, for the message: "a saved explanation", for example.

    Raises:
        FileNotFoundError: there is no such file.
        ArgumentError: it is a folder, a pipe or a device, or ``path`` can be no path.
        ArgumentTypeError: ``path`` is no path at all.
    """
    if not isinstance(path, str | os.PathLike):
        raise ArgumentTypeError(f"{kind} must be given by its path, got {type(path).__name__}.")
    try:
        mode = os.stat(path).st_mode
    except ValueError as error:  # a NUL inside
        raise ArgumentError(f"{os.fspath(path)!r} can be no path: {error}.") from error
    if stat.S_ISDIR(mode):
        raise ArgumentError(f"{path} is a folder; expected {kind}, a file.")
    if not stat.S_ISREG(mode):
        raise ArgumentError(
            f"{path} is no regular file but a pipe or device; expected {kind}: write it to a file."
        )


@contextmanager
def regular_file(path: str | os.PathLike[str], kind: str) -> Iterator[IO[bytes]]:
    """Open a file for reading, and nothing else; arguments and errors as :func:`check_regular`."""
    check_regular(path, kind)
    with open(path, "rb") as file:
        yield file


def file_mode(path: str | os.PathLike[str]) -> int:
    """The mode of what is there, 0 where nothing is. What cannot be looked at (a name that is too
    long, a folder that may not be read) is an OSError, which ``Path.exists`` hides from Python 3.14
    on."""
    try:
        return os.stat(path).st_mode
    except ValueError:  # a null character
        return 0
    except OSError as error:
        if error.errno in _NOTHING_THERE:
            return 0
        raise


def read_json(path: Path, kind: str) -> Any:
    """Read JSON, or raise an ArgumentError that says what is damaged."""
    with regular_file(path, kind) as file:
        try:
            return json.loads(file.read().decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise ArgumentError(f"{path} is damaged: {error}.") from error


def check_folder(path: str | os.PathLike[str]) -> Path:
    """Raise an OSError where there is a file in the place of a folder, which need not be there."""
    folder = Path(path)
    for place in (folder, *folder.parents):
        if place.exists() and not place.is_dir():
            raise NotADirectoryError(f"{place} is a file, and no folder to write into.")
    return folder


def made_folder(path: str | os.PathLike[str]) -> Path:
    """Make a folder, if need be, that can be written into.

    Raises:
        OSError: there is a file of this name, or the folder cannot be made or written into.
    """
    folder = check_folder(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise type(error)(f"cannot make the folder {folder}: {error.strerror}.") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"cannot write into the folder {folder}.")
    return folder


def keep_settings(path: Path, settings: Mapping[str, Any], holds: str) -> None:
    """Write down the settings of a folder, or raise where it was made with other ones.

    Args:
        path: the file of the settings, in the folder.
        settings: in JSON's types.
        holds: what the folder holds, for the message: "scores", for example.

    Raises:
        ArgumentError: the file is damaged, or holds other settings.
    """
    if not path.exists():
        write_whole(path, json.dumps(settings, indent=1) + "\n")
        return
    found = read_settings(path)
    _check_same(path, found, settings, {*found, *settings}, holds)


def check_settings(path: Path, settings: Mapping[str, Any], holds: str) -> None:
    """Raise as :func:`keep_settings` would be going to, as far as the settings are known.

    Args:
        path: the file of the settings, which need not be there.
        settings: some of them.
        holds: what the folder holds.

    Raises:
        ArgumentError: the file is damaged, or holds other settings.
    """
    if path.exists():
        _check_same(path, read_settings(path), settings, set(settings), holds)


def _check_same(
    path: Path,
    found: Mapping[str, Any],
    settings: Mapping[str, Any],
    names: set[str],
    holds: str,
) -> None:
    differing = sorted(name for name in names if found.get(name) != settings.get(name))
    if differing:
        raise ArgumentError(
            f"{path.parent} holds {holds} made with other settings ({', '.join(differing)}; see "
            f"{path.name}): give another folder, or the same settings to continue."
        )


def read_settings(path: Path) -> dict[str, Any]:
    """The settings of a folder, or an ArgumentError where their file is damaged."""
    found = read_json(path, "settings")
    if not isinstance(found, dict):
        raise ArgumentError(
            f"{path} is damaged: it holds {json.dumps(found)[:40]} and no settings; give another "
            "folder."
        )
    return found


def write_whole(path: Path, text: str) -> None:
    """Write a text as UTF-8; halves of characters become escapes, which JSON reads as they were."""
    with whole_file(path) as file:
        file.write(text.encode("utf-8", "backslashreplace"))
