"""Letters that the font of a figure lacks: from another font of the system, else as escapes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import FontEntry, FontProperties, findfont, fontManager, get_font
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator

from captum_spes.errors import warn_caller
from captum_spes.text import shortened

# An escape takes the place of six or ten letters.
_LONGEST = 60
_SHOWN = 12
# Boxes instead of letters, letters for formulas only, and pictures in colour, which matplotlib
# cannot draw.
_UNUSABLE = ("last resort", "lastresort", "stix", "cm", "math", "color emoji", "colour emoji")
# Characters that no font has, while they are collected for one warning.
_collected: ContextVar[set[str] | None] = ContextVar("collected", default=None)


@contextmanager
def one_warning() -> Iterator[None]:
    """Warn once of the letters that all figures drawn inside lack."""
    if _collected.get() is not None:  # the one around this warns
        yield
        return
    lacking: set[str] = set()
    token = _collected.set(lacking)
    try:
        yield
    finally:
        _collected.reset(token)
    _warn(lacking)


def prepare_texts(figure: Figure, axes: Iterable[Axes], *, only_axes: bool = False) -> None:
    """Give texts of a figure the fonts that have their letters, and write the others as escapes.

    LaTeX, which matplotlib can be set to, is another program, and would read texts as code.
    """
    drawn = list(axes)
    texts = [text for artist in (drawn if only_axes else [figure]) for text in artist.findobj(Text)]
    for text in texts:
        text.set_usetex(False)
    lacking: set[str] = set()
    for axis in (axis for one in drawn for axis in one._axis_map.values()):
        _prepare_ticks(axis, lacking)
    for text in texts:
        _prepare(text, lacking)
    _tell(lacking)


def prepare_text(text: Text) -> None:
    """Prepare one text, as :func:`prepare_texts` does."""
    text.set_usetex(False)
    lacking: set[str] = set()
    _prepare(text, lacking)
    _tell(lacking)


def _prepare(text: Text, lacking: set[str]) -> None:
    if text.get_text():
        shown = _prepared(text, lacking)
        if shown != text.get_text():
            text.set_text(shown)


def _tell(lacking: set[str]) -> None:
    """Warn, now or where warnings are collected."""
    collected = _collected.get()
    if collected is None:
        _warn(lacking)
    else:
        collected |= lacking


def _prepare_ticks(axis: Axis, lacking: set[str]) -> None:
    """Labels of ticks are written anew at every drawing, from what the axis was given."""
    if not isinstance(axis.get_major_locator(), FixedLocator):
        return
    labels = axis.get_ticklabels()
    shown = [_prepared(label, lacking) for label in labels]
    if shown != [label.get_text() for label in labels]:
        axis.set_ticklabels(shown)


def written(text: str) -> str:
    """What a figure will show of a text: with escapes for letters that no font has."""
    others = _others(text, tuple(rcParams["font.family"]))
    if None not in others.values():
        return text
    shown = "".join(_escape(c) if others.get(c, "") is None else c for c in text)
    return shortened(shown, _LONGEST)


def _prepared(text: Text, lacking: set[str]) -> str:
    """What can be written of a text, which gets the fonts for it."""
    families = tuple(text.get_fontfamily())
    others = _others(text.get_text(), families)
    found = [name for name in dict.fromkeys(others.values()) if name is not None]
    if found:
        text.set_fontfamily([*families, *found])
    lacking |= {character for character, name in others.items() if name is None}
    return written(text.get_text())


def _others(text: str, families: tuple[str, ...]) -> dict[str, str | None]:
    """Letters that these families lack, with another family that has them, or None."""
    own = _letters_of_families(families)
    missing = {c for c in text if ord(c) not in own and not c.isspace()}
    return _fallbacks(frozenset(missing)) if missing else {}


@cache
def _letters_of_families(families: tuple[str, ...]) -> frozenset[int]:
    found: set[int] = set()
    for family in families:
        found |= get_font(findfont(FontProperties(family=[family]))).get_charmap().keys()
    return frozenset(found)


# Fonts of all Chinese letters are large: what was found of a letter is kept, not their lists.
_known: dict[str, str | None] = {}


def _fallbacks(characters: frozenset[str]) -> dict[str, str | None]:
    """The family that has each character, or None; few families rather than many."""
    wanted = {c for c in characters if c not in _known}
    for entry in _entries() if wanted else ():
        try:
            letters = get_font(entry.fname).get_charmap()
        except (RuntimeError, OSError):  # a font that was removed, or is none
            continue
        for character in [c for c in wanted if ord(c) in letters]:
            _known[character] = entry.name
            wanted.discard(character)
        if not wanted:
            break
    _known.update(dict.fromkeys(wanted))
    return {c: _known[c] for c in characters}


@cache
def _entries() -> tuple[FontEntry, ...]:
    """One upright font of each family that can be drawn, those without serifs first."""
    families: dict[str, FontEntry] = {}
    for entry in fontManager.ttflist:
        name = entry.name.casefold()
        if entry.style == "normal" and not name.startswith(_UNUSABLE) and "color" not in name:
            families.setdefault(entry.name, entry)
    return tuple(sorted(families.values(), key=lambda entry: "sans" not in entry.name.casefold()))


def _escape(character: str) -> str:
    return character.encode("ascii", "backslashreplace").decode("ascii")


def _warn(lacking: Iterable[str]) -> None:
    letters = sorted(lacking)
    if not letters:
        return
    shown = "".join(letters[:_SHOWN]) + ("..." if len(letters) > _SHOWN else "")
    warn_caller(
        f"no font of this system has {shown}: figures show these letters as escapes "
        f"({_escape(letters[0])}). Install a font that has them, for example one of Noto Sans, and "
        "remove matplotlib's cache of fonts."
    )
