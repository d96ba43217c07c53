"""Feature masks of time: windows, words, phones; for spectrograms and for waveforms."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from captum_spes.errors import (
    ArgumentError,
    dimension,
    instance_of,
    positive_number,
    time_spans,
)


def window_feature_mask(
    inputs: Tensor, width: float = 0.02, *, frame_rate: float = 100.0, time_dim: int = -2
) -> Tensor:
    r"""
    Cut an input into windows of equal duration.

    Args:

        inputs (Tensor): A spectrogram, a waveform or any features with a dimension of time;
                    only its shape matters.
        width (float, optional): Seconds per window, rounded to whole frames, at least one.
                    Default: 0.02
        frame_rate (float, optional): Frames (of a waveform: samples) per second.
                    Default: 100.0
        time_dim (int, optional): The dimension of time; -1 for a waveform.
                    Default: -2

    Returns:
        *Tensor*: a **feature mask**, int64, shaped like ``inputs``; labels from 0. The last window
        can be shorter.

    Raises:
        ArgumentError: the input has no frame, or the width or the rate is not positive.

    Examples::

        >>> window_feature_mask(torch.zeros(5, 2), 0.02)[:, 0]
        tensor([0, 0, 1, 1, 2])
    """
    _check(inputs, time_dim, frame_rate)
    frames = max(1, round(positive_number("width", width) * frame_rate))
    return _like(torch.arange(inputs.shape[time_dim], device="cpu") // frames, inputs, time_dim)


def span_feature_mask(
    inputs: Tensor,
    spans: Sequence[tuple[float, float]],
    *,
    frame_rate: float = 100.0,
    time_dim: int = -2,
    perturb_gaps: bool = True,
) -> Tensor:
    r"""
    Cut an input at the times of words or phones.

    Args:

        inputs (Tensor): A spectrogram, a waveform or any features with a dimension of time;
                    only its shape matters.
        spans (sequence of (float, float)): Start and end in seconds, in order, not overlapping: of
                    the words of an alignment, for example. A frame belongs to the span that its
                    middle lies in.
        frame_rate (float, optional): Frames (of a waveform: samples) per second.
                    Default: 100.0
        time_dim (int, optional): The dimension of time; -1 for a waveform.
                    Default: -2
        perturb_gaps (bool, optional): Whether each stretch before, between and after the spans is a
                    feature of its own; otherwise it has the label -1 and is never perturbed.
                    Default: True

    Returns:
        *Tensor*: a **feature mask**, int64, shaped like ``inputs``. Label i is span i; a span
        without any frame has no cell. Gaps follow, numbered from ``len(spans)`` on.

    Raises:
        ArgumentError: the input has no frame, the rate is not positive, or spans end before they
            start or overlap.

    Examples::

        >>> span_feature_mask(torch.zeros(6, 1), [(0.01, 0.03), (0.03, 0.04)])[:, 0]
        tensor([2, 0, 0, 1, 3, 3])
    """
    _check(inputs, time_dim, frame_rate)
    spans, last = time_spans("spans", spans), 0.0
    for start, end in spans:
        if not last <= start <= end:
            raise ArgumentError(
                f"the span from {start} to {end} s does not follow {last} s; spans need ascending "
                "times and must not overlap."
            )
        last = end
    count = inputs.shape[time_dim]
    times = (torch.arange(count, dtype=torch.float64, device="cpu") + 0.5) / frame_rate
    labels = torch.full((count,), -1, device="cpu")
    for number, (start, end) in enumerate(spans):
        labels[(times >= start) & (times < end)] = number
    if perturb_gaps:
        is_gap = labels < 0
        starts = is_gap & ~torch.cat([is_gap.new_zeros(1), is_gap[:-1]])
        labels = torch.where(is_gap, len(spans) + starts.cumsum(0) - 1, labels)
    return _like(labels, inputs, time_dim)


def _check(inputs: Tensor, time_dim: int, frame_rate: float) -> None:
    instance_of("inputs", inputs, Tensor, "a Tensor")
    if inputs.numel() == 0:
        raise ArgumentError(
            f"an input of shape {tuple(inputs.shape)} has no frames in dimension {time_dim}."
        )
    dimension("time_dim", time_dim, inputs.dim())
    positive_number("frame_rate", frame_rate)


def _like(labels: Tensor, inputs: Tensor, time_dim: int) -> Tensor:
    shape = [1] * inputs.dim()
    shape[time_dim] = -1
    return labels.to(inputs.device).reshape(shape).expand(inputs.shape).contiguous()
