"""Text files that other programs wrote."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

from captum_spes.errors import ArgumentError


def read_text(file: Path) -> str:
    """Read a regular file in UTF-8, or in UTF-16 or UTF-32 as its first bytes tell.

    Raises:
        ArgumentError: it is a pipe or a device, which might never end, or cannot be read, or is no
            text; the file is named.
    """
    check_regular(file)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ArgumentError(f"{file} cannot be read: {error.strerror}.") from error
    try:
        return content.decode(json.detect_encoding(content))
    except UnicodeDecodeError as error:
        raise ArgumentError(f"{file} is no text in UTF-8 or UTF-16: {error.reason}.") from error


def check_regular(file: Path) -> None:
    """Refuse pipes and devices: opening one can wait forever."""
    if not file.is_file():
        raise ArgumentError(
            f"{file} is no regular file (a pipe, a device or a broken link): write its content to "
            "one and give that."
        )


def parse_json(text: str) -> Any:
    """Read JSON; an ArgumentError says where it is broken."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ArgumentError("no JSON that can be read: it is nested too deeply") from error
    except ValueError as error:  # digits without end, too
        raise ArgumentError(f"no JSON that can be read: {error}") from error


def nfc(text: str) -> str:
    """The form in which texts are compared: "ü" as one character, whoever wrote it.

    macOS gives names of files in another form.
    """
    return unicodedata.normalize("NFC", text)
