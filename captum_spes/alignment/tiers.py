"""Tiers of words and phones, in TextGrids and in JSON that holds the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

from captum_spes.errors import ArgumentError, optional_library

_WORD_TIERS = ("words", "word", "ort", "ort-mau")
_PHONE_TIERS = ("phones", "phone", "phonemes", "mau", "segments")


def from_textgrid(file: Path) -> tuple[list[Any], list[Any]]:
    """Words and phones of a Praat TextGrid, as label, start and end."""
    textgrid = optional_library("praatio.textgrid", "reading TextGrids", "alignment")
    try:
        grid = textgrid.openTextgrid(
            str(file), includeEmptyIntervals=False, duplicateNamesMode="rename"
        )
    except Exception as error:  # praatio raises whatever its parsing stumbles over
        raise ArgumentError(f"no TextGrid that can be read: {error!r}") from error
    tiers = {}
    for name in grid.tierNames:
        tier = grid.getTier(name)
        if isinstance(tier, textgrid.IntervalTier):
            tiers[name] = [(entry.label, entry.start, entry.end) for entry in tier.entries]
    return _words_and_phones(tiers, grid.tierNames)


def from_tiers(tiers: Any) -> tuple[list[Any], list[Any]]:
    """Words and phones of the ``tiers`` in JSON of the Montreal Forced Aligner and praatio."""
    if isinstance(tiers, list):
        tiers = {str(_field(tier, "name")): tier for tier in tiers}
    if not isinstance(tiers, dict):
        raise ArgumentError(f"expected 'tiers' to be an object, got {shortened(tiers)}")
    of_intervals = {}
    for name, tier in tiers.items():
        entries = _field(tier, "entries")
        if not isinstance(entries, list):
            raise ArgumentError(f"expected a list of entries in the tier {name!r}")
        kind = tier.get("type", tier.get("class", "interval"))
        if "interval" in str(kind).lower():
            of_intervals[name] = [_label_first(entry) for entry in entries]
    return _words_and_phones(of_intervals, list(tiers))


def _words_and_phones(
    tiers: Mapping[str, list[Any]], names: Sequence[str]
) -> tuple[list[Any], list[Any]]:
    words = _tier(tiers, _WORD_TIERS)
    if words is None:
        raise ArgumentError(
            f"no tier of words ({', '.join(_WORD_TIERS)}) with intervals; there are: "
            f"{', '.join(names)}."
        )
    return words, _tier(tiers, _PHONE_TIERS) or []


def _tier(tiers: Mapping[str, list[Any]], wanted: Sequence[str]) -> list[Any] | None:
    for one in wanted:
        for name, entries in tiers.items():
            # "speaker - words", as the Montreal Forced Aligner calls tiers of several speakers.
            if name.lower().rpartition(" - ")[2].strip() == one:
                return entries
    return None


def _field(tier: Any, name: str) -> Any:
    if not isinstance(tier, dict) or name not in tier:
        raise ArgumentError(f"expected a tier to be an object with {name!r}, got {shortened(tier)}")
    return tier[name]


def _label_first(entry: Any) -> Any:
    if isinstance(entry, list) and len(entry) == 3:
        start, end, label = entry
        return label, start, end
    return entry
