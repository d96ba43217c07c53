"""Running a user's forward function in Captum's conventions, and checking what it returns."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    progress,
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
    output: Tensor, perturbations_per_eval: int | str, levels: list[Segmentation]
) -> None:
    if isinstance(perturbations_per_eval, int) and perturbations_per_eval > 1:
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


def check_inputs(tensors: tuple[Tensor, ...], forward_func: Callable[..., Any]) -> None:
    for index, tensor in enumerate(tensors):
        if tensor.dim() == 0 or len(tensor) != len(tensors[0]):
            raise ArgumentError(
                "every input needs the batch as its first dimension; input "
                f"{index} has shape {tuple(tensor.shape)}, input 0 "
                f"{tuple(tensors[0].shape)}."
            )
    if len(tensors[0]) == 0:
        raise ArgumentError("inputs hold no example: their first dimension is 0.")
    if isinstance(forward_func, torch.nn.Module) and forward_func.training:
        warnings.warn(
            "forward_func is in training mode: dropout adds noise to every evaluation. "
            "Call .eval() on the model first.",
            stacklevel=4,
        )


def result_dtype(output: Tensor) -> torch.dtype:
    return torch.float64 if output.dtype == torch.float64 else torch.float32


def on_device_of(tensor: Tensor, attribution: Tensor) -> Tensor:
    if tensor.device.type == "mps":  # which has no float64
        attribution = attribution.float()
    return attribution.to(tensor.device)


@contextmanager
def progress_bar(name: str, total: int, is_shown: bool) -> Iterator[Callable[[int], None]]:
    """Captum's progress bar; yields a function that advances it."""
    if not is_shown:
        yield lambda n_done: None
        return
    bar = progress(desc=f"{name} attribution", total=total)
    try:
        bar.update(0)
        yield bar.update
    finally:
        bar.close()
