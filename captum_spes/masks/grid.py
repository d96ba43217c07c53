"""Feature masks of equal rectangles, which ignore what is in the spectrogram."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from captum_spes.masks.scales import (
    PAPER_MAX_SECONDS,
    PAPER_PATCHES_PER_SECOND,
    as_time_major_batch,
    like_spectrogram,
    requested_patches,
)


def grid_feature_mask(
    spectrogram: Tensor,
    *,
    seconds: float | None = None,
    frame_rate: float = 100.0,
    time_dim: int = -2,
    patches_per_second: float | Sequence[float] = PAPER_PATCHES_PER_SECOND,
    max_seconds: float | None = PAPER_MAX_SECONDS,
    n_patches: int | Sequence[int] | None = None,
) -> list[Tensor]:
    r"""
    Cut a spectrogram into a grid of rectangles, as square in cells as their number allows.

    The control for :func:`slic_feature_mask`: patches of the same size that follow no
    time-frequency pattern.

    Args:

        spectrogram (Tensor): ``(time, freq)`` or ``(batch, time, freq)``; only its shape
                    matters.
        seconds (float, optional): Duration in seconds.
                    Default: None, the number of frames divided by ``frame_rate``
        frame_rate (float, optional): Frames per second.
                    Default: 100.0
        time_dim (int, optional): The dimension of time; -1 for ``(freq, time)``.
                    Default: -2
        patches_per_second (float or sequence of float, optional): One value per level.
                    Default: (400, 500, 600)
        max_seconds (float, optional): Duration from which the number of patches no
                    longer grows; None for no limit.
                    Default: 7.5
        n_patches (int or sequence of int, optional): A fixed number of patches per level,
                    whatever the duration.
                    Default: None

    Returns:
        *list[Tensor]* of **feature masks**: one int64 Tensor per level, shaped like the
        spectrogram, labels from 0, time first. The number of patches is the nearest that
        a grid gives.

    Raises:
        ArgumentError: the spectrogram has the wrong number of dimensions, is empty or not
            finite, or a scale is not positive.

    Examples::

        >>> grid_feature_mask(torch.zeros(4, 4), n_patches=4)[0]
        tensor([[0, 0, 1, 1],
                [0, 0, 1, 1],
                [2, 2, 3, 3],
                [2, 2, 3, 3]])
    """
    batch = as_time_major_batch(spectrogram, time_dim)
    counts = requested_patches(
        batch.shape[1],
        seconds=seconds,
        frame_rate=frame_rate,
        patches_per_second=patches_per_second,
        max_seconds=max_seconds,
        n_patches=n_patches,
    )
    n_frames, n_bins = batch.shape[1:]
    return [
        like_spectrogram([_grid(n_frames, n_bins, count)] * len(batch), spectrogram, time_dim)
        for count in counts
    ]


def _grid(n_frames: int, n_bins: int, n_patches: int) -> Tensor:
    side = math.sqrt(n_frames * n_bins / n_patches)
    rows = min(n_frames, max(1, round(n_frames / side)))
    columns = min(n_bins, max(1, round(n_patches / rows)))
    time = torch.arange(n_frames, device="cpu") * rows // n_frames
    frequency = torch.arange(n_bins, device="cpu") * columns // n_bins
    return time[:, None] * columns + frequency[None, :]
