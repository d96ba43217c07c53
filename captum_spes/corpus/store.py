"""Many explanations in one file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, from_numpy

from captum_spes.corpus import store_layout as layout
from captum_spes.errors import (
    ArgumentError,
    instance_of,
    optional_library,
    shown,
    warn_caller,
    whole_number,
)
from captum_spes.io.locks import only_writer_of
from captum_spes.io.snapshots import Snapshots
from captum_spes.io.transactions import ChangedFile, recover
from captum_spes.speech import SpeechToTextAttributionResult

T = TypeVar("T")


class ExplanationStore:
    r"""
    Explanations in one HDF5 file, by id.

    Every explanation is there as a whole or not at all: what :meth:`add` has returned from is in
    the file, whenever the process is killed. One process writes, others read meanwhile. Maps are
    in chunks of one token, compressed and with checksums.

    Args:

        path (str or path): The file, by habit ending in ``.h5``; it is made when something is
                    added.
        precision (str, optional): Of the maps of a new file: "float32", exact; or "float16", half
                    as large, in which a value is off by at most 1/2048 of itself, or
                    6e-8 of the largest of its token. All else is exact.
                    Default: "float32"

    Raises:
        ArgumentError: the file is no store, or ``precision`` is neither.
        ImportError: h5py is not installed.
        OSError: the file cannot be read.

    Examples::

        >>> with ExplanationStore("maps.h5") as store:
        ...     store.add("speech", result)
        ...     again = store["speech"]
        >>> bool((again.spectrogram_attr == result.spectrogram_attr).all())
        True
    """

    def __init__(self, path: str | os.PathLike[str], *, precision: str = "float32") -> None:
        instance_of("path", path, (str, os.PathLike), "a path")
        if precision not in layout.PRECISIONS:
            raise ArgumentError(
                f"precision must be 'float32' or 'float16', got {shown(precision)}."
            )
        self._h5py = optional_library("h5py", "a store of explanations", "store")
        # A lock beside a link would be another one than that beside the file.
        self._path = Path(os.path.realpath(path) if os.path.islink(path) else path)
        self._precision = precision
        if self._path.exists() and not self._path.is_file():
            raise ArgumentError(f"a store is a file, and {self._path} is something else.")
        self._lock: Any = None
        self._snapshots = Snapshots(self._path, self._h5py)
        self._numbers: dict[str, int] = {}
        self._known: object = None
        self._refresh()

    def __enter__(self) -> ExplanationStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"ExplanationStore({str(self._path)!r}, {len(self)} explanations)"

    def close(self) -> None:
        """Let other processes write. The store can go on being used."""
        self._snapshots.close()
        if self._lock is not None:
            self._lock.__exit__(None, None, None)
            self._lock = None

    # Reading ---------------------------------------------------------------------------

    def ids(self) -> list[str]:
        """The ids in the order in which they were added."""
        self._refresh()
        return list(self._numbers)

    def __len__(self) -> int:
        return len(self.ids())

    def __contains__(self, id_: object) -> bool:
        self._refresh()
        return id_ in self._numbers

    @property
    def precision(self) -> str:
        """Of the maps: that of the file, or what a new one will have."""
        if self._snapshots.state() is None:
            return self._precision
        return str(self._snapshots.read(layout.precision_of))

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids())

    def items(self) -> Iterator[tuple[str, SpeechToTextAttributionResult]]:
        """Ids and explanations, read one by one."""
        for id_ in self.ids():
            yield id_, self[id_]

    def __getitem__(self, id_: str) -> SpeechToTextAttributionResult:
        return self._read(id_, SpeechToTextAttributionResult._from_source)

    def token_map(self, id_: str, token: int) -> Tensor:
        r"""
        Read the map of one token and nothing else.

        Args:

            id_ (str): Of the explanation.
            token (int): A row of ``spectrogram_attr``, from 0.

        Returns:
            *Tensor* ``(time, freq)``, as in ``spectrogram_attr``.

        Raises:
            KeyError: there is no such explanation.
            ArgumentError: there is no such token, or the explanation is damaged.

        Examples::

            >>> with ExplanationStore("maps.h5") as store:
            ...     store.add("speech", result)
            ...     store.token_map("speech", 0).shape == result.spectrogram.shape
            True
        """
        whole_number("token", token, 0)

        def read(stored: layout.StoredExplanation) -> Tensor:
            if token >= stored.n_tokens:
                raise ArgumentError(
                    f"token must be below {stored.n_tokens}, the tokens of {id_!r}; got {token}."
                )
            return from_numpy(stored.map_of(token))

        return self._read(id_, read)

    def verify(self) -> dict[str, str]:
        r"""
        Compare everything with its checksum.

        Returns:
            *dict*: what is wrong with each explanation that is damaged, by id; empty where all is
            as it was written.

        Examples::

            >>> with ExplanationStore("maps.h5") as store:
            ...     store.add("speech", result)
            ...     store.verify()
            {}
        """
        damaged = {}
        for id_ in self.ids():
            try:
                if not self._read(id_, layout.StoredExplanation.is_intact):
                    damaged[id_] = "its checksum is another one"
            except ArgumentError as error:
                damaged[id_] = str(error)
        return damaged

    def _read(self, id_: str, read: Callable[[layout.StoredExplanation], T]) -> T:
        self._refresh()
        if id_ not in self._numbers:
            raise KeyError(id_)
        number = self._numbers[id_]

        def from_file(file: Any) -> T:
            return read(layout.StoredExplanation(layout.group_of(file, number)))

        try:
            return self._snapshots.read(from_file)
        except ArgumentError:
            raise
        except Exception as error:  # damaged files raise whatever HDF5 makes of them
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ArgumentError(f"{id_!r} is damaged in {self._path}: {reason}") from error

    def _refresh(self) -> None:
        """Know the ids of what another process has added meanwhile."""
        state = self._snapshots.state()
        if state == self._known:
            return
        self._numbers = {} if state is None else self._snapshots.read(self._ids_of)
        self._known = state

    def _ids_of(self, file: Any) -> dict[str, int]:
        try:
            layout.check_format(file)
        except ArgumentError as error:
            raise ArgumentError(f"{self._path} is no store of explanations: {error}") from error
        try:
            ids = layout.read_index(file)
        except Exception:  # damaged; the groups know their own ids
            warn_caller(f"the index of {self._path} is damaged: the ids are read one by one.")
            return {id_: number for number, id_ in layout.scanned_ids(file)}
        return {id_: number for number, id_ in enumerate(ids)}

    # Writing ---------------------------------------------------------------------------

    def add(self, id_: str, result: SpeechToTextAttributionResult) -> None:
        r"""
        Add an explanation. When this returns it is on the disk.

        Args:

            id_ (str): A name of your own, which no other explanation has.
            result (SpeechToTextAttributionResult): The explanation.

        Raises:
            ArgumentError: there is one of this id, another process writes, which is named, or the
                file is cut off.
            OSError: it cannot be written, as where the disk is full; the file is as it was.

        Examples::

            >>> with ExplanationStore("maps.h5") as store:
            ...     store.add("speech", result)
            ...     "speech" in store
            True
        """
        instance_of("result", result, SpeechToTextAttributionResult, "an explanation")
        instance_of("id_", id_, str, "a text")
        self._add_stored(id_, *result._stored())

    def _add_stored(self, id_: str, arrays: Mapping[str, NDArray[Any]], text: str) -> None:
        self._add_packed([(id_, layout.packed(self._h5py, id_, arrays, text, self.precision))])

    def _add_packed(self, explanations: Sequence[tuple[str, bytes]]) -> None:
        """Add what was packed by whoever explained it, all or nothing."""
        self.hold()
        self._refresh()
        for id_, _ in explanations:
            if id_ in self._numbers:
                raise ArgumentError(f"{self._path} has an explanation {id_!r} already.")
        first = len(self._numbers)
        self._change(lambda file: layout.append(self._h5py, file, first, explanations))
        # Nobody else writes: to read all ids again would take longer with each explanation.
        self._numbers.update((id_, first + n) for n, (id_, _) in enumerate(explanations))
        self._known = self._snapshots.state()

    def merge(self, paths: Iterable[str | os.PathLike[str]]) -> None:
        r"""
        Add all explanations of other stores, in their order.

        Args:

            paths (iterable of path): Of the stores. Of an id that is there already nothing is
                        added where the explanation is the same.

        Raises:
            ArgumentError: an id is there with another explanation; what stands before it is added.

        Examples::

            >>> with ExplanationStore("others.h5") as others:
            ...     others.add("speech", result)
            >>> with ExplanationStore("all.h5") as store:
            ...     store.merge(["others.h5"])
            ...     list(store)
            ['speech']
        """
        for path in paths:
            with ExplanationStore(path) as other:
                if not other._path.exists():
                    raise FileNotFoundError(f"no such store: {path}")
                for id_, result in other.items():
                    if id_ not in self:
                        self.add(id_, result)
                    elif not _are_equal(self[id_], result):
                        raise ArgumentError(
                            f"{self._path} and {path} have different explanations {id_!r}."
                        )

    def bind(self, run: Mapping[str, Any]) -> None:
        r"""
        Say what makes the explanations, so that none of other settings get among them.

        Args:

            run (dict): In JSON's types: settings, model, seed.

        Raises:
            ArgumentError: another process writes, or the store is of another run; the message names
                what differs.

        Examples::

            >>> with ExplanationStore("maps.h5") as store:
            ...     store.bind({"samples": 500})
        """
        self.hold()
        self.check_run(run)
        wanted = json.loads(json.dumps(dict(run)))
        if self._run() != wanted:
            self._change(lambda file: layout.set_text(file, "run", wanted))

    def check_run(self, run: Mapping[str, Any]) -> None:
        """Raise where the store is of another run than :meth:`bind` would be told, as far as that
        is known.

        Args:
            run: as for :meth:`bind`, or a part of it.

        Raises:
            ArgumentError: something differs, or explanations were added without any run.
        """
        wanted, known = json.loads(json.dumps(dict(run))), self._run()
        if known is None and len(self):
            raise ArgumentError(
                f"{self._path} holds explanations that were added one by one: take another store."
            )
        if known is not None:
            differing = _difference({name: known.get(name) for name in wanted}, wanted)
            if differing:
                raise ArgumentError(
                    f"{self._path} was made with other settings: {differing}. Take another store, "
                    "or the same settings."
                )

    def _run(self) -> dict[str, Any] | None:
        if self._snapshots.state() is None:
            return None
        found: dict[str, Any] | None = self._snapshots.read(
            lambda file: layout.text_of(file, "run")
        )
        return found

    def failures(self) -> dict[str, str]:
        """What could not be explained, and why, by id."""
        if self._snapshots.state() is None:
            return {}
        found = self._snapshots.read(lambda file: layout.text_of(file, "failures"))
        return found or {}

    def note_failures(self, failures: Mapping[str, str]) -> None:
        """Keep what could not be explained in the place of what was kept before."""
        self.hold()
        if dict(failures) != self.failures():
            self._change(lambda file: layout.set_text(file, "failures", dict(failures)))

    def hold(self) -> None:
        r"""
        Keep other processes from writing until :meth:`close`; whatever writes does so, too.

        Raises:
            ArgumentError: another process writes, which is named, or the file is cut off.

        Examples::

            >>> with ExplanationStore("maps.h5") as store:
            ...     store.hold()
        """
        if self._lock is not None:
            return
        if not self._path.parent.is_dir():  # the lock would make it
            raise FileNotFoundError(f"no such folder to write into: {self._path.parent}")
        lock = only_writer_of(self._path)
        lock.__enter__()
        try:
            recover(self._path)
            if self._snapshots.is_cut():
                raise ArgumentError(
                    f"{self._path} is cut off: it can be read, and merged into a new store, but "
                    "nothing can be added."
                )
        except BaseException:
            lock.__exit__(None, None, None)
            raise
        self._lock = lock

    def _change(self, change: Callable[[Any], None]) -> None:
        changed = ChangedFile(self._path)
        try:
            is_new = changed.seek(0, os.SEEK_END) == 0
            mode = "w" if is_new else "r+"
            with self._h5py.File(changed, mode, libver="latest") as file:
                if is_new:
                    layout.begin(file, self._precision)
                change(file)
            changed.commit()
        finally:
            changed.close()


def _difference(known: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """The values that differ, the innermost names alone."""
    parts = []
    for name in sorted({*known, *wanted}):
        old, new = known.get(name), wanted.get(name)
        if isinstance(old, dict) and isinstance(new, dict) and old != new:
            parts.append(_difference(old, new))
        elif old != new:
            parts.append(f"{name} {shown(old)}, now {shown(new)}")
    return ", ".join(parts)


def _are_equal(one: SpeechToTextAttributionResult, other: SpeechToTextAttributionResult) -> bool:
    arrays, text = one._stored()
    others, other_text = other._stored()
    return (
        text == other_text
        and arrays.keys() == others.keys()
        and all(np.array_equal(arrays[name], others[name], equal_nan=True) for name in arrays)
    )
