"""The files of a study, which grow while it runs."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from captum_spes.errors import ArgumentError
from captum_spes.stability.attributions import ModelAttributions
from captum_spes.stability.jobs import Explained


class StudyFiles:
    """What each model gave, in its file; what is not yet there is saved at the end of the context,
    also after an error.

    Args:
        files: by the name of the model.
        weights: digests of the models, likewise.
        ids: of the utterances, in the order in which files hold them.

    Raises:
        ArgumentError: a file is damaged, or is of another model.
    """

    def __init__(
        self, files: Mapping[str, Path], weights: Mapping[str, str], ids: Sequence[str]
    ) -> None:
        self._ids = list(ids)
        self._files = {name: _File(path, name, weights[name]) for name, path in files.items()}

    def __enter__(self) -> StudyFiles:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.save(self._ids)

    def missing(self, name: str) -> list[str]:
        """Ids of the utterances that a model has not explained."""
        return [id_ for id_ in self._ids if id_ not in self._files[name].known]

    def add(self, name: str, id_: str, found: Explained) -> None:
        """Keep what a model gave for an utterance."""
        file = self._files[name]
        file.add(id_, found)
        if len(file.known) == len(self._ids) or file.is_time():
            file.save(self._ids)


class _File:
    """The file of one model.

    Attributes:
        known: ids of the utterances that the model has explained.
    """

    def __init__(self, path: Path, name: str, weights: str) -> None:
        self._path = path
        self._held = ModelAttributions.load(path) if path.exists() else ModelAttributions()
        if self._held.records and self._held.weights != weights:
            raise ArgumentError(
                f"{path} holds attributions of another model of the name {name!r}: give "
                "another folder, or remove the file."
            )
        self._held.weights, self._held.model = weights, name
        self.known = self._held.utterances
        self._is_saved, self._seconds, self._last = True, 0.0, -math.inf

    def add(self, id_: str, found: Explained) -> None:
        self._held.records += found.records
        for task, right in found.right.items():
            self._held.right.setdefault(task, {})[id_] = right
        self.known.add(id_)
        self._is_saved = False

    def is_time(self) -> bool:
        """Whether to save: a file grows with every utterance, and to write it must take a
        twentieth of the time at most."""
        return time.monotonic() - self._last >= 20 * self._seconds

    def save(self, ids: Sequence[str]) -> None:
        """Write what came since the last time, in the order of the ids: utterances come in any."""
        if self._is_saved:
            return
        start = time.monotonic()
        place = {id_: number for number, id_ in enumerate(ids)}
        self._held.records.sort(key=lambda record: place.get(record.utterance, len(place)))
        for task, right in self._held.right.items():
            ordered = sorted(right, key=lambda id_: place.get(id_, len(place)))
            self._held.right[task] = {id_: right[id_] for id_ in ordered}
        self._held.save(self._path)
        self._is_saved, self._last = True, time.monotonic()
        self._seconds = self._last - start
