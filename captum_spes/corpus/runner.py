"""Explanations of a corpus by several processes, written by one."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from captum_spes.attr.loop import AUTO
from captum_spes.corpus.manifest import Utterance, read_manifest
from captum_spes.corpus.store import ExplanationStore
from captum_spes.corpus.worker import Job, begin, describe, explain, identity
from captum_spes.errors import ArgumentError, instance_of, optional_library, truth, whole_number
from captum_spes.io.audio import audio_seconds
from captum_spes.speech import Settings, named_methods

Loader = Callable[[], tuple[Any, Any]]
# An utterance whose worker died is tried so often.
_TRIES = 3
# In the place of "auto": a batch size that is found anew changes the last bits of maps.
_BATCH = 16
# Utterances that wait at each worker: it never stands still, and few are in memory.
_WAITING = 2


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
    manifest: str | os.PathLike[str] | Sequence[Utterance],
    store: ExplanationStore,
    *,
    model: str | Loader,
    method: str = "spes",
    settings: Settings | None = None,
    seed: int = 0,
    workers: int = 1,
    resume: bool = True,
    show_progress: bool = True,
) -> CorpusRun:
    r"""
    Explain all utterances of a corpus, in several processes, into a store.

    Each worker loads the model once; the longest recordings are handed out first. This process
    writes each explanation as it comes, so that a run that is killed goes on where it was. The seed
    of an utterance is made of ``seed`` and its id: results do not depend on workers, on the order
    or on how often a run was continued.

    Args:

        manifest (path or sequence of Utterance): A JSONL manifest
                    (:func:`captum_spes.corpus.read_manifest`), or its lines.
        store (ExplanationStore): Where explanations are written, and which other processes cannot
                    write meanwhile.
        model (str or Callable): Name on the hub, or a folder; or a function that can be pickled
                    and returns ``(model, processor)``, which may put it on a device.
        method (str, optional): One of ``captum_spes.speech.METHODS``.
                    Default: "spes"
        settings (Settings, optional): ``perturbations_per_eval="auto"`` is 16 here: sizes of
                    batches that are found anew would change the last bits of maps.
                    Default: None, those of the efficient scheme
        seed (int, optional): Default: 0
        workers (int, optional): Processes, each of which computes with one thread: with several,
                    sums would be added up in another order, which changes the last bits of maps.
                    Default: 1
        resume (bool, optional): Whether to go on with a store that holds explanations.
                    Default: True
        show_progress (bool, optional): Default: True

    Returns:
        *CorpusRun*. What could not be explained is in ``failures``, also those of the store; the
        next run tries it again.

    Raises:
        ArgumentError: the store was made with other settings, another model or another seed, or
            holds explanations and ``resume`` is False; another process writes it; the model cannot
            be loaded.
        ImportError: h5py or pebble is not installed.

    Examples::

        >>> from pathlib import Path
        >>> utterances = [Utterance("a", Path("speech.flac"), "")]
        >>> with ExplanationStore("corpus.h5") as store:
        ...     run = explain_corpus(
        ...         utterances, store, model="openai/whisper-tiny.en",
        ...         settings=Settings.efficient(n_samples=30), show_progress=False,
        ...     )
        >>> run.failures, run.explained
        ({}, ['a'])
    """
    instance_of("store", store, ExplanationStore, "an ExplanationStore")
    utterances = _utterances(manifest)
    settings = Settings.efficient() if settings is None else settings
    instance_of("settings", settings, Settings, "Settings")
    if settings.perturbations_per_eval == AUTO:
        settings = settings.replace(perturbations_per_eval=_BATCH)
    named_methods([method])
    job = Job(model, method, settings)
    workers, seed = whole_number("workers", workers, 1), whole_number("seed", seed, 0)
    if not truth("resume", resume) and len(store):
        raise ArgumentError(f"the store holds {len(store)} explanations: take another one.")
    described = {**describe(job), "seed": seed}
    store.hold()
    store.check_run(described)  # before a model is loaded
    with _Pool(job, workers) as pool:
        store.bind({**described, "model": pool.identity()})
        run = CorpusRun(known=[own.id for own in utterances if own.id in store])
        asked = _longest_first([own for own in utterances if own.id not in store])
        progress = tqdm(total=len(asked), desc="explanations", disable=not show_progress)
        with progress:
            for id_, found in pool.explained([(own.id, own.audio) for own in asked], seed):
                if isinstance(found, Exception):
                    run.failures[id_] = f"{type(found).__name__}: {found}"
                else:
                    store._add_stored(id_, *found)
                    run.explained.append(id_)
                progress.update()
    store.note_failures(run.failures)
    return run


def seed_of(seed: int, id_: str) -> int:
    """The seed of one utterance of a corpus."""
    digest = hashlib.sha256(f"{seed} {id_}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:7], "big")


def _utterances(manifest: str | os.PathLike[str] | Sequence[Utterance]) -> list[Utterance]:
    if isinstance(manifest, str | os.PathLike):
        return read_manifest(manifest)
    utterances = list(manifest)
    for number, utterance in enumerate(utterances):
        instance_of(f"manifest[{number}]", utterance, Utterance, "an Utterance")
    if len({own.id for own in utterances}) < len(utterances):
        raise ArgumentError("manifest has an id twice.")
    return utterances


def _longest_first(utterances: list[Utterance]) -> list[Utterance]:
    """So that no worker gets the longest when the others have nothing left."""

    def seconds(utterance: Utterance) -> float:
        with suppress(Exception):  # what is wrong with it is told when its turn comes
            return float(audio_seconds(utterance.audio) or 0.0)
        return 0.0

    return sorted(utterances, key=seconds, reverse=True)


class _Pool:
    """Processes that each hold the model."""

    def __init__(self, job: Job, workers: int) -> None:
        pebble = optional_library("pebble", "explaining a corpus", "store")
        self._expired = pebble.ProcessExpired
        self._workers = workers
        # No thread or lock of this process goes over into the others.
        context = multiprocessing.get_context("spawn")
        self._pool = pebble.ProcessPool(
            max_workers=workers, context=context, initializer=begin, initargs=(job,)
        )

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._pool.close()
        else:
            self._pool.stop()
        self._pool.join()

    def identity(self) -> Mapping[str, Any]:
        """What a worker says of its model."""
        try:
            found: Mapping[str, Any] = self._pool.schedule(identity).result()
        except self._expired as error:
            raise ArgumentError(f"the model cannot be loaded: {error}") from error
        return found

    def explained(
        self, utterances: Sequence[tuple[str, Any]], seed: int
    ) -> Iterator[tuple[str, Any]]:
        """Ids with what was found, or with what went wrong, as they come."""
        from concurrent.futures import FIRST_COMPLETED, wait

        left = list(reversed([(id_, audio, 1) for id_, audio in utterances]))
        waiting: dict[Any, tuple[str, Any, int]] = {}
        while left or waiting:
            while left and len(waiting) < _WAITING * self._workers:
                own = left.pop()
                future = self._pool.schedule(explain, args=[own[1], seed_of(seed, own[0])])
                waiting[future] = own
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                id_, audio, tries = waiting.pop(future)
                try:
                    yield id_, future.result()
                except self._expired as error:
                    if tries < _TRIES:
                        left.append((id_, audio, tries + 1))
                    else:
                        yield id_, RuntimeError(f"its worker died {tries} times ({error})")
                except Exception as error:
                    yield id_, error
