"""Recordings with everything that is known about them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captum_spes.alignment import Alignment, Interval
from captum_spes.io.audio import load_audio

SAMPLING_RATE = 16_000


@dataclass(frozen=True)
class DemoExample:
    """One bundled recording.

    Attributes:
        name: identifier.
        path: the audio file (FLAC, 16 kHz, one channel).
        seconds: its duration.
        text: what is said.
        translations: the German ("de") and Spanish ("es") references.
        words: when each word is spoken.
        phones: when each phone is spoken, by eSpeak NG's phone names.
        gender: "female" or "male".
        voice: the synthesiser's voice.
    """

    name: str
    path: Path
    seconds: float
    text: str
    translations: Mapping[str, str]
    words: Sequence[Interval]
    phones: Sequence[Interval]
    gender: str
    voice: str

    @property
    def audio(self) -> NDArray[np.float32]:
        """The samples, ``(samples,)`` at 16 kHz."""
        return load_audio(self.path, SAMPLING_RATE)

    @property
    def alignment(self) -> Alignment:
        """When words and phones are spoken."""
        return Alignment(tuple(self.words), tuple(self.phones))


def read_examples(manifest: Path) -> list[DemoExample]:
    """Read a manifest in the form that :mod:`recipes.bundled.synthesize` writes."""
    with manifest.open(encoding="utf-8") as file:
        return [_example(json.loads(line), manifest.parent) for line in file]


def _example(line: dict[str, Any], folder: Path) -> DemoExample:
    return DemoExample(
        name=line["name"],
        path=folder / line["audio"],
        seconds=line["seconds"],
        text=line["text"],
        translations=line["translations"],
        words=tuple(Interval(*word) for word in line["words"]),
        phones=tuple(Interval(*phone) for phone in line["phones"]),
        gender=line["gender"],
        voice=line["voice"]["name"],
    )
