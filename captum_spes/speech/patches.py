"""The patches of an utterance by name, or the user's own, checked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias

import torch
from torch import Tensor

from captum_spes.attr.segmentation import FeatureMaskLevels
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.masks import grid_feature_mask, slic_feature_mask

# Patches of spectrograms that were cut before, and with what.
Patches: TypeAlias = list[tuple[Tensor, dict[str, Any], list[Tensor]]]
_REMEMBERED: ContextVar[Patches | None] = ContextVar("remembered", default=None)


@contextmanager
def remembered_patches(known: Patches) -> Iterator[None]:
    """Inside the context, in this thread, cut a spectrogram into patches of the same sizes once.

    Args:
        known: what was cut, which what is cut inside is added to.
    """
    token = _REMEMBERED.set(known)
    try:
        yield
    finally:
        _REMEMBERED.reset(token)


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
        return [mask[None] for mask in _slic(spectrogram, scales)]
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


def _slic(spectrogram: Tensor, scales: dict[str, Any]) -> list[Tensor]:
    known = _REMEMBERED.get()
    if known is None:
        return slic_feature_mask(spectrogram, **scales)
    found = (
        masks
        for of_which, with_what, masks in known
        if with_what == scales and torch.equal(of_which, spectrogram)
    )
    masks = next(found, None)
    if masks is None:
        masks = slic_feature_mask(spectrogram, **scales)
        known.append((spectrogram, scales, masks))
    # Nobody can change those that are remembered.
    return [mask.clone() for mask in masks]


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
