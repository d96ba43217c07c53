"""Speech with the exact times of its words and phones, from the eSpeak NG library."""

from __future__ import annotations

import ctypes
import ctypes.util
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captum_spes.alignment import Interval
from captum_spes.errors import ArgumentError

# Names and values of the library's own header, speak_lib.h.
_AUDIO_OUTPUT_RETRIEVAL = 1
_INITIALIZE_PHONEME_EVENTS = 0x0001
_INITIALIZE_DONT_EXIT = 0x8000
_CHARS_UTF8 = 1
_POS_CHARACTER = 1
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_EVENT_LIST_TERMINATED, _EVENT_WORD, _EVENT_PHONEME = 0, 1, 7


@dataclass(frozen=True)
class Voice:
    """Who speaks and how.

    Attributes:
        name: accent and variant in the library's notation, for example "en-us+f3".
        rate: words per minute.
        pitch: 0 to 100, relative to the variant.
        pitch_range: 0 to 100, how lively.
    """

    name: str
    rate: int = 160
    pitch: int = 50
    pitch_range: int = 50


@dataclass(frozen=True)
class Utterance:
    """What the synthesiser returned.

    Attributes:
        samples: ``(samples,)``, float32 in [-1, 1].
        sampling_rate: of the samples, Hz.
        words: the words of the text in order, without punctuation.
        phones: the phones in order, by the library's own phone names.
    """

    samples: NDArray[np.float32]
    sampling_rate: int
    words: tuple[Interval, ...]
    phones: tuple[Interval, ...]


class _EventId(ctypes.Union):
    _fields_ = (
        ("number", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("string", ctypes.c_char * 8),
    )


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


def speak(text: str, voice: Voice) -> Utterance:
    """Read a text aloud.

    The library is one for the whole process and is not to be called by two threads at once.

    Raises:
        ImportError: the library is not installed.
        ArgumentError: there is no such voice, or the text has nothing to say.
    """
    library, sampling_rate = _library()
    if library.espeak_SetVoiceByName(voice.name.encode()) != 0:
        raise ArgumentError(
            f"eSpeak NG has no voice {voice.name!r}; `espeak-ng --voices` lists them."
        )
    for parameter, value in (
        (_RATE, voice.rate),
        (_VOLUME, 80),
        (_PITCH, voice.pitch),
        (_RANGE, voice.pitch_range),
    ):
        library.espeak_SetParameter(parameter, value, 0)

    chunks: list[NDArray[np.int16]] = []
    events: list[tuple[int, int, float, str]] = []

    def receive(wav: Any, count: int, event: Any) -> int:
        if wav and count:
            chunks.append(np.ctypeslib.as_array(wav, (count,)).copy())
        position = 0
        while event[position].type != _EVENT_LIST_TERMINATED:
            one = event[position]
            label = one.id.string.decode("utf-8", "replace") if one.type == _EVENT_PHONEME else ""
            events.append((one.type, one.text_position, one.audio_position / 1000, label))
            position += 1
        return 0

    callback = _Callback(receive)
    library.espeak_SetSynthCallback(callback)
    # No-break spaces keep the library from merging two small words ("in the", "there are").
    encoded = re.sub(r" (?=(the|an?|are)\b)", "\N{NO-BREAK SPACE}", text).encode("utf-8")
    library.espeak_Synth(encoded, len(encoded) + 1, 0, _POS_CHARACTER, 0, _CHARS_UTF8, None, None)
    library.espeak_Synchronize()
    if not chunks:
        raise ArgumentError(f"eSpeak NG says nothing for the text {text!r}.")
    samples = np.concatenate(chunks).astype(np.float32) / np.float32(32768)
    phones, words = _intervals(text, events, len(samples) / sampling_rate)
    return Utterance(samples, sampling_rate, words, phones)


def _intervals(
    text: str, events: list[tuple[int, int, float, str]], seconds: float
) -> tuple[tuple[Interval, ...], tuple[Interval, ...]]:
    """Phones last until the next event, words until the end of their last phone."""
    positions, cursor = [], 0
    for word in text.split():
        cursor = text.index(word, cursor)
        positions.append(cursor + 1)
        cursor += len(word)
    phones: list[Interval] = []
    of_word: list[list[Interval]] = [[] for _ in positions]
    current = 0
    for number, (kind, position, start, label) in enumerate(events):
        if kind == _EVENT_WORD:
            current = max(i for i, p in enumerate(positions) if p <= max(position, 1))
        elif kind == _EVENT_PHONEME and label.strip("_:;,'%=| "):
            later = [e for e in events[number + 1 :] if e[0] == _EVENT_PHONEME]
            end = min(later[0][2] if later else seconds, seconds)
            if end > start:  # an "r" that is only announced lasts no time
                phones.append(Interval(label, start, end))
                of_word[current].append(phones[-1])
    if not all(of_word):
        silent = [word for word, spoken in zip(text.split(), of_word, strict=True) if not spoken]
        raise ArgumentError(f"eSpeak NG gives no times for {silent} in {text!r}.")
    words = tuple(
        Interval(word.strip(".,?!"), spoken[0].start, spoken[-1].end)
        for word, spoken in zip(text.split(), of_word, strict=True)
    )
    return tuple(phones), words


@cache
def _library() -> tuple[Any, int]:
    path = ctypes.util.find_library("espeak-ng")
    if path is None:
        raise ImportError(
            "making speech needs the eSpeak NG library: apt-get install espeak-ng "
            "(or brew install espeak-ng)"
        )
    library = ctypes.CDLL(path)
    library.espeak_SetVoiceByName.argtypes = [ctypes.c_char_p]
    library.espeak_SetSynthCallback.argtypes = [_Callback]
    library.espeak_Synth.argtypes = [
        ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int,
        ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p,
    ]  # fmt: skip
    options = _INITIALIZE_PHONEME_EVENTS | _INITIALIZE_DONT_EXIT
    sampling_rate = library.espeak_Initialize(_AUDIO_OUTPUT_RETRIEVAL, 0, None, options)
    if sampling_rate <= 0:
        raise ImportError("the eSpeak NG library is there, but its voices are not; reinstall it.")
    return library, sampling_rate
