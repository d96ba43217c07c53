"""What is asked of each model of a study, and the work of a worker that does it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from captum_spes.alignment import Alignment
from captum_spes.corpus import Utterance
from captum_spes.errors import ArgumentError, whole_number
from captum_spes.speech.ambient import ordinary_torch
from captum_spes.speech.methods import Extent
from captum_spes.stability.attributions import Condition, Record, Scores
from captum_spes.stability.loading import load_explained_model
from captum_spes.stability.methods import StudyMethod
from captum_spes.stability.models import ExplainedModel
from captum_spes.stability.units import (
    PATCHES_PER_SECOND,
    UnitPair,
    View,
    is_possible,
    perturbed_masks,
    reported_labels,
    unit_means,
)


@dataclass(frozen=True)
class StudyOptions:
    r"""
    What is explained, and how often.

    Args:

        inputs (sequence of str, optional): "waveform", "spectrogram", "encoder".
                    Default: ("spectrogram",)
        tasks (sequence of str, optional): What to explain of each utterance.
                    Default: None, all that the models tell
        n_runs (int, optional): Mask seeds per model, for methods that sample; two and more tell
                    how far a method agrees with itself.
                    Default: 2
        seed (int, optional): Of all masks. Models and runs have different ones: with the same
                    masks, models would agree on the noise.
                    Default: 0
        device (str, optional): Where models that are given by name or folder run: "cpu", "cuda" or
                    "mps".
                    Default: None, the CPU

    Raises:
        ArgumentError: a number is out of range.

    Examples::

        >>> StudyOptions(n_runs=3).inputs
        ('spectrogram',)
    """

    inputs: Sequence[str] = ("spectrogram",)
    tasks: Sequence[str] | None = None
    n_runs: int = 2
    seed: int = 0
    device: str | None = None

    def __post_init__(self) -> None:
        whole_number("n_runs", self.n_runs, 1)


class Explained(NamedTuple):
    """What one model gave for one utterance.

    Attributes:
        records: its attributions in all conditions.
        right: task to how right the model was.
    """

    records: list[Record]
    right: dict[str, float]


class ExplainModels:
    """Models that explain, one of them at a time in memory.

    Args:
        jobs: what is asked of each.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = {job.name: job for job in jobs}

    def identity(self) -> dict[str, str]:
        """Digests of the models, by their names."""
        return {name: job.weights for name, job in self._jobs.items()}

    def __call__(self, task: tuple[str, Utterance]) -> Explained:
        """Explain an utterance with the model of a name."""
        name, utterance = task
        for other in self._jobs.values():
            if other.name != name:
                other.unload()
        with ordinary_torch(torch.device("cpu")):
            return self._jobs[name].explain(utterance)


@dataclass
class Job:
    """What is asked of one model."""

    name: str
    model: ExplainedModel | str
    alignments: Mapping[str, Alignment]
    methods: Sequence[StudyMethod]
    units: Sequence[UnitPair]
    options: StudyOptions

    @cached_property
    def loaded(self) -> ExplainedModel:
        if not isinstance(self.model, str):
            return self.model
        task = (
            self.options.tasks[0]
            if self.options.tasks is not None and len(self.options.tasks) == 1
            else None
        )
        return load_explained_model(self.model, task, self.options.device)

    @cached_property
    def weights(self) -> str:
        """A digest of the model; empty if it has no folder."""
        if not isinstance(self.model, str) or not Path(self.model).is_dir():
            return ""
        digest = hashlib.blake2b(digest_size=8)
        for file in sorted(Path(self.model).iterdir()):
            # Weights, configurations, vocabularies.
            if file.suffix in (".json", ".safetensors", ".bin", ".model", ".txt"):
                digest.update(file.name.encode("utf-8", "backslashreplace"))
                digest.update(file.read_bytes())
        return digest.hexdigest()

    def check(self, utterances: Sequence[Utterance]) -> None:
        """Raise where the model lacks what is asked for, or a recording cannot be used."""
        for kind, asked, known in (
            ("input", self.options.inputs, self.loaded.inputs),
            ("task", self.options.tasks or (), self.loaded.tasks),
        ):
            unknown = sorted(set(asked) - set(known))
            if unknown:
                raise ArgumentError(
                    f"{self.name} has no {kind} {unknown[0]!r}; it has: {', '.join(known)}."
                )
        for utterance in utterances:
            with _naming(utterance):
                view = self.loaded.view(utterance, self.options.inputs[0])
                self._labels(view, utterance)
                for task in self.options.tasks or self.loaded.tasks:
                    self.loaded.is_right(utterance, task)

    def passes(self, utterance: Utterance) -> int:
        """About how many passes one model needs for one utterance."""
        total = 0
        tasks = self.options.tasks or self.loaded.tasks
        for stage in self.options.inputs:
            view = self.loaded.view(utterance, stage)
            for method in self.methods:
                for perturbed in self._units_of(method, view):
                    masks = self._cut(method, perturbed, view, utterance)
                    count = int(masks[0].max()) + 1 if masks else 0
                    extent = Extent(1, count, view.values.numel(), 0)
                    each = method.entry.passes(method.settings, extent).spectrogram
                    runs = self.options.n_runs if method.is_random else 1
                    total += each * runs * len(tasks)
        return total

    def _cut(
        self, method: StudyMethod, unit: str, view: View, utterance: Utterance
    ) -> list[Tensor]:
        if method.is_gradient:
            return []
        return _masks(method, unit, view, self.alignments.get(utterance.id))

    def explain(self, utterance: Utterance) -> Explained:
        """All of an utterance."""
        with _naming(utterance):
            records = list(self._records(self.loaded, utterance))
            tasks = self.options.tasks or self.loaded.tasks
            return Explained(records, {t: self.loaded.is_right(utterance, t) for t in tasks})

    def unload(self) -> None:
        """Let go of the model; it is loaded again when it is needed."""
        self.__dict__.pop("loaded", None)

    def unused(self) -> Job:
        """The same, without what was loaded or found out of it, to be sent elsewhere."""
        return replace(self)

    def _records(self, model: ExplainedModel, utterance: Utterance) -> Iterator[Record]:
        for stage in self.options.inputs:
            view = model.view(utterance, stage)
            labels = self._labels(view, utterance)
            for method in self.methods:
                for perturbed, reported in self._units_of(method, view).items():
                    masks = self._cut(method, perturbed, view, utterance)
                    for task in self.options.tasks or model.tasks:
                        for run in range(self.options.n_runs if method.is_random else 1):
                            seed = self._mask_seed(utterance.id, run)
                            made = model.attribute(view, utterance, task, method, masks, seed)
                            for unit in reported:
                                condition = Condition(task, stage, str(method), perturbed, unit)
                                scores = unit_means(made.maps, labels[unit]).numpy()
                                _check_finite(scores, condition)
                                yield Record(condition, utterance.id, run, made.passes, scores)

    def _labels(self, view: View, utterance: Utterance) -> dict[str, Tensor]:
        alignment = self.alignments.get(utterance.id)
        units = {pair.reported for pair in self.units if is_possible(pair.reported, view)}
        labels = {unit: reported_labels(unit, view, alignment) for unit in units}
        for unit, of_unit in labels.items():
            if int(of_unit.max()) < 0:
                seconds = len(view.values) / view.frame_rate
                raise ArgumentError(
                    f"no {unit} lies within the {seconds:.2f} s of the recording; are the times "
                    "in seconds?"
                )
        return labels

    def _units_of(self, method: StudyMethod, view: View) -> dict[str, list[str]]:
        """Reported units by what is perturbed."""
        found: dict[str, list[str]] = {}
        for pair in self.units:
            if is_possible(pair.perturbed, view) and is_possible(pair.reported, view):
                reported = found.setdefault("cell" if method.is_gradient else pair.perturbed, [])
                if pair.reported not in reported:
                    reported.append(pair.reported)
        return found

    def _mask_seed(self, utterance: str, run: int) -> int:
        text = f"{self.options.seed} {self.name} {utterance} {run}".encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "big") >> 1


@contextmanager
def _naming(utterance: Utterance) -> Iterator[None]:
    """Say of which recording an error is."""
    try:
        yield
    except ArgumentError as error:
        raise ArgumentError(f"{utterance.id}: {error}") from error


def _check_finite(scores: Scores, condition: Condition) -> None:
    if not np.isfinite(scores).all():
        raise ArgumentError(f"the attributions by {', '.join(condition)} hold NaN or infinity.")


def _masks(method: StudyMethod, unit: str, view: View, alignment: Alignment | None) -> list[Any]:
    sizes = method.patches_per_second or PATCHES_PER_SECOND
    return perturbed_masks(unit, view, alignment, tuple(map(float, sizes)))
