"""Where a map is strongest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from captum_spes.maps import Peak, is_constant, strongest_span

if TYPE_CHECKING:
    from captum_spes.speech.result import SpeechToTextAttributionResult

# Moving averages that steady the reading of a noisy map: 90 ms, and 5 mel bins.
_SMOOTHING_SECONDS = 0.09
_SMOOTHING_BINS = 5


def strongest_region(
    result: SpeechToTextAttributionResult, saliency: Tensor
) -> tuple[Peak | None, Peak | None]:
    """The strongest stretch of time, in seconds, and within it of frequencies, in Hz; None for a
    map that is constant there."""
    times, frequencies = result.frame_times, result.mel_frequencies
    frame_seconds = float(times[1] - times[0]) if len(times) > 1 else _SMOOTHING_SECONDS
    width = max(1, round(_SMOOTHING_SECONDS / frame_seconds))
    time = band = None
    if not is_constant(saliency, 0):
        time = strongest_span(saliency.mean(1), times, smoothing=width)
        saliency = saliency[(times >= time.start) & (times <= time.end)]
    if not is_constant(saliency, 1):
        band = strongest_span(saliency.mean(0), frequencies, smoothing=_SMOOTHING_BINS)
    return time, band
