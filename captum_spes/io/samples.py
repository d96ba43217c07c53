"""Recordings in whatever form libraries hand them over."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from numbers import Real
from os import PathLike
from typing import IO, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from captum_spes.errors import ArgumentError, ArgumentTypeError, optional_library
from captum_spes.io.audio import (
    MIN_SECONDS,
    Excerpt,
    as_audio,
    check_audio,
    check_duration,
    check_rate,
    load_audio,
    load_original,
    one_channel,
)
from captum_spes.io.decoders import HIGHEST_RATE, LOWEST_RATE

Recording: TypeAlias = (
    str
    | PathLike[str]
    | bytes
    | IO[bytes]
    | Excerpt
    | ArrayLike
    | Tensor
    | tuple[int, ArrayLike]
    | Mapping[str, Any]
)
# What dictionaries call the samples, and their rate.
_SAMPLES = ("array", "raw", "samples", "audio")
_RATES = ("sampling_rate", "sample_rate", "rate", "sr")


def read_samples(
    audio: Recording, sampling_rate: int, wanted: int, max_seconds: float | None = None
) -> NDArray[np.float32]:
    """Read a recording in whatever form, checked.

    Args:
        audio: see ``SpeechToTextAttribution.attribute``.
        sampling_rate: of an array that comes without one.
        wanted: the model's rate. What brings its own rate is resampled; an array must have this.
        max_seconds: what the model takes at most.
    """
    given = _unpacked(audio)
    if _is_file(given):
        samples = load_audio(given, wanted, max_seconds=max_seconds)
    elif isinstance(given, _Rated):
        samples = given.resampled(wanted, max_seconds)
    else:
        samples = as_audio(given)
        if check_rate(sampling_rate) != wanted:
            raise ArgumentError(
                f"the audio has {sampling_rate} samples per second and the model takes {wanted}; "
                "resample it, or give a file or a pair (rate, samples), which are resampled."
            )
    check_audio(samples, wanted, max_seconds)
    return samples


def read_original(
    audio: Recording, sampling_rate: int, start: float = 0.0, seconds: float | None = None
) -> tuple[NDArray[np.float32], int]:
    """Read a recording in whatever form at its own rate, or a part of it, checked.

    Args:
        audio: see ``SpeechToTextAttribution.attribute``.
        sampling_rate: of an array that comes without one.
        start: where the part begins, in seconds.
        seconds: how long it is; None for all that follows.

    Returns:
        The samples, ``(samples,)``, and their rate.
    """
    given = _unpacked(audio)
    is_part = seconds is not None or start > 0
    if _is_file(given):
        samples, rate = load_original(_part_of(given, start, seconds) if is_part else given)
    else:
        if isinstance(given, _Rated):
            samples, rate = given.samples, given.rate
        else:
            samples, rate = as_audio(given), check_rate(sampling_rate)
        samples = _cut(samples, rate, start, seconds)
    check_audio(samples, rate, None)
    return samples, rate


def origin_of(audio: Any) -> dict[str, Any] | None:
    """Where a recording is, in JSON's types, so that it can be found again: the absolute path and
    the SHA-256 of a file, and of an :class:`Excerpt` the part that is meant. None for what is in no
    file that a path leads to.

    Args:
        audio: see ``SpeechToTextAttribution.attribute``; a dictionary with samples can name their
            file as "path", as datasets do. Of what was read by :func:`read_ahead` it is known.
    """
    if isinstance(audio, _ReadAhead):
        return audio.origin
    part: dict[str, Any] = {}
    if isinstance(audio, Excerpt):
        names = ("start", "duration", "channel")
        part = {name: value for name in names if (value := getattr(audio, name)) is not None}
        audio = audio.audio
    elif isinstance(audio, Mapping):
        # Beside its content a path is a name, and another file may have it.
        audio = audio.get("path") if audio.get("bytes") is None else None
    if not isinstance(audio, str | PathLike) or not os.path.isfile(audio):
        return None
    path = os.path.abspath(os.fsdecode(audio))
    try:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:  # whoever reads the recording will be told
        return None
    return {"path": path, "sha256": digest, **part}


def read_ahead(audio: Recording, wanted: int, max_seconds: float | None = None) -> Any:
    """Read a recording now, and perhaps elsewhere, for ``attribute`` to explain it later just as it
    would explain the recording itself.

    Args:
        audio: see ``SpeechToTextAttribution.attribute``; no bare array.
        wanted: the model's rate.
        max_seconds: what the model takes at most.
    """
    return _ReadAhead(read_samples(audio, wanted, wanted, max_seconds), wanted, origin_of(audio))


def found_again(origin: Any) -> Excerpt:
    """The recording that :func:`origin_of` described.

    Raises:
        ArgumentError: it is not there, or not what it was, or the description is damaged.
    """
    excerpt = _excerpt_of(origin)
    path = str(excerpt.audio)
    now = origin_of(path)
    if now is None:
        raise ArgumentError(
            f"the recording was {path}, and is not there: say where it is with audio=..."
        )
    if now["sha256"] != origin.get("sha256"):
        raise ArgumentError(
            f"{path} has changed since it was explained: give the recording as it was with "
            "audio=..., or audio=the path to listen to this one."
        )
    return excerpt


def is_gone(origin: Any) -> bool:
    """Whether the file that :func:`origin_of` described is not where it was."""
    return not os.path.exists(str(_excerpt_of(origin).audio))


def _excerpt_of(origin: Any) -> Excerpt:
    try:
        path = origin["path"]
        if not isinstance(path, str):
            raise ArgumentTypeError("a path is a text")
        own = {name: origin[name] for name in ("start", "duration", "channel") if name in origin}
        return Excerpt(path, **own)
    except (LookupError, TypeError, ValueError) as error:
        raise ArgumentError(
            f"what the explanation says of its recording is damaged ({error}): give audio=..."
        ) from error


def _part_of(file: Any, start: float, seconds: float | None) -> Excerpt:
    """A part of a file, or of a part of it."""
    whole = file if isinstance(file, Excerpt) else Excerpt(file)
    if whole.duration is not None:
        left = whole.duration - start
        if left <= 0 or (seconds is not None and seconds > left + MIN_SECONDS):
            raise ArgumentError(
                f"the audio lasts {whole.duration:g} s, and the part that is asked for goes on to "
                f"{start + (seconds or 0):g} s."
            )
        seconds = left if seconds is None else min(seconds, left)
    return replace(whole, start=whole.start + start, duration=seconds)


def _cut(
    samples: NDArray[np.float32], rate: int, start: float, seconds: float | None
) -> NDArray[np.float32]:
    last = len(samples) if seconds is None else round((start + seconds) * rate)
    if last > len(samples) + rate * MIN_SECONDS:
        raise ArgumentError(
            f"the audio lasts {len(samples) / rate:.2f} s, and the part that is asked for goes "
            f"from {start:.2f} to {last / rate:.2f} s."
        )
    return samples[round(start * rate) : last]


def _is_file(given: Any) -> bool:
    kinds = (str, PathLike, bytes, bytearray, memoryview, Excerpt)
    return isinstance(given, kinds) or hasattr(given, "read")


class _Rated:
    """Samples that came with their rate."""

    def __init__(self, samples: Any, rate: Any) -> None:
        self._samples, self.rate = samples, check_rate(rate)
        if not LOWEST_RATE <= self.rate <= HIGHEST_RATE:
            raise ArgumentError(f"{rate} samples per second are none that speech is recorded with.")

    @property
    def samples(self) -> NDArray[np.float32]:
        return as_audio(self._samples)

    def resampled(self, rate: int, max_seconds: float | None) -> NDArray[np.float32]:
        samples = self.samples
        if self.rate == rate:
            return samples
        check_duration(len(samples) / self.rate, max_seconds)
        soxr = optional_library("soxr", "resampling audio", "transformers")
        converted: NDArray[np.float32] = soxr.resample(samples, self.rate, rate)
        return converted


class _ReadAhead(_Rated):
    """Samples that know which recording they are of."""

    def __init__(self, samples: Any, rate: int, origin: dict[str, Any] | None) -> None:
        super().__init__(samples, rate)
        self.origin = origin


def _unpacked(audio: Any) -> Any:
    """A file, an array, or samples with their rate, from what libraries hand over."""
    if isinstance(audio, Mapping):
        return _of_mapping(audio)
    if hasattr(audio, "get_all_samples"):  # torchcodec, and the audio column of datasets
        decoded = audio.get_all_samples()
        return _Rated(one_channel(np.asarray(decoded.data)), decoded.sample_rate)
    if isinstance(audio, tuple) and len(audio) == 2:
        first, second = audio
        for rate, samples in ((first, second), (second, first)):
            if isinstance(rate, Real) and not isinstance(samples, Real):
                return _Rated(samples, rate)
    return audio


def _of_mapping(audio: Mapping[str, Any]) -> Any:
    samples = next((audio[name] for name in _SAMPLES if audio.get(name) is not None), None)
    if samples is not None:
        rate = next((audio[name] for name in _RATES if audio.get(name) is not None), None)
        if rate is None:
            raise ArgumentError(
                f"audio is a dictionary without {_RATES[0]!r}: it has {', '.join(map(str, audio))}."
            )
        return _Rated(samples, rate)
    for name in ("bytes", "path"):  # an audio column of datasets that is not decoded
        if audio.get(name) is not None:
            return audio[name]
    raise ArgumentTypeError(
        "audio is a dictionary without 'array' and 'sampling_rate', 'bytes' or 'path': it has "
        f"{', '.join(map(str, audio)) or 'nothing'}."
    )
