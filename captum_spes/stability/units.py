"""In what units an input is perturbed, and in what units attributions are compared."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from captum_spes.alignment import Alignment
from captum_spes.errors import ArgumentError
from captum_spes.masks import slic_feature_mask, span_feature_mask, window_feature_mask

PATCHES_PER_SECOND = (60.0, 120.0)
# Of a window's duration: frames of 50 per second may be 49.9.
_TOLERANCE = 0.05
_NAMED = ("cell", "patch", "phone", "word")
_WINDOW = re.compile(r"([1-9]\d*)ms")


@dataclass(frozen=True)
class View:
    """An utterance as one of a model's inputs.

    Attributes:
        input: "waveform", "spectrogram" or "encoder".
        values: ``(time, ...)``.
        baseline: the removed value, of the same shape.
        frame_rate: entries of the first dimension per second.
        spectrogram: ``(time, freq)``, what patches follow; None where there is no frequency.
        start: seconds, the middle of the first entry; None where it begins at 0.
    """

    input: str
    values: Tensor
    baseline: Tensor
    frame_rate: float
    spectrogram: Tensor | None = None
    start: float | None = None


class UnitPair(NamedTuple):
    """What is perturbed, and what attributions are averaged over before they are compared.

    Attributes:
        perturbed: "cell", "patch", "phone", "word", or a window such as "20ms". Gradient methods
            perturb nothing and have cells.
        reported: likewise.
    """

    perturbed: str
    reported: str

    @property
    def is_aggregated(self) -> bool:
        return self.perturbed != self.reported

    def __str__(self) -> str:
        return ":".join(self) if self.is_aggregated else self.reported


def parse_units(text: str) -> UnitPair:
    r"""
    Read a unit, or two with a colon between.

    Args:

        text (str): "word" (perturbed and reported in words), or "20ms:word" (perturbed in windows
                    of 20 ms, averaged over words).

    Returns:
        *UnitPair*.

    Raises:
        ArgumentError: it is no such text, or the reported unit is finer than the perturbed one.

    Examples::

        >>> parse_units("20ms:word")
        UnitPair(perturbed='20ms', reported='word')
    """
    names = text.strip().split(":")
    if len(names) > 2 or not all(name in _NAMED or _WINDOW.fullmatch(name) for name in names):
        raise ArgumentError(
            f"{text!r} is no unit: give {', '.join(_NAMED)} or a window such as 20ms, or two with "
            "a colon between, what is perturbed and what is reported: 20ms:word."
        )
    pair = UnitPair(names[0], names[-1])
    if _is_finer(pair.reported, pair.perturbed):
        raise ArgumentError(f"{text!r} reports in finer units than it perturbs.")
    return pair


def _is_finer(unit: str, other: str) -> bool:
    if unit == "cell":
        return other != "cell"
    windows = [_WINDOW.fullmatch(name) for name in (unit, other)]
    if windows[0] and windows[1]:
        return int(windows[0][1]) < int(windows[1][1])
    if other == "word":
        return unit != "word"
    return other == "phone" and (unit == "patch" or bool(windows[0]))


def needs_alignment(unit: str) -> bool:
    """Whether a unit follows from the times of words or phones."""
    return unit in ("word", "phone")


def is_possible(unit: str, view: View) -> bool:
    """Whether an input has such units: patches need frequencies, windows whole frames."""
    if window := _WINDOW.fullmatch(unit):
        frames = int(window[1]) / 1000 * view.frame_rate
        return frames > 0.9 and abs(frames - round(frames)) < _TOLERANCE * frames
    return unit != "patch" or view.spectrogram is not None


def reported_labels(unit: str, view: View, alignment: Alignment | None) -> Tensor:
    r"""
    Number the units that attributions are averaged over.

    Args:

        unit (str): One of those of :class:`UnitPair`.
        view (View): The utterance.
        alignment (Alignment or None): Times of its words and phones.

    Returns:
        *Tensor*: a **feature mask**, int64, shaped like ``view.values``; -1 outside of all words or
        phones.

    Raises:
        ArgumentError: the unit needs times that are not known, or patches of a waveform.

    Examples::

        >>> view = View("waveform", torch.zeros(4), torch.zeros(4), frame_rate=1.0)
        >>> reported_labels("2000ms", view, None)
        tensor([0, 0, 1, 1])
    """
    if unit == "patch":
        return _patches(view, PATCHES_PER_SECOND[:1])[0]
    return _spans(unit, view, alignment, perturb_gaps=False)


def perturbed_masks(
    unit: str,
    view: View,
    alignment: Alignment | None,
    patches_per_second: tuple[float, ...] = PATCHES_PER_SECOND,
) -> list[Tensor]:
    r"""
    Cut an input into the features that are perturbed, pauses between words among them.

    Args:

        unit (str): One of those of :class:`UnitPair`.
        view (View): The utterance.
        alignment (Alignment or None): Times of its words and phones.
        patches_per_second (tuple of float, optional): Of each level of patches.
                    Default: (60, 120)

    Returns:
        *list[Tensor]* of **feature masks**, one per segmentation level (patches have several,
        other units one), shaped like ``view.values``, labels from 0 without gaps.

    Raises:
        ArgumentError: see :func:`reported_labels`.

    Examples::

        >>> view = View("waveform", torch.zeros(4), torch.zeros(4), frame_rate=1.0)
        >>> perturbed_masks("word", view, Alignment((Interval("so", 1.0, 3.0),)))
        [tensor([1, 0, 0, 2])]
    """
    if unit == "patch":
        return _patches(view, patches_per_second)
    labels = _spans(unit, view, alignment, perturb_gaps=True)
    # A word without any frame has no label, and Captum's methods expect none to be missing.
    return [labels.unique(return_inverse=True)[1]]


def unit_means(maps: Tensor, labels: Tensor) -> Tensor:
    r"""
    Average attributions over units.

    Args:

        maps (Tensor): ``(items, *features)``.
        labels (Tensor): ``(*features)``, from :func:`reported_labels`.

    Returns:
        *Tensor*, ``(items, units)``: of units that have an entry.

    Examples::

        >>> unit_means(torch.tensor([[1.0, 3.0, 9.0, 5.0]]), torch.tensor([0, 0, -1, 2]))
        tensor([[2., 5.]])
    """
    is_inside = labels >= 0
    numbers = labels[is_inside].unique(return_inverse=True)[1]
    counts = torch.bincount(numbers)
    values = maps[:, is_inside].double()
    sums = values.new_zeros(len(maps), len(counts)).index_add_(1, numbers, values)
    return (sums / counts).float()


def _patches(view: View, patches_per_second: tuple[float, ...]) -> list[Tensor]:
    if view.spectrogram is None:
        raise ArgumentError(f"the {view.input} has no frequencies, which patches need.")
    levels = slic_feature_mask(
        view.spectrogram, frame_rate=view.frame_rate, patches_per_second=patches_per_second
    )
    extra = view.values.dim() - 2
    shape = (*view.spectrogram.shape, *[1] * extra)
    return [level.reshape(shape).expand(view.values.shape).contiguous() for level in levels]


def _spans(unit: str, view: View, alignment: Alignment | None, *, perturb_gaps: bool) -> Tensor:
    values = view.values
    if unit == "cell":
        return torch.arange(values.numel()).reshape(values.shape)
    if window := _WINDOW.fullmatch(unit):
        width = int(window[1]) / 1000
        return window_feature_mask(values, width, frame_rate=view.frame_rate, time_dim=0)
    intervals = () if alignment is None else getattr(alignment, f"{unit}s")
    if not intervals:
        raise ArgumentError(f"the unit {unit!r} needs the times of the {unit}s.")
    # Spans are told apart by the middle of each entry, half an entry after its number.
    shift = 0.0 if view.start is None else 0.5 / view.frame_rate - view.start
    spans = [(max(0.0, i.start + shift), max(0.0, i.end + shift)) for i in intervals]
    return span_feature_mask(
        values, spans, frame_rate=view.frame_rate, time_dim=0, perturb_gaps=perturb_gaps
    )
