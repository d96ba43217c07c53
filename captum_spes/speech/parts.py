"""Explaining parts of a recording of any length, each in the window that it was written from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from captum_spes.errors import ArgumentError, ArgumentTypeError, real_number
from captum_spes.forward import Contrast
from captum_spes.speech.contrast import rows_of_occurrences
from captum_spes.speech.result import SpeechToTextAttributionResult, Word
from captum_spes.speech.transcript import Transcript, TranscriptWord, Window, rows_of
from captum_spes.speech.windows import times_of

# A second, or a pair of the first and the last one.
Time: TypeAlias = float | tuple[float, float]


@dataclass(frozen=True)
class Part:
    """A window that is to be explained.

    Attributes:
        window: what the model took at once.
        asked: rows of its explained tokens that were asked for; None for all of the transcript.
        contrast: a word of it, and what could stand there instead; None where all is explained.
    """

    window: Window
    asked: tuple[int, ...] | None
    contrast: Contrast | None = None


def asked_parts(
    transcript: Transcript, words: str | Sequence[str] | None, at: Time | Sequence[Time] | None
) -> list[Part]:
    """The windows that hold what is asked for, in order.

    Args:
        transcript: of the recording.
        words: a word or phrase, or several; every occurrence is meant.
        at: a time in seconds, or a pair of times, or several.
    """
    if words is None and at is None:
        return [Part(window, None) for window in transcript.windows if window.kept]
    asked: list[TranscriptWord] = []
    for name, given in {"words": words, "at": at}.items():
        if isinstance(given, list | tuple) and not given:
            raise ArgumentError(f"{name} is empty: leave it out, and everything is explained.")
    if not isinstance(words, str | list | tuple | None):
        raise ArgumentTypeError(f"words must be a text or several, got {words!r}.")
    for phrase in [words] if isinstance(words, str) else words or ():
        if not isinstance(phrase, str):
            raise ArgumentTypeError(f"words must be texts, got {phrase!r}.")
        asked += [word for occurrence in transcript.find(phrase) for word in occurrence]
    for start, end in _times(at):
        asked += transcript.between(start, end)
    rows = [rows_of(asked, index) for index in range(len(transcript.windows))]
    return [
        Part(window, tuple(sorted(own)))
        for window, own in zip(transcript.windows, rows, strict=True)
        if own
    ]


def contrasted_parts(adapter: Any, parts: Iterable[Part], contrast: Contrast) -> list[Part]:
    """The windows that hold the word of a contrast, among what is asked for there, or else
    elsewhere in what they give to the transcript."""
    found = []
    for part in parts:
        rows = rows_of_occurrences(adapter, part.window.sequence, contrast.word)
        kept = set(part.window.kept)
        for wanted in (set(part.asked or kept) & kept, kept):
            numbers = [number for number, own in enumerate(rows, 1) if wanted & set(own)]
            if len(numbers) >= contrast.occurrence:
                number = numbers[contrast.occurrence - 1]
                asked = tuple(row for row in rows[number - 1] if row in kept)
                found.append(Part(part.window, asked, replace(contrast, occurrence=number)))
                break
    if not found:
        times = "" if contrast.occurrence == 1 else f" {contrast.occurrence} times"
        raise ArgumentError(f"no window that is asked for holds {contrast.word!r}{times}.")
    return found


def explain_parts(
    parts: Iterable[Part],
    audio: NDArray[np.float32],
    sampling_rate: int,
    explain: Callable[[NDArray[np.float32], Part], SpeechToTextAttributionResult],
    show_progress: bool,
) -> Iterable[SpeechToTextAttributionResult]:
    """Explain window after window; times of the results are those of the recording."""
    for part in tqdm(list(parts), desc="windows", disable=not show_progress):
        window = part.window
        first, last = (round(time * sampling_rate) for time in (window.start, window.end))
        yield _placed(explain(audio[first:last], part), part)


def _placed(result: SpeechToTextAttributionResult, part: Part) -> SpeechToTextAttributionResult:
    window = part.window
    if part.contrast is not None and part.asked is not None:  # one row, of one word
        words = [_timed(word, window, part.asked) for word in result.words]
        kept, asked = [0], {0}
    else:
        words = [_timed(word, window, word.token_indices) for word in result.words]
        kept = list(window.kept)
        asked = set(kept if part.asked is None else part.asked)
    where: dict[str, Any] = {
        "start": window.start,
        "end": window.end,
        "transcribed_tokens": kept,
        "asked_words": [i for i, word in enumerate(words) if asked & set(word.token_indices)],
    }
    return replace(
        result,
        frame_times=result.frame_times + window.start,
        words=words,
        parameters={**result.parameters, "window": where},
    )


def _timed(word: Word, window: Window, rows: tuple[int, ...]) -> Word:
    start, end = times_of(window, rows)
    return replace(word, start=start, end=end)


def _times(at: Time | Sequence[Time] | None) -> list[tuple[float, float]]:
    if at is None:
        return []
    is_pair = isinstance(at, tuple) and len(at) == 2 and not any(isinstance(t, tuple) for t in at)
    several: Sequence[Any] = at if isinstance(at, list | tuple) and not is_pair else [at]
    found = []
    for time in several:
        start, end = time if isinstance(time, tuple) and len(time) == 2 else (time, time)
        start, end = real_number("at", start), real_number("at", end)
        if not 0 <= start <= end:
            raise ArgumentError(
                f"at must be a time in seconds or a pair (start, end), got {time!r}."
            )
        # A single moment lies within a word.
        found.append((start, end if end > start else start + 1e-3))
    return found
