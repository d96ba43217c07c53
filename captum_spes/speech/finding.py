"""Finding a phrase among words, however they are written."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from difflib import get_close_matches

from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.maps import is_unspaced, split_unspaced

# Words that an error names: those like the one that was not found, or else the first ones.
_SIMILAR, _FIRST = 3, 10


def find_phrase(phrase: str, words: Sequence[str], place: str) -> list[tuple[int, int]]:
    """Find where a word or a phrase stands; case and punctuation do not matter, nor, in scripts
    without spaces, how the words are divided.

    Args:
        phrase: one word or several.
        words: among which it is looked for, in order.
        place: what holds the words, for the error.

    Returns:
        The indices of the first and of the last word of each occurrence.

    Raises:
        ArgumentError: it does not stand there; the message names words that do.
        ArgumentTypeError: it is no text.
    """
    if not isinstance(phrase, str):
        raise ArgumentTypeError(f"the words to find must be a text, got {phrase!r}.")
    wanted = _units(phrase)
    if not wanted:
        raise ArgumentError(f"there is no word to find in {phrase!r}.")
    units = [(unit, i) for i, word in enumerate(words) for unit in _units(word)]
    spelled = [unit for unit, _ in units]
    found = dict.fromkeys(
        (units[start][1], units[start + len(wanted) - 1][1])
        for start in range(len(units) - len(wanted) + 1)
        if spelled[start : start + len(wanted)] == wanted
        and _is_border(units, start)
        and _is_border(units, start + len(wanted))
    )
    if not found:
        raise ArgumentError(f"{place} does not hold {phrase!r}; it holds {_held(phrase, words)}.")
    return list(found)


def _held(phrase: str, words: Sequence[str]) -> str:
    """Words that an error names in the place of a phrase."""
    forms = list(dict.fromkeys(form for word in words if (form := _plain(word))))
    near = get_close_matches(_plain(phrase.split()[0]), sorted(forms), _SIMILAR, 0.5)
    if near or not forms:
        return ", ".join(near) or "no word"
    more = f" and {len(forms) - _FIRST} more" if len(forms) > _FIRST else ""
    return ", ".join(forms[:_FIRST]) + more


def _plain(word: str) -> str:
    """A word without case and the punctuation around it."""
    text = unicodedata.normalize("NFKC", word).casefold()
    kept = [i for i, c in enumerate(text) if unicodedata.category(c)[0] in "LNM"]
    return text[kept[0] : kept[-1] + 1] if kept else ""


def _units(text: str) -> list[str]:
    """What stays together however a text is divided into words: runs of letters and digits, and
    each character of scripts without spaces."""
    text = unicodedata.normalize("NFKC", text).casefold()
    runs = "".join(c if unicodedata.category(c)[0] in "LNM" else " " for c in text).split()
    return [unit for run in runs for unit in split_unspaced(run)]


def _is_border(units: Sequence[tuple[str, int]], place: int) -> bool:
    """Whether a word may begin or end before a unit: *don* is no word of *don't*."""
    if place in (0, len(units)) or units[place - 1][1] != units[place][1]:
        return True
    return is_unspaced(units[place - 1][0][0]) or is_unspaced(units[place][0][0])
