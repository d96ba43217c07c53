"""Attention weights as maps: the cheap alternative to perturbing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from captum_spes.errors import ArgumentError
from captum_spes.maps import Maps
from captum_spes.speech.models import (
    Attends,
    AttendsInEncoder,
    SpeechInput,
    TargetSequence,
)
from captum_spes.speech.utterance_methods import SpeechAttribution

_AGGREGATIONS = ("mean", "rollout")


class CrossAttention(SpeechAttribution):
    r"""
    Where the decoder looks while it writes a token: attention weights, averaged over
    layers and heads, of one forward pass.

    Encoder positions are spread over the frames they cover; all mel bins of a frame get the
    same value, as attention knows no frequency. Previous tokens get the decoder's
    self-attention.

    Source of the rollout: Abnar and Zuidema, "Quantifying attention flow in transformers",
    https://arxiv.org/abs/2005.00928, here over the layers of the encoder.
    """

    needs: tuple[type[Any], ...] = (Attends,)

    def __init__(self, forward_func: Any, aggregation: str = "mean") -> None:
        r"""
        Args:

            forward_func (PreTrainedModel): The model.
            aggregation (str, optional): "mean" gives the weight of an encoder position to
                        the frames at that position; "rollout" follows each position back
                        through the encoder's self-attention (half of every layer's output
                        being its own input), which takes memory for the encoder's
                        attention weights of all layers and heads at once.
                        Default: "mean"

        Raises:
            ArgumentError: the aggregation is unknown.

        Examples::

            >>> explainer = SpeechToTextAttribution(CrossAttention(model), processor)
            >>> result = explainer.attribute("speech.flac")
        """
        if aggregation not in _AGGREGATIONS:
            raise ArgumentError(f"aggregation must be one of {_AGGREGATIONS}, got {aggregation!r}.")
        super().__init__(forward_func)
        self.aggregation = aggregation
        if aggregation == "rollout":
            self.needs = (*self.needs, AttendsInEncoder)

    def get_name(self) -> str:  # type: ignore[override]
        r"""
        Returns:
            *str*: the name, with the aggregation where it is not the mean.
        """
        return "CrossAttention" + ("" if self.aggregation == "mean" else " (rollout)")

    def maps(self, adapter: Any, speech: SpeechInput, sequence: TargetSequence, seed: int) -> Maps:
        attention = adapter.attention(speech, sequence)
        weights = attention.cross.mean(0)
        if self.aggregation == "rollout":
            weights = weights @ attention_rollout(adapter.encoder_attention(speech))
        over_frames = spread_over_frames(weights, attention.n_frames, speech)
        return Maps(over_frames, attention.decoder.mean(0))


class CrossAttentionRollout(CrossAttention):
    """:class:`CrossAttention` with ``aggregation="rollout"``."""

    needs = (Attends, AttendsInEncoder)

    def __init__(self, forward_func: Any) -> None:
        r"""
        Args:

            forward_func (PreTrainedModel): The model.
        """
        super().__init__(forward_func, "rollout")


def spread_over_frames(weights: Tensor, n_covered: int, speech: SpeechInput) -> Tensor:
    """Maps ``(tokens, time, freq)`` of weights ``(tokens, positions)``: each frame gets the weight
    of the position that covers it, all mel bins alike.

    Args:
        weights: of all positions of the encoder.
        n_covered: frames that they cover, padding included.
        speech: the utterance.
    """
    n_frames, n_bins = speech.spectrogram.shape
    # The encoder also reads the features' padding, which is not part of the spectrogram.
    frames_per_position = n_covered / weights.shape[1]
    frames = torch.arange(n_frames, dtype=torch.float32, device="cpu")
    position = (frames / frames_per_position).long()
    over_time = weights[:, position.clamp(max=weights.shape[1] - 1)]
    return over_time[:, :, None].expand(-1, -1, n_bins).clone()


def attention_rollout(layers: Tensor) -> Tensor:
    """How much of each input position is in each output position, ``(output, input)``.

    Half of every layer's output is its own input (Abnar and Zuidema, section 4.1).

    Args:
        layers: attention weights, ``(layers, queries, keys)``.
    """
    identity = torch.eye(layers.shape[-1], dtype=layers.dtype, device=layers.device)
    mixing = identity
    for layer in layers:
        mixing = (layer + identity) / 2 @ mixing
    return mixing
