"""Explanations that a command is given: files, folders and stores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from captum_spes.errors import ArgumentError
from captum_spes.text import visible

# Files of captum-spes corpus.
_STORES = (".h5", ".hdf5")


def explanations_in(places: Sequence[Path]) -> Iterator[tuple[str, Any]]:
    """Names and explanations of several places, read one by one.

    Args:
        places: saved explanations, folders that hold some, and stores.

    Raises:
        FileNotFoundError: there is no such place.
        ArgumentError: two explanations have one name, or a place holds none.
    """
    known: set[str] = set()
    for place in places:
        for name, result in _explanations(place):
            if name in known:
                raise ArgumentError(
                    f"{visible(place)}: there is an explanation of {visible(name)!r} already."
                )
            known.add(name)
            yield name, result


def _explanations(place: Path) -> Iterator[tuple[str, Any]]:
    from captum_spes.analysis import read_results
    from captum_spes.analysis.inputs import readable
    from captum_spes.corpus import ExplanationStore

    place = _store_of(place)
    if place.suffix not in _STORES or not place.is_file():
        yield from read_results(place)
        return
    with ExplanationStore(place) as store:
        if not len(store):
            raise ArgumentError(f"{visible(place)} holds no explanation.")
        yield from readable(store.ids(), store.__getitem__)


def _store_of(place: Path) -> Path:
    """The only store of a folder that captum-spes evaluate wrote; any other place as it is.

    Raises:
        ArgumentError: there are several stores, each with explanations of the same recordings.
    """
    stores = [file for file in _files(place) if file.suffix in _STORES]
    if not stores or next(place.rglob("*.npz"), None) is not None:
        return place
    if len(stores) > 1:
        raise ArgumentError(
            f"{visible(place)} holds explanations by {len(stores)} methods: give those of one, "
            f"{visible(stores[0])} for example."
        )
    return stores[0]


def _files(place: Path) -> list[Path]:
    return sorted(file for file in place.iterdir() if file.is_file()) if place.is_dir() else []
