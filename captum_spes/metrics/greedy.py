"""An order of removal that is searched for, as a bound on what maps can reach."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.forward import KL
from captum_spes.masks import grid_feature_mask
from captum_spes.metrics.hearing import Hearing
from captum_spes.metrics.measured_curve import MeasuredUtterance
from captum_spes.metrics.removal import filled

# In each round as many patches go as leave so many rounds.
ROUNDS = 10
# Copies that are heard at a time, where the user says nothing.
_BATCH = 16


def greedy_map(utterance: MeasuredUtterance, n_patches: int, most: bool) -> Tensor:
    """A map, ``(time, freq)``, whose most salient cells move the output as much, or as little, as
    a search from patch to patch finds.

    In each of ten rounds every patch that is left is removed beside those that went before, and the
    tenth of the patches goes whose divergence is the largest, or the least.

    Args:
        utterance: what is measured.
        n_patches: about as many rectangles are tried.
        most: whether the output shall move most.
    """
    spectrogram = utterance.speech.spectrogram
    (mask,) = grid_feature_mask(spectrogram, n_patches=n_patches)
    left = list(range(int(mask.max()) + 1))
    gone = torch.zeros_like(mask, dtype=torch.bool)
    values = torch.zeros(len(left))
    size, rank = math.ceil(len(left) / ROUNDS), len(left)
    while left:
        losses = _losses(utterance, torch.stack([gone | (mask == patch) for patch in left]))
        order = np.argsort(-losses if most else losses, kind="stable")[:size]
        for index in order:
            values[left[index]] = rank
            gone |= mask == left[index]
            rank -= 1
        left = [patch for index, patch in enumerate(left) if index not in set(order.tolist())]
    return values[mask]


def n_passes(n_patches: int) -> int:
    """Copies that a search hears."""
    size = math.ceil(n_patches / ROUNDS)
    return sum(range(n_patches, 0, -size))


def _losses(utterance: MeasuredUtterance, is_removed: Tensor) -> NDArray[np.float64]:
    """Divergence of the output, the mean over its tokens, of each copy."""
    copies = filled(utterance.fill, is_removed, utterance.speech.spectrogram)
    size = utterance.batch_size or _BATCH
    hearing = Hearing(utterance.adapter, utterance.speech, copies, size)
    found: NDArray[np.float64] = hearing.graded(utterance.sequence, {"kl": KL()})["kl"].mean(1)
    return found
