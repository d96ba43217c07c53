"""Scores that compare the model's output distribution before and after a perturbation."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from captum_spes.errors import ArgumentError
from captum_spes.forward.logits import call_logits

# Log-probability given to a token whose probability is exactly zero (a logit of -inf):
# that of the smallest positive float32. It keeps the divergence finite.
IMPOSSIBLE_LOG_PROB = math.log(torch.finfo(torch.float32).smallest_normal * 2.0**-23)


class KLDivergenceForward:
    r"""
    Forward function that scores how far the output distribution moved from the reference.

    Called with inputs it returns :math:`-KL(p_{reference} \,\|\, p_{perturbed})` in nats
    over the last dimension of the logits, where the reference is the distribution on the
    ``inputs`` given here. It is 0 there and negative elsewhere, so that the impact
    ``f(x) - f(x')`` of SPES, FeatureAblation, ShapleyValueSampling, KernelShap and Lime
    is the divergence (arXiv 2411.01710, section 4.2).

    Its gradient at the reference is zero, so gradient methods must not differentiate it:
    give them ``TokenProbabilityForward(..., log=True)``.

    Sums are elementwise, :math:`\sum p (\ln p - \ln q)`: cross entropy minus entropy in
    float32 is ten times less exact.

    Args:

        logits_func (Callable): ``logits_func(*inputs, *args)`` returns logits of shape
                    ``(batch, vocab)`` or ``(batch, tokens, vocab)``.
        inputs (Tensor or tuple[Tensor, ...]): The unperturbed inputs, batch first.
        additional_forward_args (Any, optional): Further positional arguments of
                    ``logits_func``.
                    Default: None
        indexed (bool, optional): Whether calls end with one more argument, an int Tensor
                    that names for every row its row of the reference
                    (``additional_forward_args=(torch.arange(batch),)``). Batches of two and
                    more need it with methods that split or reorder the batch: Lime,
                    KernelShap, NoiseTunnel, GradientShap. Without it rows are taken in the
                    order of perturbation methods, the whole batch again and again.
                    Default: False

    Raises:
        ArgumentTypeError: ``logits_func`` does not return a Tensor.
        ArgumentError: the logits have the wrong number of dimensions, hold NaN, or, when
            called, a number of rows that is no multiple of the reference's.

    Examples::

        >>> model = torch.nn.Linear(4, 10)
        >>> x = torch.randn(1, 4)
        >>> forward = KLDivergenceForward(model, x)
        >>> float(forward(x))
        0.0
        >>> attr = SPES(forward).attribute(x, n_samples=100, seed=0)
    """

    def __init__(
        self,
        logits_func: Callable[..., Any],
        inputs: Tensor | tuple[Tensor, ...],
        additional_forward_args: object | None = None,
        *,
        indexed: bool = False,
    ) -> None:
        self.logits_func = logits_func
        self.indexed = indexed
        _warn_in_training_mode(logits_func)
        tensors = inputs if isinstance(inputs, tuple) else (inputs,)
        arguments = (
            ()
            if additional_forward_args is None
            else additional_forward_args
            if isinstance(additional_forward_args, tuple)
            else (additional_forward_args,)
        )
        with torch.no_grad():
            logits = call_logits(logits_func, (*tensors, *arguments))
            self._log_probs = _floored(_log_softmax(logits))
        if bool(torch.isnan(self._log_probs).any()):
            raise ArgumentError(
                "logits_func returned NaN (or infinite) logits for the unperturbed inputs."
            )
        self._probs = self._log_probs.exp()

    def __call__(self, *args: Any) -> Tensor:
        r"""
        Args:

            *args (Any): The (perturbed) inputs and additional arguments of
                        ``logits_func``. The batch is the reference's batch, repeated any
                        number of times in Captum's order (the whole batch, again and
                        again).

        Returns:
            *Tensor*: ``(batch,)`` or ``(batch, tokens)``, float32. Finite for any finite
            logits, at most 0; a probability of exactly zero counts as the smallest
            positive float32.
        """
        if torch.is_grad_enabled() and any(
            isinstance(arg, Tensor) and arg.requires_grad for arg in args
        ):
            warnings.warn(
                "The gradient of the KL divergence is zero at the reference, so gradient "
                "methods find nothing there; use TokenProbabilityForward(..., log=True).",
                stacklevel=2,
            )
        inputs, rows = (args[:-1], args[-1]) if self.indexed else (args, None)
        logits = call_logits(self.logits_func, inputs)
        # One example at a time: its vocabulary-sized temporaries stay in the cache.
        scores = [
            self._score(row_logits, row)
            for row_logits, row in zip(logits, self._reference_rows(logits, rows), strict=True)
        ]
        return torch.stack(scores)

    def _reference_rows(self, logits: Tensor, rows: Tensor | None) -> list[int]:
        n_rows = len(self._log_probs)
        if rows is not None:
            rows = rows.reshape(-1)
        is_multiple = len(logits) % n_rows == 0 if rows is None else len(rows) == len(logits)
        if logits.shape[1:] != self._log_probs.shape[1:] or not is_multiple:
            raise ArgumentError(
                f"logits of shape {tuple(logits.shape)} do not match the reference's "
                f"{tuple(self._log_probs.shape)}: the batch must be the reference's batch "
                "or a multiple of it. For methods that split the batch (Lime, KernelShap) "
                "explain one example at a time, or see the argument indexed."
            )
        return [i % n_rows for i in range(len(logits))] if rows is None else rows.tolist()

    def _score(self, logits: Tensor, row: int) -> Tensor:
        reference = self._log_probs[row].to(logits.device)
        probs = self._probs[row].to(logits.device)
        # In place on the fresh difference: another vocabulary-sized array costs more time
        # than the arithmetic.
        divergence = (reference - _log_softmax(logits)).mul_(probs).sum(-1)
        if not bool(torch.isfinite(divergence).all()):
            divergence = (probs * (reference - _floored(_log_softmax(logits)))).sum(-1)
        # Rounding can leave -1e-8. clamp keeps a NaN, so that the caller sees it.
        largest = torch.finfo(torch.float32).max
        return 0.0 - divergence.clamp(0.0, largest).to(torch.float32)


def _warn_in_training_mode(logits_func: Callable[..., Any]) -> None:
    if isinstance(logits_func, torch.nn.Module) and logits_func.training:
        warnings.warn(
            "logits_func is in training mode: dropout adds noise to every evaluation. Call "
            ".eval() on the model first.",
            stacklevel=3,
        )


def _log_softmax(logits: Tensor) -> Tensor:
    """Log-softmax in float32, or in float64 if the logits are."""
    return logits.log_softmax(
        -1, dtype=torch.float64 if logits.dtype == torch.float64 else torch.float32
    )


def _floored(log_probs: Tensor) -> Tensor:
    return torch.where(log_probs == -math.inf, IMPOSSIBLE_LOG_PROB, log_probs)
