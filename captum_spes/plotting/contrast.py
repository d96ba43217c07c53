"""Figures of contrastive explanations: what speaks for a word, and what for its foil. They are
returned, never shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import CenteredNorm, LinearSegmentedColormap
from matplotlib.figure import Figure
from torch import Tensor

from captum_spes.plotting.figure import finished, panel
from captum_spes.plotting.figure import label as label_of
from captum_spes.plotting.spectrograms import (
    WORD_SIZE,
    MapPanel,
    array,
    draw_spectrogram,
    label_frequencies,
    map_size,
    placing,
)
from captum_spes.plotting.tokens import most_names, named, room
from captum_spes.plotting.words import write_words

# Orange and blue of Okabe and Ito are told apart by all kinds of colour vision.
_WORD, _FOIL = "#d55e00", "#0072b2"
_COLOURS = LinearSegmentedColormap.from_list("foil to word", [_FOIL, "#f7f7f7", _WORD])
# What is mostly noise speaks for neither.
_DOUBT_GREYS = LinearSegmentedColormap.from_list("noise", ["0.5", "0.97", "0.5"])
# Shares of the cells: those below the first are not coloured, those above the second fully.
_FAINT, _FULL = 80.0, 99.7
_MOST_LETTERS = 20
_STYLE: dict[str, Any] = {"fontsize": 10, "fontweight": "bold", "parse_math": False}


def contrast_figure(
    drawn: MapPanel,
    frame_times: Tensor,
    mel_frequencies: Tensor,
    names: tuple[str, str],
    *,
    spectrogram: Tensor | None,
    label: str,
    ax: Axes | None = None,
) -> Figure:
    """Draw a signed map, alone or over the spectrogram.

    Args:
        drawn: the map, positive for the word, negative for the foil, 0 for neither.
        frame_times: ``(time,)``, seconds.
        mel_frequencies: ``(freq,)``, Hz.
        names: word and foil.
        spectrogram: what the map is laid over; None for the map alone.
        label: of the colour bar.
        ax: what to draw into; None for a new figure.
    """
    figure, axes = panel(ax, *map_size(frame_times))
    values = array(drawn.saliency).T
    strength = np.abs(values)
    faint, full = np.percentile(strength, [_FAINT, _FULL])
    norm = CenteredNorm(halfrange=full if full > 0 else float(strength.max()) or 1.0)
    where = placing(frame_times, len(values))
    opacity: Any = None
    if spectrogram is not None:
        if not drawn.doubt:  # grey on grey would be read as the spectrogram
            draw_spectrogram(axes, spectrogram, where)
        opacity = 0.95 * np.clip((strength - faint) / max(full - faint, 1e-12), 0, 1)
    colours = _DOUBT_GREYS if drawn.doubt else _COLOURS
    axes.imshow(values, cmap=colours, norm=norm, alpha=opacity, **where)
    label_frequencies(axes, mel_frequencies)
    axes.set(xlabel="time (s)", ylabel="frequency (Hz)")
    words_height = write_words(axes, drawn.words, WORD_SIZE)
    axes.set_title(drawn.shown_title(90), parse_math=False, pad=6.0 + words_height)
    # The colours themselves, not how they cover the spectrogram.
    bar = axes.figure.colorbar(
        ScalarMappable(norm, colours), ax=axes, label=label, extend="both", extendfrac=0.04
    )
    _name_ends(bar.ax, names, words_height)
    return finished(figure, axes, bar.ax)


def contrast_token_figure(
    values: Tensor,
    tokens: Sequence[str],
    names: tuple[str, str],
    *,
    title: str,
    label: str,
    of_columns: str = "previous token",
    ax: Axes | None = None,
) -> Figure:
    """Draw a bar for each token: up for the word, down for the foil.

    Of many tokens every second, third ... is named, with its number, and all are drawn.
    """
    places, shown, note = named(tokens, most_names(ax)[0])
    width = 1.6 + 0.32 * len(shown)
    figure, axes = panel(ax, max(4.5, width), 3.4 + room(shown))
    heights = array(values)
    axes.bar(range(len(heights)), heights, color=[_WORD if h > 0 else _FOIL for h in heights])
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(places, shown, rotation=90, parse_math=False)
    axes.set_xlabel(f"{of_columns}{note}")
    axes.set_ylabel(label)
    largest = float(np.nanmax(np.abs(heights))) or 1.0
    axes.set_ylim(-1.3 * largest, 1.3 * largest)
    axes.margins(x=0.02)
    _name_halves(axes, names)
    axes.set_title(label_of(title, 90), parse_math=False)
    return finished(figure, axes)


def _name_ends(bar: Axes, names: tuple[str, str], words_height: float) -> None:
    """Write the word above a colour bar, higher than the spoken words beside it, and the foil below
    it, lower than the times."""
    word, foil = _ends(names)
    bar.set_title(word, color=_WORD, pad=12 + words_height, **_STYLE)
    bar.set_xlabel(foil, color=_FOIL, labelpad=22, **_STYLE)


def _name_halves(axes: Axes, names: tuple[str, str]) -> None:
    """Write the word into the upper half of a picture, and the foil into the lower one."""
    word, foil = _ends(names)
    place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
    axes.annotate(word, (0, 1), (5, -5), va="top", color=_WORD, **place, **_STYLE)
    axes.annotate(foil, (0, 0), (5, 5), va="bottom", color=_FOIL, **place, **_STYLE)


def _ends(names: tuple[str, str]) -> list[str]:
    return [f"for {label_of(name, _MOST_LETTERS)}" for name in names]
