"""Attributions of models that differ in their seed, in memory and in a folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from captum_spes.errors import ArgumentError
from captum_spes.io.arrays import Archive, open_archive
from captum_spes.io.files import read_settings, whole_file
from captum_spes.io.names import FileNames
from captum_spes.stability.units import UnitPair

SETTINGS = "settings.json"
_ATTRIBUTIONS = "attributions"
_KIND = "a file of attributions"
_ADVICE = ": remove it, and what it held is computed again"
Scores = NDArray[np.float32]


class Condition(NamedTuple):
    """One way to explain: what agreement is measured of.

    Attributes:
        task: what the model tells.
        input: what is attributed to.
        method: with its number of samples, "lime@25".
        perturbed: unit; "cell" for gradients.
        reported: unit.
    """

    task: str
    input: str
    method: str
    perturbed: str
    reported: str

    @property
    def units(self) -> UnitPair:
        return UnitPair(self.perturbed, self.reported)


@dataclass(frozen=True)
class Record:
    """Attributions of one utterance by one model.

    Attributes:
        condition: how.
        utterance: its id.
        run: number of the mask seed.
        passes: forward passes that it cost.
        scores: ``(items, units)``; signed.
    """

    condition: Condition
    utterance: str
    run: int
    passes: int
    scores: Scores


@dataclass
class ModelAttributions:
    """What one model gave.

    Attributes:
        records: in the order in which they were made.
        right: task to utterance to how right the model was, 0 to 1.
        weights: a digest of the model, to notice that it changed; empty if it has no folder.
        model: its name; empty in files of earlier versions, whose own name tells it.
    """

    records: list[Record] = field(default_factory=list)
    right: dict[str, dict[str, float]] = field(default_factory=dict)
    weights: str = ""
    model: str = ""

    @property
    def utterances(self) -> set[str]:
        """Ids of those that were explained."""
        return {record.utterance for record in self.records}

    def save(self, path: Path) -> None:
        """Write a file that appears complete or not at all."""
        index = [
            [*r.condition, r.utterance, r.run, r.passes, *r.scores.shape] for r in self.records
        ]
        scores = [record.scores.ravel() for record in self.records]
        with whole_file(path) as file:
            np.savez_compressed(
                file,
                index=np.array(json.dumps(index)),
                right=np.array(json.dumps(self.right)),
                weights=np.array(self.weights),
                model=np.array(json.dumps(self.model)),
                scores=np.concatenate(scores) if scores else np.empty(0, np.float32),
            )

    @classmethod
    def load(cls, path: Path) -> ModelAttributions:
        """Read what :meth:`save` wrote."""
        with open_archive(path, _KIND, _ADVICE) as archive:
            index, right = (json.loads(archive.text(name)) for name in ("index", "right"))
            scores, weights = archive.read("scores").astype(np.float32), archive.text("weights")
            records, start = [], 0
            for *names, utterance, run, passes, items, units in index:
                end = start + items * units
                values = scores[start:end].reshape(items, units)
                records.append(Record(Condition(*names), utterance, run, passes, values))
                start = end
            return cls(records, dict(right), weights, _model_of(archive, path))


@dataclass(frozen=True)
class StabilityStudy:
    """Attributions of several models in the same conditions.

    Attributes:
        models: name to what it gave.
        settings: what they were made with.
    """

    models: Mapping[str, ModelAttributions]
    settings: Mapping[str, Any]

    @property
    def conditions(self) -> list[Condition]:
        """Those that every model has, in the order in which they were made."""
        of_models = [{r.condition: None for r in m.records} for m in self.models.values()]
        shared = [c for c in of_models[0] if all(c in other for other in of_models)]
        if not shared:
            raise ArgumentError(
                f"{', '.join(self.models)} have no condition in common: they must be of one kind."
            )
        return shared

    def accuracy(self, task: str) -> dict[str, float]:
        """How right each model is, mean over the explained utterances, in percent."""
        return {
            name: 100 * float(np.mean(list(model.right[task].values())))
            for name, model in self.models.items()
        }

    @classmethod
    def load(
        cls, folder: str | PathLike[str], models: Sequence[str] | None = None
    ) -> StabilityStudy:
        r"""
        Read a study.

        Args:

            folder (str or path): That :func:`run_study` wrote.
            models (sequence of str, optional): Which models.
                        Default: None, all that explained every utterance

        Returns:
            *StabilityStudy*.

        Raises:
            FileNotFoundError: the folder holds no study.
            ArgumentError: a file is damaged, or fewer than two models explained every utterance.

        Examples::

            >>> study = StabilityStudy.load("study")
        """
        if not (Path(folder) / SETTINGS).is_file():
            raise FileNotFoundError(f"{folder} holds no study of reliability.")
        settings = _study_settings(Path(folder) / SETTINGS)
        files = _files(Path(folder))
        missing = [] if models is None else [name for name in models if name not in files]
        if missing:
            raise ArgumentError(f"{folder} holds no attributions of {', '.join(missing)}.")
        names = files if models is None else models
        found = {name: ModelAttributions.load(files[name]) for name in names}
        whole = {
            name: attributions
            for name, attributions in found.items()
            if attributions.utterances == set(settings["utterances"])
        }
        if len(whole) < 2:
            raise ArgumentError(
                f"{folder} holds {len(whole)} models that explained every utterance; agreement "
                "needs two."
            )
        return cls(whole, settings)


def attributions_files(folder: Path, models: Iterable[str]) -> dict[str, Path]:
    """Where a study keeps what each model gives; hub names hold a slash."""
    names = FileNames()
    return {name: folder / _ATTRIBUTIONS / f"{names.new(name)}.npz" for name in sorted(models)}


def _files(folder: Path) -> dict[str, Path]:
    """The files that a study holds, by the name of their model."""
    found = {}
    for path in sorted((folder / _ATTRIBUTIONS).glob("[!.]*.npz")):
        with open_archive(path, _KIND, _ADVICE) as archive:
            found[_model_of(archive, path)] = path
    return found


def _model_of(archive: Archive, path: Path) -> str:
    name = json.loads(archive.text("model")) if "model" in archive else ""
    return str(name) or unquote(path.stem)


def _study_settings(path: Path) -> dict[str, Any]:
    settings = read_settings(path)
    for name in ("utterances", "left_out"):
        ids = settings.get(name)
        if not isinstance(ids, list) or not all(isinstance(own, str) for own in ids):
            raise ArgumentError(f"{path} is damaged: {name} must be a list of ids.")
    return settings
