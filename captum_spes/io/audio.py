"""Reading and checking audio, in whatever form users have it."""

from __future__ import annotations

import io
import math
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from captum_spes.errors import (
    ArgumentError,
    ArgumentTypeError,
    optional_library,
    positive_number,
    real_number,
    warn_caller,
)
from captum_spes.io.decoders import Track, is_seekable, open_file, open_track

MIN_SECONDS = 0.1
# Twelve times full scale: no recording of floats, but 16-bit numbers as floats.
_MOST_AMPLITUDE = 12.0
# An excerpt may end this much behind the recording: manifests round.
_ROUNDING_SECONDS = 0.1
# Channels whose mean has less of their power than this cancel each other.
_LEAST_POWER = 0.01
# Zero and full scale of the integer formats.
_PCM = {
    np.dtype(np.uint8): (128.0, 128.0),
    np.dtype(np.int8): (0.0, 2.0**7),
    np.dtype(np.int16): (0.0, 2.0**15),
    np.dtype(np.int32): (0.0, 2.0**31),
}
# Of what comes through a pipe; more goes to the disk.
_HELD_BYTES = 2**25
_CANCEL = "{name}: its channels cancel each other (opposite phases); channel {channel} is taken."
_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")


@dataclass(frozen=True)
class Excerpt:
    r"""
    A part of a recording, taken wherever a recording is.

    Args:

        audio (path or file): The recording, or a file opened for reading bytes.
        start (float, optional): Where the part begins, in seconds, at least 0.
                    Default: 0
        duration (float, optional): How long it lasts, in seconds, above 0.
                    Default: None, to the end
        channel (int, optional): The channel to take, counted from 0.
                    Default: None, the mean of all

    Raises:
        ArgumentError: a time or the channel is out of range.
        ArgumentTypeError: a time is no number.

    Examples::

        >>> len(load_audio(Excerpt("speech.flac", start=0.1, duration=0.2), 16_000))
        3200
    """

    audio: str | PathLike[str] | IO[bytes]
    start: float = 0.0
    duration: float | None = None
    channel: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= real_number("start", self.start) < math.inf:
            raise ArgumentError(f"start must be at least 0 s and finite, got {self.start!r}.")
        if self.duration is not None and not 0 < real_number("duration", self.duration) < math.inf:
            raise ArgumentError(f"duration must be above 0 s and finite, got {self.duration!r}.")
        is_channel = isinstance(self.channel, int) and self.channel >= 0
        if self.channel is not None and (isinstance(self.channel, bool) or not is_channel):
            raise ArgumentError(f"channel must be an int of at least 0, got {self.channel!r}.")


AudioFile: TypeAlias = str | PathLike[str] | IO[bytes] | bytes | Excerpt


def load_audio(
    source: AudioFile, sampling_rate: int, *, max_seconds: float | None = None
) -> NDArray[np.float32]:
    r"""
    Read an audio file as one channel at the sampling rate that a model takes.

    It is read block by block, so that one copy of the result is all that is held. libsndfile reads
    wav, flac, mp3, ogg, opus and more; what it cannot read (m4a, mp4, webm, wma, ...) is read by
    FFmpeg, where PyAV is installed. Channels are averaged, and the rate is converted by soxr.

    Args:

        source (path, file, bytes or Excerpt): The file; also a pipe, a file opened for reading
                    bytes, its content, or a part of a file.
        sampling_rate (int): Samples per second to return.
        max_seconds (float, optional): A longer recording is refused before it is read, as far as
                    its header tells its duration.
                    Default: None, any duration

    Returns:
        *ndarray* of shape ``(samples,)``, float32.

    Raises:
        FileNotFoundError: there is no such file.
        ArgumentError: the file is empty, is no audio that can be read, or is too long.
        ArgumentTypeError: it is none of these, or is open as text.
        ImportError: a library that reads it is not installed.

    Examples::

        >>> audio = load_audio("speech.flac", 16_000)
    """
    if max_seconds is not None:
        max_seconds = positive_number("max_seconds", max_seconds)
    return _loaded(source, check_rate(sampling_rate), max_seconds)[0]


def load_original(source: AudioFile) -> tuple[NDArray[np.float32], int]:
    r"""
    Read an audio file as one channel at the rate that it was recorded with.

    Args:

        source (path, file, bytes or Excerpt): As :func:`load_audio` takes it.

    Returns:
        *tuple* of an *ndarray* of shape ``(samples,)``, float32, and the samples per second.

    Raises:
        FileNotFoundError, ArgumentError, ArgumentTypeError, ImportError: as :func:`load_audio`.

    Examples::

        >>> audio, sampling_rate = load_original("speech.flac")
        >>> sampling_rate
        16000
    """
    return _loaded(source, None, None)


def _loaded(
    source: AudioFile, sampling_rate: int | None, max_seconds: float | None
) -> tuple[NDArray[np.float32], int]:
    """One channel at a rate, or at the file's own, and the rate."""
    with _open(source) as (track, excerpt):
        part = _Part.of(track, excerpt)
        if part.seconds is not None and max_seconds is not None and part.seconds > max_seconds:
            check_duration(part.seconds, max_seconds)
        rate = track.rate if sampling_rate is None else sampling_rate
        mix = _Mix(track.channels, excerpt.channel)
        audio = _resampled(mix.mixed(part.blocks()), track, rate, max_seconds)
        if mix.cancels:
            warn_caller(_CANCEL.format(name=track.name, channel=mix.loudest))
            mix = _Mix(track.channels, mix.loudest)
            audio = _resampled(mix.mixed(part.blocks()), track, rate, max_seconds)
        problem = part.problem
        if problem:
            warn_caller(f"{track.name}: {problem}.")
        return audio, rate


def audio_seconds(source: AudioFile) -> float | None:
    r"""
    How long a recording lasts, from its header; nothing is decoded.

    Args:

        source (path, file, bytes or Excerpt): As :func:`load_audio` takes it.

    Returns:
        *float*, or None where the header does not say.

    Raises:
        FileNotFoundError, ArgumentError, ImportError: as :func:`load_audio` does.

    Examples::

        >>> audio_seconds(Excerpt("speech.flac", duration=0.2))
        0.2
    """
    with _open(source) as (track, excerpt):
        return _Part.of(track, excerpt).seconds


def as_audio(samples: ArrayLike | Tensor) -> NDArray[np.float32]:
    r"""
    Turn samples given as an array or Tensor into float32.

    Integers of 8, 16 or 32 bits are PCM and scaled to [-1, 1], unsigned ones from their
    middle.

    Args:

        samples (array or Tensor): Shape ``(samples,)``, one channel; also ``(1, samples)`` and
                    ``(samples, 1)``.

    Returns:
        *ndarray* of shape ``(samples,)``, float32.

    Raises:
        ArgumentError: there is more than one channel.
        ArgumentTypeError: the samples are no numbers, or integers of a width that no PCM
            has.

    Examples::

        >>> as_audio(np.array([0, 16384], dtype=np.int16))
        array([0. , 0.5], dtype=float32)
    """
    if np.ma.is_masked(samples):
        raise ArgumentError("audio holds masked samples: fill them first, for example with 0.")
    try:
        array = _as_array(samples)
    except Exception as error:  # lists of different lengths, tensors without data, users' objects
        raise ArgumentTypeError(f"audio must be an array of samples: {error}") from error
    if array.ndim == 0 and array.dtype == object:
        raise ArgumentTypeError(
            f"audio must be a file or an array of samples, got {type(samples).__name__}."
        )
    if array.ndim == 2 and 1 in array.shape:
        array = array.reshape(-1)
    if array.ndim != 1:
        raise ArgumentError(
            f"audio must have one dimension (one channel), got shape {array.shape}. Average "
            "or pick the channels first, for example audio.mean(axis=...)."
        )
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
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
    with np.errstate(over="ignore"):  # infinite samples are told with the others
        return array.astype(np.float32)


def _as_array(samples: ArrayLike | Tensor) -> NDArray[Any]:
    if not isinstance(samples, Tensor):
        return np.asarray(samples)
    samples = samples.detach().cpu()
    # NumPy has no floating point numbers as short as some of torch's.
    is_short = samples.is_floating_point() and samples.dtype.itemsize <= 2
    array: NDArray[Any] = (samples.float() if is_short else samples).numpy()
    return array


def one_channel(samples: NDArray[Any]) -> NDArray[Any]:
    """Average channels of shape ``(channels, samples)``; of those that cancel each other the
    loudest is taken, with a warning."""
    if samples.ndim != 2 or len(samples) == 1:
        return samples
    mix = _Mix(len(samples), None)
    mixed: list[NDArray[Any]] = list(mix.mixed([samples.T]))
    if mix.cancels:
        warn_caller(_CANCEL.format(name="audio", channel=mix.loudest))
        mixed = [samples[mix.loudest]]
    return mixed[0]


def check_rate(rate: object) -> int:
    """Return samples per second as an int.

    Raises:
        ArgumentTypeError: it is no number.
        ArgumentError: it is no whole number above 0.
    """
    if isinstance(rate, str):
        raise ArgumentTypeError(f"sampling_rate must be a number, got the text {rate!r}.")
    number = real_number("sampling_rate", rate)
    if not 0 < number < math.inf or number != int(number):
        raise ArgumentError(f"sampling_rate must be a whole number above 0, got {rate!r}.")
    return int(number)


def check_audio(audio: NDArray[np.float32], sampling_rate: int, max_seconds: float | None) -> None:
    r"""
    Reject audio that no model can transcribe. Silence is audio like any other.

    Args:

        audio (ndarray): Shape ``(samples,)``.
        sampling_rate (int): Samples per second.
        max_seconds (float or None): What the model takes at most; None for no limit.

    Raises:
        ArgumentError: there are NaN or infinite samples, samples on the scale of 16-bit numbers,
            less than 0.1 s, or more than the model takes.

    Examples::

        >>> check_audio(np.ones(100, dtype=np.float32), 16_000, None)
        Traceback (most recent call last):
        captum_spes.errors.ArgumentError: audio lasts 0.006 s, less than 0.1 s.
    """
    if not np.isfinite(audio).all():
        count = int((~np.isfinite(audio)).sum())
        raise ArgumentError(f"audio holds {count} NaN or infinite samples; repair it first.")
    check_duration(len(audio) / sampling_rate, max_seconds)
    peak = float(max(audio.max(), -audio.min()))
    if peak > _MOST_AMPLITUDE:
        raise ArgumentError(
            f"audio goes up to {peak:,.0f}, and samples of floats must lie in [-1, 1]: divide by "
            "full scale first, for example audio / 32768 for 16-bit numbers."
        )


def check_duration(seconds: float, max_seconds: float | None) -> None:
    """Raise where a recording is shorter than 0.1 s or longer than the model takes."""
    if seconds < MIN_SECONDS:
        raise ArgumentError(f"audio lasts {seconds:.3f} s, less than {MIN_SECONDS} s.")
    if max_seconds is not None and seconds > max_seconds:
        shown = f"{seconds:.1f}"
        shown = shown if float(shown) > max_seconds else f"{seconds:.9g}"
        raise ArgumentError(
            f"audio lasts {shown} s and this model takes at most {max_seconds:.1f} s at "
            "once; cut it into shorter pieces, or explain it window by window (attribute_parts; "
            "captum-spes explain --word or --at)."
        )


# Reading --------------------------------------------------------------------------------


@contextmanager
def _open(source: AudioFile) -> Iterator[tuple[Track, Excerpt]]:
    """The track of any source, and the part of it that is meant."""
    excerpt = source if isinstance(source, Excerpt) else Excerpt(source)  # type: ignore[arg-type]
    with ExitStack() as stack:
        file, name = _file(excerpt.audio, stack)
        yield stack.enter_context(open_track(file, name)), excerpt


def _file(source: Any, stack: ExitStack) -> tuple[IO[bytes], str]:
    """A seekable file, and its name for messages."""
    if isinstance(source, str) and _ADDRESS.match(source):
        raise ArgumentError(f"{source} is an address and no file: download it first.")
    if isinstance(source, str | PathLike):
        file, name = stack.enter_context(open_file(Path(source))), str(source)
    elif isinstance(source, bytes | bytearray | memoryview):
        file, name = io.BytesIO(source), "audio"
    elif not hasattr(source, "read"):
        raise ArgumentTypeError(
            "audio must be the path of a file, a file opened for reading bytes, or its content, "
            f"got {type(source).__name__}."
        )
    else:
        file, name = source, str(getattr(source, "name", "audio"))
    if getattr(file, "closed", False):
        raise ArgumentError(f"{name} is closed; open it again.")
    if isinstance(file, io.TextIOBase):
        raise ArgumentTypeError(f"{name} is open as text; open it with mode 'rb'.")
    if not is_seekable(file):
        pipe, file = file, tempfile.SpooledTemporaryFile(_HELD_BYTES)  # noqa: SIM115
        try:
            shutil.copyfileobj(pipe, stack.enter_context(file))
        except Exception as error:  # a user's object reads in its own way
            raise ArgumentError(f"{name} cannot be read: {error}.") from error
    if not file.seek(0, io.SEEK_END):
        raise ArgumentError(f"{name} is empty (0 bytes).")
    return file, name


class _Part:
    """What is read of a track: from sample ``first`` on, ``count`` samples or all that follow."""

    def __init__(self, track: Track, first: int, count: int | None) -> None:
        self._track, self._first, self._count = track, first, count
        self._read = 0

    @classmethod
    def of(cls, track: Track, excerpt: Excerpt) -> _Part:
        """The part that an excerpt asks for."""
        first = round(excerpt.start * track.rate)
        count = None if excerpt.duration is None else round(excerpt.duration * track.rate)
        if excerpt.channel is not None and excerpt.channel >= track.channels:
            raise ArgumentError(
                f"{track.name} has {track.channels} channels, and no channel {excerpt.channel}."
            )
        end = excerpt.start + (excerpt.duration or 0)
        if track.seconds is not None and (
            first >= (track.frames or 0) > 0 or end > track.seconds + _ROUNDING_SECONDS
        ):
            raise ArgumentError(
                f"{track.name} lasts {track.seconds:.2f} s, and the part that is asked for goes "
                f"from {excerpt.start:g} to {end:g} s."
            )
        return cls(track, first, count)

    @property
    def seconds(self) -> float | None:
        """How long it lasts, as far as known before it is read."""
        if self._count is not None:
            return self._count / self._track.rate
        known = self._track.seconds
        return None if known is None else known - self._first / self._track.rate

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """The samples of all channels, ``(samples, channels)``."""
        left = math.inf if self._count is None else self._count
        self._read = 0
        for block in self._track.decode(self._first):
            block = block if len(block) <= left else block[: int(left)]
            self._read, left = self._read + len(block), left - len(block)
            yield block
            if left <= 0:
                return

    @property
    def problem(self) -> str | None:
        """What was wrong with the file, once all is read."""
        if self._count is None:
            return self._track.told(self._first + self._read)
        missing = self._count - self._read
        if missing <= self._track.rate * _ROUNDING_SECONDS:
            return None
        return f"{self._count:,} samples were asked for, and {self._read:,} could be read"


class _Mix:
    """Makes one channel of several, and notes whether they cancel each other."""

    def __init__(self, channels: int, channel: int | None) -> None:
        self._channel = channel
        self._power = np.zeros(channels)
        self._power_of_mean = 0.0

    def mixed(self, blocks: Iterable[NDArray[Any]]) -> Iterator[NDArray[Any]]:
        """One channel of each block, ``(samples, channels)``."""
        for block in blocks:
            if self._channel is not None:
                yield block[:, self._channel]
                continue
            mean = block.mean(axis=1)
            if len(self._power) > 1:
                self._power += np.square(block, dtype=np.float64).sum(0)
                self._power_of_mean += float(np.square(mean, dtype=np.float64).sum())
            yield mean

    @property
    def cancels(self) -> bool:
        return bool(self._power_of_mean < _LEAST_POWER * self._power.mean())

    @property
    def loudest(self) -> int:
        return int(self._power.argmax())


def _resampled(
    blocks: Iterator[NDArray[np.float32]], track: Track, rate: int, max_seconds: float | None
) -> NDArray[np.float32]:
    convert: Any = None
    if track.rate != rate:
        soxr = optional_library("soxr", "resampling audio", "transformers")
        convert = soxr.ResampleStream(track.rate, rate, 1, dtype="float32")
    # One growing buffer: a list of blocks would be held twice when it is joined.
    held = bytearray()
    most = math.inf if max_seconds is None else (max_seconds + MIN_SECONDS) * rate * 4
    for block in blocks:
        samples = block if convert is None else convert.resample_chunk(block)
        held += np.ascontiguousarray(samples, dtype=np.float32).tobytes()
        if len(held) > most:  # the header did not tell
            check_duration(len(held) / 4 / rate, max_seconds)
    if convert is not None:
        held += convert.resample_chunk(np.zeros(0, np.float32), last=True).tobytes()
    return np.frombuffer(held, dtype=np.float32)
