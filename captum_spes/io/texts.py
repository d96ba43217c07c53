"""Text files that other programs wrote."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

from captum_spes.errors import ArgumentError
from captum_spes.io.files import regular_file


def read_text(file: Path, kind: str) -> str:
    """Read a regular file in UTF-8, or in UTF-16 or UTF-32 as its first bytes tell.

    Args:
        file: the file.
        kind: what it should be, for the message: "a manifest", for example.

    Raises:
        ArgumentError: it is a pipe or a device, or cannot be read, or is no text; the file is
            named.
    """
    try:
        with regular_file(file, kind) as opened:
            return decoded(opened.read(), file)
    except OSError as error:
        raise ArgumentError(f"{file} cannot be read: {error.strerror}.") from error


def decoded(content: bytes, file: Path) -> str:
    """The text that the bytes of a file hold."""
    try:
        return content.decode(json.detect_encoding(content))
    except UnicodeDecodeError as error:
        raise ArgumentError(
            f"{file} is no text, no UTF-8 and no UTF-16: {error.reason}."
        ) from error


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
