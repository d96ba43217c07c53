"""Attention weights of some heads only: those that follow the speech, or that look at one place."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from captum_spes.errors import ArgumentError, ArgumentTypeError, several
from captum_spes.maps import Maps
from captum_spes.speech.cross_attention import spread_over_frames
from captum_spes.speech.models import AttendsInHeads, SpeechInput, TargetSequence
from captum_spes.speech.utterance_methods import SpeechAttribution

Heads = tuple[tuple[int, int], ...]


class ChosenHeads(SpeechAttribution):
    r"""
    Cross-attention of chosen heads, averaged: where those heads of the decoder look that follow the
    speech.

    The average over all heads, :class:`captum_spes.CrossAttention`, mixes in heads that look at
    the start, at the end or at everything. Whisper's checkpoints name the heads that point at
    the word being written (they give it its times), which makes a fairer baseline. Weights are
    as the model has them, not filtered or normalised as for such times. Previous tokens get the
    decoder's self-attention, averaged over all layers and heads: alignment heads are heads of the
    cross-attention.
    """

    needs: tuple[type[Any], ...] = (AttendsInHeads,)

    def __init__(self, forward_func: Any, heads: Iterable[tuple[int, int]] | None = None) -> None:
        r"""
        Args:

            forward_func (PreTrainedModel): The model.
            heads (sequence of tuple of int, optional): Pairs (layer, head), both from 0, of the
                        decoder.
                        Default: None, ``forward_func.generation_config.alignment_heads``

        Raises:
            ArgumentError: heads are not given and the model names none, none or one twice is
                given, or, once the model has run, it has no such head.
            ArgumentTypeError: heads are no pairs of whole numbers.

        Examples::

            >>> explainer = SpeechToTextAttribution(ChosenHeads(model, [(0, 1)]), processor)
            >>> result = explainer.attribute("speech.flac", target="the cat")
            >>> result.method
            'ChosenHeads (0.1)'
        """
        super().__init__(forward_func)
        self._are_given = heads is not None
        self.heads = _pairs(_own_heads(forward_func) if heads is None else heads)

    def get_name(self) -> str:  # type: ignore[override]
        r"""
        Returns:
            *str*: the name, with the heads (layer.head) where they are not the model's own.
        """
        listed = " ".join(f"{layer}.{head}" for layer, head in self.heads)
        return f"ChosenHeads ({listed})" if self._are_given else "ChosenHeads"

    def maps(self, adapter: Any, speech: SpeechInput, sequence: TargetSequence, seed: int) -> Maps:
        found = adapter.head_attention(speech, sequence)
        n_layers, n_heads = found.cross.shape[:2]
        for layer, head in self.heads:
            if layer >= n_layers or head >= n_heads:
                raise ArgumentError(
                    f"there is no head {(layer, head)}: the decoder has {n_layers} layers of "
                    f"{n_heads} heads, both counted from 0."
                )
        weights = torch.stack([found.cross[layer, head] for layer, head in self.heads]).mean(0)
        over_frames = spread_over_frames(weights, found.n_frames, speech)
        return Maps(over_frames, found.mean().decoder.mean(0))


class HeadsByEntropy(SpeechAttribution):
    r"""
    Cross-attention averaged over all heads and layers, heads counting more for a token the fewer
    places they look at.

    For each token a head h weighs :math:`1 - H_h / \log P`, divided by the sum over all heads. H is
    the entropy of its attention over the P encoder positions that hold speech, divided by its sum
    there: a head that looks at one place weighs most, one that looks everywhere alike nothing.
    Where all look everywhere alike they count the same. Previous tokens get the decoder's
    self-attention, averaged over all layers and heads.

    A low entropy is no proof that a head follows the speech: one that always looks at the first
    position has it, too. It needs no list of heads, though, so any model will do.
    """

    needs: tuple[type[Any], ...] = (AttendsInHeads,)

    def __init__(self, forward_func: Any) -> None:
        r"""
        Args:

            forward_func (PreTrainedModel): The model.

        Examples::

            >>> explainer = SpeechToTextAttribution(HeadsByEntropy(model), processor)
            >>> result = explainer.attribute("speech.flac", target="the cat")
        """
        super().__init__(forward_func)

    def maps(self, adapter: Any, speech: SpeechInput, sequence: TargetSequence, seed: int) -> Maps:
        found = adapter.head_attention(speech, sequence)
        heads = found.cross.flatten(0, 1)
        share = min(1.0, len(speech.spectrogram) / found.n_frames)
        n_spoken = max(1, math.ceil(heads.shape[-1] * share))
        weights = (entropy_weights(heads[..., :n_spoken])[..., None] * heads).sum(0)
        over_frames = spread_over_frames(weights, found.n_frames, speech)
        return Maps(over_frames, found.mean().decoder.mean(0))


def entropy_weights(heads: Tensor) -> Tensor:
    """What each head counts for each token, ``(heads, tokens)``, summing to 1 over the heads; see
    :class:`HeadsByEntropy`.

    Args:
        heads: attention, ``(heads, tokens, positions)``, rows not all 0.
    """
    n_positions = heads.shape[-1]
    if n_positions == 1:
        return torch.full(heads.shape[:2], 1 / len(heads), device=heads.device)
    shares = heads / heads.sum(-1, keepdim=True).clamp(min=torch.finfo(heads.dtype).tiny)
    entropy = -torch.special.xlogy(shares, shares).sum(-1)
    focus = (1 - entropy / math.log(n_positions)).clamp(min=0)
    # Rounding leaves something of even attention, which would decide all where heads are even.
    focus = torch.where(focus < 1e-6, 0.0, focus)
    total = focus.sum(0, keepdim=True)
    return torch.where(total > 0, focus / total.where(total > 0, 1.0), 1 / len(heads))


def _own_heads(model: Any) -> Any:
    """Those that a Whisper checkpoint names."""
    found = getattr(getattr(model, "generation_config", None), "alignment_heads", None)
    if not found:
        raise ArgumentError(
            f"{type(model).__name__} names no generation_config.alignment_heads, as Whisper's own "
            "checkpoints do: give heads=[(layer, head), ...], or take HeadsByEntropy or "
            "CrossAttention, which need no list."
        )
    return found


def _pairs(heads: Any) -> Heads:
    expected = "pairs of whole numbers (layer, head)"
    given = [several("heads", pair, expected) for pair in several("heads", heads, expected)]
    for pair in given:
        if len(pair) != 2 or any(isinstance(i, bool) or not isinstance(i, int) for i in pair):
            raise ArgumentTypeError(f"heads must be {expected}, got {pair}.")
        if min(pair) < 0:
            raise ArgumentError(f"layers and heads are counted from 0, got {tuple(pair)}.")
    pairs = tuple((layer, head) for layer, head in given)
    if not pairs or len(set(pairs)) < len(pairs):
        raise ArgumentError(f"give every head once, at least one; got {list(pairs)}.")
    return pairs
