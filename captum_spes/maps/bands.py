"""From mel bins to frequency bands in Hz."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.errors import ArgumentError


class Band(NamedTuple):
    """A frequency band, low end included, high end not.

    Attributes:
        name: as in tables.
        low: Hz.
        high: Hz.
    """

    name: str
    low: float
    high: float


# Edges of the critical bands (Zwicker 1961, https://doi.org/10.1121/1.1908630), Hz.
_BARK_EDGES = (
    0, 100, 200, 300, 400, 510, 630, 770, 920, 1080, 1270, 1480, 1720, 2000, 2320, 2700, 3150,
    3700, 4400, 5300, 6400, 7700, 9500, 12000, 15500,
)  # fmt: skip

# Where the fundamental and the first two formants of adults lie; they overlap. F1 and F2 span the
# averages of men's and women's vowels (Peterson and Barney 1952,
# https://doi.org/10.1121/1.1906875), with a little room.
_VOICE_REGIONS = (Band("F0", 75, 300), Band("F1", 250, 1000), Band("F2", 800, 2800))


def _hz_bands(low: float, high: float) -> list[Band]:
    return _between(np.append(np.arange(low, high, 1000.0), high), "{:.0f}-{:.0f} Hz")


def _bark_bands(low: float, high: float) -> list[Band]:
    edges = [edge for edge in _BARK_EDGES if low < edge < high]
    return _between(np.array([low, *edges, high]), "{:.0f}-{:.0f} Hz")


def _erb_bands(low: float, high: float) -> list[Band]:
    # Glasberg and Moore 1990, https://doi.org/10.1016/0378-5955(90)90170-T, equation 4.
    first, last = (21.4 * np.log10(1 + 0.00437 * hz) for hz in (low, high))
    numbers = np.append(np.arange(first, last, 1.0), last)
    return _between((10 ** (numbers / 21.4) - 1) / 0.00437, "{:.0f}-{:.0f} Hz")


_SCALES = MappingProxyType({"hz": _hz_bands, "bark": _bark_bands, "erb": _erb_bands})


def _between(edges: NDArray[np.float64], name: str) -> list[Band]:
    return [Band(name.format(low, high), low, high) for low, high in pairwise(edges.tolist())]


def frequency_bands(
    scale: str | Sequence[float] | Mapping[str, tuple[float, float]] = "bark",
    *,
    low: float = 0.0,
    high: float = 8000.0,
) -> list[Band]:
    r"""
    Cut a range of frequencies into bands.

    Args:

        scale (str, sequence of float, or mapping, optional): "bark" (critical bands), "erb"
                    (steps of one equivalent rectangular bandwidth), "hz" (steps of
                    1,000 Hz), "voice" (the regions of F0, F1 and F2, which overlap); ascending
                    edges in Hz; or names and their (low, high).
                    Default: "bark"
        low (float, optional): Hz, where named scales begin.
                    Default: 0
        high (float, optional): Hz, where they end.
                    Default: 8000

    Returns:
        *list* of :class:`Band`, ascending.

    Raises:
        ArgumentError: the scale is unknown, or edges do not ascend from 0 or above.

    Examples::

        >>> [band.name for band in frequency_bands([0, 300, 4000, 8000])]
        ['0-300 Hz', '300-4000 Hz', '4000-8000 Hz']
        >>> len(frequency_bands("bark"))
        22
    """
    if scale == "voice":
        return list(_VOICE_REGIONS)
    if isinstance(scale, str):
        if scale not in _SCALES:
            raise ArgumentError(
                f"scale must be one of {', '.join([*_SCALES, 'voice'])}, edges in Hz, or names "
                f"with (low, high), got {scale!r}."
            )
        _check_edges([low, high])
        return _SCALES[scale](low, high)
    if isinstance(scale, Mapping):
        for edges in scale.values():
            _check_edges(edges)
        return [Band(name, *edges) for name, edges in scale.items()]
    _check_edges(scale)
    return _between(np.array(scale, dtype=float), "{:g}-{:g} Hz")


def band_mean(
    maps: Tensor, mel_frequencies: Tensor, bands: Sequence[Band], *, dim: int = -1
) -> Tensor:
    r"""
    Average maps over the mel bins of each band.

    Args:

        maps (Tensor): Any shape with a dimension of frequency.
        mel_frequencies (Tensor): ``(freq,)``, Hz, the middle of each bin.
        bands (sequence of Band): See :func:`frequency_bands`.
        dim (int, optional): The dimension of frequency.
                    Default: -1

    Returns:
        *Tensor*: like ``maps``, with one entry per band in place of the mel bins; NaN for a
        band without any bin (low bands are narrower than mel bins).

    Raises:
        ArgumentError: ``mel_frequencies`` does not fit the dimension.

    Examples::

        >>> bands = frequency_bands([0, 200, 4000])
        >>> band_mean(torch.tensor([1.0, 3.0, 8.0]), torch.tensor([50.0, 150.0, 900.0]), bands)
        tensor([2., 8.])
    """
    if mel_frequencies.shape != (maps.shape[dim],):
        raise ArgumentError(
            f"maps have {maps.shape[dim]} mel bins, mel_frequencies has shape "
            f"{tuple(mel_frequencies.shape)}."
        )
    frequencies = mel_frequencies.to(maps.device)
    means = []
    for band in bands:
        inside = (frequencies >= band.low) & (frequencies < band.high)
        means.append(maps.index_select(dim, inside.nonzero().flatten()).mean(dim))
    return torch.stack(means, dim)


def _check_edges(edges: Sequence[float]) -> None:
    values = np.asarray(edges, dtype=float)
    if values.ndim != 1 or len(values) < 2 or not (np.diff(values) > 0).all() or values[0] < 0:
        raise ArgumentError(f"edges of bands must ascend from 0 Hz or above, got {list(edges)}.")
