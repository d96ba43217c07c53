"""Calling a user's forward function as Captum does, and checking what it returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_spes.attr.captum_compat import (
    TargetType,
    _expand_additional_forward_args,
    _expand_target,
    _format_additional_forward_args,
    _run_forward,
    _select_targets,
)
from captum_spes.attr.segmentation import Segmentation
from captum_spes.errors import ArgumentError, ArgumentTypeError, warn_caller


class Forward:
    """A forward function with its target and additional arguments.

    Args:
        forward_func (Callable): The user's function.
        target: Captum's ``target``.
        additional: Captum's ``additional_forward_args``.
    """

    def __init__(
        self, forward_func: Callable[..., Any], target: TargetType, additional: object | None
    ) -> None:
        self._forward_func = forward_func
        self._target = target
        self._additional = _format_additional_forward_args(additional)

    def __call__(self, tensors: tuple[Tensor, ...], repeats: int = 1) -> Tensor:
        """Return the outputs of the inputs, or of ``repeats`` perturbed copies of the batch."""
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
            output = torch.tensor(output, dtype=torch.float64, device="cpu")
        if target is None:
            return output
        if isinstance(target, bool):
            raise ArgumentTypeError(f"target must be an int, a tuple or a Tensor, got {target}.")
        try:
            return _select_targets(output, target)
        except (AssertionError, IndexError, TypeError) as error:
            raise ArgumentError(
                f"target {target!r} does not fit the output of shape {tuple(output.shape)}: {error}"
            ) from error


@dataclass(frozen=True)
class Original:
    """What the forward function returns for the unperturbed inputs.

    Attributes:
        scores: float64 ``(examples, outputs)``, on the CPU; one example if the function returns
            one value for the whole batch.
        shape: of the output, ``(1,)`` for a number.
        dtype: of attributions.
        has_value_per_example: whether every example has its own output.
    """

    scores: Tensor
    shape: tuple[int, ...]
    dtype: torch.dtype
    has_value_per_example: bool

    @classmethod
    def of(cls, forward: Forward, tensors: tuple[Tensor, ...]) -> Original:
        """Run the forward function once."""
        output, batch = forward(tensors), len(tensors[0])
        has_rows = _has_value_per_example(output, batch)
        return cls(
            _scores(output).reshape(batch if has_rows else 1, -1),
            tuple(output.shape) or (1,),
            torch.float64 if output.dtype == torch.float64 else torch.float32,
            has_rows,
        )

    def check_batches(
        self, perturbations_per_eval: int | str, levels: Sequence[Segmentation] = ()
    ) -> None:
        """Raise where one value for the whole batch makes these batches or masks impossible."""
        if self.has_value_per_example:
            return
        if isinstance(perturbations_per_eval, int) and perturbations_per_eval > 1:
            raise ArgumentError(
                "Cannot have perturbations_per_eval > 1 when function returns scalar: its "
                f"output of shape {self.shape} has no row per example."
            )
        if not all(level.is_shared for level in levels):
            raise ArgumentError(
                "Cannot provide different masks for each example when function returns a scalar."
            )

    def impacts(self, output: Tensor, n_samples: int) -> Tensor:
        """Original minus perturbed outputs: ``(samples, examples, outputs)``."""
        values = _scores(output)
        if values.numel() != n_samples * self.scores.numel():
            raise ArgumentError(
                "forward_func must return one row per example: for "
                f"{n_samples} x {len(self.scores)} perturbed examples it returned "
                f"{values.numel()} values, expected {n_samples * self.scores.numel()}. If it "
                "returns one value per batch, set perturbations_per_eval=1."
            )
        impacts = self.scores - values.reshape(n_samples, *self.scores.shape)
        if not bool(torch.isfinite(impacts).all()):
            raise ArgumentError(
                "forward_func returned NaN or infinity for a perturbed (or the original) input; "
                "one such value would spoil the scores of every feature. Check the inputs, the "
                "baselines and the model's precision."
            )
        return impacts


def check_inputs(tensors: tuple[Tensor, ...], forward_func: Callable[..., Any]) -> None:
    """Raise where inputs differ in batch size; warn where the model is in training mode."""
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
        warn_caller(
            "forward_func is in training mode: dropout adds noise to every evaluation. "
            "Call .eval() on the model first."
        )


def on_device_of(tensor: Tensor, attribution: Tensor) -> Tensor:
    """Move an attribution to where its input is."""
    if tensor.device.type == "mps":  # which has no float64
        attribution = attribution.float()
    return attribution.to(tensor.device)


def _has_value_per_example(output: Tensor, batch: int) -> bool:
    is_one_value_for_many = batch > 1 and output.numel() == 1
    return output.dim() > 0 and len(output) == batch and not is_one_value_for_many


def _scores(output: Tensor) -> Tensor:
    """Move scores to where they are summed; float64 after the move, as MPS lacks it."""
    return output.detach().cpu().to(torch.float64)
