"""Explain the same utterances with models that differ in their seed, and keep every score."""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from captum_spes.alignment import Alignment
from captum_spes.alignment.intervals import alignments_of
from captum_spes.corpus import Utterance
from captum_spes.errors import (
    ArgumentError,
    ArgumentTypeError,
    optional_library,
    whole_number,
)
from captum_spes.io.files import keep_settings, made_folder
from captum_spes.io.locks import only_process_in
from captum_spes.io.provenance import versions
from captum_spes.speech.ambient import ordinary_torch
from captum_spes.speech.methods import Extent
from captum_spes.stability.attributions import (
    SETTINGS,
    Condition,
    ModelAttributions,
    Record,
    Scores,
    StabilityStudy,
    attributions_files,
)
from captum_spes.stability.loading import load_explained_model
from captum_spes.stability.methods import StudyMethod
from captum_spes.stability.models import ExplainedModel
from captum_spes.stability.units import (
    PATCHES_PER_SECOND,
    UnitPair,
    View,
    is_possible,
    needs_alignment,
    perturbed_masks,
    reported_labels,
    unit_means,
)
from captum_spes.text import visible

# What the command line shows before a long run.
_LOGGER = logging.getLogger(__name__)


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


def run_study(
    models: Mapping[str, ExplainedModel | str],
    utterances: Sequence[Utterance],
    methods: Sequence[StudyMethod],
    units: Sequence[UnitPair],
    folder: str | PathLike[str],
    *,
    alignments: Mapping[str, Alignment] | None = None,
    show_progress: bool = False,
    **options: Any,
) -> StabilityStudy:
    r"""
    Explain every utterance with every model and method, in every unit.

    Args:

        models (mapping): Name to model, or to its name or folder
                    (:func:`load_explained_model`), at least two, of one kind.
        utterances (sequence of Utterance): What to explain.
        methods (sequence of StudyMethod): From :func:`parse_method`.
        units (sequence of UnitPair): From :func:`parse_units`. Those that an input cannot have
                    (patches of a waveform) are left out for it.
        folder (str or path): Made if need be; holds the scores of each model
                    (``attributions/NAME.npz``) and ``settings.json``. What it holds already is
                    not computed again.
        alignments (mapping, optional): Utterance id to the times of its words and phones, for
                    these units. An utterance that lacks them is left out of all conditions, so
                    that all are measured on the same ones.
                    Default: None
        show_progress (bool, optional): Displays a progress bar.
                    Default: False
        **options (Any): Fields of :class:`StudyOptions`: ``inputs``, ``tasks``, ``n_runs``,
                    ``seed``, ``device``.

    Returns:
        *StabilityStudy*.

    Raises:
        ArgumentError: the folder holds a study with other settings, another process works there, no
            utterance has all times
            that the units need, or an argument is out of range.
        ImportError: Lime is asked for, and scikit-learn is not installed.
        OSError: the folder cannot be written.

    Examples::

        >>> study = run_study(
        ...     {"one": "models/seed-0", "other": "models/seed-1"},
        ...     read_manifest("test/manifest.jsonl"),
        ...     [parse_method("saliency"), parse_method("spes@100")],
        ...     [parse_units("20ms")],
        ...     "seeds",
        ... )
    """
    asked = _options(options)
    if len(models) < 2:
        raise ArgumentError(
            f"a study needs two models that differ in their seed, got {len(models)}."
        )
    _check_each_once("method", methods)
    _check_each_once("unit", units)
    _check_each_once("utterance", [utterance.id for utterance in utterances])
    known = alignments_of([utterance.id for utterance in utterances], alignments or {})
    explained = [u for u in utterances if _has_times(known.get(u.id), units)]
    if not explained:
        raise ArgumentError(
            f"none of {len(utterances)} utterances has the times that the units "
            f"{', '.join(map(str, units))} need."
        )
    settings = {
        "methods": [str(method) for method in methods],
        "units": [str(pair) for pair in units],
        "inputs": list(asked.inputs),
        "tasks": None if asked.tasks is None else list(asked.tasks),
        "utterances": [u.id for u in explained],
        "left_out": [u.id for u in utterances if not _has_times(known.get(u.id), units)],
        "n_runs": asked.n_runs,
        "seed": asked.seed,
        "data": _digest_of_data(explained, known),
        "version": versions().get("captum-spes"),
    }
    jobs = [_Job(name, model, known, methods, units, asked) for name, model in models.items()]
    if any(method.name == "lime" for method in methods):
        optional_library("sklearn", "Lime", "surrogate")
    # Before anything is written: a bad recording or option would spoil the folder and the night.
    with ordinary_torch(torch.device("cpu")):
        _check_models(jobs)
        jobs[0].check(explained)
    target = made_folder(folder)
    with only_process_in(target), ordinary_torch(torch.device("cpu")):
        keep_settings(target / SETTINGS, settings, "a study")
        _run_jobs(jobs, explained, attributions_files(target, models), show_progress)
    return StabilityStudy.load(target, list(models))


def _run_jobs(
    jobs: Sequence[_Job],
    explained: Sequence[Utterance],
    files: Mapping[str, Path],
    show_progress: bool,
) -> None:
    made_folder(files[jobs[0].name].parent)
    passes = jobs[0].passes(explained[0])
    _LOGGER.info(
        f"{len(explained)} recordings by {len(jobs)} models, each about {passes:,} passes; "
        f"{passes * len(explained) * len(jobs):,} in all"
    )
    total = len(jobs) * len(explained)
    with tqdm(total=total, unit="utterance", disable=not show_progress) as bar:
        for job in jobs:
            bar.set_description(visible(job.name))
            job.run(explained, files[job.name], bar)


def _options(options: Mapping[str, Any]) -> StudyOptions:
    known = [f.name for f in fields(StudyOptions)]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise ArgumentTypeError(f"run_study takes no {unknown[0]!r}; options: {', '.join(known)}.")
    return StudyOptions(**options)


def _check_each_once(kind: str, names: Sequence[Any]) -> None:
    texts = [str(name) for name in names]
    twice = [text for text in texts if texts.count(text) > 1]
    if twice or not texts:
        raise ArgumentError(
            f"give every {kind} once, and at least one; "
            + (f"{twice[0]!r} is there twice." if twice else "there is none.")
        )


def _digest_of_data(utterances: Sequence[Utterance], alignments: Mapping[str, Alignment]) -> str:
    """Recordings, their labels and times, so that a change is noticed."""
    digest = hashlib.blake2b(digest_size=8)
    for utterance in utterances:
        digest.update(utterance.recording_digest().encode())
        known = [utterance.text, sorted(utterance.labels.items()), alignments.get(utterance.id)]
        digest.update(repr(known).encode())
    return digest.hexdigest()


def _check_models(jobs: Sequence[_Job]) -> None:
    """Raise where models are not of one kind, or one is there twice."""
    digests: dict[str, str] = {}
    for job in jobs:
        job.check(())
        if job.loaded.tasks != jobs[0].loaded.tasks:
            raise ArgumentError(
                f"{jobs[0].name} tells {', '.join(jobs[0].loaded.tasks)} and {job.name} "
                f"{', '.join(job.loaded.tasks)}: models must be of one kind and differ in their "
                "seed alone."
            )
        if job.weights and job.weights in digests:
            raise ArgumentError(f"{digests[job.weights]} and {job.name} are the same model.")
        digests[job.weights] = job.name
        if job is not jobs[0]:
            del job.loaded  # one model at a time in memory


def _has_times(alignment: Alignment | None, units: Sequence[UnitPair]) -> bool:
    needed = {unit for pair in units for unit in pair if needs_alignment(unit)}
    return all(alignment is not None and getattr(alignment, f"{unit}s") for unit in needed)


@dataclass
class _Job:
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

    def run(self, utterances: Sequence[Utterance], path: Path, bar: Any) -> None:
        """Explain what the file does not hold; what was explained is saved, also after an error."""
        done = ModelAttributions.load(path) if path.exists() else ModelAttributions()
        if done.records and done.weights != self.weights:
            raise ArgumentError(
                f"{path} holds attributions of another model of the name {self.name!r}: give "
                "another folder, or remove the file."
            )
        done.weights, done.model = self.weights, self.name
        missing = [u for u in utterances if u.id not in done.utterances]
        bar.update(len(utterances) - len(missing))
        if not missing:
            return
        self.check(())
        saving = _Saving(done, path)
        try:
            for utterance in missing:
                with _naming(utterance):
                    self._explain(utterance, done)
                saving.now_and_then()
                bar.update()
        finally:
            saving.now()
            del self.loaded  # one model at a time in memory

    def _explain(self, utterance: Utterance, done: ModelAttributions) -> None:
        """All of an utterance or nothing."""
        records = list(self._records(self.loaded, utterance))
        for task in self.options.tasks or self.loaded.tasks:
            right = self.loaded.is_right(utterance, task)
            done.right.setdefault(task, {})[utterance.id] = right
        done.records += records

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


class _Saving:
    """Saves a file that grows with every utterance, at a twentieth of the time at most."""

    def __init__(self, attributions: ModelAttributions, path: Path) -> None:
        self._attributions, self._path = attributions, path
        self._seconds, self._last = 0.0, -math.inf

    def now(self) -> None:
        start = time.monotonic()
        self._attributions.save(self._path)
        self._last = time.monotonic()
        self._seconds = self._last - start

    def now_and_then(self) -> None:
        if time.monotonic() - self._last >= 20 * self._seconds:
            self.now()


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
