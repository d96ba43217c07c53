"""How explanations lie in an HDF5 file.

``/explanations/AA/BB/CC`` holds the explanation whose number in the order of writing is
``(AA * 64 + BB) * 64 + CC``. All 64 groups of a level are made at once: a file that is cut off
keeps the way to whatever stands before the cut. ``/index`` holds the ids in the same order, so that
no group need be opened to know them; each group knows its own, too.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from captum_spes.errors import ArgumentError

FORMAT = "captum_spes explanations, version 1"
PRECISIONS = ("float32", "float16")
MAPS, TEXT = "spectrogram_attr", "metadata"
_BRANCH = 64
_MOST = _BRANCH**3
_INDEX_CHUNK = 1 << 14
_CHECKED = {"compression": "gzip", "compression_opts": 4, "shuffle": True, "fletcher32": True}


class Header(NamedTuple):
    """What a stored array declares."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class StoredExplanation:
    """The group of one explanation as a source of its arrays and its text.

    Args:
        group: of h5py.
    """

    def __init__(self, group: Any) -> None:
        self._group = group

    def __contains__(self, name: str) -> bool:
        return name in self._group

    def header(self, name: str) -> Header:
        dataset = self._dataset(name)
        return Header(dataset.shape, _dtype(dataset))

    def read(self, name: str) -> NDArray[Any]:
        return self._decoded(name, slice(None))

    def text(self, name: str) -> str:
        return bytes(self._dataset(name)[()]).decode("utf-8")

    def map_of(self, token: int) -> NDArray[Any]:
        """The map of one token, ``(time, freq)``; no other is read."""
        found: NDArray[Any] = self._decoded(MAPS, slice(token, token + 1))[0]
        return found

    @property
    def n_tokens(self) -> int:
        """How many tokens are explained."""
        return int(self._dataset(MAPS).shape[0])

    @property
    def id(self) -> str | None:
        """Its id; None where nothing is stored."""
        stored = self._group.attrs.get("id")
        return None if stored is None else bytes(stored).decode("utf-8", "surrogatepass")

    def is_intact(self) -> bool:
        """Whether all is as it was written; reading what is damaged raises, too."""
        return bool(bytes(self._group.attrs["sha256"]) == _digest(self._group))

    def _decoded(self, name: str, rows: slice) -> NDArray[Any]:
        dataset = self._dataset(name)
        values = dataset[rows]
        if "scales" in dataset.attrs:
            scales = dataset.attrs["scales"][rows]
            values = values.astype(np.float32) * scales[:, None, None]
        # In the byte order of this machine, as PyTorch wants it.
        return np.ascontiguousarray(values.astype(_dtype(dataset).newbyteorder("=")))

    def _dataset(self, name: str) -> Any:
        if name not in self._group:
            raise ArgumentError(f"it lacks {name}")
        return self._group[name]


def _dtype(dataset: Any) -> np.dtype[Any]:
    """Of the array that was stored, which can be another one than is written."""
    return np.dtype(bytes(dataset.attrs["dtype"]).decode())


# Writing --------------------------------------------------------------------------------


def begin(file: Any, precision: str) -> None:
    """Make an empty file a store."""
    file.attrs["format"] = np.bytes_(FORMAT.encode())
    file.attrs["precision"] = np.bytes_(precision.encode())
    file.create_dataset(
        "index", shape=(0,), maxshape=(None,), dtype=np.uint8, chunks=(_INDEX_CHUNK,),
        fletcher32=True,
    )  # fmt: skip
    _make_children(file.create_group("explanations"))


def packed(
    h5py: Any, id_: str, arrays: Mapping[str, NDArray[Any]], text: str, precision: str
) -> bytes:
    """One explanation as an HDF5 file of its own: compressing it takes longer than writing it, and
    can be done by whoever explained it."""
    # Not in memory by HDF5's own means: before 2.0 its images of this format have a wrong checksum.
    image = io.BytesIO()
    with h5py.File(image, "w", libver="latest") as file:
        for name, values in arrays.items():
            _write_array(file, name, values, precision)
        _write_bytes(file, TEXT, text.encode("utf-8"))
        file.attrs["id"] = np.frombuffer(id_.encode("utf-8", "surrogatepass"), np.uint8)
        file.attrs["sha256"] = np.frombuffer(_digest(file), np.uint8)
    return image.getvalue()


def append(h5py: Any, file: Any, first: int, explanations: Sequence[tuple[str, bytes]]) -> None:
    """Write more explanations.

    Args:
        h5py: the library.
        file: a store.
        first: how many it holds.
        explanations: ids, and what :func:`packed` made of each.
    """
    if first + len(explanations) > _MOST:
        raise ArgumentError(f"a store holds {_MOST} explanations: begin another one.")
    for number, (_, image) in enumerate(explanations, first):
        group = _place(file, number)
        with h5py.File(io.BytesIO(image), "r") as source:
            for name in source:
                source.copy(name, group)  # as it is compressed
            for name, value in source.attrs.items():
                group.attrs[name] = value
    lines = "".join(f"{json.dumps(id_)}\n" for id_, _ in explanations)
    index, added = file["index"], np.frombuffer(lines.encode(), np.uint8)
    old = index.shape[0]
    index.resize((old + len(added),))
    index[old:] = added


def _place(file: Any, number: int) -> Any:
    high, middle, low = _path(number)
    outer = file["explanations"][high]
    if not len(outer):
        _make_children(outer)
    inner = outer[middle]
    if not len(inner):
        _make_children(inner)
    return inner[low]


def _make_children(group: Any) -> None:
    for number in range(_BRANCH):
        group.create_group(_child(number))


def _write_array(group: Any, name: str, values: NDArray[Any], precision: str) -> None:
    stored, scales = values, None
    if name == MAPS and precision == "float16":
        stored, scales = _halved(values)
    elif values.dtype.kind == "i":
        stored = _narrowest(values)
    # One token, or level, a chunk.
    chunks = (1, *values.shape[1:]) if values.ndim == 3 else values.shape
    dataset = group.create_dataset(name, data=stored, chunks=chunks, **_CHECKED)
    dataset.attrs["dtype"] = np.bytes_(values.dtype.str.encode())
    if scales is not None:
        dataset.attrs["scales"] = scales


def _halved(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Half precision, of which the largest value of each token uses the whole range."""
    sizes = np.abs(values).reshape(len(values), -1).max(1).astype(np.float32)
    scales = np.where(sizes > 0, sizes, 1).astype(np.float32)
    return (values / scales[:, None, None]).astype(np.float16), scales


def _narrowest(values: NDArray[Any]) -> NDArray[Any]:
    """Numbers of segments are small."""
    is_small = values.size and values.min() >= -(2**15) and values.max() < 2**15
    return values.astype(np.int16) if is_small else values


def _write_bytes(group: Any, name: str, content: bytes) -> None:
    data = np.frombuffer(content, np.uint8)
    group.create_dataset(name, data=data, chunks=data.shape, **_CHECKED)


def _digest(group: Any) -> bytes:
    """Of what is stored, whatever it is compressed with."""
    digest = hashlib.sha256(bytes(group.attrs["id"]))
    for name in sorted(group):
        dataset = group[name]
        digest.update(f"{name} {dataset.dtype.str} {dataset.shape}".encode())
        digest.update(np.ascontiguousarray(dataset[()]).tobytes())
        digest.update(np.asarray(dataset.attrs.get("scales", ())).tobytes())
    return digest.digest()


def set_text(file: Any, name: str, content: Any) -> None:
    """Keep something in JSON's types beside the explanations."""
    if name in file:
        del file[name]
    _write_bytes(file, name, json.dumps(content).encode("utf-8"))


def text_of(file: Any, name: str) -> Any:
    """What :func:`set_text` kept; None where there is nothing."""
    return json.loads(bytes(file[name][()])) if name in file else None


# Reading --------------------------------------------------------------------------------


def check_format(file: Any) -> None:
    """Raise where a file is no store of this version."""
    found = bytes(file.attrs.get("format", b"")).decode("utf-8", "replace")
    if found != FORMAT:
        raise ArgumentError(f"it has the format {found[:60]!r}, expected {FORMAT!r}")


def precision_of(file: Any) -> str:
    """Of its maps."""
    return bytes(file.attrs["precision"]).decode()


def read_index(file: Any) -> list[str]:
    """The ids in the order of writing."""
    lines = bytes(file["index"][()]).decode("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def scanned_ids(file: Any) -> Iterator[tuple[int, str]]:
    """Numbers and ids that groups tell themselves, where the index cannot be read."""
    for high, outer in _children(file["explanations"]):
        for middle, inner in _children(outer):
            for low, group in _children(inner):
                try:
                    id_ = StoredExplanation(group).id
                except (OSError, RuntimeError, KeyError):
                    continue
                if id_ is not None:
                    yield (high * _BRANCH + middle) * _BRANCH + low, id_


def _children(group: Any) -> Iterator[tuple[int, Any]]:
    """Those that can be read, with their numbers; none is listed, as HDF5 1 ends the process where
    a list is cut off."""
    for number in range(_BRANCH):
        try:
            child = group[_child(number)]
        except (OSError, RuntimeError, KeyError):
            continue
        yield number, child


def group_of(file: Any, number: int) -> Any:
    """The group of an explanation."""
    return file["explanations"]["/".join(_path(number))]


def _path(number: int) -> tuple[str, str, str]:
    rest, low = divmod(number, _BRANCH)
    high, middle = divmod(rest, _BRANCH)
    return _child(high), _child(middle), _child(low)


def _child(number: int) -> str:
    return f"{number:02}"
