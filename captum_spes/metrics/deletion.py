"""Which cells are removed at each step of the deletion metric."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from captum_spes.errors import ArgumentError, ArgumentTypeError, real_number, several
from captum_spes.maps import top_cells
from captum_spes.metrics.removal import Fill, filled
from captum_spes.metrics.size import steps_of
from captum_spes.speech.models import SpeechInput

# Which cells go first.
ORDERS = ("most", "least")


def deletion_masks(saliency_map: Tensor, percentages: Sequence[int] = range(0, 101, 5)) -> Tensor:
    r"""
    Mark the most salient cells of a map, step by step (arXiv 2411.01710, section 5).

    At p percent the ``floor(cells * p / 100)`` cells with the highest scores are marked.
    Among equal scores the later cell in time-major order goes first.

    Args:

        saliency_map (Tensor): ``(time, freq)``, finite; usually a sentence-level map.
        percentages (sequence of int, optional): Steps, each in [0, 100].
                    Default: 0, 5, ..., 100

    Returns:
        *Tensor*: bool ``(steps, time, freq)``, True = removed.

    Raises:
        ArgumentError: the map is not two-dimensional or not finite, or a percentage is
            out of range.

    Examples::

        >>> deletion_masks(torch.tensor([[0.0, 1.0], [2.0, 3.0]]), [0, 50])
        tensor([[[False, False],
                 [False, False]],
        <BLANKLINE>
                [[False, False],
                 [ True,  True]]])
    """
    if not isinstance(saliency_map, Tensor):
        raise ArgumentTypeError(
            f"saliency_map must be a Tensor, got {type(saliency_map).__name__}."
        )
    given = several("percentages", getattr(percentages, "tolist", lambda: percentages)(), "numbers")
    for percent in given:
        if not 0 <= real_number("each of percentages", percent) <= 100:
            raise ArgumentError(f"percentages must lie in [0, 100], got {given}.")
    # Integer arithmetic: 0.07 * 100 is more than 7 in floating point.
    counts = (saliency_map.numel() * torch.as_tensor(given, device="cpu")) // 100
    return top_cells(saliency_map, [int(count) for count in counts])


def perturbed(
    speech: SpeechInput,
    saliency_map: Tensor,
    fill: Tensor | Fill,
    percentages: Sequence[int],
    insertion: bool = False,
    order: str = "most",
) -> Tensor:
    """Remove, or keep only, the first shares of a map: ``(steps, time, freq)``.

    Args:
        speech: the utterance.
        saliency_map: ``(time, freq)``.
        fill: what removed cells become: a Tensor that broadcasts to ``(time, freq)``, or a function
            of which cells are removed.
        percentages: of the cells, at each step.
        insertion: whether to keep only these cells instead of removing them.
        order: "most", the most salient cells first, or "least".
    """
    if saliency_map.shape != speech.spectrogram.shape:
        raise ArgumentError(
            f"the attribution has (time, freq) = {tuple(saliency_map.shape)} and the audio "
            f"{tuple(speech.spectrogram.shape)}: it explains another recording."
        )
    is_first = deletion_masks(-saliency_map if order == "least" else saliency_map, percentages)
    return filled(fill, ~is_first if insertion else is_first, speech.spectrogram)


def percentages_of(step: float) -> list[int]:
    """The percentages of a curve with this step; raise where they are not whole."""
    percentages = steps_of(step, full=100)
    if any(percent != round(percent) for percent in percentages):
        raise ArgumentError(f"step must be a whole number of percent, got {step}.")
    return [round(percent) for percent in percentages]
