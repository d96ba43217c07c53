"""A word of an output and a foil in its place, as the model reads and writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from captum_spes.errors import ArgumentError
from captum_spes.forward import Contrast
from captum_spes.maps import begins_word
from captum_spes.speech.models import SpeechInput, SpellsTexts, TargetSequence, can
from captum_spes.speech.phrases import in_case_of, occurrence, occurrences

# Naming each token of a large vocabulary takes a second.
_BEGINS: WeakKeyDictionary[Any, dict[int, Tensor]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Contrasted:
    """The output with a word, and with its foil; both share all that comes before.

    Attributes:
        contrast: what is asked for.
        word: what the model reads and writes; the word's tokens are the explained ones, and what
            can be removed comes before them.
        foil: likewise.
        text: the output.
        foil_text: the output with the foil.
        behind: frames in which what follows the word, and the foil, is written; none for a model
            that reads what it wrote and hears all at once.
    """

    contrast: Contrast
    word: TargetSequence
    foil: TargetSequence
    text: str
    foil_text: str
    behind: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def of(
        cls,
        contrast: Contrast,
        adapter: Any,
        speech: SpeechInput,
        sequence: TargetSequence,
        gen_args: Mapping[str, Any],
    ) -> Contrasted:
        """Find the word in an output, and put the foil in its place."""
        change = Exchange.of(contrast, adapter, speech, sequence, gen_args)
        places = change.word, change.foil
        wholes = [sequence, replace(sequence, ids=change.ids)]
        behind: tuple[tuple[int, ...], ...] = ()
        if sequence.frames:  # where each is written depends on all of it: both are placed alike
            wholes = [_placed(adapter, speech, own, sequence, gen_args) for own in wholes]
            behind = tuple(
                _frames_behind(own, own_places)
                for own, own_places in zip(wholes, places, strict=True)
            )
        word, foil_sequence = (
            _explaining(own, own_places) for own, own_places in zip(wholes, places, strict=True)
        )
        text = adapter.text(sequence.explained_ids)
        return cls(contrast, word, foil_sequence, text, change.text, behind)

    @classmethod
    def of_facts(cls, parameters: Mapping[str, Any], contrast: Contrast) -> Contrasted:
        """Of what a result says of itself: its ``parameters``, and the score that it was made
        with."""
        facts = parameters["contrast"]
        return cls(
            replace(contrast, score=facts["score"]),
            TargetSequence.from_dict(parameters["sequence"]),
            TargetSequence.from_dict(facts["foil_sequence"]),
            facts["text"],
            facts["foil_text"],
            tuple(tuple(run) for run in facts["frames_behind"]),
        )

    def readings(self) -> tuple[TargetSequence, TargetSequence]:
        """What the model reads to score the word, and the foil: up to their end, with the place
        behind each among the explained ones."""
        behind = self.behind or ((), ())
        return _to_the_end(self.word, behind[0]), _to_the_end(self.foil, behind[1])

    def described(self) -> dict[str, Any]:
        """In JSON's types."""
        return {
            "word": self.contrast.word,
            "foil": self.contrast.foil,
            "occurrence": self.contrast.occurrence,
            "score": self.contrast.score,
            "probability_rule": self.contrast.probability,
            "text": self.text,
            "foil_text": self.foil_text,
            "foil_sequence": self.foil.to_dict(),
            "frames_behind": [list(run) for run in self.behind],
        }


def tokens_that_begin_words(adapter: Any, size: int) -> Tensor:
    """``(size,)``, bool: tokens that begin a word, or end the text, found from how the adapter
    names them; it is found once for each adapter."""
    known = _BEGINS.setdefault(adapter, {})
    if size not in known:
        # The output layer can be larger than the vocabulary; what lies beyond is never written.
        tokenizer = getattr(adapter, "tokenizer", None)
        n_named = size if tokenizer is None else min(size, len(tokenizer))
        names = adapter.token_strings(torch.arange(n_named, device="cpu"))
        found = torch.ones(size, dtype=torch.bool, device="cpu")
        found[:n_named] = torch.tensor([begins_word(name) for name in names], device="cpu")
        ends = [getattr(adapter, name, None) for name in ("blank", "end_of_sentence")]
        found[[own for own in ends if isinstance(own, int) and own < size]] = True
        known[size] = found
    return known[size]


# Where word and foil stand ---------------------------------------------------------------


class Exchange(NamedTuple):
    """An output with a foil in the place of a word, as ids; the model is not asked.

    Attributes:
        ids: all that the model reads and writes, with the foil.
        word: positions of the word's tokens in the output.
        foil: those of the foil's in ``ids``.
        text: the output with the foil.
    """

    ids: Tensor
    word: range
    foil: range
    text: str

    @classmethod
    def of(
        cls,
        contrast: Contrast,
        adapter: Any,
        speech: SpeechInput | None,
        sequence: TargetSequence,
        gen_args: Mapping[str, Any],
    ) -> Exchange:
        """Find the word in an output, and put the foil in its place."""
        output = Spelled.of(adapter, sequence.explained_ids)
        start, end = occurrence(output.text, contrast.word, contrast.occurrence)
        assert contrast.foil is not None
        foil = in_case_of(output.text[start:end], contrast.word, contrast.foil)
        foil_text = (output.text[:start] + foil + output.text[end:]).strip()
        if can(adapter, SpellsTexts):
            spelled: Tensor = adapter.ids_of_text(foil_text, sequence)
        else:
            spelled = adapter.force(speech, foil_text, gen_args).explained_ids
        other = Spelled.of(adapter, spelled)
        rows, foil_rows = _differing(output, other, start, end, foil)
        first, last = sequence.explained[rows.start], sequence.explained[rows.stop - 1]
        tokens = spelled[foil_rows.start : foil_rows.stop]
        if tokens.equal(sequence.ids[first : last + 1]):
            raise ArgumentError(
                f"word and foil are the same to this model, {output.text[start:end]!r} and "
                f"{foil!r}: give a foil that it writes differently."
            )
        ids = torch.cat([sequence.ids[:first], tokens, sequence.ids[last + 1 :]])
        return cls(ids, range(first, last + 1), range(first, first + len(tokens)), foil_text)


class Spelled(NamedTuple):
    """Explained ids as text.

    Attributes:
        text: without blanks at its beginning.
        starts: for places in the text where a token starts, its row.
        ends: for places where one ends, the row after it.
    """

    text: str
    starts: dict[int, int]
    ends: dict[int, int]

    @classmethod
    def of(cls, adapter: Any, ids: Tensor) -> Spelled:
        text, starts, ends = "", dict[int, int](), dict[int, int]()
        for piece, rows in adapter.spelled(ids):
            starts.setdefault(len(text), rows[0])
            text += piece
            ends[len(text)] = rows[-1] + 1
        shift = len(text) - len(text.lstrip())
        return cls(
            text.lstrip(),
            # A token of blanks alone at the beginning belongs to what follows.
            {max(0, place - shift): row for place, row in reversed(starts.items())},
            {place - shift: row for place, row in ends.items() if place >= shift},
        )

    def rows(self, start: int, end: int) -> range:
        """Of the tokens that spell some of the text, a blank in front included, also where it is a
        token of its own."""
        limit = len(self.text[:start].rstrip())
        first = max(place for place in self.starts if place <= limit)
        last = min(place for place in self.ends if place >= end)
        return range(self.starts[first], self.ends[last])


def rows_of_occurrences(adapter: Any, sequence: TargetSequence, word: str) -> list[range]:
    """Of each occurrence of a word, or phrase, the tokens among the explained ones."""
    output = Spelled.of(adapter, sequence.explained_ids)
    return [output.rows(start, end) for start, end in occurrences(output.text, word)]


def word_reading(sequence: TargetSequence, rows: Sequence[int]) -> TargetSequence:
    """What a model reads to score a word, or phrase: up to its end, with the place behind it.

    Args:
        sequence: the whole output.
        rows: of the word's tokens among the explained ones, without a gap.
    """
    places = [sequence.explained[row] for row in rows]
    behind = _frames_behind(sequence, places) if sequence.frames else ()
    return _to_the_end(_explaining(sequence, range(places[0], places[-1] + 1)), behind)


def _differing(
    output: Spelled, other: Spelled, start: int, end: int, foil: str
) -> tuple[range, range]:
    """Rows of the word's tokens, and of the foil's, with what tokens hold of their neighbours in
    scripts without spaces; what is ahead and behind is the same text."""
    rest = len(output.text) - end
    other_end = len(other.text) - rest
    if other.text[:start] != output.text[:start] or other.text[other_end:] != output.text[end:]:
        raise ArgumentError(
            f"the model's tokenizer writes the text with the foil {foil!r} as {other.text!r}: give "
            "a foil, and a target, in its spelling."
        )
    # A blank in front is the word's, also where it is a token of its own.
    limit = len(output.text[:start].rstrip())
    both = output.starts.keys() & other.starts.keys()
    first = max(place for place in both if place <= limit)
    beyond = min(
        more for more in range(rest + 1)
        if end + more in output.ends and other_end + more in other.ends
    )  # fmt: skip
    return (
        range(output.starts[first], output.ends[end + beyond]),
        range(other.starts[first], other.ends[other_end + beyond]),
    )


def _explaining(sequence: TargetSequence, places: Sequence[int]) -> TargetSequence:
    """Some positions as the explained ones, of which nothing behind can be removed."""
    frames: tuple[tuple[int, ...], ...] = ()
    if sequence.frames:
        runs = dict(zip(sequence.explained, sequence.frames, strict=True))
        frames = tuple(runs[place] for place in places)
    previous = tuple(place for place in sequence.previous_positions if place < places[0])
    return replace(sequence, explained=tuple(places), previous=previous, frames=frames)


def _to_the_end(sequence: TargetSequence, behind: tuple[int, ...]) -> TargetSequence:
    last = sequence.explained[-1]
    # The last id is not read, so any will do where nothing follows.
    ids = torch.cat([sequence.ids, sequence.ids[-1:]])[: last + 2]
    frames = (*sequence.frames, behind) if sequence.frames else ()
    return replace(sequence, ids=ids, explained=(*sequence.explained, last + 1), frames=frames)


# Models that write as the speech goes on ---------------------------------------------------


def _placed(
    adapter: Any,
    speech: SpeechInput,
    whole: TargetSequence,
    sequence: TargetSequence,
    gen_args: Mapping[str, Any],
) -> TargetSequence:
    """The likeliest frames to write ids in; ``sequence`` tells which of them are the output."""
    found: TargetSequence = adapter.force(speech, whole.ids[sequence.explained[0] :], gen_args)
    return found


def _frames_behind(whole: TargetSequence, places: Sequence[int]) -> tuple[int, ...]:
    """Of what follows, or of the last token where nothing does."""
    runs = dict(zip(whole.explained, whole.frames, strict=True))
    return runs.get(places[-1] + 1, runs[places[-1]])[:1]
