"""The maps of phrases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from captum_spes.errors import ArgumentError, texts
from captum_spes.speech.finding import find_phrase


class PhraseMaps(NamedTuple):
    """The two sides of an explanation, by phrase.

    P is the number of rows: one for each occurrence of each phrase.

    Attributes:
        spectrogram_attr: ``(P, time, freq)``.
        token_attr: ``(P, columns)``, NaN where a column is not before the phrase; None where
            previous tokens were not explained.
        phrases: what each row is of, as it was asked for.
        token_indices: the rows of ``output_tokens`` that each row is the mean of.
        previous: what each column is of: a previous token, or a word that some of them spell.
    """

    spectrogram_attr: Tensor
    token_attr: Tensor | None
    phrases: list[str]
    token_indices: list[tuple[int, ...]]
    previous: list[str]


def phrase_tokens(
    words: str | Sequence[str], spelled: Sequence[tuple[str, tuple[int, ...]]]
) -> list[tuple[str, tuple[int, ...]]]:
    """Each occurrence of each phrase, with its tokens, those of punctuation inside it included.

    Args:
        words: a word or phrase, or several.
        spelled: the words of the output, and the tokens of each.
    """
    phrases = [words] if isinstance(words, str) else texts("words", words)
    if not phrases:
        raise ArgumentError("words is empty: leave it out for all words of the output.")
    return [
        (phrase, tuple(row for _, tokens in spelled[first : last + 1] for row in tokens))
        for phrase in phrases
        for first, last in find_phrase(phrase, [word for word, _ in spelled], "the output")
    ]


def previous_columns(
    tokens: Sequence[str],
    rows: Sequence[int | None],
    spelled: Sequence[tuple[str, tuple[int, ...]]],
) -> list[tuple[str, list[int]]]:
    """What columns are called, and which previous tokens each is the mean of.

    Args:
        tokens: the previous tokens.
        rows: the explained token that each of them is, or None.
        spelled: the words of the output, and the tokens of each; others stay alone.
    """
    word_of = {row: index for index, (_, own) in enumerate(spelled) for row in own}
    columns: dict[object, tuple[str, list[int]]] = {}
    for place, (token, row) in enumerate(zip(tokens, rows, strict=True)):
        word = None if row is None else word_of.get(row)
        if word is None:
            columns["token", place] = token, [place]
        else:
            columns.setdefault(word, (spelled[word][0], []))[1].append(place)
    return list(columns.values())
