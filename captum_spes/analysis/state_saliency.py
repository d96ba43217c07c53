"""Saliency of the states that an encoder hands to its decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_spes.analysis.context_mixing import adapter_of, position_of_frames, written_sequence
from captum_spes.attr import SPES
from captum_spes.errors import ArgumentError, ArgumentTypeError, whole_number
from captum_spes.forward import KLDivergenceForward
from captum_spes.speech.ambient import ordinary_torch
from captum_spes.speech.inputs import Audio, read_speech
from captum_spes.speech.models import HuggingFaceSpeechModel, TargetSequence

BASELINES = ("mean", "zero")
_PER_PASS = 20


@dataclass(frozen=True, eq=False)
class StateSaliency:
    """What every token rests on among the states that the encoder hands to the decoder.

    Attributes:
        tokens: the K explained tokens.
        scores: ``(K, groups)``: the divergence in nats to expect when a group of neighbouring
            states is removed (SPES).
        frame_groups: int64 ``(time,)``: the group that covers each frame of the spectrogram.
        frame_times: ``(time,)``: seconds, the middle of each frame.
    """

    tokens: tuple[str, ...]
    scores: Tensor
    frame_groups: Tensor
    frame_times: Tensor

    def time_map(self) -> Tensor:
        r"""
        Scores of each frame, of the group that covers it.

        Returns:
            *Tensor* of shape ``(K, time)``.

        Examples::

            >>> states = state_saliency(explainer, "speech.flac", target="the cat", n_samples=50)
            >>> states.time_map().shape == (len(states.tokens), len(states.frame_times))
            True
        """
        return self.scores[:, self.frame_groups]


def state_saliency(
    explainer: Any,
    audio: Audio,
    *,
    target: str | Sequence[int] | Tensor | None = None,
    group: int = 1,
    n_samples: int = 1_000,
    baseline: str = "mean",
    gen_args: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> StateSaliency:
    r"""
    Explain each token by the states of the encoder: SPES on the decoder alone, in which groups of
    states are removed and not parts of the audio.

    Attention looks at states, not at audio, and states have read their surroundings. So states are
    what attention can be held to without blaming it for what the encoder mixed.

    Source: Papi et al., "Cross-attention is half explanation in speech-to-text models",
    https://arxiv.org/abs/2509.18010.

    Args:

        explainer (SpeechToTextAttribution): Of a Hugging Face encoder-decoder, or its adapter. Its
                    method does not matter.
        audio (path, array, ...): In any form that ``attribute`` takes; bare arrays have the model's
                    own sampling rate.
        target (str, sequence of int or Tensor, optional): The output.
                    Default: None, what the model writes
        group (int, optional): How many neighbouring states are removed together, at least 1.
                    Default: 1
        n_samples (int, optional): Passes through the decoder, at least 1.
                    Default: 1000
        baseline (str, optional): What removed states become: "mean", that of the states of the
                    speech, or "zero".
                    Default: "mean"
        gen_args (dict, optional): Of generation, as for ``attribute``.
                    Default: None
        seed (int, optional): Of the masks.
                    Default: 0

    Returns:
        *StateSaliency*. States of padding are never removed.

    Raises:
        ArgumentError: a number is out of range, the baseline unknown, or the audio cannot be used.
        ArgumentTypeError: the model is no such encoder-decoder.

    Examples::

        >>> states = state_saliency(explainer, "speech.flac", target="the cat", n_samples=50)
        >>> bool((states.scores >= 0).all())
        True
    """
    whole_number("group", group, 1)
    whole_number("n_samples", n_samples, 1)
    whole_number("seed", seed, 0)
    if baseline not in BASELINES:
        raise ArgumentError(f"baseline must be one of {BASELINES}, got {baseline!r}.")
    adapter = adapter_of(explainer)
    is_encoder_decoder: bool = isinstance(adapter, HuggingFaceSpeechModel)
    if not is_encoder_decoder:
        raise ArgumentTypeError(
            "states are removed ahead of the decoder of encoder-decoders of transformers, such as "
            f"Whisper; {type(adapter).__name__} is none."
        )
    with ordinary_torch(adapter.device):
        speech = read_speech(adapter, audio, adapter.sampling_rate)
        sequence = written_sequence(adapter, speech, target, dict(gen_args or {}))
        with torch.no_grad(), adapter.evaluation_mode():
            states = adapter.encode(speech, speech.spectrogram[None].to(adapter.device))
            position = position_of_frames(adapter, speech, states.shape[1])
            groups = torch.arange(int(position[-1]) + 1) // group
            removed = torch.zeros_like(states)
            if baseline == "mean":
                removed[:] = states[:, : len(groups)].mean(1, keepdim=True)
            scores = _scores(adapter, sequence, states, removed, groups, n_samples, seed)
    tokens = tuple(adapter.token_strings(sequence.explained_ids))
    return StateSaliency(tokens, scores[:, ::group], position // group, speech.frame_times)


def _scores(
    adapter: Any,
    sequence: TargetSequence,
    states: Tensor,
    removed: Tensor,
    groups: Tensor,
    n_samples: int,
    seed: int,
) -> Tensor:
    """``(tokens, positions)``: SPES of whether each of the first states is kept; all of a group
    have the same score."""

    def decoded(keep: Tensor) -> Any:
        return adapter.decode(torch.where(keep[:, :, None] > 0, states, removed), sequence)

    everything = torch.ones(1, states.shape[1], device=states.device)
    mask = torch.full((1, states.shape[1]), -1)  # padding is never removed
    mask[0, : len(groups)] = groups
    divergence = KLDivergenceForward(decoded, everything, output_layer=adapter.output_layer)
    scores = SPES(divergence).attribute(
        everything,
        feature_mask=mask.to(states.device),
        n_samples=n_samples,
        perturbations_per_eval=_PER_PASS,
        seed=seed,
    )
    found: Tensor = scores[0, :, : len(groups)].float().cpu()
    return found
