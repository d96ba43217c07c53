"""Recordings in whatever form libraries hand them over."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from os import PathLike
from typing import IO, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from captum_spes.errors import ArgumentError, ArgumentTypeError, optional_library
from captum_spes.io.audio import (
    Excerpt,
    as_audio,
    check_audio,
    check_duration,
    check_rate,
    load_audio,
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
    if isinstance(given, str | PathLike | bytes | bytearray | memoryview | Excerpt) or hasattr(
        given, "read"
    ):
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


class _Rated:
    """Samples that came with their rate."""

    def __init__(self, samples: Any, rate: Any) -> None:
        self._samples, self._rate = samples, check_rate(rate)
        if not LOWEST_RATE <= self._rate <= HIGHEST_RATE:
            raise ArgumentError(f"{rate} samples per second are none that speech is recorded with.")

    def resampled(self, rate: int, max_seconds: float | None) -> NDArray[np.float32]:
        samples = as_audio(self._samples)
        if self._rate == rate:
            return samples
        check_duration(len(samples) / self._rate, max_seconds)
        soxr = optional_library("soxr", "resampling audio", "transformers")
        converted: NDArray[np.float32] = soxr.resample(samples, self._rate, rate)
        return converted


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
