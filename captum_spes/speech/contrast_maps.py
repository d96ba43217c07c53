"""The signed maps of a contrastive explanation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from captum_spes.attr import MaskedDifference
from captum_spes.speech.settings import Settings

# Methods whose scores are means over samples that remove other parts, too.
_MEANS = ("SPES", "Bubble Noise")


class ContrastMaps(NamedTuple):
    """What speaks for a word, and what for its foil.

    Positive is what moves the model from the word to the foil when it is removed, negative the
    other way round; what has no part in the choice gets about 0.

    Attributes:
        spectrogram_attr: ``(time, freq)``.
        token_attr: ``(J,)``; None where previous tokens were not explained.
        instruction_attr: ``(I,)``; None where the instruction was not explained.
    """

    spectrogram_attr: Tensor
    token_attr: Tensor | None
    instruction_attr: Tensor | None


def has_zero(method: str, settings: Settings) -> bool:
    """Whether 0 is what has no part in the choice, on the side of the spectrogram."""
    return method not in _MEANS or (
        method == "SPES" and isinstance(settings.estimator, MaskedDifference)
    )


def has_sign(method: str, settings: Settings) -> bool:
    """Whether a map tells the two sides apart."""
    return method != "Saliency" or not settings.method_args.get("spectrogram", {}).get("abs", True)


def contrast_maps(
    method: str,
    settings: Settings,
    feature_masks: Tensor,
    spectrogram_attr: Tensor,
    rows: Sequence[Tensor | None],
) -> ContrastMaps:
    """Raw maps of one word without what they owe to all else that was removed beside.

    Args:
        method: its name.
        settings: what the maps were made with.
        feature_masks: ``(levels, time, freq)``, negative where nothing was removed.
        spectrogram_attr: ``(time, freq)``.
        rows: ``(J,)`` and ``(I,)``, of previous tokens and of the instruction.
    """
    is_removed = (feature_masks >= 0).any(0)
    level = 0.0
    if not has_zero(method, settings):
        n_patches = int(feature_masks[0].max()) + 1
        level = mean_impact(spectrogram_attr[is_removed], n_patches, settings.perturb_prob)
    maps = (spectrogram_attr - level).where(is_removed, 0.0)
    centred: list[Tensor | None] = []
    for row in rows:
        if row is None or method not in _MEANS:
            centred.append(row)
        elif settings.perturb_jointly:  # of the same samples
            centred.append(row - level)
        else:
            centred.append(row - mean_impact(row, len(row), settings.token_perturb_prob))
    return ContrastMaps(maps, *centred)


def mean_impact(scores: Tensor, n_features: int, probability: float) -> float:
    """The mean impact of all samples, which a feature without any effect gets, from the mean
    impacts of the samples that removed each feature.

    With effects d that add up, of n features that are each removed with probability p, the scores
    are (1 - p) d_j + p (d_1 + ... + d_n), and the mean impact is p (d_1 + ... + d_n).
    """
    known = scores[~torch.isnan(scores)]
    if not len(known):
        return 0.0
    others = probability * n_features
    return float(known.double().mean()) * others / (1 - probability + others)
