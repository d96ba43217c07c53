"""What a model wrote from a recording of any length, and from which part of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from captum_spes.errors import ArgumentError, real_number
from captum_spes.speech.finding import find_phrase
from captum_spes.speech.models import TargetSequence


@dataclass(frozen=True)
class TranscriptWord:
    """A word of a transcript.

    Attributes:
        word: its text.
        start: seconds from the start of the recording, or None where the model does not tell.
        end: likewise.
        window: index into the transcript's ``windows``: the one that it was written from.
        token_indices: which of the tokens that are explained in that window spell it.
    """

    word: str
    start: float | None
    end: float | None
    window: int
    token_indices: tuple[int, ...]


@dataclass(frozen=True)
class Segment:
    """A stretch of speech, as the model divides its output.

    Attributes:
        start: seconds from the start of the recording.
        end: likewise.
        text: what was written.
        words: its words, punctuation left out.
    """

    start: float
    end: float
    text: str
    words: tuple[TranscriptWord, ...]


@dataclass(frozen=True, eq=False)
class Window:
    """A part of the recording that the model took at once.

    Attributes:
        start: seconds from the start of the recording.
        end: likewise.
        sequence: what the model read and wrote. A window that ends amid speech can hold words at
            its end that are not in the transcript: they are written anew from the next window.
        kept: which of the explained tokens are in the transcript.
        token_times: start and end of each explained token in seconds of the recording; None where
            the model does not tell.
        gen_args: with them the model reads the same prompt from the window alone.
    """

    start: float
    end: float
    sequence: TargetSequence
    kept: tuple[int, ...]
    token_times: tuple[tuple[float, float], ...] | None
    gen_args: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Transcript:
    r"""
    What a model wrote from a recording of any length.

    Attributes:
        text: all of it.
        segments: in order of time.
        windows: the parts of the recording that the model took at once, in order.
        seconds: duration of the recording.
    """

    text: str
    segments: tuple[Segment, ...]
    windows: tuple[Window, ...]
    seconds: float

    def __str__(self) -> str:
        return self.text

    @property
    def words(self) -> list[TranscriptWord]:
        """The words of all segments."""
        return [word for segment in self.segments for word in segment.words]

    def find(self, phrase: str) -> list[tuple[TranscriptWord, ...]]:
        r"""
        Find where a word or a phrase was written; case and punctuation do not matter, nor, in
        scripts without spaces, how the model divided it.

        Args:

            phrase (str): One word or several.

        Returns:
            *list*: the words of each occurrence, which can be written from two windows.

        Raises:
            ArgumentError: the transcript does not hold it; words like it are named.
            ArgumentTypeError: it is no text.

        Examples::

            >>> explainer.transcribe("speech.flac").find("no such word")
            Traceback (most recent call last):
            captum_spes.errors.ArgumentError: the transcript does not hold 'no such word'...
        """
        words = self.words
        spans = find_phrase(phrase, [word.word for word in words], "the transcript")
        return [tuple(words[first : last + 1]) for first, last in spans]

    def between(self, start: float, end: float) -> list[TranscriptWord]:
        r"""
        The words that are spoken within a time.

        Args:

            start (float): Seconds from the start of the recording.
            end (float): Likewise.

        Returns:
            *list* of :class:`TranscriptWord`. Where the model tells no times of words, all words
            of the segments.

        Raises:
            ArgumentError: no word was written there.
            ArgumentTypeError: a time is no number.

        Examples::

            >>> explainer.transcribe("speech.flac").between(100, 101)
            Traceback (most recent call last):
            captum_spes.errors.ArgumentError: nothing was written from 100 to 101 s...
        """
        start, end = real_number("start", start), real_number("end", end)
        found: list[TranscriptWord] = []
        for segment in self.segments:
            for word in segment.words:
                first = segment.start if word.start is None else word.start
                last = segment.end if word.end is None else word.end
                if first < end and last > start:
                    found.append(word)
        if not found:
            raise ArgumentError(
                f"nothing was written from {start:g} to {end:g} s; the recording lasts "
                f"{self.seconds:.1f} s."
            )
        return found


def rows_of(words: Sequence[TranscriptWord], window: int) -> set[int]:
    """The explained tokens of one window that spell words."""
    return {row for word in words if word.window == window for row in word.token_indices}
