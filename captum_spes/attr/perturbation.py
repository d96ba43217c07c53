"""Making perturbed inputs out of masks over features."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_spes.attr.mask_groups import MaskGroup
from captum_spes.attr.segmentation import Segmentation
from captum_spes.errors import ArgumentError


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
    groups: list[MaskGroup],
    masks: list[Tensor],
) -> tuple[Tensor, ...]:
    """Replace the masked features; examples vary fastest, as Captum expands arguments."""
    perturbed = []
    for tensor, baseline, columns in zip(tensors, baselines, level.columns, strict=True):
        is_masked = _element_masks(columns, groups, masks)
        # where, not multiplication: an infinite feature (log of digital silence) times 0
        # would be NaN.
        replaced = torch.where(is_masked, baseline, tensor)
        perturbed.append(replaced.flatten(0, 1))
    return tuple(perturbed)


def _element_masks(columns: Tensor, groups: list[MaskGroup], masks: list[Tensor]) -> Tensor:
    """Spread masks over features to elements: bool ``(samples, 1 or batch, *features)``."""
    # The additional column serves elements that are never perturbed.
    padded = [torch.nn.functional.pad(mask, (0, 1)).to(columns.device) for mask in masks]
    if len(groups) == 1 and len(columns) == 1:
        # gather, as index_select along rows is several times slower for bool on a CPU.
        spread = padded[0].gather(1, columns.reshape(1, -1).expand(len(padded[0]), -1))
        return spread.reshape(len(padded[0]), *columns.shape)
    batch = sum(len(group.examples) for group in groups)
    spread = torch.empty(
        len(padded[0]), batch, *columns.shape[1:], dtype=torch.bool, device=columns.device
    )
    for group, mask in zip(groups, padded, strict=True):
        for example in group.examples:
            row = columns[example if len(columns) > 1 else 0]
            spread[:, example] = mask[:, row]
    return spread
