"""Explanations that are measured: a folder of stores, one for each method."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from captum_spes.corpus.manifest import Utterance
from captum_spes.corpus.store import ExplanationStore
from captum_spes.corpus.worker import described_run
from captum_spes.errors import ArgumentError
from captum_spes.evaluation.measuring import Stored
from captum_spes.io.files import made_folder
from captum_spes.io.names import file_name
from captum_spes.io.samples import origin_of
from captum_spes.speech import Settings, SpeechToTextAttributionResult


class KeptExplanations:
    """The stores of a folder, as ``captum-spes corpus`` writes each of them.

    Args:
        folder: where they are; None where nothing is kept.
        settings: methods, by the name under which their maps are made, to what they run with.
        seed: that the seeds of utterances are made of.
    """

    def __init__(self, folder: Path | None, settings: Mapping[str, Settings], seed: int) -> None:
        self._folder, self._settings, self._seed = folder, settings, seed
        self._open = ExitStack()
        self._stores: dict[str, ExplanationStore] = {}
        self._failures: dict[str, dict[str, str]] = {}

    def __enter__(self) -> KeptExplanations:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def are_kept(self) -> bool:
        """Whether explanations that are made are wanted."""
        return self._folder is not None

    def check(self) -> None:
        """Raise where a store is of other settings, as far as they are known without the model."""
        for name in self._settings if self._folder is not None else ():
            if self._path(name).exists():
                store = self._store(name)
                store.hold()
                store.check_run(self._described(name))

    def bind(self, digest: str) -> None:
        """Begin to write; raises where a store is of other settings or of another model.

        Args:
            digest: of the model.
        """
        if self._folder is None:
            return
        made_folder(self._folder)
        for name in self._settings:
            self._store(name).bind(self._described(name, digest))

    def read(self, name: str, id_: str) -> SpeechToTextAttributionResult | None:
        """The explanation of an utterance; None where there is none.

        Raises:
            ArgumentError: it is damaged.
        """
        store = self._stores.get(name)
        if store is None or id_ not in store:
            return None
        try:
            return store[id_]
        except ArgumentError as error:
            raise ArgumentError(
                f"the explanation that {self._path(name)} has of {id_!r} cannot be read: {error}"
            ) from error

    def add(self, name: str, id_: str, stored: Stored) -> None:
        """Keep an explanation that was made."""
        self._stores[name]._add_stored(id_, *stored)

    def add_failure(self, name: str, id_: str, error: str) -> None:
        """Keep why an utterance could not be explained."""
        self._failures.setdefault(name, {})[id_] = error

    def note_failures(self) -> None:
        """Write what could not be explained, and leave out what is explained now."""
        for name, store in self._stores.items():
            before = {id_: why for id_, why in store.failures().items() if id_ not in store}
            new = self._failures.get(name, {})
            store.note_failures({**before, **{i: new[i] for i in new if i not in store}})

    def _store(self, name: str) -> ExplanationStore:
        if name not in self._stores:
            self._stores[name] = self._open.enter_context(ExplanationStore(self._path(name)))
        return self._stores[name]

    def _path(self, name: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{file_name(name)}.h5"

    def _described(self, name: str, digest: str | None = None) -> dict[str, Any]:
        return described_run(name, self._settings[name], self._seed, digest)


def check_recording(
    audio: Any, utterance: Utterance, result: SpeechToTextAttributionResult
) -> None:
    """Raise where an explanation is of another recording than the one that it would be measured
    on, wherever the file was then.

    Args:
        audio: the recording, read ahead.
        utterance: whose it is.
        result: the explanation that a store has of it.
    """
    now, then = origin_of(audio), result.parameters.get("audio")
    if now is None or not isinstance(then, Mapping):
        return
    if _without_path(now) != _without_path(then):
        raise ArgumentError(
            f"the explanation of {utterance.id!r} that is stored is of another recording, or of "
            "this one before it changed: give another folder of explanations."
        )


def _without_path(origin: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in origin.items() if name != "path"}
