"""How many patches a spectrogram is cut into (arXiv 2411.01710, Eq. 2)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from captum_spes.errors import ArgumentError

PAPER_PATCHES_PER_SECOND = (400, 500, 600)
PAPER_MAX_SECONDS = 7.5


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
        counts: list[float] = [n_patches] if isinstance(n_patches, int) else list(n_patches)
    else:
        rates = (
            [patches_per_second]
            if isinstance(patches_per_second, int | float)
            else list(patches_per_second)
        )
        _check_durations(seconds, frame_rate, max_seconds)
        # Frames are divided last: the product is then exact and halves round to even as
        # in the reference implementation.
        frames = n_frames if seconds is None else seconds * frame_rate
        limit = math.inf if max_seconds is None else max_seconds * frame_rate
        counts = [_positive(rate, "patches_per_second") * min(frames, limit) for rate in rates]
        counts = [round(count / frame_rate) for count in counts]
    if not counts:
        raise ArgumentError("no segmentation level asked for: give at least one scale.")
    return [
        max(1, int(_positive(count, "n_patches", allow_zero=n_patches is None))) for count in counts
    ]


def _check_durations(seconds: float | None, frame_rate: float, max_seconds: float | None) -> None:
    _positive(frame_rate, "frame_rate")
    for name, value in (("seconds", seconds), ("max_seconds", max_seconds)):
        if value is not None:
            _positive(value, name)


def _positive(value: float, name: str, allow_zero: bool = False) -> float:
    if not (value > 0 or (allow_zero and value == 0)):
        raise ArgumentError(f"{name} must be positive, got {value}.")
    return value


def as_time_major_batch(spectrogram: Tensor, time_dim: int) -> Tensor:
    """Return the spectrogram as ``(batch, time, freq)``, checked.

    Args:
        spectrogram (Tensor): ``(time, freq)`` or ``(batch, time, freq)``, or transposed.
        time_dim (int): Which of the last two dimensions is time, -2 or -1.
    """
    if spectrogram.dim() not in (2, 3):
        raise ArgumentError(
            "spectrogram must be (time, freq) or (batch, time, freq), got shape "
            f"{tuple(spectrogram.shape)}."
        )
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
