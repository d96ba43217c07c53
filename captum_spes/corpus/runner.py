"""Explanations of a corpus by several processes, written by one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from tqdm.auto import tqdm

from captum_spes.corpus.dataset import is_dataset, saved_dataset, utterances_of
from captum_spes.corpus.manifest import Utterance, read_manifest
from captum_spes.corpus.store import ExplanationStore
from captum_spes.corpus.team import Team
from captum_spes.corpus.worker import Explain, Job, Loader, fixed_batches
from captum_spes.corpus.workers import MakeWork, ThisProcess, Workers, workers_of
from captum_spes.errors import (
    ArgumentError,
    ArgumentTypeError,
    instance_of,
    several,
    shown,
    truth,
    whole_number,
)
from captum_spes.io.audio import audio_seconds
from captum_spes.io.samples import read_ahead
from captum_spes.speech import Settings, named_methods

# A file, its lines, or a datasets.Dataset.
Manifest: TypeAlias = str | os.PathLike[str] | Sequence[Utterance] | Any
# Of explanations that are written in one commit.
_MOST_BYTES = 32_000_000
# Seconds of audio, which no more than one digit of is of interest.
_BAR = (
    "{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total:.1f} s "
    "[{elapsed}<{remaining}, {rate_noinv_fmt}{postfix}]"
)


@dataclass(frozen=True)
class CorpusRun:
    """What a run did.

    Attributes:
        explained: ids that were explained now, in the order in which they were written.
        known: ids that had been explained before.
        failures: why the others could not be, by id.
    """

    explained: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)


def explain_corpus(  # noqa: PLR0913
    manifest: Manifest,
    store: ExplanationStore,
    *,
    model: str | os.PathLike[str] | Loader,
    method: str = "spes",
    settings: Settings | None = None,
    seed: int = 0,
    workers: int | str | Workers = 1,
    device: str | None = None,
    resume: bool = True,
    show_progress: bool = True,
) -> CorpusRun:
    r"""
    Explain all utterances of a corpus, in several processes, into a store.

    Each worker loads the model once; the longest recordings are handed out first. This process
    reads the recordings ahead of their turn and writes each explanation as it comes, so that a run
    that is killed goes on where it was. The seed of an utterance is made of ``seed`` and its id:
    results do not depend on workers, on the order or on how often a run was continued. A worker
    that dies is replaced, and its utterance tried three times. Each worker reads a script anew:
    there the call stands under ``if __name__ == "__main__":``.

    Args:

        manifest (path, sequence of Utterance or datasets.Dataset): A JSONL manifest
                    (:func:`captum_spes.corpus.read_manifest`), or its lines; a dataset of Hugging
                    Face's (:func:`captum_spes.corpus.utterances_of`), or the folder that
                    its ``save_to_disk`` wrote.
        store (ExplanationStore): Where explanations are written, and which other processes cannot
                    write meanwhile.
        model (str, path or Callable): Name on the hub, or a folder; or a function that can be
                    pickled and returns ``(model, processor)``, which may put it on a device.
        method (str, optional): One of ``captum_spes.speech.METHODS``.
                    Default: "spes"
        settings (Settings, optional): ``perturbations_per_eval="auto"`` is 16 here: sizes of
                    batches that are found anew would change the last bits of maps.
                    Default: None, those of the efficient scheme
        seed (int, optional): Default: 0
        workers (int, str or Workers, optional): A number of processes of this machine
                    (:class:`LocalWorkers`); "ray" for Ray on this machine, or the address of a
                    cluster, with as many workers as it has room for (:class:`RayWorkers`). Each has
                    one thread.
                    Default: 1
        device (str, optional): Where models run: "cpu", "cuda", "cuda:1" or "mps". With "cuda" each
                    worker has a GPU of its own, as far as there are any. A function ``model``
                    puts its model there itself.
                    Default: None, the CPU
        resume (bool, optional): Whether to go on with a store that holds explanations.
                    Default: True
        show_progress (bool, optional): Default: True

    Returns:
        *CorpusRun*. What could not be explained is in ``failures``, also those of the store; the
        next run tries it again.

    Raises:
        ArgumentTypeError: an argument has another type.
        ArgumentError: the store was made with other settings, another model or another seed, or
            holds explanations and ``resume`` is False; another process writes it; the model cannot
            be loaded.
        ImportError: h5py is not installed, or pebble, or Ray where it is asked for.

    Examples::

        >>> from pathlib import Path
        >>> utterances = [Utterance("a", Path("speech.flac"), "")]
        >>> with ExplanationStore("corpus.h5") as store:
        ...     run = explain_corpus(
        ...         utterances, store, model="openai/whisper-tiny.en",
        ...         settings=Settings.paper(n_samples=30), show_progress=False,
        ...     )
        >>> run.failures, run.explained
        ({}, ['a'])
    """
    instance_of("store", store, ExplanationStore, "an ExplanationStore")
    utterances = utterances_in(manifest)
    settings = Settings.efficient() if settings is None else settings
    instance_of("settings", settings, Settings, "Settings")
    if isinstance(model, os.PathLike):
        model = os.fspath(model)
    if not isinstance(model, str) and not callable(model):
        raise ArgumentTypeError(
            "model must be a name, a folder or a function that returns (model, processor), got "
            f"{shown(model)}."
        )
    named_methods([method])
    job = Job(model, method, fixed_batches(settings), store.precision, device)
    places = workers_of(workers, device)
    if isinstance(places, ThisProcess):
        places = ThisProcess(one_thread=True)
    seed = whole_number("seed", seed, 0)
    if not truth("resume", resume) and len(store):
        raise ArgumentError(f"the store holds {len(store)} explanations: take another one.")
    store.hold()
    store.check_run(job.described(seed))  # before a model is loaded
    run = CorpusRun(known=[own.id for own in utterances if own.id in store])
    asked = longest_first([own for own in utterances if own.id not in store])
    with team_of(places.at_most(len(asked)), partial(Explain, job)) as team:
        known = team.identity()
        store.bind(job.described(seed, known["digest"]))

        def prepare(utterance: Utterance) -> tuple[str, Any, int]:
            audio = read_ahead(utterance.audio, known["sampling_rate"], known["max_seconds"])
            return utterance.id, audio, seed_of(seed, utterance.id)

        with _Progress(asked, show_progress) as progress:
            writing = _Writing(store, run, progress)
            for id_, found in team.results([(own.id, own) for own, _ in asked], prepare):
                writing.take(id_, found, is_last=not team.has_more())
            writing.flush()
    missing = {id_: why for id_, why in store.failures().items() if id_ not in store}
    store.note_failures({**missing, **run.failures})
    return run


@contextmanager
def team_of(workers: Workers, make: MakeWork) -> Iterator[Team]:
    """Workers that have begun, and are ended."""
    with workers.opened(make) as lanes:
        yield Team(lanes)


def seed_of(seed: int, id_: str) -> int:
    """The seed of one utterance of a corpus."""
    digest = hashlib.sha256(f"{seed} {id_}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:7], "big")


def utterances_in(manifest: Manifest) -> list[Utterance]:
    """The utterances of a manifest, a sequence of them, a dataset, or the folder of one."""
    if isinstance(manifest, str | os.PathLike):
        if not Path(manifest).is_dir():
            return read_manifest(manifest)
        manifest = saved_dataset(Path(manifest))
    if is_dataset(manifest):
        return utterances_of(manifest)
    utterances = several("manifest", manifest, "a path, a dataset or a sequence of Utterance")
    for number, utterance in enumerate(utterances):
        instance_of(f"manifest[{number}]", utterance, Utterance, "an Utterance")
    if len({own.id for own in utterances}) < len(utterances):
        raise ArgumentError("manifest has an id twice.")
    return utterances


def longest_first(utterances: Sequence[Utterance]) -> list[tuple[Utterance, float]]:
    """Utterances with their seconds, so that no worker gets the longest when the others have
    nothing left."""

    def seconds(utterance: Utterance) -> float:
        with suppress(Exception):  # what is wrong with it is told when its turn comes
            return float(audio_seconds(utterance.file) or 0.0)
        return 0.0

    return sorted(((own, seconds(own)) for own in utterances), key=lambda own: -own[1])


class _Writing:
    """Writes explanations as they come: those that wait at the same moment in one commit, which
    takes as long for several as for one."""

    def __init__(self, store: ExplanationStore, run: CorpusRun, progress: _Progress) -> None:
        self._store, self._run, self._progress = store, run, progress
        self._waiting: list[tuple[str, bytes]] = []

    def take(self, id_: str, found: bytes | Exception, *, is_last: bool) -> None:
        """Write an explanation, at the latest with the last of those that wait."""
        if isinstance(found, Exception):
            self._run.failures[id_] = f"{type(found).__name__}: {found}"
            self._progress.update(id_, len(self._run.failures))
        else:
            self._waiting.append((id_, found))
        if is_last or sum(len(image) for _, image in self._waiting) > _MOST_BYTES:
            self.flush()

    def flush(self) -> None:
        if not self._waiting:
            return
        self._store._add_packed(self._waiting)
        for id_, _ in self._waiting:
            self._run.explained.append(id_)
            self._progress.update(id_, len(self._run.failures))
        self._waiting = []


class _Progress:
    """A bar of the seconds of audio that are explained: long recordings come first, and what is
    left would look longer than it is in a bar of recordings."""

    def __init__(self, asked: Sequence[tuple[Utterance, float]], is_shown: bool) -> None:
        self._seconds = {own.id: seconds for own, seconds in asked}
        self._count = 0
        self._bar = tqdm(
            total=sum(self._seconds.values()),
            desc="explain",
            unit=" s of audio",
            bar_format=_BAR,
            disable=not is_shown,
        )

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def update(self, id_: str, n_failed: int) -> None:
        self._count += 1
        done = f"{self._count}/{len(self._seconds)} recordings"
        self._bar.set_postfix_str(f"{done}, {n_failed} failed" if n_failed else done, refresh=False)
        left = self._bar.total - self._bar.n
        is_last = self._count == len(self._seconds)
        self._bar.update(left if is_last else min(left, self._seconds[id_]))
