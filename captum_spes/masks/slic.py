"""Feature masks whose patches follow the time-frequency patterns of a spectrogram."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from captum_spes.errors import ArgumentError, real_number
from captum_spes.masks.scales import (
    PAPER_MAX_SECONDS,
    PAPER_PATCHES_PER_SECOND,
    as_time_major_batch,
    like_spectrogram,
    requested_patches,
)


def slic_feature_mask(  # noqa: PLR0913
    spectrogram: Tensor,
    *,
    seconds: float | None = None,
    frame_rate: float = 100.0,
    time_dim: int = -2,
    patches_per_second: float | Sequence[float] = PAPER_PATCHES_PER_SECOND,
    max_seconds: float | None = PAPER_MAX_SECONDS,
    n_patches: int | Sequence[int] | None = None,
    sigma: float = 0.0,
    compactness: float = 0.1,
) -> list[Tensor]:
    r"""
    Cut a spectrogram into patches of similar energy with SLIC, at several scales.

    The spectrogram is scaled to [0, 1] by its own minimum and maximum and segmented by
    scikit-image's SLIC into :math:`k = \min(seconds, max\_seconds) \cdot
    patches\_per\_second` patches per level (arXiv 2411.01710, section 4.1.1 and Eq. 2).
    SLIC seeds its patches on a grid of whole cells, so the number obtained differs from
    the number asked for, and nearby scales can give *the same* patches: with 80 mel bins
    the paper's 400, 500 and 600 are one grid of 4 x 4 cells for clips of up to 7.5 s.
    :func:`captum_spes.masks.describe_levels` counts patches and distinct levels; scales
    a factor of two or more apart really differ.

    Args:

        spectrogram (Tensor): ``(time, freq)`` or ``(batch, time, freq)``; each example is
                    segmented on its own.
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
        n_patches (int or sequence of int, optional): A fixed number of patches per
                    level whatever the duration (the paper's ablation takes 2000, 2500,
                    3000); ``patches_per_second`` and ``max_seconds`` are then ignored.
                    Default: None
        sigma (float, optional): Width in cells of the Gaussian smoothing before
                    segmentation; 10 gives the paper's "fixed grid" ablation.
                    Default: 0.0
        compactness (float, optional): Weight of distance against energy; large values
                    give a grid.
                    Default: 0.1

    Returns:
        *list[Tensor]* of **feature masks**: one int64 Tensor per level, shaped like the
        spectrogram, labels from 0 for each example.

    Raises:
        ArgumentError: the spectrogram has the wrong number of dimensions, is empty or not
            finite, or a scale is not positive.

    Examples::

        >>> masks = slic_feature_mask(torch.rand(200, 80), patches_per_second=(60, 240))
        >>> [tuple(mask.shape) for mask in masks]
        [(200, 80), (200, 80)]
    """
    if not real_number("compactness", compactness) > 0 or not real_number("sigma", sigma) >= 0:
        raise ArgumentError(
            f"compactness must be positive and sigma not negative, got {compactness}, {sigma}."
        )
    batch = as_time_major_batch(spectrogram, time_dim)
    counts = requested_patches(
        batch.shape[1],
        seconds=seconds,
        frame_rate=frame_rate,
        patches_per_second=patches_per_second,
        max_seconds=max_seconds,
        n_patches=n_patches,
    )
    # SLIC leaves other threads their turn; as many are used as torch uses.
    with ThreadPoolExecutor(max(1, torch.get_num_threads())) as threads:
        levels = [
            [threads.submit(_segment, example, count, sigma, compactness) for example in batch]
            for count in counts
        ]
        found = [[segmented.result() for segmented in level] for level in levels]
    return [like_spectrogram(level, spectrogram, time_dim) for level in found]


def _segment(spectrogram: Tensor, n_patches: int, sigma: float, compactness: float) -> Tensor:
    # Imported here because it takes most of a second, which plain SPES need not spend.
    from skimage.segmentation import slic

    low, high = spectrogram.min(), spectrogram.max()
    scaled = (spectrogram - low) / (high - low) if high > low else torch.zeros_like(spectrogram)
    labels = slic(
        scaled.numpy(),
        n_segments=n_patches,
        sigma=sigma,
        compactness=compactness,
        channel_axis=None,
        start_label=0,
    )
    return torch.from_numpy(labels).to(torch.int64)
