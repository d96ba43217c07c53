"""What the header of a recording says of its length, and what the file holds.

Recorders that are killed, and pipes, leave lengths that are too small or unknown; copies that were
cut off leave lengths that are too large. Decoders believe the header, or cut it down to the file,
without a word.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, NamedTuple

# Fewer bytes behind the samples are taken for a tag that some program put there.
_LEAST_BYTES = 8192
_UNKNOWN = (0, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)
# A page of OGG has at most 255 segments of 255 bytes, and a header.
_OGG_PAGE = 65_307
_OGG_HEADER = 27
_OGG_LAST_PAGE = 4


@dataclass(frozen=True)
class Header:
    """Sizes of the samples in a container, in bytes.

    Attributes:
        declared: what the header says; None where it does not say.
        held: what the file holds at that place.
        repairs: what the header should say, by place.
    """

    declared: int | None
    held: int
    repairs: Mapping[int, bytes] = field(default_factory=dict)

    def declared_frames(self, held: int) -> int:
        """How many samples the header promises, if the file holds ``held``."""
        if self.declared is None or not self.held:
            return held
        return round(held * self.declared / self.held)


class _Layout(NamedTuple):
    """How chunks are written.

    Attributes:
        name: length of a chunk's name.
        size: format of its size.
        first: where the first one starts.
        align: multiple of bytes at which chunks start.
        counts_itself: whether the size counts name and size, too.
        samples: start of the name of the chunk of samples.
        own: bytes at the start of that chunk that are no samples.
    """

    name: int
    size: str
    first: int
    align: int
    counts_itself: bool
    samples: bytes
    own: int


_LAYOUTS = {
    b"RIFF": _Layout(4, "<I", 12, 2, False, b"data", 0),
    b"RIFX": _Layout(4, ">I", 12, 2, False, b"data", 0),
    b"FORM": _Layout(4, ">I", 12, 2, False, b"SSND", 8),
    b"riff": _Layout(16, "<Q", 40, 8, True, b"data", 0),
    b"caff": _Layout(4, ">Q", 8, 1, False, b"data", 4),
}


def read_header(file: IO[bytes]) -> Header | None:
    """Compare the header of a file with the file.

    Args:
        file: a seekable file; its position is changed.

    Returns:
        *Header* for WAV, W64, AIFF, AU and CAF, where each sample takes as many bytes; None for
        other formats.
    """
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(24)
    if start[:4] == b".snd" and len(start) == 24:
        place, size = struct.unpack(">II", start[4:12])
        return Header(None if size in _UNKNOWN else size, max(0, end - place))
    layout = _LAYOUTS.get(start[:4])
    return None if layout is None else _of_chunks(file, layout, end, start[:4])


def ends_early(file: IO[bytes]) -> bool:
    """Whether a file of OGG pages stops before the end of the page that is marked as its last."""
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    if file.read(4) != b"OggS":
        return False
    file.seek(max(0, end - _OGG_PAGE))
    tail = file.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    if len(page) < _OGG_HEADER or not page[5] & _OGG_LAST_PAGE:
        return True
    n_segments = page[_OGG_HEADER - 1]
    sizes = page[_OGG_HEADER : _OGG_HEADER + n_segments]
    return len(page) < _OGG_HEADER + n_segments + sum(sizes)


def _of_chunks(file: IO[bytes], layout: _Layout, end: int, container: bytes) -> Header | None:
    for name, start, size in _chunks(file, layout, layout.first, end):
        if not name.startswith(layout.samples):
            continue
        held, declared = max(0, end - start - layout.own), max(0, size - layout.own)
        if declared >= held and size not in _UNKNOWN:
            return Header(declared, held)
        behind = start + size + size % layout.align
        goes_on = held - declared >= _LEAST_BYTES or (not declared and held)
        if size not in _UNKNOWN and not goes_on:
            return Header(declared, declared)
        if size != 0xFFFFFFFF and _are_chunks(file, layout, behind, end):
            return Header(declared, declared)
        width = struct.calcsize(layout.size)
        repairs = {}
        if container in (b"RIFF", b"RIFX", b"FORM"):
            most = min(end - start, 0xFFFFFFFE)
            repairs = {
                start - width: struct.pack(layout.size, most),
                4: struct.pack(layout.size, min(end - 8, 0xFFFFFFFE)),
            }
        return Header(None if size in _UNKNOWN else declared, held, repairs)
    return None


def _chunks(
    file: IO[bytes], layout: _Layout, place: int, end: int
) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and size of each chunk."""
    width = struct.calcsize(layout.size)
    while place + layout.name + width <= end:
        file.seek(place)
        name = file.read(layout.name)
        (size,) = struct.unpack(layout.size, file.read(width))
        start = place + layout.name + width
        if layout.counts_itself:
            size = max(0, size - layout.name - width)
        yield name, start, size
        place = start + size + (-(start + size)) % layout.align


def _are_chunks(file: IO[bytes], layout: _Layout, place: int, end: int) -> bool:
    """Whether what follows is well-formed to the end, and no samples."""
    if place >= end:
        return False
    for name, start, size in _chunks(file, layout, place, end):
        is_name = all(32 <= byte < 127 for byte in name[:4])
        if not is_name or start + size > end:
            return False
    return True


class Repaired:
    """A file of which some bytes are read as others.

    It has what decoders use of a file, and no name: they would draw conclusions from it.

    Args:
        file: a seekable file.
        repairs: bytes by place.
    """

    def __init__(self, file: IO[bytes], repairs: Mapping[int, bytes]) -> None:
        self._file, self._repairs = file, repairs
        self.tell = file.tell

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place; where there is none, as damaged files have it, stay."""
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError):
            return self.tell()

    def read(self, size: int = -1) -> bytes:
        """Read bytes from the current place."""
        place = self._file.tell()
        found = self._file.read(size)
        for start, content in self._repairs.items():
            first, last = max(start, place), min(start + len(content), place + len(found))
            if first < last:
                own = content[first - start : last - start]
                found = found[: first - place] + own + found[last - place :]
        return found
