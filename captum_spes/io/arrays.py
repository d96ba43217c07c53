"""Archives of arrays (NumPy's npz) from anywhere: nothing in them runs code, and no number that
they declare makes memory be reserved before the content is there."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from captum_spes.errors import ArgumentError
from captum_spes.io.files import regular_file
from captum_spes.text import shortened

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class Header(NamedTuple):
    """What an array declares of itself.

    Attributes:
        shape: of the array.
        dtype: of its values.
        is_fortran: whether the first axis varies fastest.
        length: bytes of the header itself.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    is_fortran: bool
    length: int


class Archive:
    """An open archive; made by :func:`open_archive`."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._members = {info.filename: info for info in archive.infolist()}

    def __contains__(self, name: str) -> bool:
        return f"{name}.npy" in self._members

    def header(self, name: str) -> Header:
        """Read what an array declares, and raise where its content is of another size."""
        info = self._info(name)
        with self._archive.open(info) as file:
            version = npy.read_magic(file)
            read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
            if version not in read:
                raise ArgumentError(f"{name} has a format that cannot be read: {version}")
            shape, is_fortran, dtype = read[version](file)
            header = Header(shape, dtype, is_fortran, file.tell())
        if dtype.hasobject or dtype.fields is not None or dtype.subdtype is not None:
            raise ArgumentError(f"{name} holds Python objects or records, expected plain numbers")
        declared = math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or declared != info.file_size - header.length:
            raise ArgumentError(
                f"{name} declares shape {shape}, {declared} bytes, and holds "
                f"{info.file_size - header.length}"
            )
        return header

    def read(self, name: str) -> NDArray[Any]:
        """Read an array."""
        header = self.header(name)
        with self._archive.open(self._info(name)) as file:
            # Grows with what is there, whatever is declared; its end checks the checksum.
            content = file.read()[header.length :]
        flat = np.frombuffer(bytearray(content), header.dtype)
        array = flat.reshape(header.shape, order="F" if header.is_fortran else "C")
        return np.ascontiguousarray(array, header.dtype.newbyteorder("=")).reshape(header.shape)

    def text(self, name: str) -> str:
        """Read a text."""
        header = self.header(name)
        if header.shape != () or header.dtype.kind != "U":
            raise ArgumentError(f"{name} must be a text, got {header.dtype} {header.shape}")
        return str(self.read(name))

    def _info(self, name: str) -> zipfile.ZipInfo:
        if name not in self:
            raise ArgumentError(f"it lacks {name}")
        info = self._members[f"{name}.npy"]
        if info.compress_type not in _METHODS or info.flag_bits & 1:
            raise ArgumentError(f"{name} is compressed or encrypted in a way that NumPy is not")
        return info


@contextmanager
def open_archive(path: str | os.PathLike[str], kind: str, advice: str = "") -> Iterator[Archive]:
    """Open an archive for reading; whatever goes wrong with its content is told of its path.

    Args:
        path: the file.
        kind: what it should be, for the message: "a saved explanation", for example.
        advice: what to do about a damaged one, ": remove it" for example.

    Raises:
        FileNotFoundError: there is no such file.
        ArgumentError: it is no such archive, or is damaged.
    """
    with regular_file(path, kind) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                yield Archive(archive)
        except Exception as error:  # damaged archives raise whatever their parsers raise
            reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
            raise ArgumentError(
                f"{path} is damaged, or not {kind} ({shortened(reason, 300)}){advice}."
            ) from error
