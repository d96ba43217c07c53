"""Which written word is which spoken one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from captum_spes.alignment.intervals import Alignment
from captum_spes.alignment.spelling import spoken_forms
from captum_spes.speech import SpeechToTextAttributionResult, Word

# What holds one spoken word together though tokenizers and word grouping cut there.
_INSIDE_WORDS = "'’ʼ"
_INSIDE_NUMBERS = ".,"


@dataclass(frozen=True)
class WordMatches:
    """Which written words are which spoken ones.

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
    they are spoken as. Only equal words match, and only where the alignment of the texts is the
    same from their beginning and from their end: of "the the cat" against "the cat" the two
    articles stay unmatched.

    Args:

        written (sequence of str): Words of a hypothesis.
        spoken (sequence of str): Words that were said.
        language (str, optional): Of the numbers.
                    Default: "en"

    Returns:
        *WordMatches*

    Raises:
        ImportError: rapidfuzz, or for numbers num2words, is not installed.

    Examples::

        >>> match_words(["In", "21", "days", ",", "he", "came"], "in twenty one days she".split())
        WordMatches(pairs=((0, (0,)), (1, (1, 2)), (2, (3,))), written=(4, 5), spoken=(4,))
    """
    said = _spelled(spoken, _first_pieces(written, language), language)
    wrote = _spelled(written, [piece for pieces in said for piece in pieces], language)
    partner = _sure_partners([p for w in wrote for p in w], [p for s in said for p in s])
    owner = [index for index, pieces in enumerate(said) for _ in pieces]
    first_piece = [owner.index(index) if pieces else 0 for index, pieces in enumerate(said)]
    pairs, position = [], 0
    for index, pieces in enumerate(wrote):
        found = {partner.get(position + offset) for offset in range(len(pieces))}
        position += len(pieces)
        if not pieces or None in found:
            continue
        heard = sorted({owner[piece] for piece in found if piece is not None})
        # A spoken word of which only a part is written here has no time for that part.
        whole = {first_piece[s] + offset for s in heard for offset in range(len(said[s]))}
        if whole == found:
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

        result (SpeechToTextAttributionResult): An explanation of a transcription.
        alignment (Alignment): Of the same recording; its text may differ from the output.
        language (str, optional): Of the numbers.
                    Default: "en"

    Returns:
        *AlignedResult*: words that were not spoken as they are written have no times, and are
        named.

    Raises:
        ImportError: rapidfuzz, or for numbers num2words, is not installed.

    Examples::

        >>> alignment = Alignment(words=(Interval("the", 0.1, 0.2), Interval("cat", 0.2, 0.5)))
        >>> align_result(result, alignment).result.words[1].end
        0.5
    """
    words = list(_joined(result))
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


def _first_pieces(words: Sequence[str], language: str) -> list[str]:
    return [piece for word in words for piece in spoken_forms(word, language)[0]]


def _spelled(words: Sequence[str], other: Sequence[str], language: str) -> list[tuple[str, ...]]:
    """Of the ways to speak a number the one that the other text holds."""
    text = f" {' '.join(other)} "
    spelled = []
    for word in words:
        forms = spoken_forms(word, language)
        held = (form for form in forms if f" {' '.join(form)} " in text)
        spelled.append(next(held, forms[0]))
    return spelled


def _sure_partners(written: list[str], spoken: list[str]) -> dict[int, int]:
    """Equal pieces that the alignments from either end agree on."""
    forwards = set(_equal(written, spoken))
    backwards = {
        (len(written) - 1 - w, len(spoken) - 1 - s) for w, s in _equal(written[::-1], spoken[::-1])
    }
    return dict(sorted(forwards & backwards))


def _equal(written: list[str], spoken: list[str]) -> Iterator[tuple[int, int]]:
    for block in _levenshtein().opcodes(written, spoken).as_matching_blocks():
        for offset in range(block.size):
            yield block.a + offset, block.b + offset


def _levenshtein() -> Any:
    try:
        return import_module("rapidfuzz.distance.Levenshtein")
    except ImportError as error:
        raise ImportError(
            "matching words needs rapidfuzz: pip install 'captum-spes[alignment]'"
        ) from error


def _joined(result: SpeechToTextAttributionResult) -> Iterator[Word]:
    """The words of a result, with those that punctuation inside a word divides put together."""
    words = list(result.words)
    while words:
        word = words.pop(0)
        while len(words) > 1 and _is_inside(result, word, *words[:2]):
            mark, rest = words.pop(0), words.pop(0)
            word = Word(
                word.word + mark.word + rest.word,
                (*word.token_indices, *mark.token_indices, *rest.token_indices),
            )
        yield word


def _is_inside(
    result: SpeechToTextAttributionResult, before: Word, mark: Word, after: Word
) -> bool:
    starts = [result.output_tokens[word.token_indices[0]] for word in (mark, after)]
    if any(token.startswith((" ", "▁", "Ġ")) for token in starts):
        return False
    left, right = before.word[-1:], after.word[:1]
    if mark.word in _INSIDE_WORDS:
        return left.isalpha() and right.isalpha()
    return mark.word in _INSIDE_NUMBERS and left.isdigit() and right.isdigit()
