"""Cues: words on which the spelling of another word depends. Does an explanation name them?"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

from captum_spes.alignment import Interval
from captum_spes.errors import ArgumentError, instance_of, several, texts, whole_number
from captum_spes.io.samples import Recording, read_samples
from captum_spes.metrics.planted import frames_of, map_of, rows_of, silenced
from captum_spes.speech import SpeechToTextAttribution, SpeechToTextAttributionResult


class SpellingCue(NamedTuple):
    """A word without whose sound another one is spelled otherwise.

    Attributes:
        place: which of the spoken words it is.
        word: the word.
        spelling: how the other word is spelled where this one is silent.
        text: all that the model writes then.
    """

    place: int
    word: str
    spelling: str
    text: str


def spelling_cues(
    explainer: SpeechToTextAttribution,
    audio: Recording,
    words: Sequence[Interval],
    own: int,
    spellings: Sequence[str],
    *,
    sampling_rate: int = 16_000,
    gen_args: Mapping[str, Any] | None = None,
) -> list[SpellingCue]:
    r"""
    Find the words that decide how a word is spelled which sounds like another: *know* or *no*.

    Each other word is made silent, one at a time, and the model writes anew. The sound of the word
    itself stays as it is, so where its spelling changes it rested on the word that is missing: that
    is known from the recording, whatever any explanation says.

    Args:

        explainer (SpeechToTextAttribution): Any method, and a model that writes text of its own.
        audio (path, array, ...): The recording.
        words (sequence of Interval): When its words are spoken.
        own (int): Which of them is the one with several spellings.
        spellings (sequence of str): How it can be spelled, at least two ways; case does not matter.
        sampling_rate (int, optional): Of an array, in Hz.
                    Default: 16000
        gen_args (dict, optional): Arguments of ``model.generate``.
                    Default: None, the model's own

    Returns:
        *list* of :class:`SpellingCue`, in the order of the words; empty where no single word
        decides, or where the model writes something else altogether instead.

    Raises:
        ArgumentError: there is no such word, it is none of the spellings, or the model does not
            write it so in the first place.
        ArgumentTypeError: an argument has the wrong type, or the model writes no text.

    Examples::

        >>> demo = load_demo()
        >>> explainer = SpeechToTextAttribution(SPES(demo.model), demo.processor)
        >>> clip = load_examples()[0]  # Anna runs to the bakery ...
        >>> spelling_cues(explainer, clip.path, clip.words, 2, ["to", "two", "too"])
        []
    """
    instance_of("explainer", explainer, SpeechToTextAttribution, "a SpeechToTextAttribution")
    spoken = [Interval(*word) for word in several("words", words, "a sequence of Interval")]
    place = whole_number("own", own, 0)
    if place >= len(spoken):
        raise ArgumentError(f"own must be one of the {len(spoken)} words, got {own}.")
    known = {_plain(spelling) for spelling in texts("spellings", spellings)}
    word = _plain(spoken[place].label)
    if len(known) < 2 or word not in known:
        raise ArgumentError(
            f"spellings must name at least two, {word!r} among them, got {spellings!r}."
        )
    rate = explainer.adapter.sampling_rate
    samples = read_samples(audio, sampling_rate, rate)

    def written(sound: NDArray[np.float32]) -> tuple[list[str], str]:
        text = explainer.transcribe(sound, rate, gen_args, seed=0).text
        return _words(text), text

    intact, text = written(samples)
    at = _same_place([_plain(one.label) for one in spoken], intact, place)
    if at is None:
        raise ArgumentError(f"the model does not write {word!r} where it is spoken: {text!r}.")
    cues = []
    for other, (label, start, end) in enumerate(spoken):
        if other == place:
            continue
        changed, text = written(silenced(samples, rate, (start, end)))
        spelling = _other_spelling(intact, changed, at, known - {word})
        if spelling is not None:
            cues.append(SpellingCue(other, label, spelling, text))
    return cues


@dataclass(frozen=True)
class CueEvidence:
    """Where a cue stands among the other words, by how much an explanation makes of them.

    Attributes:
        rank: of the cue, 1 for the word with the highest score; the mean of their ranks among words
            of one score. NaN where the cue cannot be ranked.
        n_words: how many words were ranked; a random order has the cue at ``(n_words + 1) / 2``.
    """

    rank: float
    n_words: int

    @property
    def is_first(self) -> bool:
        """Whether no other word has as high a score."""
        return self.rank == 1

    @property
    def area(self) -> float:
        """Share of the other words that the cue is ahead of, equal ones counting half; 0.5 by
        chance."""
        return (self.n_words - self.rank) / (self.n_words - 1) if self.n_words > 1 else float("nan")


def cue_in_audio(
    result: SpeechToTextAttributionResult,
    tokens: int | Sequence[int],
    words: Sequence[Interval],
    cue: int,
    own: int,
) -> CueEvidence:
    r"""
    Which of the spoken words a word's map says it rests on, and whether it is the cue.

    Args:

        result (SpeechToTextAttributionResult): An explanation of the recording.
        tokens (int or sequence of int): Rows of the explained word.
        words (sequence of Interval): When all words are spoken.
        cue (int): Which of ``words`` the spelling is known to depend on.
        own (int): Which of ``words`` is the explained one: its own sound is not ranked.

    Returns:
        *CueEvidence* of the mean of the map over the time of each word.

    Raises:
        ArgumentError: there is no such token or word, cue and word are the same, or a word lies
            outside of the recording.

    Examples::

        >>> words = [Interval("a", 0.0, 0.2), Interval("b", 0.2, 0.4), Interval("c", 0.4, 0.6)]
        >>> cue_in_audio(result, 3, words, cue=0, own=1).n_words
        2
    """
    spoken = [Interval(*word) for word in several("words", words, "a sequence of Interval")]
    for name, place in {"cue": cue, "own": own}.items():
        if whole_number(name, place, 0) >= len(spoken):
            raise ArgumentError(f"{name} must be one of the {len(spoken)} words, got {place}.")
    if cue == own:
        raise ArgumentError(f"cue and own must be two words, got {cue} twice.")
    saliency = map_of(result, tokens)
    scores = np.array([float(saliency[frames_of(result, word[1:], 0.0)].mean()) for word in spoken])
    return _ranked(scores, cue, [place for place in range(len(spoken)) if place != own])


def cue_in_text(
    result: SpeechToTextAttributionResult,
    tokens: int | Sequence[int],
    cue: int | Sequence[int],
) -> CueEvidence:
    r"""
    Which of the words before it a word's row of previous tokens says it rests on, and whether it is
    the cue.

    Args:

        result (SpeechToTextAttributionResult): An explanation with previous tokens.
        tokens (int or sequence of int): Rows of the explained word.
        cue (int or sequence of int): Rows of the cue.

    Returns:
        *CueEvidence* of the largest score of each word's tokens, of the words before the explained
        one, whose first token counts; prompt and punctuation are not ranked. NaN for a cue behind
        the word, which it cannot read.

    Raises:
        ArgumentError: there is no such token, previous tokens were not explained, or the cue is
            part of no word.

    Examples::

        >>> cue_in_text(result, 4, 0).n_words
        1
    """
    if result.token_attr is None:
        raise ArgumentError("cue_in_text needs token_attr: explain previous tokens, too.")
    rows, of_cue = rows_of(result, tokens), set(rows_of(result, cue))
    column = {row: place for place, row in enumerate(result.previous_rows()) if row is not None}
    first = rows[0]
    before = [
        word.token_indices
        for word in result.words
        if any(letter.isalnum() for letter in word.word)
        and all(row < first and row in column for row in word.token_indices)
    ]
    places = [place for place, own in enumerate(before) if of_cue & set(own)]
    if min(of_cue) >= first:
        return CueEvidence(float("nan"), len(before))
    if len(places) != 1:
        raise ArgumentError(f"the tokens of the cue must spell one word, got {len(places)}.")
    row = result.token_attr[first]
    scores = np.array([float(row[[column[token] for token in own]].max()) for own in before])
    return _ranked(scores, places[0], list(range(len(before))))


def _ranked(scores: NDArray[np.float64], cue: int, among: list[int]) -> CueEvidence:
    own = scores[among]
    if not np.isfinite(own).all() or (len(own) > 1 and not np.ptp(own)):
        return CueEvidence(float("nan"), len(among))
    return CueEvidence(float(scipy.stats.rankdata(-own)[among.index(cue)]), len(among))


# Texts -----------------------------------------------------------------------------------


def _plain(word: str) -> str:
    return "".join(re.findall(r"[\w']+", word.casefold()))


def _words(text: str) -> list[str]:
    return [plain for word in text.split() if (plain := _plain(word))]


def _same_place(spoken: list[str], written: list[str], place: int) -> int | None:
    """Where a spoken word is written, if it is."""
    for block in SequenceMatcher(None, spoken, written, autojunk=False).get_matching_blocks():
        if block.a <= place < block.a + block.size:
            return block.b + place - block.a
    return None


def _other_spelling(intact: list[str], changed: list[str], at: int, others: set[str]) -> str | None:
    """Another spelling that stands where the word stood."""
    matcher = SequenceMatcher(None, intact, changed, autojunk=False)
    for kind, start, end, first, last in matcher.get_opcodes():
        if kind == "replace" and start <= at < end:
            return next((word for word in changed[first:last] if word in others), None)
    return None
