"""Controls: maps that know nothing of the model, to compare methods with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from captum_spes.maps import Maps
from captum_spes.speech.models import SpeechInput, TargetSequence
from captum_spes.speech.utterance_methods import SpeechAttribution


class EnergyMap(SpeechAttribution):
    r"""
    The spectrogram itself as the map of every token: loud cells are salient. Where features
    are normalised per mel bin (Speech2Text, Canary), these are the cells that are louder than
    others of their bin.

    Removing the loudest cells first destroys a transcript about as fast as removing those
    that published methods name, so a comparison without this control says little. It costs
    no forward pass. It has no map of previous tokens.

    Args:

        forward_func (PreTrainedModel): The model.

    Examples::

        >>> explainer = SpeechToTextAttribution(EnergyMap(model), processor)
        >>> result = explainer.attribute("speech.flac")
        >>> torch.equal(result.spectrogram_attr[0], result.spectrogram)
        True
    """

    def maps(self, adapter: Any, speech: SpeechInput, sequence: TargetSequence, seed: int) -> Maps:
        spectrogram = speech.spectrogram
        return Maps(spectrogram.expand(len(sequence.explained), *spectrogram.shape).clone(), None)


class RandomMap(SpeechAttribution):
    r"""
    Independent uniform random numbers as maps: what every measure gives by chance.

    Args:

        forward_func (PreTrainedModel): The model.

    Examples::

        >>> explainer = SpeechToTextAttribution(RandomMap(model), processor)
        >>> result = explainer.attribute("speech.flac", seed=0)
        >>> 0.4 < float(result.spectrogram_attr.mean()) < 0.6
        True
    """

    def maps(self, adapter: Any, speech: SpeechInput, sequence: TargetSequence, seed: int) -> Maps:
        generator = torch.Generator("cpu").manual_seed(seed)
        n_tokens = len(sequence.explained)
        return Maps(
            _numbers(generator, n_tokens, *speech.spectrogram.shape),
            _numbers(generator, n_tokens, len(sequence.previous_positions)),
        )


def _numbers(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=generator, dtype=torch.float32, device="cpu")
