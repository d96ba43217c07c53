"""Which tokens spell a word."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

# How tokenizers mark the start of a word: sentencepiece, byte-level BPE, plain text.
_WORD_STARTS = ("▁", "Ġ", " ")


def group_words(tokens: Sequence[str]) -> list[tuple[str, list[int]]]:
    r"""
    Group subword tokens into the words that they spell.

    A token that starts with a space (or the tokenizer's mark for it) starts a word. A
    token of punctuation alone is a word of its own, and what follows it starts another,
    as in the paper's analyses, so that "step" and "?" can be told apart.

    Args:

        tokens (sequence of str): Tokens of one output, without special tokens.

    Returns:
        *list* of ``(word, token indices)`` in order. A token of spaces alone belongs to
        the word that follows.

    Examples::

        >>> group_words([" next", " st", "ep", "?"])
        [('next', [0]), ('step', [1, 2]), ('?', [3])]
    """
    words: list[tuple[str, list[int]]] = []
    is_open = False
    for index, token in enumerate(tokens):
        text = _without_marks(token)
        if _is_punctuation(text):
            words.append((text, [index]))
            is_open = False
            continue
        if not is_open or (token.startswith(_WORD_STARTS) and words[-1][0]):
            words.append((text, [index]))
        else:
            words[-1] = (words[-1][0] + text, [*words[-1][1], index])
        is_open = True
    return words


def _without_marks(token: str) -> str:
    for mark in _WORD_STARTS:
        token = token.replace(mark, "")
    return token.strip()


def _is_punctuation(text: str) -> bool:
    return bool(text) and all(
        unicodedata.category(character)[0] in "PS" and character != "\N{REPLACEMENT CHARACTER}"
        for character in text
    )
