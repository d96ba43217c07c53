"""Decoding audio files block by block: with libsndfile, and what it cannot read with FFmpeg."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from captum_spes.errors import ArgumentError, optional_library
from captum_spes.io.headers import Header, Repaired, ends_early, read_header

Block = NDArray[np.float32]

# A block in which a file is damaged is lost.
_BLOCK_SECONDS = 1
# More than a century of samples: what headers say that do not know.
_MOST_FRAMES = 2**48
_MOST_CHANNELS = 1024
# Samples per second.
LOWEST_RATE, HIGHEST_RATE = 1_000, 1_000_000
# First bytes of what FFmpeg reads and libsndfile does not, at their place in the file.
_MEDIA = (
    (4, b"ftyp"),
    (0, b"\x1a\x45\xdf\xa3"),  # Matroska, WebM
    (0, b"\x30\x26\xb2\x75"),  # WMA, ASF
    (8, b"AVI "),
    (0, b"#!AMR"),
    (0, b"FLV"),
    (0, b"\x0b\x77"),  # AC-3
    (0, b"\x00\x00\x01\xba"),  # MPEG programme stream
    (0, b"\xff\xf1"),  # AAC
    (0, b"\xff\xf9"),
    (0, b"MAC "),
    (0, b"wvpk"),
)


@dataclass(frozen=True)
class Track:
    """An audio track, open to be decoded.

    Attributes:
        name: of its file, for messages.
        rate: samples per second.
        channels: how many.
        frames: samples of each channel, as far as known before anything is decoded.
        decode: yields blocks of shape ``(samples, channels)`` from a sample on.
        told: what is wrong with the file, in words; known when all is decoded.
    """

    name: str
    rate: int
    channels: int
    frames: int | None
    decode: Callable[[int], Iterator[Block]]
    told: Callable[[int], str | None]

    @property
    def seconds(self) -> float | None:
        """Duration, as far as known."""
        return None if self.frames is None else self.frames / self.rate


@contextmanager
def open_track(file: IO[bytes], name: str) -> Iterator[Track]:
    """Open the audio track of a file.

    Args:
        file: seekable, opened for reading bytes.
        name: for messages.

    Raises:
        ArgumentError: it is no audio that can be read.
        ImportError: a library that it takes is not installed.
    """
    soundfile = optional_library("soundfile", "reading audio files", "transformers")
    header, is_cut = read_header(file), ends_early(file)
    file.seek(0)
    # libsndfile would look at the name of a file, and ask for a rate where it ends in .raw.
    content = Repaired(file, {} if header is None else header.repairs)
    try:
        sound = _forward_only(soundfile)(content)
    except Exception as error:  # soundfile raises whatever it stumbles over
        with _by_ffmpeg(file, name, header, _first_line(error)) as track:
            yield track
        return
    with sound:
        if not 0 <= sound.frames < _MOST_FRAMES:
            reason = "its header does not say how long it is"
            with _by_ffmpeg(file, name, header, reason) as track:
                yield track
            return
        yield _checked(_by_libsndfile(sound, name, header, is_cut))


def _forward_only(soundfile: Any) -> Any:
    """``SoundFile`` that does not seek after each block to where it is: an MP3 decoder then starts
    anew and makes a click of it."""

    class Forward(soundfile.SoundFile):  # type: ignore[misc]
        def seekable(self) -> bool:
            return False

    return Forward


def _by_libsndfile(sound: Any, name: str, header: Header | None, is_cut: bool) -> Track:
    known = sound.frames
    size = sound.samplerate * _BLOCK_SECONDS

    def decode(start: int) -> Iterator[Block]:
        # What an MP3 sounds like depends on the part before it.
        place = min(start, known)
        skipped = place if sound.format == "MP3" else 0
        try:
            if sound.tell() != place - skipped:
                sound.seek(place - skipped)
            while skipped > 0:
                skipped -= len(sound.read(min(skipped, size), dtype="float32")) or skipped
        except Exception as error:
            raise ArgumentError(
                f"{name} is damaged: it cannot be read from {start / sound.samplerate:.2f} s on "
                f"({_first_line(error)})."
            ) from error
        while True:
            try:
                block = sound.read(size, dtype="float32", always_2d=True)
            except Exception:  # damaged here; how much is missing is told at the end
                return
            if not len(block):
                return
            yield block

    def told(read: int) -> str | None:
        if is_cut:
            return f"it ends after {read:,} samples without its end mark"
        return _difference(header, known, read, sound.samplerate // 10)

    return Track(name, sound.samplerate, sound.channels, known, decode, told)


def _difference(header: Header | None, known: int, read: int, tolerance: int) -> str | None:
    """In words, what differs between header and file."""
    declared = known if header is None else header.declared_frames(known)
    # The length of some formats is an estimate.
    if read < declared - max(tolerance, declared // 100):
        return f"its header says {declared:,} samples, and {read:,} could be read"
    if header is not None and header.repairs and declared < known:
        return f"its header says {declared:,} samples, and it holds {read:,}; all are read"
    return None


@contextmanager
def _by_ffmpeg(file: IO[bytes], name: str, header: Header | None, reason: str) -> Iterator[Track]:
    file.seek(0)
    start = file.read(16)
    file.seek(0)
    try:
        av = optional_library("av", f"{name} ({reason}): reading it", "media")
    except ImportError:
        if any(start[place:].startswith(magic) for place, magic in _MEDIA):
            raise
        raise ArgumentError(
            f"{name} is no audio file that can be read: {reason}. Wav, flac, mp3, ogg and what "
            "else libsndfile reads is taken; for other formats, and files that it cannot read: "
            "pip install 'captum-spes[media]'."
        ) from None
    try:
        container = av.open(file, mode="r", **_any_metadata(av))
    except (av.FFmpegError, OSError, ValueError) as error:
        raise ArgumentError(
            f"{name} is no audio file that can be read: {reason} (libsndfile), "
            f"{_first_line(error)} (FFmpeg)."
        ) from error
    with container:
        if not container.streams.audio:
            raise ArgumentError(f"{name} has no sound: it holds no audio track.")
        yield _checked(_track_of_container(container, name, header, av))


def _track_of_container(container: Any, name: str, header: Header | None, av: Any) -> Track:
    stream = container.streams.audio[0]
    if getattr(stream, "codec_context", None) is None:
        raise ArgumentError(f"{name} is no audio file that can be read: FFmpeg lacks its codec.")
    rate, channels = int(stream.rate or 0), int(stream.channels or 0)
    seconds = None
    if stream.duration is not None:
        seconds = float(stream.duration * stream.time_base)
    elif container.duration is not None:
        seconds = container.duration / av.time_base
    frames = None if seconds is None else round(seconds * rate)
    problems: list[str] = []
    is_at_start = True

    def decode(start: int) -> Iterator[Block]:
        nonlocal is_at_start
        if not is_at_start:
            container.seek(0)
        is_at_start = False
        # Planar floats: one row a channel, whatever the codec gives.
        resampler = av.AudioResampler(format="fltp", layout=stream.layout, rate=rate)
        skipped = 0
        for frame in _frames(container, stream, problems, av):
            for part in resampler.resample(frame):
                samples = part.to_ndarray().T
                cut = min(max(0, start - skipped), len(samples))
                skipped += cut
                if cut < len(samples):
                    yield samples[cut:]

    def told(read: int) -> str | None:
        if problems:
            return f"it is damaged ({problems[0]}), and {read:,} samples could be read"
        return None if frames is None else _difference(header, frames, read, rate // 4)

    return Track(name, rate, channels, frames, decode, told)


def _frames(container: Any, stream: Any, problems: list[str], av: Any) -> Iterator[Any]:
    """Decoded frames; packets that cannot be decoded are left out and noted."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.FFmpegError as error:
            problems.append(_first_line(error))
            return
        try:
            yield from packet.decode()
        except av.FFmpegError as error:
            problems.append(_first_line(error))


def _checked(track: Track) -> Track:
    if not LOWEST_RATE <= track.rate <= HIGHEST_RATE:
        raise ArgumentError(
            f"{track.name}: {track.rate} samples per second are none that speech is recorded with."
        )
    if not 1 <= track.channels <= _MOST_CHANNELS:
        raise ArgumentError(f"{track.name}: cannot read {track.channels} channels.")
    return track


def open_file(path: Path) -> IO[bytes]:
    """Open a file of audio, also a pipe.

    Raises:
        FileNotFoundError: there is no such file.
        ArgumentError: it is a folder, or empty.
    """
    if not path.exists():
        raise FileNotFoundError(f"no such audio file: {path}")
    if path.is_dir():
        raise ArgumentError(f"{path} is a folder, not an audio file.")
    if path.is_char_device() or path.is_block_device():
        raise ArgumentError(f"{path} is a device, not an audio file.")
    if path.is_file() and path.stat().st_size == 0:
        raise ArgumentError(f"{path} is empty (0 bytes).")
    return path.open("rb")


def is_seekable(file: IO[bytes]) -> bool:
    """Whether a file can be read from any place, as decoders do, and a pipe cannot."""
    try:
        return file.seekable() and file.seek(0, os.SEEK_SET) == 0
    except (AttributeError, OSError, io.UnsupportedOperation):
        return False


def _any_metadata(av: Any) -> dict[str, str]:
    """Titles in no known encoding are no reason to refuse a file; PyAV 19 takes all by itself."""
    return {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}


def _first_line(error: Exception) -> str:
    # Whole messages of soundfile and PyAV begin with the file as they know it, or with a number.
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or error
    lines = str(text).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".")
