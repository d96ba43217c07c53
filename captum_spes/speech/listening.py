"""The parts of a recording that an explanation marks, as sound.

Cells of a map become a mask on the short-time Fourier transform of the recording at its own rate.
A mask steps from cell to cell in half a cosine, so that nothing clicks, and what it keeps has the
level that it had.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.errors import ArgumentError, real_number, shown, truth, warn_caller, whole_number
from captum_spes.io.samples import Recording, found_again, read_original
from captum_spes.io.sound import Sound
from captum_spes.maps import top_cells
from captum_spes.speech.finding import find_phrase

if TYPE_CHECKING:
    from captum_spes.speech.result import SpeechToTextAttributionResult

# Of the transform: a little longer than the windows of most models, so that it parts what they do.
_WINDOW_SECONDS = 0.032
_HOPS_PER_WINDOW = 4
# A mask multiplied is a filter, whose ring needs room behind the window.
_ROOM = 2
# From one cell to the next; never more than from middle to middle.
_EDGE_SECONDS, _EDGE_HERTZ = 0.006, 60.0
# What is transformed at once.
_BLOCK_SECONDS = 30.0
# By which a recording may differ from what was explained: formats round.
_MOST_DIFFERENCE = 0.1

Samples = NDArray[np.float64]


def listened(
    result: SpeechToTextAttributionResult,
    cells: Tensor,
    complement: bool,
    audio: Recording | None,
    sampling_rate: int,
) -> Sound:
    """The recording that was explained with some cells only, or without them; see
    ``SpeechToTextAttributionResult.listen``."""
    truth("complement", complement)
    recorded, rate = recording_of(result.parameters, result.seconds, audio, sampling_rate)
    samples = recorded.astype(np.float64)
    start, _ = window_of(result.parameters)
    times = result.frame_times.double().numpy() - start
    kept = kept_samples(
        samples, rate, cells.numpy(), times, result.mel_frequencies.double().numpy()
    )
    return Sound((samples - kept if complement else kept).astype(np.float32), rate)


# What is kept ---------------------------------------------------------------------------


def salient_cells(
    result: SpeechToTextAttributionResult,
    token: int | None,
    keep: float,
    word: str | int | None,
    occurrence: int,
) -> Tensor:
    """The most salient cells, bool ``(time, freq)``; see
    ``SpeechToTextAttributionResult.listen``."""
    share = real_number("keep", keep)
    if not 0 < share <= 1:
        raise ArgumentError(f"keep must be a share above 0 and at most 1, got {shown(keep)}.")
    saliency = _map_of(result, token, word, whole_number("occurrence", occurrence, 1))
    if float(saliency.max()) == float(saliency.min()) and share < 1:
        warn_caller("the map is the same everywhere: which parts are kept means nothing.")
    # 0.07 * 100 is more than 7 in floating point.
    count = max(1, math.floor(round(share * saliency.numel(), 6)))
    return top_cells(saliency, [count])[0].cpu()


def _map_of(
    result: SpeechToTextAttributionResult,
    token: int | None,
    word: str | int | None,
    occurrence: int,
) -> Tensor:
    if token is not None and word is not None:
        raise ArgumentError("token and word both say what to listen to: give one of them.")
    rows: tuple[int, ...] | None = None
    if token is not None:
        rows = (_index("token", token, len(result.output_tokens), "tokens"),)
    elif word is not None:
        rows = rows_of_word(result, word, occurrence)
    if "contrast" in result.parameters:  # one row, whatever was asked for, and signed
        return result.contrast_attr().spectrogram_attr
    if rows is None:
        return result.sentence_attr().spectrogram_attr
    return result.normalized().spectrogram_attr[list(rows)].mean(0)


def rows_of_word(
    result: SpeechToTextAttributionResult, word: str | int, occurrence: int = 1
) -> tuple[int, ...]:
    """The tokens of a word of the output, by its index, or of a phrase."""
    words = result.words
    if not isinstance(word, str):
        if not words:
            raise ArgumentError("the output has no words: name a token.")
        return words[_index("word", word, len(words), "words")].token_indices
    places = find_phrase(word, [own.word for own in words], "the output")
    if occurrence > len(places):
        raise ArgumentError(
            f"occurrence must be at most {len(places)}, got {occurrence}: so often the output "
            f"holds {word!r}."
        )
    first, last = places[occurrence - 1]
    return tuple(row for own in words[first : last + 1] for row in own.token_indices)


def _index(name: str, value: object, length: int, of: str) -> int:
    is_index = isinstance(value, Integral) and not isinstance(value, bool)
    if not is_index or not -length <= value < length:  # type: ignore[operator]
        raise ArgumentError(f"{name} must be an index of the {length} {of}, got {shown(value)}.")
    return int(value)  # type: ignore[call-overload,no-any-return]


# The recording --------------------------------------------------------------------------


def recording_of(
    parameters: Mapping[str, Any], seconds: float, audio: Recording | None, sampling_rate: int
) -> tuple[NDArray[np.float32], int]:
    """What was explained, at the rate that it was recorded with.

    Args:
        parameters: of the explanation.
        seconds: duration of what was explained.
        audio: the recording; None for the file that was explained.
        sampling_rate: of samples without a rate.
    """
    if audio is None:
        origin = parameters.get("audio")
        if origin is None:
            raise ArgumentError(
                "the explanation does not say where its recording is, as it was of samples, of "
                "features, or made by an earlier version: give audio=..., what was explained."
            )
        audio = found_again(origin)
    start, end = window_of(parameters)
    length = None if end is None else end - start
    samples, rate = read_original(audio, sampling_rate, start, length)
    if abs(len(samples) / rate - seconds) > _MOST_DIFFERENCE:
        raise ArgumentError(
            f"the explanation is of another recording: it lasts {seconds:.2f} s, and this one "
            f"{len(samples) / rate:.2f} s."
        )
    return samples, rate


def window_of(parameters: Mapping[str, Any]) -> tuple[float, float | None]:
    """Start and end in the recording, in seconds; 0 and None where all of it was explained."""
    window = parameters.get("window")
    if window is None:
        return 0.0, None
    try:
        start, end = float(window["start"]), float(window["end"])
    except (LookupError, TypeError, ValueError) as error:
        raise ArgumentError("the explanation's window is damaged.") from error
    if not 0 <= start < end < math.inf:
        raise ArgumentError(f"the explanation's window is damaged: from {start} to {end} s.")
    return start, end


# The sound ------------------------------------------------------------------------------


def kept_samples(
    samples: Samples,
    rate: int,
    cells: NDArray[np.bool_],
    times: NDArray[np.float64],
    frequencies: NDArray[np.float64],
) -> Samples:
    """Samples of which only some cells of a map are left.

    Args:
        samples: ``(samples,)``.
        rate: samples per second.
        cells: ``(time, freq)``: what is kept.
        times: the middle of each frame, in seconds from the first sample.
        frequencies: the middle of each bin, in Hz. What lies above the highest bin is kept only
            where all cells are.
    """
    if cells.all():
        return samples.copy()
    hop = max(1, round(_WINDOW_SECONDS * rate / _HOPS_PER_WINDOW))
    window = _HOPS_PER_WINDOW * hop
    transform = scipy.signal.ShortTimeFFT(
        scipy.signal.windows.hann(window, sym=False), hop, rate, mfft=_ROOM * window
    )
    block = hop * max(1, round(_BLOCK_SECONDS * rate / hop))
    kept = np.empty_like(samples)
    for start in range(0, len(samples), block):
        # Transforms that reach into the block, on the same grid as those of the whole.
        first, last = max(0, start - window), min(len(samples), start + block + window)
        part = samples[first:last]
        coefficients = transform.stft(part)
        coefficients *= _mask(
            cells, transform.t(len(part)) + first / rate, times, transform.f, frequencies
        )
        masked = transform.istft(coefficients, k1=len(part))
        kept[start : start + block] = masked[start - first :][:block]
    return kept


def _mask(
    cells: NDArray[np.bool_],
    at_times: NDArray[np.float64],
    times: NDArray[np.float64],
    at_frequencies: NDArray[np.float64],
    frequencies: NDArray[np.float64],
) -> NDArray[np.float64]:
    """What each coefficient, ``(frequency, time)``, is multiplied by."""
    values = cells.T.astype(np.float64)
    before, after, share = _between(at_times, times, _EDGE_SECONDS)
    values = values[:, before] * (1 - share) + values[:, after] * share
    below, above, share = _between(at_frequencies, frequencies, _EDGE_HERTZ)
    share = share[:, None]
    mask: NDArray[np.float64] = values[below] * (1 - share) + values[above] * share
    beyond = (at_frequencies - _highest(frequencies)) / _EDGE_HERTZ
    return mask * (1 - _half_cosine(beyond))[:, None]


def _between(
    places: NDArray[np.float64], centres: NDArray[np.float64], width: float
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """The two cells that each place lies between, and the share of the second: 0 or 1, but for a
    step of a width around their border."""
    after = np.searchsorted(centres, places).clip(1, max(1, len(centres) - 1))
    after = np.minimum(after, len(centres) - 1)
    before = np.maximum(after - 1, 0)
    left, right = centres[before], centres[after]
    step = np.maximum(np.minimum(width, right - left), 1e-9)
    return before, after, _half_cosine((places - (left + right) / 2) / step + 0.5)


def _half_cosine(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """From 0 at 0 to 1 at 1."""
    return 0.5 - 0.5 * np.cos(np.pi * x.clip(0, 1))


def _highest(frequencies: NDArray[np.float64]) -> float:
    """Where the highest bin ends: bins lie in equal ratios there."""
    if len(frequencies) < 2 or frequencies[-2] <= 0:
        return float(2 * frequencies[-1] - frequencies[0]) if len(frequencies) > 1 else math.inf
    return float(frequencies[-1] ** 2 / frequencies[-2])
