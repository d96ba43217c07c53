"""Removing stretches of a recording, to find out what each token was written from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from captum_spes.errors import ArgumentError, shown, whole_number
from captum_spes.forward import mean_by_token
from captum_spes.speech.models import SpeechInput, TargetSequence

MOST_PASSES = 40
# Of a recording: long enough to hold any word whole, short enough to leave its context.
_SHARE = 1 / 3
# A token that is less likely counts as that unlikely.
_MOST_NATS = 100.0
# Where windows lie, finer from group to group. Of the last only some are used: they are spread.
_PLACES = (
    (0.0, 0.5, 1.0),
    (0.25, 0.75),
    (0.125, 0.625, 0.375, 0.875),
    tuple((2 * place + 1) / 16 for place in (0, 4, 2, 6, 1, 5, 3, 7)),
    tuple((2 * place + 1) / 32 for place in (0, 8, 4, 12, 2)),
)


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

    def first(self, passes: int) -> Removals:
        """What fewer passes would have found."""
        return replace(
            self,
            masks=self.masks[:passes],
            divergences=self.divergences[:passes],
            losses=self.losses[:passes],
        )


def checked_passes(passes: object) -> int:
    """Return a number of passes, or raise where no check can have it."""
    count = whole_number("passes", passes, 1)
    if count > MOST_PASSES:
        raise ArgumentError(f"passes must be at most {MOST_PASSES}, got {shown(count)}.")
    return count


def removal_masks(passes: int, n_frames: int) -> Tensor:
    r"""
    Say for each pass which frames are removed.

    The first pass removes everything. Then windows of a third of the recording are removed, from
    its start, middle and end, then such windows are kept alone; then both again for the windows
    half way between those so far, and so on. The passes of a smaller number are the first of those
    of a larger one.

    Args:

        passes (int): From 1 to 40.
        n_frames (int): Frames of the spectrogram.

    Returns:
        *Tensor* of shape ``(passes, n_frames)``, bool: True where a frame is removed.

    Examples::

        >>> removal_masks(5, 6).int().tolist()[1:]
        [[1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1], [0, 0, 1, 1, 1, 1]]
    """
    masks = [torch.ones(n_frames, dtype=torch.bool, device="cpu")]
    for places in _PLACES:
        windows = [_window(place, n_frames) for place in places]
        masks += [*windows, *(~window for window in windows)]
    return torch.stack(masks[:passes])


def _window(place: float, n_frames: int) -> Tensor:
    """True within a window; place 0 is the one at the start, 1 the one at the end."""
    width = max(1, round(_SHARE * n_frames))
    start = round(place * (n_frames - width))
    frames = torch.arange(n_frames, device="cpu")
    return (frames >= start) & (frames < start + width)


def measure_removals(
    adapter: Any,
    speech: SpeechInput,
    sequence: TargetSequence,
    removed: Tensor,
    passes: int,
    perturbations_per_eval: int = 4,
    states: Tensor | None = None,
) -> Removals:
    """Remove stretches, in batches, and compare what the model expects at each explained token.

    Args:
        adapter: of the model.
        speech: the recording, or a window of it.
        sequence: what was written.
        removed: ``(time, freq)``: what removed cells are replaced by.
        passes: how many perturbed copies the model sees; the intact recording comes on top.
        perturbations_per_eval: of them in a batch.
        states: of the intact recording; None where they have to be computed.
    """
    masks = removal_masks(passes, len(speech.spectrogram))
    ids, rows = sequence.row_ids, sequence.rows

    def encoded(spectrograms: Tensor) -> Tensor:
        found: Tensor = adapter.encode(speech, spectrograms.to(adapter.device))
        return found

    def expected(states: Tensor) -> Iterator[Tensor]:
        # Divergence and loss from one reading of the output layer, which KLDivergenceForward would
        # need a second one for. One example at a time: few logits of a large vocabulary fit.
        for hidden in adapter.decode(states, sequence):
            yield _log_probabilities(adapter.output_layer(hidden))

    with torch.no_grad():
        (intact,) = expected(encoded(speech.spectrogram[None]) if states is None else states)
        probabilities, own = intact.exp(), _of_ids(intact, ids)
        divergences, losses = [], []
        for few in masks.split(perturbations_per_eval):
            copies = torch.where(few[..., None], removed, speech.spectrogram)
            for logs in expected(encoded(copies)):
                divergences.append((probabilities * (intact - logs)).sum(-1).double().cpu())
                losses.append((own - _of_ids(logs, ids)).double().cpu())
    return Removals(
        masks,
        mean_by_token(torch.stack(divergences).clamp_min(0.0), rows),
        mean_by_token(torch.stack(losses), rows),
        mean_by_token(own.double().cpu()[None], rows)[0],
    )


def _log_probabilities(logits: Tensor) -> Tensor:
    """Of ``(tokens, vocab)``; a token that cannot be is taken to be as unlikely as can be told."""
    if bool(torch.isnan(logits).any()):
        raise ArgumentError(
            "the model gives NaN for this recording, or a copy of it with a part removed: its "
            "weights, or their precision, cannot be used."
        )
    return logits.log_softmax(-1).clamp_min(-_MOST_NATS)


def _of_ids(logs: Tensor, ids: Tensor) -> Tensor:
    """The log-probability of each token's own id."""
    return logs.gather(-1, ids.to(logs.device)[:, None])[:, 0]
