"""Matching written words to spoken ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from captum_spes.alignment.intervals import Alignment
from captum_spes.alignment.spelling import spoken_forms
from captum_spes.errors import instance_of, texts
from captum_spes.maps import is_unspaced, join_inner_punctuation
from captum_spes.speech import SpeechToTextAttributionResult, Word


@dataclass(frozen=True)
class WordMatches:
    """Which written words match which spoken ones.

    Attributes:
        pairs: index of a written word, and the indices of the spoken words that it stands for
            (several for a number).
        written: indices of written words without a spoken one, punctuation not counted.
        spoken: indices of spoken words without a written one.
    """

    pairs: tuple[tuple[int, tuple[int, ...]], ...]
    written: tuple[int, ...]
    spoken: tuple[int, ...]


@dataclass(frozen=True)
class AlignedResult:
    """An explanation whose words have times.

    Attributes:
        result: its ``words`` have a start and an end wherever they were matched; what spells one
            spoken word (*it*, *'*, *s*) is one word.
        unmatched_written: words of the output that were not spoken as they are written.
        unmatched_spoken: spoken words that the output lacks.
    """

    result: SpeechToTextAttributionResult
    unmatched_written: tuple[str, ...]
    unmatched_spoken: tuple[str, ...]


def match_words(
    written: Sequence[str], spoken: Sequence[str], *, language: str = "en"
) -> WordMatches:
    r"""
    Match written words to spoken ones by the edit distance of the two texts.

    Case, punctuation, apostrophes and hyphens do not count, and numbers match the words that
    they are spoken as. Only equal words match, and only those that every best alignment of the two
    texts matches: of "the the cat" against "the cat" both articles stay unmatched. In scripts
    without spaces characters are compared, and words that two tools cut differently match if all
    characters of the spoken word are written: each of them with the whole spoken word.

    Args:

        written (sequence of str): Words of a hypothesis.
        spoken (sequence of str): Words that were said.
        language (str, optional): Language of the numbers, a code such as "de"; what cannot be
                    written out in it stays in digits.
                    Default: "en"

    Returns:
        *WordMatches*

    Raises:
        ArgumentError: the language is no code.
        ImportError: there is a number, and num2words is not installed.

    Examples::

        >>> match_words(["In", "21", "days", ",", "he", "came"], "in twenty one days she".split())
        WordMatches(pairs=((0, (0,)), (1, (1, 2)), (2, (3,))), written=(4, 5), spoken=(4,))
    """
    written, spoken = texts("written", written), texts("spoken", spoken)
    said = _spelled(spoken, _first_pieces(written, language), language)
    wrote = _spelled(written, [piece for pieces in said for piece in pieces], language)
    partner = _sure_partners([p for w in wrote for p in w], [p for s in said for p in s])
    owner = [index for index, pieces in enumerate(said) for _ in pieces]
    ends = list(accumulate(map(len, said)))
    pairs, position = [], 0
    for index, pieces in enumerate(wrote):
        found = {partner.get(position + offset) for offset in range(len(pieces))}
        position += len(pieces)
        if not pieces or None in found:
            continue
        heard = sorted({owner[piece] for piece in found if piece is not None})
        whole = {piece for s in heard for piece in range(ends[s] - len(said[s]), ends[s])}
        # A spoken word of which only a part is written here has no time for that part, unless its
        # script has no spaces: there what is a word is up to each tool.
        is_whole = whole == found or (
            all(_is_unspaced(said[s]) for s in heard) and _is_written_in_one_go(whole, partner)
        )
        if is_whole and heard == list(range(heard[0], heard[-1] + 1)):
            pairs.append((index, tuple(heard)))
    matched = {index for index, _ in pairs}
    reached = {index for _, indices in pairs for index in indices}
    return WordMatches(
        tuple(pairs),
        tuple(i for i, pieces in enumerate(wrote) if pieces and i not in matched),
        tuple(i for i, pieces in enumerate(said) if pieces and i not in reached),
    )


def align_result(
    result: SpeechToTextAttributionResult, alignment: Alignment, *, language: str = "en"
) -> AlignedResult:
    r"""
    Give the words of an explanation the times at which they are spoken.

    Args:

        result (SpeechToTextAttributionResult): An explanation of a transcription; times that it
                    has are replaced. (Words of a translation can look like spoken ones, German
                    *so* for example: do not align those.)
        alignment (Alignment): Of the same recording; its text may differ from the output.
        language (str, optional): Language of the numbers, as for :func:`match_words`.
                    Default: "en"

    Returns:
        *AlignedResult*: words that were not spoken as they are written have no times, and are
        listed.

    Raises:
        ArgumentError: the language is no code.
        ImportError: there is a number, and num2words is not installed.

    Examples::

        >>> alignment = Alignment(words=(Interval("the", 0.1, 0.2), Interval("cat", 0.2, 0.5)))
        >>> align_result(result, alignment).result.words[1].end
        0.5
    """
    instance_of("result", result, SpeechToTextAttributionResult, "a SpeechToTextAttributionResult")
    instance_of("alignment", alignment, Alignment, "an Alignment")
    words = joined_words(result)
    matches = match_words(
        [word.word for word in words], [w.label for w in alignment.words], language=language
    )
    for index, spoken in matches.pairs:
        start = min(alignment.words[i].start for i in spoken)
        end = max(alignment.words[i].end for i in spoken)
        words[index] = replace(words[index], start=start, end=end)
    return AlignedResult(
        replace(result, words=words),
        tuple(words[i].word for i in matches.written),
        tuple(alignment.words[i].label for i in matches.spoken),
    )


def _is_unspaced(pieces: Sequence[str]) -> bool:
    return any(is_unspaced(piece[0]) for piece in pieces)


def _is_written_in_one_go(spoken: set[int], partner: dict[int, int]) -> bool:
    written = sorted(piece for piece, heard in partner.items() if heard in spoken)
    return len(written) == len(spoken) == written[-1] - written[0] + 1


def _first_pieces(words: Sequence[str], language: str) -> list[str]:
    return [piece for word in words for piece in spoken_forms(word, language)[0]]


def _spelled(words: Sequence[str], other: Sequence[str], language: str) -> list[tuple[str, ...]]:
    """The words as spoken; of the ways to speak a number, the one that the other text holds."""
    text = f" {' '.join(other)} "
    spelled = []
    for word in words:
        forms = spoken_forms(word, language)
        held = (form for form in forms if f" {' '.join(form)} " in text)
        spelled.append(next(held, forms[0]))
    return spelled


def _sure_partners(written: list[str], spoken: list[str]) -> dict[int, int]:
    """Equal pieces that all alignments of the smallest edit distance match.

    Libraries return one such alignment; to know whether it is the only one takes all costs: those
    of the beginnings of both texts and those of their ends.
    """
    rows, columns = len(written), len(spoken)
    differs = np.array([[w != s for s in spoken] for w in written], dtype=int)
    differs = differs.reshape(rows, columns)
    before = _edit_distances(differs)
    after = _edit_distances(differs[::-1, ::-1])[::-1, ::-1]
    through = before[:-1, :-1] + differs + after[1:, 1:] == before[-1, -1]
    left_out = before[:-1] + 1 + after[1:] == before[-1, -1]
    partners = {}
    for row in range(rows):
        reached = np.flatnonzero(through[row])
        if len(reached) == 1 and not differs[row, reached[0]] and not left_out[row].any():
            partners[row] = int(reached[0])
    return partners


def _edit_distances(differs: NDArray[np.int_]) -> NDArray[np.int_]:
    """Distances of the first i written from the first j spoken pieces, for all i and j."""
    rows, columns = differs.shape
    distances = np.zeros((rows + 1, columns + 1), dtype=int)
    distances[0], distances[:, 0] = np.arange(columns + 1), np.arange(rows + 1)
    for i in range(rows):
        for j in range(columns):
            distances[i + 1, j + 1] = min(
                distances[i, j] + differs[i, j], distances[i, j + 1] + 1, distances[i + 1, j] + 1
            )
    return distances


def joined_words(result: SpeechToTextAttributionResult) -> list[Word]:
    """The words without times; those that punctuation inside a word divides are joined."""
    words = [(word.word, word.token_indices) for word in result.words]
    return [
        Word(word, tuple(indices))
        for word, indices in join_inner_punctuation(words, result.output_tokens)
    ]
