"""The patches of an utterance by name, or the user's own, checked."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from captum_spes.attr.segmentation import FeatureMaskLevels
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.masks import grid_feature_mask, slic_feature_mask


def feature_masks(
    spectrogram: Tensor, feature_mask: str | FeatureMaskLevels, **scales: Any
) -> list[Tensor]:
    """Return one mask per level, ``(1, time, freq)``.

    Args:
        spectrogram: ``(time, freq)``.
        feature_mask: "slic", "grid", "cells", or the user's own masks; None for SLIC's.
        **scales: arguments of ``slic_feature_mask`` and ``grid_feature_mask``.
    """
    # By type first: comparing a Tensor with a text gives no truth value.
    name = feature_mask if isinstance(feature_mask, str) else None
    if feature_mask is None or name == "slic":
        return [mask[None] for mask in slic_feature_mask(spectrogram, **scales)]
    if name == "grid":
        return [mask[None] for mask in grid_feature_mask(spectrogram, **scales)]
    if name == "cells":
        return [torch.arange(spectrogram.numel()).reshape(1, *spectrogram.shape)]
    if isinstance(feature_mask, str):
        raise ArgumentError(
            f"feature_mask must be 'slic', 'grid', 'cells' or Tensors, got {feature_mask!r}."
        )
    levels = feature_mask if isinstance(feature_mask, list) else [feature_mask]
    if not levels:
        raise ArgumentError("feature_mask is an empty list; give at least one level.")
    return [_one_mask(level, spectrogram) for level in levels]


def _one_mask(level: Tensor | tuple[Tensor, ...], spectrogram: Tensor) -> Tensor:
    if isinstance(level, tuple):
        if len(level) != 1:
            raise ArgumentError(
                f"feature_mask has {len(level)} tensors for one input, the spectrogram; give "
                "a list for several levels."
            )
        level = level[0]
    if not isinstance(level, Tensor):
        raise ArgumentTypeError(f"feature_mask must be a Tensor, got {type(level).__name__}.")
    mask = level[0] if level.dim() == 3 and len(level) == 1 else level
    if mask.shape != spectrogram.shape:
        raise ArgumentError(
            f"feature_mask has shape {tuple(level.shape)}; it must have the spectrogram's "
            f"(time, freq) = {tuple(spectrogram.shape)}."
        )
    return mask[None]
