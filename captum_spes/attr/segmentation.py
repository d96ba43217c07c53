"""Feature masks: labels turned into numbered features, and features removed from inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from captum_spes.attr.captum_compat import _construct_default_feature_mask, _is_mask_valid
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


def baseline_tensors(
    baselines: tuple[Tensor | int | float, ...], tensors: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    if len(baselines) != len(tensors):
        raise ArgumentError(f"{len(baselines)} baselines given for {len(tensors)} inputs.")
    formatted = []
    for index, (baseline, tensor) in enumerate(zip(baselines, tensors, strict=True)):
        value = torch.as_tensor(baseline, device=tensor.device)
        if value.dim() > 0 and tuple(value.shape) not in (
            tuple(tensor.shape),
            (1, *tensor.shape[1:]),
        ):
            raise ArgumentError(
                f"baseline (index {index}) has shape {tuple(value.shape)}; a Tensor must be "
                f"shaped like the input, {tuple(tensor.shape)}, or have a first dimension "
                "of 1."
            )
        # An integer input with a fractional baseline becomes floating, as in Captum.
        cast_value = value.to(tensor.dtype)
        is_lossless = tensor.is_floating_point() or torch.equal(cast_value.double(), value.double())
        formatted.append(cast_value if is_lossless else value)
    return tuple(formatted)


def perturb(
    tensors: tuple[Tensor, ...],
    baselines: tuple[Tensor, ...],
    level: Segmentation,
    groups: Sequence[Sequence[int]],
    masks: Sequence[Tensor],
) -> tuple[Tensor, ...]:
    """Replace the masked features; examples vary fastest, as Captum expands arguments.

    Args:
        tensors: the inputs.
        baselines: what replaces them, broadcastable.
        level: the segmentation level of the masks.
        groups: examples that share masks.
        masks: of each group, bool ``(samples, features)``, True = perturbed.
    """
    perturbed = []
    for tensor, baseline, columns in zip(tensors, baselines, level.columns, strict=True):
        is_masked = _element_masks(columns, groups, masks)
        # where, not multiplication: an infinite feature (log of digital silence) times 0
        # would be NaN.
        replaced = torch.where(is_masked, baseline, tensor)
        perturbed.append(replaced.flatten(0, 1))
    return tuple(perturbed)


def _element_masks(
    columns: Tensor, groups: Sequence[Sequence[int]], masks: Sequence[Tensor]
) -> Tensor:
    """Spread masks over features to elements: bool ``(samples, 1 or batch, *features)``."""
    # The additional column serves elements that are never perturbed.
    padded = [torch.nn.functional.pad(mask, (0, 1)).to(columns.device) for mask in masks]
    if len(groups) == 1 and len(columns) == 1:
        # gather, as index_select along rows is several times slower for bool on a CPU.
        spread = padded[0].gather(1, columns.reshape(1, -1).expand(len(padded[0]), -1))
        return spread.reshape(len(padded[0]), *columns.shape)
    batch = sum(len(group) for group in groups)
    spread = torch.empty(
        len(padded[0]), batch, *columns.shape[1:], dtype=torch.bool, device=columns.device
    )
    for group, mask in zip(groups, padded, strict=True):
        for example in group:
            row = columns[example if len(columns) > 1 else 0]
            spread[:, example] = mask[:, row]
    return spread
