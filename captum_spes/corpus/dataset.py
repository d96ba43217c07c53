"""Utterances of a dataset of Hugging Face's."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from captum_spes.corpus.manifest import Utterance
from captum_spes.errors import ArgumentError, optional_library

# What datasets of speech call the text, and the name of a row.
_TEXTS = ("text", "sentence", "transcription", "transcript", "normalized_text", "raw_text")
_IDS = ("id", "uid", "utterance_id")
_PARTS = ("bytes", "path")
# Rows that are held: a recording is asked for its bytes and for its path.
_HELD = 4


def is_dataset(value: object) -> bool:
    """Whether something is a dataset, or several in a dictionary; datasets is not imported."""
    return type(value).__module__.partition(".")[0] == "datasets"


def utterances_of(dataset: Any) -> list[Utterance]:
    r"""
    Make utterances of a dataset; the recordings are read when their turn comes.

    Args:

        dataset (datasets.Dataset): With a column of audio. The id is that of a column ``id``,
                    ``uid`` or ``utterance_id``, or else the number of the row; the text that of a
                    column ``text``, ``sentence``, ``transcription``, ``transcript``,
                    ``normalized_text`` or ``raw_text``, or else empty.

    Returns:
        *list* of :class:`Utterance`, in the order of the rows.

    Raises:
        ArgumentError: it has no column of audio, or several; an id is there twice; it is streamed,
            or a dictionary of splits.

    Examples::

        >>> import datasets
        >>> rows = {"audio": ["speech.flac"], "text": ["the cat"]}
        >>> audio = datasets.Audio(sampling_rate=16_000)
        >>> dataset = datasets.Dataset.from_dict(rows).cast_column("audio", audio)
        >>> utterances_of(dataset)[0].text
        'the cat'
    """
    if isinstance(dataset, Mapping):
        raise ArgumentError(
            f"the dataset has the splits {', '.join(map(str, dataset))}: give one of them."
        )
    if not hasattr(dataset, "__len__"):
        raise ArgumentError("the dataset is streamed: load it as a whole, or save it.")
    column = _audio_column(dataset)
    datasets = optional_library("datasets", "a dataset", "datasets")
    rows = dataset.cast_column(column, datasets.Audio(decode=False)).select_columns([column])
    read = lru_cache(maxsize=_HELD)(lambda index: rows[index][column])
    texts = _column(dataset, _TEXTS) or [""] * len(dataset)
    ids = list(map(str, _column(dataset, _IDS) or range(len(dataset))))
    if len(set(ids)) < len(ids):
        ((twice, _),) = Counter(ids).most_common(1)
        raise ArgumentError(f"the dataset has the id {twice!r} twice.")
    found = zip(ids, texts, strict=True)
    return [
        Utterance(id_, _RowAudio(read, index), str(text or ""))
        for index, (id_, text) in enumerate(found)
    ]


def saved_dataset(folder: Path) -> Any:
    """The dataset that ``save_to_disk`` left in a folder.

    Raises:
        ArgumentError: it holds none.
        ImportError: datasets is not installed.
    """
    datasets = optional_library("datasets", "a dataset", "datasets")
    try:
        return datasets.load_from_disk(os.fspath(folder))
    except Exception as error:  # of several libraries
        reason = " ".join(str(error).split())
        raise ArgumentError(f"{folder} is a folder, and no saved dataset: {reason}") from error


def _audio_column(dataset: Any) -> str:
    found = [name for name, kind in dataset.features.items() if type(kind).__name__ == "Audio"]
    if len(found) > 1 and "audio" in found:
        return "audio"
    if len(found) != 1:
        raise ArgumentError(
            f"the dataset must have one column of audio, and has {', '.join(found) or 'none'}: "
            f"its columns are {', '.join(dataset.column_names)}."
        )
    return str(found[0])


def _column(dataset: Any, names: tuple[str, ...]) -> list[Any] | None:
    name = next((name for name in names if name in dataset.column_names), None)
    return None if name is None else list(dataset[name])


class _RowAudio(Mapping[str, Any]):
    """The recording of a row: ``bytes``, ``path`` or both, read when they are asked for."""

    def __init__(self, read: Any, index: int) -> None:
        self._read, self._index = read, index

    def __getitem__(self, name: str) -> Any:
        if name not in _PARTS:
            raise KeyError(name)
        row = self._read(self._index)
        if row is None or (row.get("bytes") is None and row.get("path") is None):
            raise ArgumentError("the row has no recording.")
        return row.get(name)

    def __iter__(self) -> Iterator[str]:
        return iter(_PARTS)

    def __len__(self) -> int:
        return len(_PARTS)

    def __reduce__(self) -> Any:
        """To another process goes the recording, and not the dataset."""
        return dict, (list(self.items()),)
