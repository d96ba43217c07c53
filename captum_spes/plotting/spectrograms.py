"""Figures of saliency maps. They are returned, never shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.plotting.figure import TICKS_HZ, NotebookFigure, finished, new_figure, panel
from captum_spes.plotting.figure import label as label_of
from captum_spes.plotting.words import SpokenWord, write_words

# Maps on one sheet.
MOST_MAPS = 40
MAP_COLOURS = "magma"
# Over a grey spectrogram the strongest places must be the darkest colour.
_OVERLAY_COLOURS = "YlOrRd"
# What is not to be read has no colour, and no strong grey; dark and light as in the colours above.
_DOUBT_GREYS = LinearSegmentedColormap.from_list("doubt", ["0.3", "0.9"])
_OVERLAY_DOUBT_GREYS = LinearSegmentedColormap.from_list("doubt over", ["1.0", "0.45"])
# Below a map the darkest grey, so that no colour is lost in it, and in print without colour the
# strongest places are the darkest.
_DARKEST = 0.45
# Points of the letters of spoken words, above one map and on a sheet.
WORD_SIZE, _SHEET_WORD_SIZE = 8.0, 6.5
_TITLE_PAD = 6.0
_LONGEST_TITLE = 90


@dataclass(frozen=True)
class MapPanel:
    """One map as it is drawn.

    Attributes:
        saliency: ``(time, freq)``.
        title: above it.
        words: what is spoken when; none where that is not known.
        doubt: why the map is not to be read, for example "mostly noise"; it is then drawn in greys,
            and the title says so.
    """

    saliency: Tensor
    title: str
    words: Sequence[SpokenWord] = ()
    doubt: str = ""

    def shown_title(self, length: int) -> str:
        """The title, cut where it is long."""
        return label_of(self.title, length) + (f" ({self.doubt})" if self.doubt else "")


def spectrogram_figure(
    drawn: MapPanel,
    frame_times: Tensor,
    mel_frequencies: Tensor,
    *,
    spectrogram: Tensor | None,
    label: str,
    ax: Axes | None = None,
) -> Figure:
    """Draw one map, alone or over the spectrogram."""
    figure, axes = panel(ax, *map_size(frame_times))
    image = _draw(axes, drawn, frame_times, mel_frequencies, spectrogram)
    pad = write_words(axes, drawn.words, WORD_SIZE) + _TITLE_PAD
    axes.set_title(drawn.shown_title(_LONGEST_TITLE), parse_math=False, pad=pad)
    axes.set_xlabel("time (s)")
    axes.set_ylabel("frequency (Hz)")
    bar = axes.figure.colorbar(image, ax=axes, label=label)
    return finished(figure, axes, bar.ax)


def map_size(frame_times: Tensor) -> tuple[float, float]:
    """Inches of the figure of one map: wider for longer speech, up to the width of a page."""
    return min(14.0, 5.0 + float(frame_times[-1] - frame_times[0])), 3.6


def spectrogram_sheet(
    drawn: Sequence[MapPanel],
    frame_times: Tensor,
    mel_frequencies: Tensor,
    *,
    spectrogram: Tensor,
    columns: int,
    note: str = "",
) -> Figure:
    """Draw maps on one sheet with common axes, one colour bar and a line above."""
    has_words = bool(drawn[0].words)
    figure, grid = _grid(len(drawn), max(1, min(columns, len(drawn))), has_words, bool(note))
    columns = grid.shape[1]
    for index, axes in enumerate(grid.flat):
        if index >= len(drawn):
            axes.set_visible(False)
            continue
        one = drawn[index]
        _draw(axes, one, frame_times, mel_frequencies, spectrogram, limits=(0.0, 1.0))
        is_lowest, is_first = index + columns >= len(drawn), index % columns == 0
        axes.tick_params(labelbottom=is_lowest, labelleft=is_first)
        pad = write_words(axes, one.words, _SHEET_WORD_SIZE) + _TITLE_PAD / 2
        axes.set_title(one.shown_title(30), fontsize=10, parse_math=False, pad=pad)
    _label_sheet(figure, note)
    return figure


def _grid(
    n_maps: int, columns: int, has_words: bool, has_note: bool
) -> tuple[NotebookFigure, NDArray[Any]]:
    """Placed by hand: finding a layout for many axes, or keeping their limits equal, takes longer
    than drawing them."""
    rows = math.ceil(n_maps / columns)
    map_height, between = 1.45, 0.75 if has_words else 0.45
    width = 3.6 * columns + 0.8
    top, bottom = between + (0.25 if has_note else 0.0), 0.55
    height = top + bottom + rows * map_height + (rows - 1) * between
    figure = new_figure(width, height)
    figure.set_layout_engine("none")
    grid = figure.subplots(
        rows,
        columns,
        squeeze=False,
        gridspec_kw={
            "left": 0.75 / width,
            "right": 1 - 1.1 / width,
            "bottom": bottom / height,
            "top": 1 - top / height,
            "wspace": 0.06,
            "hspace": between / map_height,
        },
    )
    return figure, grid


def _label_sheet(figure: NotebookFigure, note: str) -> None:
    width, height = figure.get_size_inches()
    figure.supxlabel("time (s)", y=0.08 / height, va="bottom")
    figure.supylabel("frequency (Hz)", x=0.08 / width)
    figure.suptitle(note, x=0.75 / width, ha="left", y=1 - 0.08 / height, fontsize=10)
    bar_height = min(1 - 1.0 / height, 4.0 / height)
    beside = figure.add_axes((1 - 0.95 / width, 0.55 / height, 0.15 / width, bar_height))
    # The colours of maps to rely on, also where the last map is grey.
    figure.colorbar(
        ScalarMappable(Normalize(0, 1), _OVERLAY_COLOURS), cax=beside, label="saliency (normalised)"
    )


def _draw(
    axes: Axes,
    drawn: MapPanel,
    frame_times: Tensor,
    mel_frequencies: Tensor,
    spectrogram: Tensor | None,
    limits: tuple[float | None, float | None] = (None, None),
) -> Any:
    values = array(drawn.saliency).T
    where = placing(frame_times, len(values))
    opacity: Any = None
    if spectrogram is not None:
        # Such a map stands alone, as grey on grey would be read as the spectrogram.
        draw_spectrogram(axes, spectrogram, where, 0.0 if drawn.doubt else _DARKEST)
        opacity = _opacity(values)
    colours = _colours(bool(drawn.doubt), spectrogram is not None)
    image: Any = axes.imshow(values, cmap=colours, alpha=opacity, **where)
    image.set_clim(*limits)
    label_frequencies(axes, mel_frequencies)
    if spectrogram is None:
        return image
    # The colour bar shows the colours themselves, not how they cover the spectrogram.
    return ScalarMappable(norm=image.norm, cmap=image.cmap)


def _colours(is_doubted: bool, is_over_spectrogram: bool) -> str | Colormap:
    if is_doubted:
        return _OVERLAY_DOUBT_GREYS if is_over_spectrogram else _DOUBT_GREYS
    return _OVERLAY_COLOURS if is_over_spectrogram else MAP_COLOURS


def draw_spectrogram(
    axes: Axes, spectrogram: Tensor, where: dict[str, Any], darkest: float = _DARKEST
) -> None:
    """The spectrogram in light greys, a few outliers aside."""
    grey = array(spectrogram).T
    lightest, loudest = np.percentile(grey, [1, 99.5])
    darkness = np.clip((grey - lightest) / max(loudest - lightest, 1e-12), 0, 1)
    axes.imshow(darkest * darkness, cmap="gray_r", vmin=0, vmax=1, **where)


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
