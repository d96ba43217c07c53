"""From frames to spans of time: words, phones, windows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from captum_spes.errors import ArgumentError, instance_of, real_number, time_spans


def frames_within(frame_times: Tensor, start: float, end: float) -> Tensor:
    r"""
    Which frames lie in a span of time.

    Args:

        frame_times (Tensor): ``(time,)``, seconds, the middle of each frame.
        start (float): Seconds.
        end (float): Seconds, not before ``start``.

    Returns:
        *Tensor* of bool, ``(time,)``: frames whose middle lies in ``[start, end)``; for a span
        between two middles, the nearest frame; none for a span before the first or after the
        last frame.

    Raises:
        ArgumentError: the end lies before the start, or a time is no number.

    Examples::

        >>> frames_within(torch.tensor([0.0, 0.01, 0.02]), 0.01, 0.02)
        tensor([False,  True, False])
    """
    instance_of("frame_times", frame_times, Tensor, "a Tensor")
    start, end = real_number("start", start), real_number("end", end)
    if not start <= end:
        raise ArgumentError(f"a span needs start <= end, got {start} and {end}.")
    inside = (frame_times >= start) & (frame_times < end)
    if not inside.any() and len(frame_times) and _overlaps(frame_times, start, end):
        middle = (start + end) / 2
        inside[(frame_times - middle).abs().argmin()] = True
    return inside


def time_mean(maps: Tensor, frame_times: Tensor, spans: Sequence[tuple[float, float]]) -> Tensor:
    r"""
    Average maps over the frames of each span of time, for example of each phone.

    Args:

        maps (Tensor): ``(..., time, freq)``.
        frame_times (Tensor): ``(time,)``, seconds.
        spans (sequence of (float, float)): Start and end in seconds.

    Returns:
        *Tensor* ``(..., spans, freq)``; NaN for a span without any frame.

    Raises:
        ArgumentError: ``frame_times`` does not fit, or a span ends before it starts.

    Examples::

        >>> times = torch.tensor([0.0, 0.01, 0.02])
        >>> time_mean(torch.tensor([[1.0], [3.0], [8.0]]), times, [(0.0, 0.015)])
        tensor([[2.]])
    """
    instance_of("maps", maps, Tensor, "a Tensor")
    instance_of("frame_times", frame_times, Tensor, "a Tensor")
    if maps.dim() < 2:
        raise ArgumentError(f"maps must be (..., time, freq), got shape {tuple(maps.shape)}.")
    spans = time_spans("spans", spans)
    if frame_times.shape != (maps.shape[-2],):
        raise ArgumentError(
            f"maps have {maps.shape[-2]} frames, frame_times has shape {tuple(frame_times.shape)}."
        )
    rows = [maps[..., frames_within(frame_times, *span), :].mean(-2) for span in spans]
    return torch.stack(rows, -2) if rows else maps[..., :0, :]


def _overlaps(frame_times: Tensor, start: float, end: float) -> bool:
    # Half a frame beyond the outer middles belongs to the outer frames.
    half = float(frame_times[1] - frame_times[0]) / 2 if len(frame_times) > 1 else 0.0
    first, last = float(frame_times[0]) - half, float(frame_times[-1]) + half
    return end >= first and start <= last
