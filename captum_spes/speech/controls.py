"""Maps that know nothing of the model: what every method has to be better than."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from captum.attr import Attribution

from captum_spes.maps import Maps
from captum_spes.speech.models import SpeechInput, SpeechModel, TargetSequence


class SpeechAttribution(Attribution):
    """A method that looks at the whole utterance, and not at one side of an explanation.

    It is given to :class:`captum_spes.SpeechToTextAttribution` as any Captum method is.
    """

    @abstractmethod
    def maps(
        self, adapter: SpeechModel, speech: SpeechInput, sequence: TargetSequence, seed: int
    ) -> Maps:
        """Raw maps, ``(tokens, time, freq)`` and ``(tokens, previous tokens)`` or None."""

    def attribute(self, *args: Any, **kwargs: Any) -> None:
        r"""
        This method needs more than inputs; use it through ``SpeechToTextAttribution``.
        """
        raise NotImplementedError(
            f"{type(self).__name__} explains utterances: SpeechToTextAttribution("
            f"{type(self).__name__}(model), processor).attribute(audio)"
        )


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

    def maps(
        self, adapter: SpeechModel, speech: SpeechInput, sequence: TargetSequence, seed: int
    ) -> Maps:
        spectrogram = speech.spectrogram
        return Maps(spectrogram.expand(len(sequence.explained), *spectrogram.shape).clone(), None)


class RandomMap(SpeechAttribution):
    r"""
    Independent uniform numbers as the maps: the floor of every measure.

    Args:

        forward_func (PreTrainedModel): The model.

    Examples::

        >>> explainer = SpeechToTextAttribution(RandomMap(model), processor)
        >>> result = explainer.attribute("speech.flac", seed=0)
        >>> 0.4 < float(result.spectrogram_attr.mean()) < 0.6
        True
    """

    def maps(
        self, adapter: SpeechModel, speech: SpeechInput, sequence: TargetSequence, seed: int
    ) -> Maps:
        generator = torch.Generator().manual_seed(seed)
        n_tokens = len(sequence.explained)
        return Maps(
            torch.rand(n_tokens, *speech.spectrogram.shape, generator=generator),
            torch.rand(n_tokens, len(sequence.decoder_ids), generator=generator),
        )
