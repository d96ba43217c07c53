"""How many patches a spectrogram is cut into (arXiv 2411.01710, Eq. 2)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor

from captum_spes.errors import ArgumentError, ArgumentTypeError, listed, positive_number

PAPER_PATCHES_PER_SECOND = (400, 500, 600)
PAPER_MAX_SECONDS = 7.5
# From 60 to 400 patches per second in equal ratios: many sizes, with borders in many places.
EFFICIENT_PATCHES_PER_SECOND = (
    60, 68, 77, 88, 99, 113, 128, 145, 165, 187, 213, 241, 274, 311, 353, 400,
)  # fmt: skip


def requested_patches(
    n_frames: int,
    *,
    seconds: float | None,
    frame_rate: float,
    patches_per_second: float | Sequence[float],
    max_seconds: float | None,
    n_patches: int | Sequence[int] | None,
) -> list[int]:
    """Return the number of patches to ask for, one per level, at least 1 each."""
    if n_patches is not None:
        counts = [int(positive_number("n_patches", count)) for count in listed(n_patches)]
    else:
        _check_durations(seconds, frame_rate, max_seconds)
        # Exact decimals, because halves are rounded to even as in the reference
        # implementation: 66.6 * 7.5 is 499.5 and not a little less.
        rate_of_frames = _exact(frame_rate)
        frames = _exact(n_frames) if seconds is None else _exact(seconds) * rate_of_frames
        if max_seconds is not None:
            frames = min(frames, _exact(max_seconds) * rate_of_frames)
        counts = [
            round(_exact(positive_number("patches_per_second", rate)) * frames / rate_of_frames)
            for rate in listed(patches_per_second)
        ]
    if not counts:
        raise ArgumentError("no segmentation level asked for: give at least one scale.")
    return [max(1, count) for count in counts]


def _exact(value: float) -> Fraction:
    """The number that was typed: the shortest decimal that reads back as ``value``."""
    return Fraction(repr(float(value)))


def _check_durations(seconds: float | None, frame_rate: float, max_seconds: float | None) -> None:
    positive_number("frame_rate", frame_rate)
    for name, value in (("seconds", seconds), ("max_seconds", max_seconds)):
        if value is not None:
            positive_number(name, value)


def as_time_major_batch(spectrogram: Tensor, time_dim: int) -> Tensor:
    """Return the spectrogram as ``(batch, time, freq)``, checked.

    Args:
        spectrogram (Tensor): ``(time, freq)`` or ``(batch, time, freq)``, or transposed.
        time_dim (int): Which of the last two dimensions is time, -2 or -1.
    """
    if not isinstance(spectrogram, Tensor):
        raise ArgumentTypeError(f"spectrogram must be a Tensor, got {type(spectrogram).__name__}.")
    if spectrogram.dim() not in (2, 3):
        raise ArgumentError(
            "spectrogram must be (time, freq) or (batch, time, freq), got shape "
            f"{tuple(spectrogram.shape)}."
        )
    if isinstance(time_dim, bool) or time_dim not in range(-2, spectrogram.dim()):
        raise ArgumentError(f"time_dim must name one of the last two dimensions, got {time_dim!r}.")
    dimension = time_dim if time_dim < 0 else time_dim - spectrogram.dim()
    if dimension not in (-2, -1):
        raise ArgumentError(f"time_dim must name one of the last two dimensions, got {time_dim}.")
    batch = spectrogram.detach().to("cpu", torch.float32)
    batch = batch if batch.dim() == 3 else batch.unsqueeze(0)
    batch = batch if dimension == -2 else batch.transpose(-1, -2)
    if batch.numel() == 0:
        raise ArgumentError(f"spectrogram is empty: its shape is {tuple(spectrogram.shape)}.")
    if not bool(torch.isfinite(batch).all()):
        raise ArgumentError("spectrogram holds NaN or infinity; segment finite values only.")
    return batch


def like_spectrogram(labels: list[Tensor], spectrogram: Tensor, time_dim: int) -> Tensor:
    """Stack time-major label maps of a batch into the layout of the spectrogram."""
    stacked = torch.stack(labels)
    is_time_last = time_dim in (-1, spectrogram.dim() - 1)
    stacked = stacked.transpose(-1, -2).contiguous() if is_time_last else stacked
    stacked = stacked if spectrogram.dim() == 3 else stacked.squeeze(0)
    return stacked.to(spectrogram.device)
