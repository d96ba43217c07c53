"""Reading and checking audio."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from captum_spes.errors import ArgumentError, ArgumentTypeError, optional_library

MIN_SECONDS = 0.1
# Below the quantum of 16-bit audio (3e-5): nothing but dither or a disconnected microphone.
_SILENCE_PEAK = 1e-5
# Zero and full scale of the integer formats.
_PCM = {
    np.dtype(np.uint8): (128.0, 128.0),
    np.dtype(np.int8): (0.0, 2.0**7),
    np.dtype(np.int16): (0.0, 2.0**15),
    np.dtype(np.int32): (0.0, 2.0**31),
}


def load_audio(path: str | PathLike[str], sampling_rate: int) -> NDArray[np.float32]:
    r"""
    Read an audio file as one channel at the sampling rate that a model takes.

    Reads what libsndfile reads (wav, flac, mp3, ogg and more); channels are averaged and
    the rate is converted by soxr.

    Args:

        path (str or path): The file.
        sampling_rate (int): Samples per second to return.

    Returns:
        *ndarray* of shape ``(samples,)``, float32.

    Raises:
        FileNotFoundError: there is no such file.
        ArgumentError: the file is empty or is no audio that can be read.
        ImportError: soundfile or soxr is not installed.

    Examples::

        >>> audio = load_audio("speech.flac", 16_000)
    """
    file = Path(path)
    if not file.exists():
        raise FileNotFoundError(f"no such audio file: {file}")
    if file.is_dir():
        raise ArgumentError(f"{file} is a folder, not an audio file.")
    if file.stat().st_size == 0:
        raise ArgumentError(f"{file} is empty (0 bytes).")
    soundfile = _audio_library("soundfile")
    try:
        samples, file_rate = soundfile.read(file, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise ArgumentError(f"{file} is no audio file that can be read: {error}") from error
    mono = samples.mean(axis=1)
    if file_rate != sampling_rate and len(mono):
        mono = _audio_library("soxr").resample(mono, file_rate, sampling_rate)
    return np.ascontiguousarray(mono, dtype=np.float32)


def as_audio(samples: ArrayLike | Tensor) -> NDArray[np.float32]:
    r"""
    Turn samples given as an array or Tensor into float32.

    Integers of 8, 16 or 32 bits are PCM and scaled to [-1, 1], unsigned ones from their
    middle.

    Args:

        samples (array or Tensor): Shape ``(samples,)``, one channel.

    Returns:
        *ndarray* of shape ``(samples,)``, float32.

    Raises:
        ArgumentError: there is more than one dimension.
        ArgumentTypeError: the samples are no numbers, or integers of a width that no PCM
            has.

    Examples::

        >>> as_audio(np.array([0, 16384], dtype=np.int16))
        array([0. , 0.5], dtype=float32)
    """
    if isinstance(samples, Tensor):
        samples = samples.detach().cpu()
        samples = samples.float() if samples.dtype == torch.bfloat16 else samples
        samples = samples.numpy()
    array = np.asarray(samples)
    if array.ndim != 1:
        raise ArgumentError(
            f"audio must have one dimension (one channel), got shape {array.shape}. Average "
            "or pick the channels first, for example audio.mean(axis=...)."
        )
    if array.dtype in _PCM:
        zero, scale = _PCM[array.dtype]
        return ((array - zero) / scale).astype(np.float32)
    if np.issubdtype(array.dtype, np.integer):
        raise ArgumentTypeError(
            f"integer audio must have 8, 16 or 32 bits, got {array.dtype}: its scale cannot be "
            "told. Divide by full scale first, for example audio / 32768."
        )
    if not np.issubdtype(array.dtype, np.floating):
        raise ArgumentTypeError(f"audio must hold numbers, got dtype {array.dtype}.")
    return array.astype(np.float32)


def check_audio(audio: NDArray[np.float32], sampling_rate: int, max_seconds: float | None) -> None:
    r"""
    Reject audio that no model can transcribe.

    Args:

        audio (ndarray): Shape ``(samples,)``.
        sampling_rate (int): Samples per second.
        max_seconds (float or None): What the model takes at most; None for no limit.

    Raises:
        ArgumentError: there are NaN or infinite samples, silence alone, less than 0.1 s,
            or more than the model takes.

    Examples::

        >>> check_audio(np.ones(100, dtype=np.float32), 16_000, None)
        Traceback (most recent call last):
        captum_spes.errors.ArgumentError: audio lasts 0.006 s, less than 0.1 s.
    """
    seconds = len(audio) / sampling_rate
    if not np.isfinite(audio).all():
        count = int((~np.isfinite(audio)).sum())
        raise ArgumentError(f"audio holds {count} NaN or infinite samples; repair it first.")
    check_duration(seconds, max_seconds)
    if np.abs(audio - audio.mean()).max() < _SILENCE_PEAK:
        raise ArgumentError("audio is silent: every sample has (nearly) the same value.")


def check_duration(seconds: float, max_seconds: float | None) -> None:
    """Raise where a recording is shorter than 0.1 s or longer than the model takes."""
    if seconds < MIN_SECONDS:
        raise ArgumentError(f"audio lasts {seconds:.3f} s, less than {MIN_SECONDS} s.")
    if max_seconds is not None and seconds > max_seconds:
        raise ArgumentError(
            f"audio lasts {seconds:.1f} s and this model takes at most {max_seconds:.1f} s; "
            "cut it into shorter pieces."
        )


def _audio_library(name: str) -> Any:
    return optional_library(name, "reading audio files", "transformers")
