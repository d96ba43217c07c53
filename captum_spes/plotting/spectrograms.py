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
from captum_spes.plotting.figure import label as label_of
from captum_spes.plotting.fonts import written

# Maps on one sheet, and names along one axis.
MOST_MAPS = 40
_MOST_NAMES = 60
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
    axes.set_title(label_of(title, 90), parse_math=False)
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
    note: str = "",
) -> Figure:
    """Draw maps on one sheet with common axes, one colour bar and a line above."""
    columns = max(1, min(columns, len(titles)))
    rows = math.ceil(len(titles) / columns)
    width, height = 3.6 * columns + 0.8, 1.9 * rows + 0.5
    figure = new_figure(width, height)
    # Placed and labelled by hand: finding a layout for many axes, or keeping their limits equal,
    # takes longer than drawing them.
    figure.set_layout_engine("none")
    grid = figure.subplots(
        rows,
        columns,
        squeeze=False,
        gridspec_kw={
            "left": 0.75 / width,
            "right": 1 - 1.1 / width,
            "bottom": 0.55 / height,
            "top": 1 - 0.45 / height,
            "wspace": 0.06,
            "hspace": 0.3,
        },
    )
    for index, axes in enumerate(grid.flat):
        if index >= len(titles):
            axes.set_visible(False)
            continue
        image = _draw(axes, saliency[index], frame_times, mel_frequencies, spectrogram)
        image.set_clim(0.0, 1.0)
        is_lowest, is_first = index + columns >= len(titles), index % columns == 0
        axes.tick_params(labelbottom=is_lowest, labelleft=is_first)
        axes.set_title(label_of(titles[index], 30), fontsize=10, parse_math=False)
    figure.supxlabel("time (s)", y=0.08 / height, va="bottom")
    figure.supylabel("frequency (Hz)", x=0.08 / width)
    figure.suptitle(note, x=0.75 / width, ha="left", y=1 - 0.08 / height, fontsize=10)
    bar_height = min(1 - 1.0 / height, 4.0 / height)
    beside = figure.add_axes((1 - 0.95 / width, 0.55 / height, 0.15 / width, bar_height))
    figure.colorbar(image, cax=beside, label="saliency (normalised)")
    return figure


def token_figure(
    matrix: Tensor,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    label: str,
    of_rows: str = "explained token",
    of_columns: str = "previous token",
) -> Figure:
    """Draw explained tokens against previous tokens, or others; invalid cells stay empty.

    Of many tokens every second, third ... is named, with its number, and all are drawn.
    """
    places, names, note = named(columns)
    row_places, row_names, row_note = named(rows)
    width = 2.6 + 0.32 * len(names) + room(row_names)
    height = 1.8 + 0.26 * len(row_names) + room(names)
    figure = new_figure(width, height)
    axes = figure.add_subplot()
    image = axes.imshow(np.ma.masked_invalid(array(matrix)), cmap=_COLOURS, aspect="auto")
    axes.set_facecolor("0.92")
    axes.set_xticks(places, names, rotation=90, parse_math=False)
    axes.set_xlabel(f"{of_columns}{note}")
    axes.set_yticks(row_places, row_names, parse_math=False)
    axes.set_ylabel(f"{of_rows}{row_note}")
    figure.colorbar(image, ax=axes, label=label)
    return figure


def named(tokens: Sequence[str]) -> tuple[list[int], list[str], str]:
    """Places and names of the tokens that are named, and what the axis says of it."""
    step = math.ceil(len(tokens) / _MOST_NAMES)
    places = list(range(0, len(tokens), step))
    if step == 1:
        return places, [label_of(token, 24) for token in tokens], ""
    names = [f"{place + 1}: {label_of(tokens[place], 20)}" for place in places]
    return places, names, f" (one in {step} of {len(tokens)} is named)"


def room(names: Sequence[str]) -> float:
    """Inches that long names need beyond those of usual tokens."""
    return 0.08 * max(0, max(len(written(name)) for name in names) - 12)


def _draw(
    axes: Axes,
    saliency: Tensor,
    frame_times: Tensor,
    mel_frequencies: Tensor,
    spectrogram: Tensor | None,
) -> Any:
    values = array(saliency).T
    where = placing(frame_times, len(values))
    opacity: Any = None
    if spectrogram is not None:
        axes.imshow(array(spectrogram).T, cmap="gray_r", **where)
        opacity = _opacity(values)
    colours = _COLOURS if spectrogram is None else _OVERLAY_COLOURS
    image: Any = axes.imshow(values, cmap=colours, alpha=opacity, **where)
    if spectrogram is not None:
        # The colour bar shows the colours themselves, not how they cover the spectrogram.
        from matplotlib.cm import ScalarMappable

        image = ScalarMappable(norm=image.norm, cmap=image.cmap)
    label_frequencies(axes, mel_frequencies)
    return image


def placing(frame_times: Tensor, n_bins: int) -> dict[str, Any]:
    """How ``imshow`` puts a map at its times, the lowest frequency below."""
    half_frame = float(frame_times[1] - frame_times[0]) / 2 if len(frame_times) > 1 else 0.005
    left, right = float(frame_times[0]) - half_frame, float(frame_times[-1]) + half_frame
    return {
        "origin": "lower",
        "aspect": "auto",
        "extent": (left, right, -0.5, n_bins - 0.5),
        "interpolation": "nearest",
    }


def _opacity(values: NDArray[Any]) -> NDArray[Any]:
    """Let the spectrogram show through where the map is low."""
    low, high = np.percentile(values, [70, 99.5])
    if not high > low:
        return np.zeros_like(values)
    return np.asarray(0.9 * np.clip((values - low) / (high - low), 0.0, 1.0))


def label_frequencies(axes: Axes, mel_frequencies: Tensor) -> None:
    """Put round frequencies at their places among the mel bins."""
    frequencies = array(mel_frequencies)
    ticks = [hz for hz in TICKS_HZ if frequencies[0] <= hz <= frequencies[-1] * 1.05]
    bins = np.interp(ticks, frequencies, np.arange(len(frequencies)))
    axes.set_yticks(bins, [str(hz) for hz in ticks], fontsize=8)


def array(tensor: Tensor) -> NDArray[Any]:
    """For matplotlib."""
    values: NDArray[Any] = tensor.detach().cpu().float().numpy()
    return values
