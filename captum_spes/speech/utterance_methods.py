"""The base of methods that look at the whole utterance instead of perturbing one side of it."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from captum.attr import Attribution

from captum_spes.maps import Maps
from captum_spes.speech.models import SpeechInput, TargetSequence


class SpeechAttribution(Attribution):
    """A method that looks at the whole utterance, and not at one side of an explanation.

    It is given to :class:`captum_spes.SpeechToTextAttribution` like any Captum method.

    Attributes:
        needs: capabilities that the model must have, of :mod:`captum_spes.speech.models`.
    """

    needs: tuple[type[Any], ...] = ()

    @abstractmethod
    def maps(self, adapter: Any, speech: SpeechInput, sequence: TargetSequence, seed: int) -> Maps:
        """Raw maps, ``(tokens, time, freq)`` and ``(tokens, previous tokens)`` or None."""

    def attribute(self, *args: Any, **kwargs: Any) -> None:
        r"""
        This method needs more than inputs; use it through ``SpeechToTextAttribution``.
        """
        raise NotImplementedError(
            f"{type(self).__name__} explains utterances: SpeechToTextAttribution("
            f"{type(self).__name__}(model), processor).attribute(audio)"
        )
