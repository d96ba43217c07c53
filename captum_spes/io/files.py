"""Files that appear complete or not at all, and folders in which a run can be continued."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from captum_spes.errors import ArgumentError


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that gets its name only when all is written.

    If the disk fills or the process is killed, a file that was there before stays.
    """
    # Beside the target: os.replace is atomic within a file system.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with open(temporary, "xb") as file:
            yield file
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


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
    try:
        found = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ArgumentError(f"{path} is damaged: {error}; give another folder.") from error
    if found != settings:
        names = {*found, *settings}
        differing = sorted(name for name in names if found.get(name) != settings.get(name))
        raise ArgumentError(
            f"{path.parent} holds {holds} made with other settings ({', '.join(differing)}; see "
            f"{path.name}): give another folder, or the same settings to continue."
        )


def write_whole(path: Path, text: str) -> None:
    """Write a text as UTF-8."""
    with whole_file(path) as file:
        file.write(text.encode("utf-8"))
