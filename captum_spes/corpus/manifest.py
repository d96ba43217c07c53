"""Reading and checking a manifest of utterances."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from captum_spes.errors import ArgumentError

# What other tools call these fields: NeMo, and our own recordings.
_ID, _AUDIO = ("id", "name"), ("audio", "file", "audio_filepath")
# A list of every broken line would bury the first.
_SHOWN_PROBLEMS = 5


@dataclass(frozen=True)
class Utterance:
    """One line of a manifest.

    Attributes:
        id: unique name.
        audio: the recording.
        text: what is said.
        translations: language code to reference translation.
        labels: name of a classification task to the right class.
    """

    id: str
    audio: Path
    text: str
    translations: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    def reference(self, language: str | None) -> str:
        """The text, or the translation into a language that the manifest has one for."""
        return self.text if language is None else self.translations[language]


def read_manifest(path: str | PathLike[str], language: str | None = None) -> list[Utterance]:
    r"""
    Read a JSONL manifest and check all of it before any work starts.

    A line is an object with ``audio`` (also ``file`` or ``audio_filepath``; relative to the
    manifest), ``text``, optionally ``id`` (also ``name``; the audio's file name without
    suffix if missing), ``translations`` (language code to text) and ``labels`` (name of a
    classification task to the right class). Other fields are ignored, empty lines skipped.

    Args:

        path (str or path): The manifest.
        language (str, optional): A language that every line must have a translation into.
                    Default: None

    Returns:
        *list* of :class:`Utterance`, in the order of the lines.

    Raises:
        FileNotFoundError: there is no such manifest.
        ArgumentError: lines are broken, lack a reference, name a missing file or repeat an
            id, each told with its number; or there is no line.

    Examples::

        >>> _ = open("manifest.jsonl", "w").write('{"audio": "speech.flac", "text": "the cat"}')
        >>> read_manifest("manifest.jsonl")[0].id
        'speech'
    """
    manifest = Path(path)
    if not manifest.is_file():
        raise FileNotFoundError(f"no such manifest: {manifest}")
    utterances: list[Utterance] = []
    problems: list[str] = []
    line_of: dict[str, int] = {}
    for number, line in enumerate(_lines(manifest), 1):
        if not line.strip():
            continue
        try:
            utterance = _utterance(line, manifest.parent, language)
            if utterance.id in line_of:
                raise ArgumentError(
                    f"id {utterance.id!r} is that of line {line_of[utterance.id]} already"
                )
        except ArgumentError as error:
            problems.append(f"line {number}: {error}")
            continue
        line_of[utterance.id] = number
        utterances.append(utterance)
    if problems:
        more = len(problems) - _SHOWN_PROBLEMS
        shown = "; ".join(problems[:_SHOWN_PROBLEMS]) + (f"; and {more} more" if more > 0 else "")
        raise ArgumentError(f"{manifest}: {shown}.")
    if not utterances:
        raise ArgumentError(f"{manifest} holds no utterance.")
    return utterances


def _lines(manifest: Path) -> list[str]:
    try:
        # Not splitlines: JSON may hold other separators of lines inside its texts.
        return manifest.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ArgumentError(f"{manifest} is no UTF-8 text: {error}") from error


def _utterance(line: str, folder: Path, language: str | None) -> Utterance:
    try:
        fields = json.loads(line)
    except ValueError as error:
        raise ArgumentError(f"no JSON ({error})") from error
    if not isinstance(fields, dict):
        raise ArgumentError(f"expected an object, got {type(fields).__name__}")
    audio = folder / _text(fields, _AUDIO)
    if not audio.is_file():
        raise ArgumentError(f"no such audio file: {audio}")
    translations, labels = fields.get("translations", {}), fields.get("labels", {})
    if not isinstance(translations, dict):
        raise ArgumentError("translations must be an object of language and text")
    if not isinstance(labels, dict) or not all(isinstance(v, str) for v in labels.values()):
        raise ArgumentError("labels must be an object of tasks and classes, both texts")
    if language is not None:
        if language not in translations:
            raise ArgumentError(f"no translation into {language!r}")
        _text(translations, (language,))
    has_id = any(name in fields for name in _ID)
    return Utterance(
        id=_text(fields, _ID) if has_id else audio.stem,
        audio=audio,
        text=_text(fields, ("text",)),
        translations=translations,
        labels=labels,
    )


def _text(fields: Mapping[str, Any], names: tuple[str, ...]) -> str:
    for name in names:
        if name in fields:
            value = fields[name]
            if not isinstance(value, str) or not value.strip():
                raise ArgumentError(f"{name!r} must be a text that is not empty, got {value!r}")
            return value
    raise ArgumentError(f"no field {names[0]!r}")
