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

from captum_spes.errors import ArgumentError, dimension, instance_of, real_number, several


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
    if isinstance(scale, str):
        if scale == "voice":
            return list(_VOICE_REGIONS)
        if scale not in _SCALES:
            raise ArgumentError(
                f"scale must be one of {', '.join([*_SCALES, 'voice'])}, edges in Hz, or names "
                f"with (low, high), got {scale!r}."
            )
        return _SCALES[scale](*_edges([real_number("low", low), real_number("high", high)]))
    if isinstance(scale, Mapping):
        ends = {name: _edges(edges) for name, edges in scale.items()}
        for name, edges in ends.items():
            if len(edges) != 2:
                raise ArgumentError(f"the band {name!r} needs edges (low, high), got {edges}.")
        return [Band(name, *edges) for name, edges in ends.items()]
    return _between(np.array(_edges(scale)), "{:g}-{:g} Hz")


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
    instance_of("maps", maps, Tensor, "a Tensor")
    instance_of("mel_frequencies", mel_frequencies, Tensor, "a Tensor")
    dim = dimension("dim", dim, maps.dim())
    bands = several("bands", bands, "a sequence of Band")
    for band in bands:
        instance_of("each of bands", band, Band, "a Band")
    if not bands:
        raise ArgumentError("bands must hold at least one Band.")
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


def _edges(given: Sequence[float]) -> list[float]:
    values = [
        real_number("an edge of bands", edge)
        for edge in several("edges of bands", given, "a sequence of numbers in Hz")
    ]
    rises = len(values) > 1 and all(low < high for low, high in pairwise(values))
    if not rises or not 0 <= values[0] <= values[-1] < np.inf:
        raise ArgumentError(f"edges of bands must ascend from 0 Hz or above, got {values}.")
    return values
