"""What of an explanation is noise, and what of it can be believed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from captum_spes.attr.reliability import samples_for
from captum_spes.maps import Peak
from captum_spes.speech.regions import strongest_region

if TYPE_CHECKING:
    from captum_spes.speech.result import SpeechToTextAttributionResult

# Below this reliability more than half of a map's variance is sampling noise.
MOSTLY_NOISE = 0.5
# Why a map is not to be read: in the place of a time in tables, in titles of pictures.
MOSTLY_NOISE_TEXT, NOT_ON_AUDIO_TEXT = "mostly noise", "not on audio"
# Of the mean impact of the token that the audio moves most. Of the 67 tokens of five bundled
# recordings (500 samples), 15 have less; when all audio is removed each of these stays the model's
# first choice.
RESTS_ON_NOTHING = 0.01
# Methods whose mean attribution is the impact to expect when audio is removed. Of gradients it is
# not: they vanish where the model is sure.
_IMPACTS = ("SPES", "Bubble Noise")

_impacts_of: WeakKeyDictionary[SpeechToTextAttributionResult, tuple[int | None, Tensor]] = (
    WeakKeyDictionary()
)


def token_reliabilities(result: SpeechToTextAttributionResult) -> list[float | None]:
    """The reliability of each token's map in [0, 1]; None where it is not known, as of gradients,
    controls, constant maps and explanations of earlier versions."""
    return _known(result, "tokens", len(result.output_tokens))


def word_reliabilities(result: SpeechToTextAttributionResult) -> list[float | None]:
    """The reliability of the map of each of ``words``; None likewise."""
    return _known(result, "words", len(result.words))


def previous_token_reliabilities(result: SpeechToTextAttributionResult) -> list[float | None]:
    """The reliability of each token's row of previous tokens; None likewise."""
    return _known(result, "previous_tokens", len(result.output_tokens))


def reliability_of(result: SpeechToTextAttributionResult, rows: Sequence[int]) -> float | None:
    """The reliability of what some tokens spell: that of the token or of the word; of other
    phrases the mean of their tokens'; None where it is not known."""
    own = tuple(rows)
    if len(own) > 1:
        for word, reliability in zip(result.words, word_reliabilities(result), strict=True):
            if word.token_indices == own:
                return reliability
    tokens = token_reliabilities(result)
    known = [value for row in own if (value := tokens[row]) is not None]
    return sum(known) / len(known) if known else None


def is_mostly_noise(reliability: float | None) -> bool:
    """Whether most of a map is known to be noise."""
    return reliability is not None and reliability < MOSTLY_NOISE


def rests_on_audio(result: SpeechToTextAttributionResult, rows: Sequence[int]) -> bool:
    r"""
    Whether removing audio moves what some tokens spell at all, beside what it moves others.

    Args:

        result (SpeechToTextAttributionResult): An explanation.
        rows (sequence of int): Tokens.

    Returns:
        *bool*: False where the mean magnitude of their mean raw map, the impact to expect when
        audio is removed, is below ``RESTS_ON_NOTHING`` of that of the token with the largest. True
        for methods that tell no impact, such as gradients and attention.

    Examples::

        >>> rests_on_audio(result, [0])
        True
    """
    if not tells_impacts(result):
        return True
    own = float(_map_of(result, rows).double().abs().mean())
    return own > 0 and own >= RESTS_ON_NOTHING * float(_impacts(result).max())


def doubt(rests_on_audio: bool, is_noise: bool) -> str:
    """Why a map is not to be read, empty where it is. More samples do not help what rests on
    nothing: that goes first."""
    if not rests_on_audio:
        return NOT_ON_AUDIO_TEXT
    return MOSTLY_NOISE_TEXT if is_noise else ""


def tells_impacts(result: SpeechToTextAttributionResult) -> bool:
    """Whether the mean of a map is the impact to expect when audio is removed."""
    return result.method in _IMPACTS


def believable_region(
    result: SpeechToTextAttributionResult, rows: Sequence[int]
) -> tuple[Peak | None, Peak | None]:
    r"""
    The strongest stretch of time and of frequencies of what some tokens spell, where there is one.

    Args:

        result (SpeechToTextAttributionResult): An explanation.
        rows (sequence of int): Tokens; the mean of their raw maps is read.

    Returns:
        *tuple* of two :class:`captum_spes.maps.Peak`, in seconds and in Hz, each None where the map
        says nothing there. Both are None where the map is mostly noise, and for what rests on
        nothing in the audio; ``strongest_region`` reads those, too.

    Examples::

        >>> time, band = believable_region(result, [0])
    """
    if is_mostly_noise(reliability_of(result, rows)) or not rests_on_audio(result, rows):
        return None, None
    return strongest_region(result, _map_of(result, rows))


def needed_samples(
    result: SpeechToTextAttributionResult, reliability: float, wanted: float
) -> int | None:
    """How many samples of the spectrogram would bring a map to the wanted reliability, given that
    it has with those of the explanation; None where nothing can be told."""
    if not 0 < reliability < 1:  # halves that do not agree at all leave nothing to go on from
        return None
    exponent = float(getattr(result.settings.estimator, "odds_exponent", 1.0))
    n_samples = int(result.parameters["n_samples_evaluated"])
    found = samples_for(reliability, n_samples, wanted, exponent)
    # As measured it is right up to a factor of 1.6: two digits are enough.
    return None if found is None else int(float(f"{found:.2g}"))


def _known(result: SpeechToTextAttributionResult, of: str, count: int) -> list[float | None]:
    if "reliability" not in result.parameters:
        return [None] * count
    found: Tensor | None = getattr(result.reliability(), of)
    if found is None:
        return [None] * count
    return [None if math.isnan(value) else value for value in found.tolist()]


def _map_of(result: SpeechToTextAttributionResult, rows: Sequence[int]) -> Tensor:
    return result.spectrogram_attr[list(rows)].mean(0)


def _impacts(result: SpeechToTextAttributionResult) -> Tensor:
    """``(K,)``: mean magnitude of each token's map, kept as tables ask for it token by token."""
    maps = result.spectrogram_attr
    version = None if maps.is_inference() else maps._version
    known, found = _impacts_of.get(result, (None, None))
    if found is None or known != version:  # maps can be changed in place
        found = torch.stack([values.double().abs().mean() for values in maps])
        _impacts_of[result] = version, found
    return found
