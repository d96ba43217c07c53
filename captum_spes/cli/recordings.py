"""Recordings that a command is given: files, pipes and standard input."""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import re
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.io.files import file_mode
from captum_spes.text import shortened

STDIN = Path("-")
# Longer ones are read again when their turn comes, so that only one of them is held.
_HELD_SECONDS = 120.0
# Longer ones are not read ahead of their turn.
_READ_EARLY_SECONDS = 600.0
_CLOCK = re.compile(r"(?:(\d+):)?(?:(\d+):)?(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Recording:
    """A recording that can be read.

    Attributes:
        name: for files that are written.
        label: for people.
        seconds: duration.
        source: samples at the model's rate, or the file where they are many.
    """

    name: str
    label: str
    seconds: float
    source: Any

    def samples(self, sampling_rate: int) -> Any:
        """The samples at the model's rate."""
        from captum_spes.io.samples import read_samples

        return read_samples(self.source, sampling_rate, sampling_rate)


@dataclass(frozen=True)
class GivenRecording:
    """A recording that is read when its turn comes.

    Attributes:
        file: where it is.
        content: of what can be read only once, a pipe; None of a file.
        audio: what was read, for ``attribute``; None before.
        sha256: digest of the content, once it is known.
    """

    file: Path
    content: bytes | None = field(default=None, repr=False)
    audio: Any = field(default=None, repr=False)
    sha256: str | None = None

    @property
    def name(self) -> str:
        """For files that are written."""
        return "stdin" if self.file == STDIN else self.file.stem

    @property
    def label(self) -> str:
        """For people."""
        return str(self.file)

    @property
    def path(self) -> str | None:
        """Where it is found again; None of a pipe."""
        return os.path.abspath(self.file) if self.file.is_file() else None

    def digest(self) -> str | None:
        """SHA-256 of the content; None where it cannot be read."""
        from captum_spes.io.samples import origin_of

        if self.sha256 is not None:
            return self.sha256
        return (origin_of(self.file) or {}).get("sha256")

    def seconds(self) -> float | None:
        """How long it lasts, where its header says so."""
        from captum_spes.io.audio import audio_seconds

        with suppress(Exception):  # what is wrong with it is told when its turn comes
            return audio_seconds(self._source())
        return None

    def read(self, sampling_rate: int) -> GivenRecording:
        """The recording with its samples at the model's rate.

        Raises:
            ArgumentError: it cannot be read, for whatever reason.
        """
        from captum_spes.io.samples import read_ahead

        if self.audio is not None:
            return self
        try:
            audio = read_ahead(self._source(), sampling_rate)
        except (ArgumentError, ArgumentTypeError, OSError, ImportError) as error:
            raise ArgumentError(named_problem(self.label, error)) from error
        known = (audio.origin or {}).get("sha256", self.sha256)
        return replace(self, content=None, audio=audio, sha256=known)

    def read_early(self, sampling_rate: int) -> GivenRecording:
        """Read it while the model works at others; a long one is left, as several may wait."""
        seconds = None if self.content is not None else self.seconds()
        is_long = seconds is not None and seconds > _READ_EARLY_SECONDS
        return self if is_long else self.read(sampling_rate)

    def _source(self) -> Any:
        if self.content is None:
            return self.file
        return _Piped(self.content, "<stdin>" if self.file == STDIN else self.label)


class _Piped(io.BytesIO):
    """What came through a pipe, with a name for messages."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name


def check_there(files: list[Path]) -> None:
    """Raise where a file is missing, before a model is loaded."""
    for file in files:
        if file != STDIN and not file_mode(file):
            raise FileNotFoundError(f"no such audio file: {file}")
    if files.count(STDIN) > 1:
        raise ArgumentError("standard input (-) can be read once.")


def given_recordings(
    files: list[Path], on_missing: Callable[[str], object]
) -> list[GivenRecording]:
    """What is given, before a model is loaded. Pipes are read; of several files those that are
    missing are told and left out.

    Args:
        files: what is given.
        on_missing: told which file is missing.

    Raises:
        FileNotFoundError: the only file is missing.
        ArgumentError: standard input is given twice, or is a terminal.
    """
    if len(files) == 1 or files.count(STDIN) > 1:
        check_there(files)
    found = []
    for file in files:
        try:
            mode = 0 if file == STDIN else file_mode(file)
            if file == STDIN or stat.S_ISFIFO(mode):
                content = _source(file).read() if file == STDIN else file.read_bytes()
                digest = hashlib.sha256(content).hexdigest()
                found.append(GivenRecording(file, content, sha256=digest))
            elif mode:
                found.append(GivenRecording(file))
            else:
                on_missing(f"no such audio file: {file}")
        except OSError as error:  # a name that is too long, a folder that may not be read
            if len(files) == 1:
                raise
            on_missing(f"{shortened(str(file), 100)}: {error.strerror}")
    return found


def read_recording(file: Path, sampling_rate: int) -> Recording:
    """Read and check a recording."""
    from captum_spes.io.samples import read_samples

    try:
        samples = read_samples(_source(file), sampling_rate, sampling_rate)
    except ArgumentError as error:
        raise ArgumentError(
            str(error) if str(file) in str(error) else f"{file}: {error}"
        ) from error
    seconds = len(samples) / sampling_rate
    is_held = seconds <= _HELD_SECONDS or not file.is_file()
    name = "stdin" if file == STDIN else file.stem
    return Recording(name, str(file), seconds, samples if is_held else file)


def what_happened(error: Exception) -> str:
    """Why one recording of several was left out."""
    is_ours = isinstance(error, ArgumentError | ArgumentTypeError | OSError | ImportError)
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error) if is_ours else f"{type(error).__name__}: {error}"


def named_problem(label: str, error: Exception) -> str:
    """What happened to which recording."""
    reason = what_happened(error)
    return reason if len(label) > 1 and label in reason else f"{label}: {reason}"


def _source(file: Path) -> Any:
    if file != STDIN:
        return file
    if sys.stdin is None or sys.stdin.isatty():
        raise ArgumentError("standard input (-) is a terminal: send audio into it.")
    return sys.stdin.buffer


def clock_time(text: str) -> float:
    """Read seconds, minutes:seconds or hours:minutes:seconds."""
    found = _CLOCK.fullmatch(text.strip())
    if found is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time: give seconds, 12:34 or 1:02:03.5, or a pair such as 12:34-12:40"
        )
    seconds = 0.0
    for part in filter(None, found.groups()):
        seconds = 60 * seconds + float(part)
    return seconds


def clock_times(text: str) -> tuple[float, float]:
    """Read one time, or two with a hyphen between them."""
    first, hyphen, last = text.partition("-")
    start = clock_time(first)
    end = clock_time(last) if hyphen else start
    if end < start:
        raise argparse.ArgumentTypeError(f"{text!r} ends before it starts")
    return start, end


def shown_clock(seconds: float) -> str:
    """Minutes and seconds, with hours where there are any."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    clock = f"{minutes:02d}:{rest:04.1f}"
    return f"{hours}:{clock}" if hours else clock
