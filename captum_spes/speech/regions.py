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
_TIME, _FREQUENCY = 0, 1


def strongest_region(
    result: SpeechToTextAttributionResult, saliency: Tensor
) -> tuple[Peak | None, Peak | None]:
    """The strongest stretch of time, in seconds, and within it of frequencies, in Hz; None where
    the map says nothing over time, or over frequency."""
    times, frequencies = result.frame_times, result.mel_frequencies
    frame_seconds = float(times[1] - times[0]) if len(times) > 1 else _SMOOTHING_SECONDS
    width = max(1, round(_SMOOTHING_SECONDS / frame_seconds))
    time = band = None
    if _is_told(result, saliency, _TIME):
        time = strongest_span(saliency.mean(1), times, smoothing=width)
        saliency = saliency[(times >= time.start) & (times <= time.end)]
    if _is_told(result, saliency, _FREQUENCY):
        band = strongest_span(saliency.mean(0), frequencies, smoothing=_SMOOTHING_BINS)
    return time, band


def has_frequency(result: SpeechToTextAttributionResult) -> bool:
    """Whether the maps of an explanation say anything of frequency: those of attention do not, nor
    those of patches of time."""
    return any(_is_told(result, saliency, _FREQUENCY) for saliency in result.spectrogram_attr)


def _is_told(result: SpeechToTextAttributionResult, saliency: Tensor, axis: int) -> bool:
    """Whether a map says anything along an axis.

    Patches of SPES that all reach from end to end of an axis say nothing there. Its efficient
    estimator weighs the cells of a patch by how much the audio has in them, so that the map has
    the pattern of the spectrogram all the same, which no sample tested.
    """
    if is_constant(saliency, axis):
        return False
    if result.method != "SPES":
        return True
    return not all(bool((mask == mask.narrow(axis, 0, 1)).all()) for mask in result.feature_masks)
