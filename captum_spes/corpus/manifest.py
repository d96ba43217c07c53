"""Reading and checking a manifest of utterances."""

from __future__ import annotations

import gzip
import hashlib
import stat
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import Any

from captum_spes.corpus.lhotse import fields_of_cut, is_of_lhotse
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.io.audio import Excerpt
from captum_spes.io.files import file_mode
from captum_spes.io.texts import decoded, parse_json, read_text

# What other tools call these fields: NeMo, Lhotse, and our own recordings.
_ID, _AUDIO = ("id", "name"), ("audio", "file", "audio_filepath")
# Asks for the text of what is said, where languages of translations could be asked for.
TEXT = "text"
# A list of every broken line would bury the first.
_SHOWN_PROBLEMS = 5


@dataclass(frozen=True)
class Utterance:
    """One line of a manifest.

    Attributes:
        id: unique name.
        audio: the path of the recording, or the part of one that the line is about; that of a
            dataset is a mapping of ``bytes``, or ``path`` where these are None.
        text: what is said.
        translations: language code to reference translation.
        labels: name of a classification task to the right class.
    """

    id: str
    audio: Path | Excerpt | Mapping[str, Any]
    text: str
    translations: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.audio, str):
            object.__setattr__(self, "audio", Path(self.audio))

    def reference(self, language: str | None) -> str:
        """The text (also called "text"), or the translation into a language that the manifest has
        one for."""
        if language is None or language == TEXT:
            return self.text
        return self.translations[language]

    @property
    def file(self) -> Any:
        """The recording as functions take it that read audio: a path, bytes, or a part."""
        if not isinstance(self.audio, Mapping):
            return self.audio
        content = self.audio["bytes"]
        return Path(self.audio["path"]) if content is None else content

    def recording_digest(self) -> str:
        """A short text that differs where the recording does, or the part of it.

        Raises:
            OSError: the recording cannot be read.
        """
        if isinstance(self.audio, Mapping):
            file = self.file
            return _digest(file) if isinstance(file, Path) else _digest_of_bytes(file)
        if not isinstance(self.audio, Excerpt):
            return _digest(self.audio)
        part = self.audio.start, self.audio.duration, self.audio.channel
        return f"{_digest(Path(str(self.audio.audio)))} {part}"


def _digest_of_bytes(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def _digest(file: Path) -> str:
    found = file.stat()
    return _digest_of_version(file, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=256)
def _digest_of_version(file: Path, size: int, modified: int) -> str:
    """Of a file's content; many parts of one long recording read it once."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, lambda: hashlib.blake2b(digest_size=8)).hexdigest()


def read_manifest(path: str | PathLike[str], language: str | None = None) -> list[Utterance]:
    r"""
    Read a JSONL manifest and check all of it before any work starts.

    A line is an object with ``audio`` (also ``file`` or ``audio_filepath``; relative to the
    manifest, or else to the working directory), ``text``, optionally ``id`` (also ``name``; the
    audio's file name without suffix if missing), ``translations`` (language code to text) and
    ``labels`` (name of a classification task to the right class). ``offset`` and ``duration``, in
    seconds, say that the text is that of a part of the recording, as in NeMo's manifests. Lhotse's
    manifests of cuts are read, too. Other fields are ignored, empty lines skipped.

    Args:

        path (str or path): The manifest; also compressed (``.gz``), or one list of such objects.
        language (str, optional): A language that every line must have a translation into, or
                    "text" for the text alone.
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
    for number, line in _lines(manifest):
        try:
            utterance = _utterance(line, manifest.parent, language)
            if utterance.id in line_of:
                raise ArgumentError(
                    f"id {utterance.id!r} is that of line {line_of[utterance.id]} already"
                )
        except (ArgumentError, ArgumentTypeError) as error:
            problems.append(f"line {number}: {str(error).rstrip('.')}")
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


def _lines(manifest: Path) -> Iterator[tuple[int, Any]]:
    """Number and content of the lines, or of the entries where the file is one list."""
    text = _content(manifest)
    if text.lstrip().startswith("["):
        try:
            entries = parse_json(text)
        except ArgumentError as error:
            raise ArgumentError(f"{manifest}: {error}.") from error
        yield from enumerate(entries, 1)
        return
    # Not splitlines: JSON may hold other separators of lines inside its texts.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, line


def _content(manifest: Path) -> str:
    if manifest.suffix != ".gz":
        return read_text(manifest, "a manifest")
    try:
        content = gzip.decompress(manifest.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise ArgumentError(f"{manifest} cannot be decompressed: {error}") from error
    return decoded(content, manifest)


def _utterance(line: Any, folder: Path, language: str | None) -> Utterance:
    fields = parse_json(line) if isinstance(line, str) else line
    if not isinstance(fields, dict):
        raise ArgumentError(f"expected an object, got {type(fields).__name__}")
    channel = None
    if is_of_lhotse(fields):
        fields, channel = fields_of_cut(fields)
    file = _file(_text(fields, _AUDIO), folder)
    translations, labels = fields.get("translations", {}), fields.get("labels", {})
    if not isinstance(translations, dict):
        raise ArgumentError("translations must be an object of language and text")
    if not isinstance(labels, dict) or not all(isinstance(v, str) for v in labels.values()):
        raise ArgumentError("labels must be an object of tasks and classes, both texts")
    if language is not None and language != TEXT:
        if language not in translations:
            raise ArgumentError(f"no translation into {language!r}")
        _text(translations, (language,))
    audio = _part(fields.get("offset"), fields.get("duration"), channel, file)
    return Utterance(
        id=_text(fields, _ID) if any(name in fields for name in _ID) else _name(audio, file),
        audio=audio,
        text=_text(fields, ("text",)),
        translations=translations,
        labels=labels,
    )


def _file(name: str, folder: Path) -> Path:
    """The recording, relative to the manifest or else to the working directory."""
    try:
        for file in (folder / name, Path(name)):
            if stat.S_ISREG(file_mode(file)):
                return file
    except OSError as error:  # too long, for example
        raise ArgumentError(f"{name!r} cannot be the name of a file: {error}") from error
    raise ArgumentError(f"no such audio file: {folder / name}")


def _part(start: Any, duration: Any, channel: int | None, file: Path) -> Path | Excerpt:
    """The whole recording, or a part of it."""
    start = 0.0 if start is None else start
    if start == 0 and duration is None and channel is None:
        return file
    return Excerpt(file, start, duration, channel)


def _name(audio: Path | Excerpt, file: Path) -> str:
    """A part gets its place into its name: there will be others of the same file."""
    return (
        f"{file.stem}-{audio.start:g}" if isinstance(audio, Excerpt) and audio.start else file.stem
    )


def _text(fields: Mapping[str, Any], names: tuple[str, ...]) -> str:
    for name in names:
        if name in fields:
            value = fields[name]
            if not isinstance(value, str) or not value.strip():
                raise ArgumentError(f"{name!r} must be a text that is not empty, got {value!r}")
            return value
    raise ArgumentError(f"no field {names[0]!r}")
