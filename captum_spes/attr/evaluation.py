"""Running a user's forward function in Captum's conventions, and checking what it returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from captum_spes.attr._captum_compat import (
    TargetType,
    _expand_additional_forward_args,
    _expand_target,
    _format_additional_forward_args,
    _run_forward,
    _select_targets,
)
from captum_spes.attr.segmentation import Segmentation
from captum_spes.errors import ArgumentError, ArgumentTypeError


class Evaluation:
    """Runs the forward function on perturbed inputs in Captum's conventions."""

    def __init__(
        self, forward_func: Callable[..., Any], target: TargetType, additional: object | None
    ) -> None:
        self._forward_func = forward_func
        self._target = target
        self._additional = _format_additional_forward_args(additional)

    def __call__(self, tensors: tuple[Tensor, ...], repeats: int = 1) -> Tensor:
        target, additional = self._target, self._additional
        if repeats > 1:
            target = _expand_target(target, repeats)
            additional = _expand_additional_forward_args(additional, repeats)
        output = _run_forward(self._forward_func, tensors, None, additional)
        if isinstance(output, bool) or not isinstance(output, Tensor | int | float):
            kind = f"{type(output).__module__}.{type(output).__qualname__}"
            raise ArgumentTypeError(
                "the return of forward_func must be a tensor, int, or float, received: "
                f"{kind}. Wrap the model in a function that returns the tensor to explain, "
                "for example `lambda *args: model(*args).logits`."
            )
        if not isinstance(output, Tensor):
            output = torch.tensor(output, dtype=torch.float64)
        return output if target is None else _select_targets(output, target)


def has_value_per_example(output: Tensor, batch: int) -> bool:
    is_one_value_for_many = batch > 1 and output.numel() == 1
    return output.dim() > 0 and len(output) == batch and not is_one_value_for_many


def check_value_per_batch(
    output: Tensor, perturbations_per_eval: int, levels: list[Segmentation]
) -> None:
    if perturbations_per_eval > 1:
        raise ArgumentError(
            "Cannot have perturbations_per_eval > 1 when function returns scalar: its "
            f"output of shape {tuple(output.shape)} has no row per example."
        )
    if not all(level.is_shared for level in levels):
        raise ArgumentError(
            "Cannot provide different masks for each example when function returns a scalar."
        )


def scores_of(output: Tensor) -> Tensor:
    """Move scores to where they are summed; float64 after the move, as MPS lacks it."""
    return output.detach().cpu().to(torch.float64)


def per_sample(values: Tensor, n_samples: int, reference: Tensor) -> Tensor:
    if values.numel() != n_samples * reference.numel():
        raise ArgumentError(
            "forward_func must return one row per example: for "
            f"{n_samples} x {len(reference)} perturbed examples it returned "
            f"{values.numel()} values, expected {n_samples * reference.numel()}. If it "
            "returns one value per batch, set perturbations_per_eval=1."
        )
    return values.reshape(n_samples, *reference.shape)


def check_finite(impacts: Tensor) -> None:
    if not bool(torch.isfinite(impacts).all()):
        raise ArgumentError(
            "forward_func returned NaN or infinity for a perturbed (or the original) input; "
            "one such value would spoil the scores of every feature. Check the inputs, the "
            "baselines and the model's precision."
        )
