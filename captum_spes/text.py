"""Text that comes from data, made harmless for where it is shown: one function for each format.

Ids, transcripts, tokens, and names of files and models may hold anything. None of it may end a
line, move the terminal's cursor, start a formula or become markup.
"""

from __future__ import annotations

import re
import unicodedata

# Joiners shape letters and emoji and are harmless.
_SHOWN_FORMATS = "\u200c\u200d"
_ESCAPED = ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")
# What starts a formula in spreadsheets, full-width forms included.
_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")
_MARKDOWN = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])")
_MARKDOWN_START = re.compile(r"^(\s*)(?:([#+\-=:])|(\d{1,9})([.)]))")
_HALVES = re.compile("[\ud800-\udfff]")
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def visible(text: object) -> str:
    r"""A text on one line, with escapes for what is not seen or changes what is seen around it:
    control characters, marks of direction, halves of characters, bytes of file names that are no
    UTF-8.

    Examples::

        >>> visible("a\n\x1b[31mb\udce9")
        'a\\n\\x1b[31mb\\xe9'
    """
    return "".join(map(_visible_character, str(text)))


def for_terminal(text: object) -> str:
    """Lines for a terminal: as :func:`visible`, with the ends of lines as they are."""
    return "\n".join(map(visible, str(text).split("\n")))


def for_markdown(text: object) -> str:
    r"""A text that Markdown shows as it is, in a cell of a table, an item of a list or a heading.

    Examples::

        >>> for_markdown("a|b\n# <b>")
        'a\\|b\\\\n# &lt;b&gt;'
    """
    shown = visible(text).strip()  # blanks at its beginning would make it code
    shown = _MARKDOWN.sub(lambda found: "\\" + found[0], shown)
    shown = "".join(_HTML.get(character, character) for character in shown)
    return _MARKDOWN_START.sub(_escaped_start, shown)


def for_csv(value: object) -> object:
    """A cell of a CSV file: a text is never read as a formula, whose sign gets an apostrophe before
    it, and holds no control character; numbers and None stay."""
    if not isinstance(value, str):
        return value
    shown = visible(value)
    is_formula = shown.lstrip().startswith(_FORMULA) and not _is_number(shown)
    return f"'{shown}" if is_formula else shown


def for_utf8(text: str) -> str:
    """A text that UTF-8 can hold: halves of characters, and bytes of file names that are no UTF-8,
    become the escapes of :func:`visible`; all else is as it was."""
    return _HALVES.sub(lambda found: _visible_character(found[0]), text)


def shortened(text: str, length: int) -> str:
    """The beginning of a text that is longer, with an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"


def _visible_character(character: str) -> str:
    if character.isprintable() or character in _SHOWN_FORMATS:
        return character
    if unicodedata.category(character) not in _ESCAPED:  # a wide space, for example
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return repr(character)[1:-1]


def _escaped_start(found: re.Match[str]) -> str:
    space, sign, number, end = found.groups()
    return f"{space}\\{sign}" if sign else f"{space}{number}\\{end}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
