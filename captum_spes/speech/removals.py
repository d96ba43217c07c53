"""Removing stretches of a recording, to find out what each token was written from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_spes.errors import ArgumentError, whole_number
from captum_spes.speech.models import SpeechInput, TargetSequence

MOST_PASSES = 40
# Of a recording: long enough to hold any word whole, short enough to leave its context.
_SHARE = 1 / 3


@dataclass(frozen=True, eq=False)
class Removals:
    """What happens to the explained tokens when stretches of a recording are removed.

    Attributes:
        masks: bool ``(passes, frames)``: True where a frame is removed; the first removes all.
        divergences: ``(passes, tokens)``, nats: Kullback-Leibler, from the distributions on the
            intact recording.
        losses: ``(passes, tokens)``, nats: by how much the token's log-probability falls.
        log_probabilities: ``(tokens,)``: on the intact recording.
    """

    masks: Tensor
    divergences: Tensor
    losses: Tensor
    log_probabilities: Tensor


def checked_passes(passes: object) -> int:
    """Return a number of passes, or raise where no check can have it."""
    count = whole_number("passes", passes, 1)
    if count > MOST_PASSES:
        raise ArgumentError(f"passes must be at most {MOST_PASSES}, got {count}.")
    return count


def removal_masks(passes: int, n_frames: int) -> Tensor:
    r"""
    Say for each pass which frames are removed.

    The first pass removes everything. Of the others one half, rounded up, removes a window of a
    third of the recording, and the other half keeps such a window alone. The windows of a half lie
    at equal distances, the first at the start and the last at the end.

    Args:

        passes (int): From 1 to 40.
        n_frames (int): Frames of the spectrogram.

    Returns:
        *Tensor* of shape ``(passes, n_frames)``, bool: True where a frame is removed.

    Examples::

        >>> removal_masks(4, 6).int().tolist()
        [[1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1], [1, 1, 0, 0, 1, 1]]
    """
    n_removed = passes // 2
    everything = torch.ones(1, n_frames, dtype=torch.bool, device="cpu")
    removed = _windows(n_removed, n_frames)
    kept = _windows(passes - 1 - n_removed, n_frames)
    return torch.cat([everything, removed, ~kept])


def _windows(count: int, n_frames: int) -> Tensor:
    """True within windows at equal distances, ``(count, n_frames)``; a single one in the middle."""
    width = max(1, round(_SHARE * n_frames))
    steps = torch.linspace(0, 1, count, device="cpu") if count > 1 else torch.tensor([0.5][:count])
    starts = (steps * (n_frames - width)).round()[:, None]
    frames = torch.arange(n_frames, device="cpu")
    return (frames >= starts) & (frames < starts + width)


def measure_removals(
    adapter: Any,
    speech: SpeechInput,
    sequence: TargetSequence,
    removed: Tensor,
    passes: int,
    perturbations_per_eval: int,
) -> Removals:
    """Remove stretches, in batches, and compare what the model expects at each explained token.

    Args:
        adapter: of the model.
        speech: the recording, or a window of it.
        sequence: what was written.
        removed: ``(time, freq)``: what removed cells are replaced by.
        passes: how many perturbed copies the model sees; the intact recording comes on top.
        perturbations_per_eval: of them in a batch.
    """
    masks = removal_masks(passes, len(speech.spectrogram))
    ids = sequence.explained_ids.to(adapter.device)

    def expected(spectrograms: Tensor) -> Tensor:
        states = adapter.encode(speech, spectrograms.to(adapter.device))
        logits: Tensor = adapter.output_layer(adapter.decode(states, sequence))
        return logits.log_softmax(-1)

    with torch.no_grad():
        intact = expected(speech.spectrogram[None])
        own = intact.gather(-1, ids[None, :, None])[..., 0]
        divergences, losses = [], []
        for few in masks.split(perturbations_per_eval):
            copies = torch.where(few[..., None], removed, speech.spectrogram)
            logs = expected(copies)
            divergences.append((intact.exp() * (intact - logs)).nan_to_num().sum(-1))
            losses.append(own - logs.gather(-1, ids.expand(len(few), -1)[..., None])[..., 0])
    found = [torch.cat(parts).double().cpu() for parts in (divergences, losses, [own])]
    return Removals(masks, found[0].clamp_min(0.0), found[1], found[2][0])
