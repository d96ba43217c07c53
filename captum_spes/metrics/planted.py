"""Evidence that was planted: recordings of which it is known, by construction, what a word rests
on. Does a map point there?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.alignment import Interval
from captum_spes.errors import (
    ArgumentError,
    instance_of,
    real_number,
    several,
    whole_number,
)
from captum_spes.io.samples import Recording, read_samples
from captum_spes.maps import frames_within
from captum_spes.speech import SpeechToTextAttributionResult

_FADE_SECONDS = 0.005


@dataclass(frozen=True, eq=False)
class Spliced:
    """A recording in which a stretch of time was replaced.

    Attributes:
        samples: ``(samples,)``, float32.
        sampling_rate: Hz.
        start: seconds: where the planted sound begins.
        end: seconds: where it ends.
    """

    samples: NDArray[np.float32]
    sampling_rate: int
    start: float
    end: float
    _removed: float  # seconds of the recording that it took the place of

    def moved(self, words: Sequence[Interval], planted: str = "") -> list[Interval]:
        r"""
        When the words of the recording are spoken now.

        Args:

            words (sequence of Interval): When they were spoken before.
            planted (str, optional): What is spoken in the planted sound; it takes its place among
                        the words.
                        Default: "", nothing

        Returns:
            *list* of :class:`captum_spes.alignment.Interval`, in order; words of which more than
            half was replaced are gone, and others end where the planted sound begins.

        Examples::

            >>> words = [Interval("the", 0.0, 0.2), Interval("cat", 0.2, 0.5)]
            >>> spliced = splice(np.ones(8000), np.ones(6400), (0.0, 0.2))
            >>> spliced.moved(words, "this")[1].start
            0.4
        """
        cut = self.start + self._removed
        shift = self.end - cut
        kept = []
        for label, start, end in (Interval(*word) for word in words):
            inside = max(0.0, min(end, cut) - max(start, self.start))
            if 2 * inside > end - start:
                continue
            first = start if start < self.start else max(start, cut) + shift
            last = min(end, self.start) if start < self.start else end + shift
            kept.append(Interval(label, round(first, 6), round(last, 6)))
        if planted:
            kept.append(Interval(planted, self.start, self.end))
        return sorted(kept, key=lambda word: word.start)


def splice(
    audio: Recording,
    planted: Recording,
    span: tuple[float, float],
    *,
    planted_span: tuple[float, float] | None = None,
    sampling_rate: int = 16_000,
    same_level: bool = True,
) -> Spliced:
    r"""
    Put a sound into a recording, in the place of a stretch of time.

    Args:

        audio (path, array, ...): The recording.
        planted (path, array, ...): The sound, for example a word of another recording.
        span (tuple of two floats): Seconds of the recording that are replaced; the same number
                    twice inserts.
        planted_span (tuple of two floats, optional): Seconds of ``planted`` that are taken.
                    Default: None, all of it
        sampling_rate (int, optional): Of arrays, and of the result, in Hz.
                    Default: 16000
        same_level (bool, optional): Whether the sound is made as loud as what it replaces, or,
                    where it replaces silence or nothing, as the recording, by mean power.
                    Default: True

    Returns:
        *Spliced*: borders are faded over 5 ms on either side, so that there is no click.

    Raises:
        ArgumentError: a span lies outside of its recording, ends before it starts or holds nothing
            to plant.

    Examples::

        >>> spliced = splice(np.ones(16_000), 0.5 * np.ones(16_000), (0.25, 0.5))
        >>> len(spliced.samples), spliced.start, spliced.end
        (28000, 0.25, 1.25)
    """
    samples = read_samples(audio, sampling_rate, sampling_rate)
    sound = read_samples(planted, sampling_rate, sampling_rate)
    first, last = _places("span", span, len(samples), sampling_rate)
    if planted_span is not None:
        start, end = _places("planted_span", planted_span, len(sound), sampling_rate)
        sound = sound[start:end]
    if not len(sound):
        raise ArgumentError(f"planted_span {planted_span!r} holds no sample.")
    if same_level:
        sound = sound * _gain(samples, samples[first:last], sound)
    fade = round(_FADE_SECONDS * sampling_rate)
    parts = [
        _faded(samples[:first], 0, fade),
        _faded(sound, fade, fade),
        _faded(samples[last:], fade, 0),
    ]
    return Spliced(
        np.concatenate(parts).astype(np.float32),
        sampling_rate,
        first / sampling_rate,
        (first + len(sound)) / sampling_rate,
        (last - first) / sampling_rate,
    )


def silenced(
    samples: NDArray[np.float32], sampling_rate: int, span: tuple[float, float]
) -> NDArray[np.float32]:
    """A copy that is silent for a stretch of time, faded out and in inside of it."""
    first, last = _places("a word", span, len(samples), sampling_rate)
    fade = round(_FADE_SECONDS * sampling_rate)
    quiet = samples.copy()
    length = last - first
    inside = np.zeros(length)
    if length > 2 * fade:
        ramp = (np.arange(fade) + 0.5) / fade
        inside[:fade], inside[-fade:] = 1 - ramp, ramp
    quiet[first:last] *= inside.astype(np.float32)
    return quiet


@dataclass(frozen=True)
class PlantedEvidence:
    """How well a map finds a stretch of time that is known to matter.

    Attributes:
        pointing: whether the map's largest value lies in it.
        mass: share of the map above its median that lies in it.
        area: under the receiver operating characteristic of cells: how likely a cell in it has a
            larger value than one outside (equal values count half); 0.5 by chance.
        share: of the cells that lie in it: ``pointing`` and ``mass`` by chance. All of these are
            NaN, and ``pointing`` False, where the map is constant.
    """

    pointing: bool
    mass: float
    area: float
    share: float


def planted_evidence(
    result: SpeechToTextAttributionResult,
    tokens: int | Sequence[int],
    span: tuple[float, float],
    *,
    margin: float = 0.0,
    without: Sequence[tuple[float, float]] = (),
) -> PlantedEvidence:
    r"""
    Whether the map of a word points to the stretch of time that the word is known to rest on.

    Args:

        result (SpeechToTextAttributionResult): An explanation of the recording.
        tokens (int or sequence of int): Rows of ``output_tokens``, such as the ``token_indices`` of
                    a word; their normalised maps are averaged.
        span (tuple of two floats): The stretch, in seconds.
        margin (float, optional): Seconds by which it is widened on either side, for times that are
                    only known so well, at least 0.
                    Default: 0
        without (sequence of tuples, optional): Stretches that are left out of account: those of the
                    word itself where ``span`` is that of a cue for its spelling, for example.
                    Default: (), none

    Returns:
        *PlantedEvidence*

    Raises:
        ArgumentError: there is no such token, the stretch lies outside of the recording, or nothing
            is left beside it.

    Examples::

        >>> found = planted_evidence(result, result.words[0].token_indices, (0.3, 0.6))
        >>> 0 <= found.area <= 1
        True
    """
    saliency = map_of(result, tokens)
    inside = frames_of(result, span, margin)
    outside = ~inside
    for other in several("without", without, "a sequence of (start, end)"):
        is_left_out = frames_of(result, other, 0.0)
        inside, outside = inside & ~is_left_out, outside & ~is_left_out
    if not inside.any() or not outside.any():
        raise ArgumentError(
            f"the stretch from {span[0]} to {span[1]} s must hold frames of the recording of "
            f"{result.seconds:.2f} s, and leave some, after what is left out."
        )
    one, other = saliency[inside].flatten().numpy(), saliency[outside].flatten().numpy()
    share = len(one) / (len(one) + len(other))
    both = np.concatenate([one, other])
    if not np.ptp(both):
        return PlantedEvidence(False, float("nan"), float("nan"), share)
    above = np.clip(both - np.median(both), 0, None)
    rank_sum = scipy.stats.rankdata(both)[: len(one)].sum()
    area = (rank_sum - len(one) * (len(one) + 1) / 2) / (len(one) * len(other))
    return PlantedEvidence(
        bool(one.max() > other.max()),
        float(above[: len(one)].sum() / above.sum()),
        float(area),
        share,
    )


def rows_of(result: SpeechToTextAttributionResult, tokens: int | Sequence[int]) -> list[int]:
    """Rows of a result, checked, in ascending order."""
    count = len(result.output_tokens)
    given = [tokens] if isinstance(tokens, int) else several("tokens", tokens, "rows of tokens")
    rows = sorted(whole_number("a token", row, 0) for row in given)
    if not rows or rows[-1] >= count:
        raise ArgumentError(f"tokens must be rows of the {count} tokens, got {tokens!r}.")
    return rows


def map_of(result: SpeechToTextAttributionResult, tokens: int | Sequence[int]) -> Tensor:
    """``(time, freq)``: the mean of the normalised maps of tokens."""
    instance_of("result", result, SpeechToTextAttributionResult, "an explanation")
    rows = rows_of(result, tokens)
    return torch.as_tensor(result.normalized().spectrogram_attr[rows].mean(0)).double()


def frames_of(
    result: SpeechToTextAttributionResult, span: Sequence[float], margin: float
) -> NDArray[np.bool_]:
    """``(time,)``: the frames of a stretch of time."""
    start, end = (real_number("each end of a stretch of time", time) for time in span)
    wide = real_number("margin", margin)
    if wide < 0:
        raise ArgumentError(f"margin must be at least 0, got {margin}.")
    return np.asarray(frames_within(result.frame_times, start - wide, end + wide))


def _places(name: str, span: tuple[float, float], count: int, rate: int) -> tuple[int, int]:
    start, end = (round(real_number(f"each end of {name}", time) * rate) for time in span)
    if not 0 <= start <= end <= count:
        raise ArgumentError(
            f"{name} must lie within the recording of {count / rate:.3f} s and not end before it "
            f"starts, got {span!r}."
        )
    return start, end


def _gain(
    samples: NDArray[np.float32], replaced: NDArray[np.float32], sound: NDArray[np.float32]
) -> float:
    """What makes a sound as loud as what it replaces."""
    whole, own = _loudness(samples), _loudness(sound)
    there = _loudness(replaced) if len(replaced) else 0.0
    wanted = there if there > 0.1 * whole else whole
    return wanted / own if own > 0 and wanted > 0 else 1.0


def _loudness(samples: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def _faded(samples: NDArray[np.float32], begin: int, end: int) -> NDArray[np.float64]:
    """Samples that rise over the first ``begin`` and fall over the last ``end``."""
    faded = samples.astype(np.float64)
    for count, part in ((begin, slice(None)), (end, slice(None, None, -1))):
        length = min(count, len(faded) // 2)
        if length:
            faded[part][:length] *= (np.arange(length) + 0.5) / length
    return faded
