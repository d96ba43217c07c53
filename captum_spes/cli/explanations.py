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

    if place.suffix not in _STORES or not place.is_file():
        yield from read_results(place)
        return
    with ExplanationStore(place) as store:
        if not len(store):
            raise ArgumentError(f"{visible(place)} holds no explanation.")
        yield from readable(store.ids(), store.__getitem__)
