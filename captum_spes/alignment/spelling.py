"""How a written word is spoken: what is compared when words are matched."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from captum_spes.errors import ArgumentError, instance_of, optional_library
from captum_spes.maps import split_unspaced

_APOSTROPHES = "'’ʼ"
# Languages that write three and a half as 3.5.
_POINT_LANGUAGES = ("en", "zh", "ja", "ko", "th", "he")
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(st|nd|rd|th)?")
_LANGUAGE_CODE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]+)*")
# What num2words calls by another code.
_CODES = {"kk": "kz", "nb": "no"}
# Longer numbers are spoken digit by digit. In Amharic num2words does not come to an end.
_MOST_DIGITS = 36
_FEWER_DIGITS = {"am": 6}


def spoken_forms(word: str, language: str = "en") -> list[tuple[str, ...]]:
    r"""
    The ways to spell a written word in letters alone, one piece per spoken word.

    Case, punctuation and apostrophes are dropped, words joined by hyphens are split, those in
    scripts without spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese) into characters, and
    numbers are written out, those of four digits also as a year. A number that num2words cannot
    write out in the language stays as it is.

    Args:

        word (str): A word, with or without punctuation.
        language (str, optional): Language of the numbers, a code such as "de" or "pt-BR".
                    Default: "en"

    Returns:
        *list* of tuples of str, the likeliest first; one empty tuple for what is not spoken.

    Raises:
        ArgumentError: the language is no code.
        ImportError: the word is a number, and num2words is not installed.

    Examples::

        >>> spoken_forms("It's")
        [('its',)]
        >>> spoken_forms("1961")[-1]
        ('nineteen', 'sixty', 'one')
    """
    if not isinstance(language, str) or not _LANGUAGE_CODE.fullmatch(language):
        raise ArgumentError(f"the language {language!r} is no code such as 'en' or 'pt-BR'.")
    instance_of("word", word, str, "a text")
    as_it_is = _pieces(word)
    number = _NUMBER.fullmatch(word.strip('.,;:!?"“”«»()[]'))
    if number is None:
        return [as_it_is]
    digits, ordinal = number.group().removesuffix(number.group(1) or ""), bool(number.group(1))
    if language.lower().startswith(_POINT_LANGUAGES):
        digits = digits.replace(",", "")
    elif "," in digits or "." in digits:
        # 3,5 or 3.500: which of the two divides thousands is not known for sure
        return [as_it_is]
    kinds = ["ordinal"] if ordinal else ["cardinal"]
    if not ordinal and len(digits) == 4 and digits.isdigit():
        kinds.append("year")
    written_out = [_written_out(digits, kind, language) for kind in kinds]
    forms = [form for text in written_out for form in _both_ways(text) if form]
    return forms or [as_it_is]


def _pieces(word: str) -> tuple[str, ...]:
    for apostrophe in _APOSTROPHES:
        word = word.replace(apostrophe, "")
    letters = "".join(
        character if unicodedata.category(character)[0] in "LMN" else " " for character in word
    )
    words = unicodedata.normalize("NFC", letters).casefold().split()
    return tuple(part for word in words for part in split_unspaced(word))


def _both_ways(text: str) -> list[tuple[str, ...]]:
    """A hundred and five, a hundred five."""
    pieces = _pieces(text)
    short = tuple(piece for piece in pieces if piece != "and")
    return [pieces] if short == pieces else [pieces, short]


def _written_out(digits: str, kind: str, language: str) -> str:
    """A number in words; empty where they cannot be made."""
    num2words = optional_library("num2words", "matching numbers", "alignment")
    code = _code(num2words.CONVERTER_CLASSES, language)
    if code is None or len(digits) > _FEWER_DIGITS.get(code, _MOST_DIGITS):
        return ""
    try:
        value = float(digits) if "." in digits else int(digits)
        return str(num2words.num2words(value, to=kind, lang=code))
    except Exception:  # its languages raise whatever they stumble over
        return ""


def _code(known: Any, language: str) -> str | None:
    """What num2words calls a language; it would take Filipino, fil, for Finnish."""
    primary, *rest = re.split("[-_]", language)
    primary = _CODES.get(primary.lower(), primary.lower())
    codes = [f"{primary}_{rest[0].upper()}"] if rest else []
    return next((code for code in [*codes, primary] if code in known), None)
