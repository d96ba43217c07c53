"""Explain the same utterances with models that differ in their seed, and keep every score."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import partial
from os import PathLike
from typing import Any

import torch
from tqdm.auto import tqdm

from captum_spes.alignment import Alignment
from captum_spes.alignment.intervals import alignments_of
from captum_spes.corpus import ThisProcess, Utterance, Workers
from captum_spes.corpus.runner import team_of
from captum_spes.corpus.team import Team, WorkerDiedError
from captum_spes.corpus.workers import workers_of
from captum_spes.errors import ArgumentError, ArgumentTypeError, optional_library
from captum_spes.io.files import keep_settings, made_folder
from captum_spes.io.locks import only_process_in
from captum_spes.io.provenance import versions
from captum_spes.speech.ambient import ordinary_torch
from captum_spes.stability.attributions import SETTINGS, StabilityStudy, attributions_files
from captum_spes.stability.files import StudyFiles
from captum_spes.stability.jobs import ExplainModels, Job, StudyOptions
from captum_spes.stability.methods import StudyMethod
from captum_spes.stability.models import ExplainedModel
from captum_spes.stability.units import UnitPair, needs_alignment
from captum_spes.text import visible

# What the command line shows before a long run.
_LOGGER = logging.getLogger(__name__)


def run_study(
    models: Mapping[str, ExplainedModel | str],
    utterances: Sequence[Utterance],
    methods: Sequence[StudyMethod],
    units: Sequence[UnitPair],
    folder: str | PathLike[str],
    *,
    alignments: Mapping[str, Alignment] | None = None,
    workers: int | str | Workers | None = None,
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
        workers (int, str or Workers, optional): A number of processes, "ray" or the address of a
                    cluster, as for :func:`captum_spes.corpus.explain_corpus`. Each of them loads
                    the models, one at a time, and reads the recordings, so that models must be
                    given by names or folders, and on a cluster all have the same absolute paths.
                    The scores are the same.
                    Default: None, this process does the work
        show_progress (bool, optional): Displays a progress bar.
                    Default: False
        **options (Any): Fields of :class:`StudyOptions`: ``inputs``, ``tasks``, ``n_runs``,
                    ``seed``, ``device``.

    Returns:
        *StabilityStudy*.

    Raises:
        ArgumentError: the folder holds a study with other settings, another process works there, no
            utterance has all times that the units need, an argument is out of range, or workers
            elsewhere cannot be given a model, or died of an utterance three times.
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
    places = ThisProcess() if workers is None else workers_of(workers, asked.device)
    _check_can_be_loaded(models, places)
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
    jobs = [Job(name, model, known, methods, units, asked) for name, model in models.items()]
    if any(method.name == "lime" for method in methods):
        optional_library("sklearn", "Lime", "surrogate")
    # Before anything is written: a bad recording or option would spoil the folder and the night.
    with ordinary_torch(torch.device("cpu")):
        _check_models(jobs)
        jobs[0].check(explained)
    target = made_folder(folder)
    with only_process_in(target), ordinary_torch(torch.device("cpu")):
        keep_settings(target / SETTINGS, settings, "a study")
        paths = attributions_files(target, models)
        made_folder(paths[jobs[0].name].parent)
        weights = {job.name: job.weights for job in jobs}
        with StudyFiles(paths, weights, [u.id for u in explained]) as files:
            _run_jobs(jobs, explained, files, places, show_progress)
    return StabilityStudy.load(target, list(models))


def _run_jobs(
    jobs: Sequence[Job],
    explained: Sequence[Utterance],
    files: StudyFiles,
    places: Workers,
    show_progress: bool,
) -> None:
    """Let workers explain what is missing, one model after another."""
    passes = jobs[0].passes(explained[0])
    _LOGGER.info(
        f"{len(explained)} recordings by {len(jobs)} models, each about {passes:,} passes; "
        f"{passes * len(explained) * len(jobs):,} in all"
    )
    by_id = {utterance.id: utterance for utterance in explained}
    tasks = [(job.name, by_id[id_]) for job in jobs for id_ in files.missing(job.name)]
    total = len(jobs) * len(explained)
    with tqdm(total=total, unit="utterance", disable=not show_progress) as bar:
        bar.update(total - len(tasks))
        if not tasks:
            return
        own = jobs
        if not isinstance(places, ThisProcess):
            jobs[0].unload()  # whoever works has models of its own
            own = [job.unused() for job in jobs]
        with team_of(places, partial(ExplainModels, own)) as team:
            _check_models_of(team, jobs)
            _run_tasks(team, tasks, files, bar)


def _run_tasks(
    team: Team, tasks: Sequence[tuple[str, Utterance]], files: StudyFiles, bar: Any
) -> None:
    for key, found in team.results((str(n), task) for n, task in enumerate(tasks)):
        name, utterance = tasks[int(key)]
        bar.set_description(visible(name))
        if isinstance(found, WorkerDiedError):
            raise ArgumentError(
                f"{utterance.id} by {name}: {found}. What was explained is saved."
            ) from found
        if isinstance(found, Exception):
            raise found
        files.add(name, utterance.id, found)
        bar.update()


def _check_models_of(team: Team, jobs: Sequence[Job]) -> None:
    """Raise where workers find other models in the folders than this process did."""
    found = team.identity()
    other = [job.name for job in jobs if found[job.name] != job.weights]
    if other:
        raise ArgumentError(
            f"workers have another model {other[0]}, or none, where this process has its own: let "
            "all of them read the same folders."
        )


def _check_can_be_loaded(models: Mapping[str, ExplainedModel | str], places: Workers) -> None:
    here = [name for name, model in models.items() if not isinstance(model, str)]
    if here and not isinstance(places, ThisProcess):
        raise ArgumentError(
            f"workers cannot be sent the model {here[0]}: give its name or folder, or leave "
            "workers out."
        )


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


def _check_models(jobs: Sequence[Job]) -> None:
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
            job.unload()  # one model at a time in memory


def _has_times(alignment: Alignment | None, units: Sequence[UnitPair]) -> bool:
    needed = {unit for pair in units for unit in pair if needs_alignment(unit)}
    return all(alignment is not None and getattr(alignment, f"{unit}s") for unit in needed)
