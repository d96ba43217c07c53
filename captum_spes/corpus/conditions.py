"""Recordings in other conditions than those in which they were made, by name."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from captum_spes.alignment import Alignment, Interval
from captum_spes.alignment.intervals import alignments_of
from captum_spes.corpus.manifest import Utterance
from captum_spes.corpus.runner import Manifest, seed_of, utterances_in
from captum_spes.errors import ArgumentError, instance_of, shown, whole_number
from captum_spes.io.audio import load_original
from captum_spes.io.files import check_folder, made_folder, write_whole
from captum_spes.io.names import file_name
from captum_spes.io.sound import Sound
from captum_spes.io.spoiling import add_noise, change_rate, reverberate, telephone_band

_Samples = NDArray[np.float32]


@dataclass(frozen=True)
class _Kind:
    """One kind of condition.

    Attributes:
        change: from samples, their rate, the number and a seed to samples.
        number: what the number is; empty where there is none.
        below_zero: whether the number can be 0 or less.
    """

    change: Callable[[_Samples, int, float, int], ArrayLike]
    number: str = ""
    below_zero: bool = False


KINDS: dict[str, _Kind] = {
    "clean": _Kind(lambda samples, rate, number, seed: samples),
    "noise": _Kind(
        lambda samples, rate, number, seed: add_noise(samples, rate, number, seed=seed),
        "DB",
        below_zero=True,
    ),
    "speech-noise": _Kind(
        lambda samples, rate, number, seed: add_noise(
            samples, rate, number, kind="speech", seed=seed
        ),
        "DB",
        below_zero=True,
    ),
    "reverberation": _Kind(
        lambda samples, rate, number, seed: reverberate(samples, rate, number, seed=seed),
        "SECONDS",
    ),
    "telephone": _Kind(lambda samples, rate, number, seed: telephone_band(samples, rate)),
    "rate": _Kind(lambda samples, rate, number, seed: change_rate(samples, rate, number), "FACTOR"),
}


@dataclass(frozen=True)
class RecordingCondition:
    r"""
    A condition into which clean recordings are brought.

    Args:

        name (str): "clean"; "noise:DB" and "speech-noise:DB", DB decibels of signal to noise
                    (:func:`add_noise`); "reverberation:SECONDS" (:func:`reverberate`); "telephone"
                    (:func:`telephone_band`); or "rate:FACTOR" (:func:`change_rate`).

    Raises:
        ArgumentError: there is no such condition, or its number is missing or none.

    Examples::

        >>> condition = RecordingCondition("rate:2")
        >>> sound = condition.applied(np.sin(np.arange(8_000)), 16_000)
        >>> len(sound), condition.seconds(1.5)
        (4000, 0.75)
    """

    name: str

    def __post_init__(self) -> None:
        instance_of("name", self.name, str, "the name of a condition")
        kind, separator, number = self.name.partition(":")
        if kind not in KINDS:
            raise ArgumentError(
                f"there is no condition {shown(self.name)}; there are {', '.join(names())}."
            )
        if bool(separator) != bool(KINDS[kind].number):
            raise ArgumentError(f"the condition is {_usage(kind)}, got {shown(self.name)}.")
        if separator:
            self._check_number(number)

    def _check_number(self, number: str) -> None:
        try:
            value = float(number)
        except ValueError as error:
            raise ArgumentError(
                f"the condition is {_usage(self.kind)} with a number, got {shown(self.name)}."
            ) from error
        if not math.isfinite(value) or (value <= 0 and not KINDS[self.kind].below_zero):
            expected = "finite" if KINDS[self.kind].below_zero else "positive and finite"
            raise ArgumentError(
                f"the number of {_usage(self.kind)} must be {expected}, got {shown(self.name)}."
            )

    @property
    def kind(self) -> str:
        """What stands before the colon."""
        return self.name.partition(":")[0]

    @property
    def number(self) -> float:
        """What stands behind the colon; 0 where nothing does."""
        return float(self.name.partition(":")[2] or 0)

    def applied(self, samples: ArrayLike, sampling_rate: int, *, seed: int = 0) -> _Samples:
        r"""
        Bring a recording into the condition.

        Args:

            samples (array of shape (n,)): The recording.
            sampling_rate (int): Samples per second.
            seed (int, optional): Of noises and rooms.
                        Default: 0

        Returns:
            *ndarray* ``(m,)``, float32; m is n but for other speaking rates. Samples can lie above
            full scale.

        Raises:
            ArgumentError: the recording is silent, or the condition's number is out of range.
            ImportError: a library that it needs is not installed.
        """
        sound = np.asarray(samples, dtype=np.float32)
        change = KINDS[self.kind].change
        return np.asarray(change(sound, sampling_rate, self.number, seed), dtype=np.float32)

    def seconds(self, time: float) -> float:
        """When what happened at a time of the clean recording happens, in seconds."""
        return time / self.number if self.kind == "rate" else time

    def aligned(self, alignment: Alignment) -> Alignment:
        """Words and phones at the times at which they are spoken in this condition."""
        words, phones = (
            tuple(Interval(i.label, self.seconds(i.start), self.seconds(i.end)) for i in intervals)
            for intervals in (alignment.words, alignment.phones)
        )
        return Alignment(words, phones)


def names() -> list[str]:
    """How conditions are written, for help and errors."""
    return [_usage(kind) for kind in KINDS]


def _usage(kind: str) -> str:
    number = KINDS[kind].number
    return f"{kind}:{number}" if number else kind


def write_condition(
    manifest: Manifest,
    folder: str | PathLike[str],
    condition: str | RecordingCondition,
    *,
    alignments: Mapping[str, Alignment] | None = None,
    seed: int = 0,
) -> Path:
    r"""
    Write the recordings of a manifest in another condition, for all that takes a manifest.

    Args:

        manifest (str, path, sequence of Utterance or Dataset): As :func:`explain_corpus` takes it.
        folder (str or path): Made if need be: a FLAC file per recording, of 24 bits, made softer
                    where it would go above full scale, and ``manifest.jsonl``.
        condition (str or RecordingCondition): For example "noise:10".
        alignments (mapping of str to Alignment, optional): When words and phones are spoken in the
                    clean recordings, by id: the new manifest then says when they are in its own.
                    Default: None
        seed (int, optional): Of noises and rooms; each recording has one made of this and its id.
                    Default: 0

    Returns:
        *Path* of the new manifest, written last.

    Raises:
        FileNotFoundError, ArgumentError: as :func:`read_manifest`; or a recording cannot be read,
            or is silent.
        ImportError: a library that the condition needs is not installed.

    Examples::

        >>> _ = open("manifest.jsonl", "w").write('{"audio": "speech.flac", "text": "the cat"}')
        >>> noisy = write_condition("manifest.jsonl", "noisy", "noise:10")
        >>> read_manifest(noisy)[0].id
        'speech'
    """
    own = condition if isinstance(condition, RecordingCondition) else RecordingCondition(condition)
    seed, utterances = whole_number("seed", seed, 0), utterances_in(manifest)
    place = made_folder(check_folder(folder))
    times = {} if alignments is None else alignments_of([u.id for u in utterances], alignments)
    lines = []
    for utterance in utterances:
        name = f"{file_name(utterance.id)}.flac"
        _changed(utterance, own, seed_of(seed, utterance.id)).save(place / name)
        line = _line(utterance, name) | {"condition": own.name}
        if alignments is not None:
            known = times.get(utterance.id)
            line |= {"words": None} if known is None else asdict(own.aligned(known))
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    write_whole(place / "manifest.jsonl", "".join(lines))
    return place / "manifest.jsonl"


def _changed(utterance: Utterance, condition: RecordingCondition, seed: int) -> Sound:
    samples, sampling_rate = load_original(utterance.file)
    try:
        found = condition.applied(samples, sampling_rate, seed=seed)
    except ArgumentError as error:
        raise ArgumentError(f"{utterance.id}: {error}") from error
    return Sound(found / max(1.0, float(np.abs(found).max())), sampling_rate)


def _line(utterance: Utterance, audio: str) -> dict[str, Any]:
    return {
        "id": utterance.id,
        "audio": audio,
        "text": utterance.text,
        "translations": dict(utterance.translations),
        "labels": dict(utterance.labels),
    }
