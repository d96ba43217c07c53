"""Recordings that a command is given: files, pipes and standard input."""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captum_spes.errors import ArgumentError, ArgumentTypeError

STDIN = Path("-")
# Longer ones are read again when their turn comes, so that only one of them is held.
_HELD_SECONDS = 120.0
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

    def named(self, samples: Any, sampling_rate: int) -> dict[str, Any]:
        """Samples with the file that they are of, as ``attribute`` takes them: an explanation then
        says where its recording is."""
        path = None if self.label == str(STDIN) else self.label
        return {"array": samples, "sampling_rate": sampling_rate, "path": path}


def check_there(files: list[Path]) -> None:
    """Raise where a file is missing, before a model is loaded."""
    for file in files:
        if file != STDIN and not file.exists():
            raise FileNotFoundError(f"no such audio file: {file}")
    if files.count(STDIN) > 1:
        raise ArgumentError("standard input (-) can be read once.")


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
    is_ours = isinstance(error, ArgumentError | ArgumentTypeError | OSError)
    return str(error) if is_ours else f"{type(error).__name__}: {error}"


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
