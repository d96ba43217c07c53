"""What layers of an encoder-decoder take from where: value zeroing, attention and its norms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from captum_spes.errors import ArgumentError, ArgumentTypeError, whole_number
from captum_spes.speech.ambient import ordinary_torch
from captum_spes.speech.inputs import Audio, read_speech
from captum_spes.speech.models import SpeechInput, TargetSequence
from captum_spes.speech.models.mixing import (
    PARTS,
    AttentionLayer,
    check_layers,
    contributions,
    read_layers,
)
from captum_spes.speech.randomness import seeded_draws

MEASURES = ("zeroing", "attention", "norms")


@dataclass(frozen=True, eq=False)
class ContextMixing:
    r"""
    How much each layer of one part of a model takes from each source for each target.

    L is the number of layers, T of targets, G of groups of neighbouring sources, F of frames.

    Attributes:
        part: "cross" (targets are tokens, sources positions of the encoder), "decoder" (both are
            tokens) or "encoder" (both are positions of the encoder).
        scores: ``(L, T, G)``: value zeroing. The cosine distance in [0, 2] of what the layer gives
            for the target from what it gives when the value vectors of the group are 0.
        attention: ``(L, T, G)``: attention weights, averaged over the heads, summed over the group.
            Padding has weight, too, so that rows need not sum to 1.
        norms: ``(L, T, G)``: length of the vector that attention adds to the target from the group.
        targets: names of the targets: tokens, or times in seconds.
        sources: names of the groups: previous tokens, or times in seconds where they start.
        readable: bool ``(T, G)``: False where the target cannot read the group, as later tokens.
        frame_groups: int64 ``(F,)``: the group that covers each frame of the spectrogram; None for
            the decoder's own attention.
        frame_times: ``(F,)``: seconds, the middle of each frame.
    """

    part: str
    scores: Tensor
    attention: Tensor
    norms: Tensor
    targets: tuple[str, ...]
    sources: tuple[str, ...]
    readable: Tensor
    frame_groups: Tensor | None
    frame_times: Tensor

    def shares(self, measure: str = "zeroing") -> Tensor:
        r"""
        Scores of a target divided by their sum, as the sources of the method compare them.

        Args:

            measure (str, optional): "zeroing", "attention" or "norms".
                        Default: "zeroing"

        Returns:
            *Tensor* of shape ``(L, T, G)``; rows sum to 1, or to 0 where nothing matters.

        Raises:
            ArgumentError: the measure is unknown.

        Examples::

            >>> mixing = context_mixing(explainer, "speech.flac", target="the cat")
            >>> mixing.shares("attention").sum(-1).allclose(torch.ones(1, len(mixing.targets)))
            True
        """
        if measure not in MEASURES:
            raise ArgumentError(f"measure must be one of {MEASURES}, got {measure!r}.")
        found: Tensor = self.scores if measure == "zeroing" else getattr(self, measure)
        total = found.sum(-1, keepdim=True)
        return torch.where(total > 0, found / total.where(total > 0, 1.0), 0.0)

    def time_map(self, measure: str = "zeroing", layer: int | None = None) -> Tensor:
        r"""
        What each target takes from each frame; each frame has the share of the group that covers
        it. It compares with the means over mel bins of what explanations call
        ``spectrogram_attr``.

        Args:

            measure (str, optional): As for :meth:`shares`.
                        Default: "zeroing"
            layer (int, optional): From 0, negative from the last one.
                        Default: None, the mean of all

        Returns:
            *Tensor* of shape ``(T, F)``.

        Raises:
            ArgumentError: measure or layer do not exist, or the sources are tokens.

        Examples::

            >>> mixing = context_mixing(explainer, "speech.flac", target="the cat")
            >>> mixing.time_map().shape == (len(mixing.targets), len(mixing.frame_times))
            True
        """
        if self.frame_groups is None:
            raise ArgumentError("the decoder's own attention reads tokens: take token_map().")
        return self._of_layer(measure, layer)[:, self.frame_groups]

    def token_map(self, measure: str = "zeroing", layer: int | None = None) -> Tensor:
        r"""
        What each token takes from each previous token, as explanations' ``token_attr``.

        Args:

            measure, layer: As for :meth:`time_map`.

        Returns:
            *Tensor* of shape ``(T, G)``, NaN where a token is not before the target.

        Raises:
            ArgumentError: measure or layer do not exist, or the sources are times.

        Examples::

            >>> mixing = context_mixing(explainer, "speech.flac", "decoder", target="the cat")
            >>> mixing.token_map().shape == (len(mixing.targets), len(mixing.sources))
            True
        """
        if self.frame_groups is not None:
            raise ArgumentError(f"the part {self.part!r} reads the audio: take time_map().")
        return self._of_layer(measure, layer).masked_fill(~self.readable, float("nan"))

    def _of_layer(self, measure: str, layer: int | None) -> Tensor:
        found = self.shares(measure)
        if layer is None:
            return found.mean(0)
        if isinstance(layer, bool) or not isinstance(layer, int):
            raise ArgumentTypeError(f"layer must be a whole number or None, got {layer!r}.")
        if not -len(found) <= layer < len(found):
            raise ArgumentError(f"there are {len(found)} layers, counted from 0; got {layer}.")
        return found[layer]


def context_mixing(
    explainer: Any,
    audio: Audio,
    part: str = "cross",
    *,
    target: str | Sequence[int] | Tensor | None = None,
    group: int = 1,
    gen_args: Mapping[str, Any] | None = None,
    batch_size: int = 16,
    sampling_rate: int = 16_000,
) -> ContextMixing:
    r"""
    Measure, layer by layer, what a model takes from each source: by value zeroing, by attention
    weights and by their norms.

    Value zeroing sets the value vectors of a group of sources to 0 in one layer, attention weights
    unchanged, runs that layer again, and measures how far what it gives for each target moves
    (Mohebbi et al., arXiv 2301.12971; for speech, arXiv 2310.09925). What else a layer has,
    residual connections, feed-forward parts and, in Conformers, convolutions over time, is run as
    well. It costs a run of each layer for each group; passes of the whole model only twice. Norms
    weigh attention with the vectors that it moves (Kobayashi et al., arXiv 2004.10102).

    Args:

        explainer (SpeechToTextAttribution): Of a Hugging Face encoder-decoder such as Whisper, or
                    its adapter. Its method does not matter. The model is left as it was.
        audio (path, array, ...): In any form that ``attribute`` takes.
        part (str, optional): "cross", the decoder's attention to the encoder; "decoder", its own;
                    "encoder", the encoder's own.
                    Default: "cross"
        target (str, sequence of int or Tensor, optional): The output; the encoder needs none.
                    Default: None, what the model writes; where it draws, with seed 0
        group (int, optional): How many neighbouring sources are zeroed together, at least 1; more
                    cost less and tell times less exactly.
                    Default: 1
        gen_args (dict, optional): Of generation, as for ``attribute``.
                    Default: None
        batch_size (int, optional): Copies of a layer's input that are run at a time, at least 1.
                    Default: 16
        sampling_rate (int, optional): Of arrays, Hz.
                    Default: 16000

    Returns:
        *ContextMixing*. Of audio only positions that hold speech are targets and sources, padding
        is not; tokens are those that are explained.

    Raises:
        ArgumentError: the part is unknown, a number is out of range, or the audio cannot be used.
        ArgumentTypeError: the model is no such encoder-decoder.

    Examples::

        >>> mixing = context_mixing(explainer, "speech.flac", target="the cat", group=2)
        >>> mixing.scores.shape == (1, len(mixing.targets), len(mixing.sources))
        True
    """
    if part not in PARTS:
        raise ArgumentError(f"part must be one of {PARTS}, got {part!r}.")
    whole_number("group", group, 1)
    whole_number("batch_size", batch_size, 1)
    adapter = adapter_of(explainer)
    check_layers(adapter, part)
    with ordinary_torch(adapter.device):
        speech = read_speech(adapter, audio, sampling_rate)
        sequence = None
        if part != "encoder":  # which runs before anything is written
            sequence = written_sequence(adapter, speech, target, dict(gen_args or {}))
        with adapter.evaluation_mode():
            layers = read_layers(adapter, part, speech, sequence)
            axes = _axes(adapter, part, speech, sequence, layers[0], group)
            scores = [_zeroed(layer, axes, batch_size) for layer in layers]
            weighted = read_layers(adapter, part, speech, sequence, weights=True)
            attention = [_attention(layer, axes) for layer in weighted]
            norms = [contributions(layer, axes.rows, axes.groups) for layer in weighted]
    return ContextMixing(
        part, torch.stack(scores), torch.stack(attention), torch.stack(norms), *axes.named
    )  # fmt: skip


def adapter_of(explainer: Any) -> Any:
    """The adapter of an explainer, or the adapter that was given."""
    adapter = getattr(explainer, "adapter", explainer)
    if not hasattr(adapter, "encode"):
        raise ArgumentTypeError(
            "give an explainer, SpeechToTextAttribution(method, processor), or its adapter; got "
            f"{type(explainer).__name__}."
        )
    return adapter


class _Named(NamedTuple):
    """The last fields of :class:`ContextMixing`."""

    targets: tuple[str, ...]
    sources: tuple[str, ...]
    readable: Tensor
    frame_groups: Tensor | None
    frame_times: Tensor


class _Axes(NamedTuple):
    """Targets by their row, sources by their group, and what :class:`ContextMixing` says of both;
    sources behind those that have a group are padding."""

    rows: Tensor
    groups: Tensor
    named: _Named


def written_sequence(
    adapter: Any, speech: SpeechInput, target: Any, gen_args: dict[str, Any]
) -> TargetSequence:
    """What is given as the output, or what the model writes."""
    with seeded_draws(0), adapter.evaluation_mode(), torch.no_grad():
        found: TargetSequence
        if target is None:
            found = adapter.generate(speech, gen_args)
        else:
            found = adapter.force(speech, target, gen_args)
    return found


def _axes(
    adapter: Any,
    part: str,
    speech: SpeechInput,
    sequence: TargetSequence | None,
    layer: AttentionLayer,
    size: int,
) -> _Axes:
    n_sources = layer.values.shape[1]
    if sequence is not None:
        written = tuple(adapter.token_strings(sequence.explained_ids))
        # A token is written from the position before it.
        rows = torch.tensor(sequence.explained) - 1
    if sequence is not None and part == "decoder":
        groups = torch.arange(n_sources) // size
        strings = adapter.token_strings(sequence.decoder_ids)
        names = ["".join(strings[i : i + size]) for i in range(0, n_sources, size)]
        first = torch.arange(0, n_sources, size)
        readable = first[None, :] <= rows[:, None]
        named = _Named(written, tuple(names), readable, None, speech.frame_times)
        return _Axes(rows, groups, named)
    position = position_of_frames(adapter, speech, n_sources)
    groups = torch.arange(int(position[-1]) + 1) // size
    seconds = [float(speech.frame_times[position.tolist().index(i)]) for i in range(len(groups))]
    named_times = [f"{second:.2f}" for second in seconds]
    if sequence is None:
        rows, written = torch.arange(len(groups)), tuple(named_times)
    readable = torch.ones(len(rows), int(groups[-1]) + 1, dtype=torch.bool)
    starts = tuple(named_times[::size])
    named = _Named(written, starts, readable, groups[position], speech.frame_times)
    return _Axes(rows, groups, named)


def position_of_frames(adapter: Any, speech: SpeechInput, n_positions: int) -> Tensor:
    """int64 ``(time,)``: the position of the encoder that covers each frame of the spectrogram."""
    n_frames = len(speech.spectrogram)
    per_position = max(n_frames, adapter.covered_frames(speech, n_positions)) / n_positions
    frames = torch.arange(n_frames, dtype=torch.float32)
    found: Tensor = (frames / per_position).long().clamp(max=n_positions - 1)
    return found


def _zeroed(layer: AttentionLayer, axes: _Axes, batch_size: int) -> Tensor:
    """``(targets, groups)``: cosine distances."""
    rows, n_sources = axes.rows, layer.values.shape[1]
    intact = _direction(layer.output[:, rows])
    belongs = axes.groups[None, :] == torch.arange(int(axes.groups[-1]) + 1)[:, None]
    removed = torch.zeros(len(belongs), n_sources, dtype=torch.bool)
    removed[:, : len(axes.groups)] = belongs
    found = [
        # Half the squared distance of directions: the cosine's own difference from 1 would drown
        # in rounding.
        (_direction(layer.without(batch)[:, rows]) - intact).square().sum(-1) / 2
        for batch in removed.split(batch_size)
    ]
    return torch.cat(found).T.float()


def _direction(states: Tensor) -> Tensor:
    return torch.nn.functional.normalize(states.double().cpu(), dim=-1)


def _attention(layer: AttentionLayer, axes: _Axes) -> Tensor:
    """``(targets, groups)``: weights, averaged over heads."""
    weights = layer.weights[0].float().mean(0).cpu()[axes.rows, : len(axes.groups)]
    n_groups = int(axes.groups[-1]) + 1
    found: Tensor = weights.new_zeros(len(weights), n_groups).index_add_(1, axes.groups, weights)
    return found
