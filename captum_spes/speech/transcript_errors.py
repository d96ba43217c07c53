"""Where a transcript differs from what was said, and what to contrast there."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from captum_spes.errors import ArgumentError, instance_of
from captum_spes.forward import Contrast
from captum_spes.maps import split_unspaced
from captum_spes.speech.contrast import Exchange, Spelled
from captum_spes.speech.models import SpellsTexts, can
from captum_spes.speech.parts import Part
from captum_spes.speech.phrases import occurrences
from captum_spes.speech.transcript import Transcript, Window

_APOSTROPHES = "'\N{RIGHT SINGLE QUOTATION MARK}\N{MODIFIER LETTER APOSTROPHE}"
_BOTH, _LEFT_OUT, _PUT_IN = 0, 1, 2
_NOTHING_WRITTEN = "the model wrote nothing in its place that could be contrasted with it"
_NOTHING_SAID = "nothing was said in its place that it could be contrasted with"


@dataclass(frozen=True)
class TranscriptError:
    """A difference between a transcript and what was said.

    Attributes:
        written: a word, or a phrase, of the transcript; empty where the model left something out.
        reference: what was said; empty where the model wrote something that nobody said.
        reason: why it cannot be explained; empty where it can.
        part: the window that it was written from, and what is contrasted there; None where it
            cannot be explained.
    """

    written: str
    reference: str
    reason: str = ""
    part: Part | None = None

    def __str__(self) -> str:
        if not self.written:
            return f"left out: {self.reference}"
        return f"put in: {self.written}" if not self.reference else self.label

    @property
    def label(self) -> str:
        """What was written, and what was said."""
        return f"{self.written} / {self.reference}"


def errors_of(
    adapter: Any, transcript: Transcript, reference: str, contrast: Contrast | None = None
) -> list[TranscriptError]:
    """Align a transcript and what was said by their edit distance, and list what differs.

    Case and punctuation do not count; in scripts without spaces characters are compared. Of
    differences that touch, each word is paired with one where there are as many on either side,
    and else phrase with phrase.

    Args:
        adapter: of the model.
        transcript: of the recording.
        reference: what was said.
        contrast: kind and rule of the contrasts; its word and foil are not looked at.
    """
    instance_of("reference", reference, str, "a text")
    said = _units(reference)
    if not said:
        raise ArgumentError("reference holds no word: give what was said.")
    written = [unit for index in range(len(transcript.windows)) for unit in _of_window(
        adapter, transcript, index)]  # fmt: skip
    like = Contrast("word") if contrast is None else contrast
    texts = _Texts(adapter, transcript, written, reference, said, like)
    moves = _moves([unit.key for unit in written], [unit.key for unit in said])
    return [
        error for own, other in _regions(moves, written, said) for error in texts.errors(own, other)
    ]


# Words ----------------------------------------------------------------------------------


class _Unit(NamedTuple):
    """A word, or a character of a script without spaces.

    Attributes:
        key: what is compared.
        start: where it starts in its text.
        end: where it ends.
        window: index of the window whose output is the text.
    """

    key: str
    start: int
    end: int
    window: int = -1


def _units(text: str) -> list[_Unit]:
    found = []
    for start, end in _runs(text):
        for part in split_unspaced(text[start:end]):
            key = unicodedata.normalize("NFKC", part).casefold()
            key = "".join(c for c in key if c not in _APOSTROPHES)
            found.append(_Unit(key, start, start + len(part)))
            start += len(part)
    return found


def _runs(text: str) -> Iterator[tuple[int, int]]:
    """Letters, digits and their marks, with apostrophes between them."""
    start: int | None = None
    for place, character in enumerate((*text, " ")):
        is_inside = _is_of_word(character) or (
            start is not None
            and character in _APOSTROPHES
            and _is_of_word(text[place + 1 : place + 2])
        )
        if is_inside and start is None:
            start = place
        elif not is_inside and start is not None:
            yield start, place
            start = None


def _is_of_word(character: str) -> bool:
    return bool(character) and unicodedata.category(character)[0] in "LNM"


def _of_window(adapter: Any, transcript: Transcript, index: int) -> list[_Unit]:
    """The words that a window gives to the transcript."""
    window = transcript.windows[index]
    output, kept = Spelled.of(adapter, window.sequence.explained_ids), set(window.kept)
    return [
        unit._replace(window=index)
        for unit in _units(output.text)
        if kept & set(output.rows(unit.start, unit.end))
    ]


# Alignment ------------------------------------------------------------------------------


def _moves(written: Sequence[str], said: Sequence[str]) -> list[int]:
    """The steps of an alignment of the smallest edit distance, from the start; of several that
    with the most equal words."""
    numbers = {key: number for number, key in enumerate(dict.fromkeys([*written, *said]))}
    columns = np.array([numbers[key] for key in said], dtype=np.int64)
    edit = min(len(written), len(said)) + 1  # more than all equal words together
    places = edit * np.arange(len(said) + 1)
    distances: NDArray[np.int64] = places.copy()
    steps = np.full((len(written) + 1, len(said) + 1), _LEFT_OUT, dtype=np.uint8)
    steps[:, 0] = _PUT_IN
    for row, key in enumerate(written, 1):
        through = distances[:-1] + np.where(columns == numbers[key], -1, edit)
        more = distances[1:] + edit
        best = np.concatenate([[edit * row], np.minimum(through, more)])
        # What is left out one after the other costs an edit each.
        distances = np.minimum.accumulate(best - places) + places
        steps[row, 1:][distances[1:] == more] = _PUT_IN
        steps[row, 1:][distances[1:] == through] = _BOTH
    moves, row, column = [], len(written), len(said)
    while row or column:
        step = int(steps[row, column])
        moves.append(step)
        row -= step != _LEFT_OUT
        column -= step != _PUT_IN
    return moves[::-1]


def _regions(
    moves: Sequence[int], written: Sequence[_Unit], said: Sequence[_Unit]
) -> Iterator[tuple[range, range]]:
    """Where the texts differ: indices of either side, between words that are equal."""
    row = column = first = other = 0
    for move in moves:
        if move == _BOTH and written[row].key == said[column].key:
            if first < row or other < column:
                yield range(first, row), range(other, column)
            first, other = row + 1, column + 1
        row += move != _LEFT_OUT
        column += move != _PUT_IN
    if first < row or other < column:
        yield range(first, row), range(other, column)


# Errors ---------------------------------------------------------------------------------


class _Texts:
    """A transcript and what was said, as words."""

    def __init__(
        self,
        adapter: Any,
        transcript: Transcript,
        written: Sequence[_Unit],
        reference: str,
        said: Sequence[_Unit],
        like: Contrast,
    ) -> None:
        self._adapter, self._windows, self._like = adapter, transcript.windows, like
        self._written, self._reference, self._said = written, reference, said
        self._outputs = [
            Spelled.of(adapter, window.sequence.explained_ids) for window in transcript.windows
        ]
        self._is_upper, self._is_lower = _one_case(transcript.text)
        self._is_cased = not any(_one_case(reference))

    def errors(self, own: range, other: range) -> Iterator[TranscriptError]:
        """What differs in one place."""
        if len(own) == len(other):
            for one, said in zip(own, other, strict=True):
                yield self._error(range(one, one + 1), range(said, said + 1))
        else:
            yield self._error(own, other)

    def _error(self, own: range, other: range) -> TranscriptError:
        ends = [self._said[place] for place in other]
        said = self._reference[ends[0].start : ends[-1].end] if ends else ""
        said = " ".join(said.split())
        if not own:
            return TranscriptError("", said, _NOTHING_WRITTEN)
        first, last = self._written[own[0]], self._written[own[-1]]
        if first.window != last.window:
            units = [self._written[place] for place in own]
            written = " ".join(self._outputs[u.window].text[u.start : u.end] for u in units)
            reason = "it was written from two windows" if said else _NOTHING_SAID
            return TranscriptError(written, said, reason)
        text = self._outputs[first.window].text
        written = text[first.start : last.end]
        if not said:
            return TranscriptError(written, "", _NOTHING_SAID)
        foil = self._in_case(said, written, own[0] == 0)
        return self._contrasted(TranscriptError(written, said), first, last, foil)

    def _contrasted(
        self, error: TranscriptError, first: _Unit, last: _Unit, foil: str
    ) -> TranscriptError:
        window, output = self._windows[first.window], self._outputs[first.window]
        places = [start for start, _ in occurrences(output.text, error.written)]
        if first.start not in places:
            return replace(error, reason="what was written there is no word by itself")
        number = places.index(first.start) + 1
        contrast = replace(self._like, word=error.written, foil=foil, occurrence=number)
        if reason := self._refusal(contrast, window):
            return replace(error, reason=reason)
        rows = tuple(output.rows(first.start, last.end))
        return replace(error, part=Part(window, rows, contrast))

    def _refusal(self, contrast: Contrast, window: Window) -> str:
        """Why the model cannot write the foil there; empty where it can."""
        if can(self._adapter, SpellsTexts):
            try:
                # With these adapters nothing is heard to spell a text.
                Exchange.of(contrast, self._adapter, None, window.sequence, window.gen_args)
            except ArgumentError as error:
                return str(error).rstrip(".")
        return ""

    def _in_case(self, said: str, written: str, is_first: bool) -> str:
        """What was said in the case that the model writes."""
        if self._is_upper or self._is_lower:
            return said.upper() if self._is_upper else said.lower()
        if self._is_cased and not is_first:
            return said
        said = said if self._is_cased else said.lower()
        return said[:1].upper() + said[1:] if written[:1].isupper() else said


def _one_case(text: str) -> tuple[bool, bool]:
    """Whether all letters of a text are large, and whether all are small."""
    return text.isupper(), text.islower()
