"""Feature masks in the form that a masked average needs: labels turned into columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from captum_spes.attr._captum_compat import _construct_default_feature_mask, _is_mask_valid
from captum_spes.errors import ArgumentError, ArgumentTypeError

FeatureMask: TypeAlias = Tensor | tuple[Tensor, ...]
FeatureMaskLevels: TypeAlias = FeatureMask | list[Tensor] | list[tuple[Tensor, ...]] | None


@dataclass(frozen=True)
class Segmentation:
    """One level of features over a tuple of inputs.

    Attributes:
        columns: one int64 tensor per input, shaped like the input with a first dimension
            of 1 (all examples share the features) or of the batch size. It holds the
            number of the feature that each element belongs to: features are numbered per
            example in ascending order of their labels, over all inputs together. Elements
            that are never perturbed hold the number of features, one past the last.
        n_features: number of features of each row of ``columns``.
    """

    columns: tuple[Tensor, ...]
    n_features: tuple[int, ...]

    @property
    def is_shared(self) -> bool:
        """Whether all examples have the same features."""
        return len(self.n_features) == 1

    def features_of(self, example: int) -> int:
        return self.n_features[0 if self.is_shared else example]


def segmentation_levels(
    feature_mask: FeatureMaskLevels, inputs: tuple[Tensor, ...]
) -> list[Segmentation]:
    """Read Captum feature masks, one or a list with one entry per level."""
    if feature_mask is None:
        feature_mask, _ = _construct_default_feature_mask(inputs)
    levels = feature_mask if isinstance(feature_mask, list) else [feature_mask]
    if not levels:
        raise ArgumentError("feature_mask is an empty list; give at least one level.")
    return [_segmentation(level, inputs) for level in levels]


def _segmentation(feature_mask: FeatureMask, inputs: tuple[Tensor, ...]) -> Segmentation:
    masks = feature_mask if isinstance(feature_mask, tuple) else (feature_mask,)
    _check(masks, inputs)
    shaped = [_match_dimensions(mask, tensor) for mask, tensor in zip(masks, inputs, strict=True)]
    batch = inputs[0].shape[0]
    rows = batch if any(mask.shape[0] > 1 for mask in shaped) else 1
    columns_of_rows, n_features = [], []
    for row in range(rows):
        row_columns, count = _number_features(
            [mask[row if len(mask) > 1 else 0] for mask in shaped]
        )
        columns_of_rows.append(row_columns)
        n_features.append(count)
    if max(n_features, default=0) == 0:
        raise ArgumentError(
            "feature_mask has no feature: every label is negative (never perturbed)."
        )
    columns = tuple(
        torch.stack([row[i] for row in columns_of_rows])
        .reshape(rows, *tensor.shape[1:])
        .to(tensor.device)
        for i, tensor in enumerate(inputs)
    )
    return Segmentation(columns, tuple(n_features))


def _check(masks: tuple[Tensor, ...], inputs: tuple[Tensor, ...]) -> None:
    if len(masks) != len(inputs):
        raise ArgumentError(
            f"feature_mask has {len(masks)} tensors for {len(inputs)} inputs; give one per "
            "input (a list is read as one entry per segmentation level)."
        )
    for index, (mask, tensor) in enumerate(zip(masks, inputs, strict=True)):
        if not isinstance(mask, Tensor):
            raise ArgumentTypeError(
                f"feature_mask (index {index}) must be a Tensor, got {type(mask).__name__}."
            )
        if mask.is_floating_point() and not bool((mask == mask.round()).all()):
            raise ArgumentError(f"feature_mask (index {index}) must hold integer labels.")
        if not _is_mask_valid(mask, tensor):
            raise ArgumentError(
                f"feature_mask (index {index}) has shape {tuple(mask.shape)}, which does not "
                f"broadcast to the input's shape {tuple(tensor.shape)}."
            )


def _match_dimensions(mask: Tensor, tensor: Tensor) -> Tensor:
    """Broadcast a mask to its input in every dimension but the first."""
    mask = mask.detach().to("cpu", torch.int64)
    mask = mask.reshape((1,) * (tensor.dim() - mask.dim()) + tuple(mask.shape))
    return mask.expand(mask.shape[0], *tensor.shape[1:])


def _number_features(masks: list[Tensor]) -> tuple[list[Tensor], int]:
    """Number the labels of one example over all its inputs in ascending order."""
    labels = torch.cat([mask.reshape(-1) for mask in masks])
    features, columns = torch.unique(labels, return_inverse=True)
    n_negative = int((features < 0).sum())
    n_features = len(features) - n_negative
    columns = columns - n_negative
    columns[columns < 0] = n_features
    return list(columns.split([mask.numel() for mask in masks])), n_features
