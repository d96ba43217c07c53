"""Matplotlib figures of saliency maps. They are returned, never shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.plotting.figure import TICKS_HZ, new_figure

_COLOURS = "magma"
# Over a grey spectrogram the strongest places must be the darkest colour.
_OVERLAY_COLOURS = "YlOrRd"


def spectrogram_figure(
    saliency: Tensor,
    frame_times: Tensor,
    mel_frequencies: Tensor,
    *,
    spectrogram: Tensor | None,
    title: str,
    label: str,
) -> Figure:
    """Draw one map, alone or over the spectrogram."""
    seconds = float(frame_times[-1] - frame_times[0])
    figure = new_figure(min(14.0, 5.0 + seconds), 3.6)
    axes = figure.add_subplot()
    image = _draw(axes, saliency, frame_times, mel_frequencies, spectrogram)
    axes.set_title(_shortened(title, 90), parse_math=False)
    axes.set_xlabel("time (s)")
    axes.set_ylabel("frequency (Hz)")
    figure.colorbar(image, ax=axes, label=label)
    return figure


def spectrogram_sheet(
    saliency: Tensor,
    frame_times: Tensor,
    mel_frequencies: Tensor,
    *,
    spectrogram: Tensor,
    titles: Sequence[str],
    columns: int,
) -> Figure:
    """Draw many maps on one sheet with common axes and one colour bar."""
    columns = max(1, min(columns, len(titles)))
    rows = math.ceil(len(titles) / columns)
    figure = new_figure(3.6 * columns + 0.8, 1.9 * rows + 0.5)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for index, axes in enumerate(grid.flat):
        if index >= len(titles):
            axes.set_visible(False)
            continue
        image = _draw(axes, saliency[index], frame_times, mel_frequencies, spectrogram)
        image.set_clim(0.0, 1.0)
        axes.set_title(_shortened(titles[index], 30), fontsize=10, parse_math=False)
    figure.supxlabel("time (s)")
    figure.supylabel("frequency (Hz)")
    figure.colorbar(image, ax=grid, label="saliency (normalised)", aspect=40)
    return figure


def token_figure(
    matrix: Tensor, rows: Sequence[str], columns: Sequence[str], *, label: str
) -> Figure:
    """Draw explained tokens against previous tokens; invalid cells stay empty."""
    width, height = 2.6 + 0.32 * len(columns), 1.8 + 0.26 * len(rows)
    figure = new_figure(width, height)
    axes = figure.add_subplot()
    image = axes.imshow(np.ma.masked_invalid(_array(matrix)), cmap=_COLOURS, aspect="auto")
    axes.set_facecolor("0.92")
    axes.set_xticks(range(len(columns)), columns, rotation=90, parse_math=False)
    axes.set_yticks(range(len(rows)), rows, parse_math=False)
    axes.set_xlabel("previous token")
    axes.set_ylabel("explained token")
    figure.colorbar(image, ax=axes, label=label)
    return figure


def _draw(
    axes: Axes,
    saliency: Tensor,
    frame_times: Tensor,
    mel_frequencies: Tensor,
    spectrogram: Tensor | None,
) -> Any:
    values = _array(saliency).T
    half_frame = float(frame_times[1] - frame_times[0]) / 2 if len(frame_times) > 1 else 0.005
    left, right = float(frame_times[0]) - half_frame, float(frame_times[-1]) + half_frame
    placing: dict[str, Any] = {
        "origin": "lower",
        "aspect": "auto",
        "extent": (left, right, -0.5, len(values) - 0.5),
        "interpolation": "nearest",
    }
    opacity: Any = None
    if spectrogram is not None:
        axes.imshow(_array(spectrogram).T, cmap="gray_r", **placing)
        opacity = _opacity(values)
    colours = _COLOURS if spectrogram is None else _OVERLAY_COLOURS
    image: Any = axes.imshow(values, cmap=colours, alpha=opacity, **placing)
    if spectrogram is not None:
        # The colour bar shows the colours themselves, not how they cover the spectrogram.
        from matplotlib.cm import ScalarMappable

        image = ScalarMappable(norm=image.norm, cmap=image.cmap)
    _label_frequencies(axes, mel_frequencies)
    return image


def _opacity(values: NDArray[Any]) -> NDArray[Any]:
    """Let the spectrogram show through where the map is low."""
    low, high = np.percentile(values, [70, 99.5])
    if not high > low:
        return np.zeros_like(values)
    return np.asarray(0.9 * np.clip((values - low) / (high - low), 0.0, 1.0))


def _label_frequencies(axes: Axes, mel_frequencies: Tensor) -> None:
    """Put round frequencies at their places among the mel bins."""
    frequencies = _array(mel_frequencies)
    ticks = [hz for hz in TICKS_HZ if frequencies[0] <= hz <= frequencies[-1] * 1.05]
    bins = np.interp(ticks, frequencies, np.arange(len(frequencies)))
    axes.set_yticks(bins, [str(hz) for hz in ticks], fontsize=8)


def _array(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().cpu().float().numpy()
    return array


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
