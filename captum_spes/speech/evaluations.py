"""Forward functions that evaluate no more than they need to, and count what they do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from captum_spes.forward import KLDivergenceForward, score_forward
from captum_spes.speech.prefixes import PrefixScores
from captum_spes.speech.sides import Run, Side


def score_of_side(side: Side, run: Run) -> Callable[..., Tensor]:
    """The score of a side as a forward function of Captum's: ``(batch, units)``."""
    score = score_forward(run.score, side.hidden_func, side.inputs, run.token_ids, run.output_layer)
    if side.n_before is None or not isinstance(score, KLDivergenceForward):
        return score
    return PrefixScores(score, side.n_before)


class Counted:
    """Forward function that counts the inputs that it evaluates."""

    def __init__(self, forward_func: Callable[..., Tensor]) -> None:
        self._forward_func = forward_func
        self.n_evaluated = 0

    def __call__(self, *inputs: Tensor) -> Tensor:
        scores = self._forward_func(*inputs)
        self.n_evaluated += len(scores)
        return scores


class Replayed:
    """Forward function for a method that evaluates the same inputs again for every token.

    Every evaluation scores all tokens. From the second run on the scores of the first are returned
    again, call by call; only inputs that differ from those of the first run are evaluated.
    """

    def __init__(self, forward_func: Callable[[Tensor], Tensor]) -> None:
        self._forward_func = forward_func
        self._calls: list[tuple[Tensor, Tensor]] = []
        self._position = 0

    def rewind(self) -> None:
        """Begin the run for another token."""
        self._position = 0

    def __call__(self, inputs: Tensor) -> Tensor:
        # Inputs are recognised by two sums; keeping them themselves would fill the memory.
        sums = _sums(inputs)
        if self._position < len(self._calls):
            known, scores = self._calls[self._position]
            if known.shape == sums.shape and torch.equal(known, sums):
                self._position += 1
                return scores
            del self._calls[self._position :]
        with torch.no_grad():
            scores = self._forward_func(inputs)
        self._calls.append((sums, scores))
        self._position += 1
        return scores


class SharedGradients:
    """Captum's ``compute_gradients`` for a method that differentiates at the same inputs for every
    token: one forward pass, and a backward pass for each token.

    The first token runs alone, to see how much is to be kept; then so many tokens at a time share
    their forward passes as memory allows. Inputs that differ from those of the first token of a
    group are evaluated for the token alone.

    Args:
        n_units: how many tokens there are.
        most_bytes: that gradients may take.
    """

    def __init__(self, n_units: int, most_bytes: int = 512_000_000) -> None:
        self._n_units, self._most_bytes = n_units, most_bytes
        self._calls: list[tuple[Tensor, dict[int, Tensor]]] = []
        self._unit = self._position = self._bytes_each = 0
        self._group = range(1)

    def begin(self, unit: int) -> None:
        """Begin the run for a token; they come in their order."""
        if unit not in self._group:
            size = max(1, self._most_bytes // max(1, self._bytes_each))
            self._group = range(unit, min(unit + size, self._n_units))
            self._calls, self._bytes_each = [], 0
        self._unit, self._position = unit, 0

    def __call__(
        self,
        forward_fn: Callable[..., Tensor],
        inputs: tuple[Tensor, ...],
        target_ind: Any = None,
        additional_forward_args: Any = None,
    ) -> tuple[Tensor, ...]:
        """The gradients of a target, as ``captum._utils.gradient.compute_gradients``."""
        sums, position = _sums(inputs[0]), self._position
        self._position += 1
        if position < len(self._calls):
            known, gradients = self._calls[position]
            if self._unit in gradients and known.shape == sums.shape and torch.equal(known, sums):
                return (gradients.pop(self._unit),)
            group = range(self._unit, self._unit + 1)
        else:
            group = range(self._unit, self._group.stop)
        gradients = dict(self._gradients(forward_fn, inputs, group))
        if position == len(self._calls):
            self._calls.append((sums, gradients))
            self._bytes_each += gradients[self._unit].nbytes
        return (gradients.pop(self._unit),)

    @staticmethod
    def _gradients(
        forward_fn: Callable[..., Tensor], inputs: tuple[Tensor, ...], units: range
    ) -> Iterator[tuple[int, Tensor]]:
        with torch.enable_grad():  # whatever the user has set
            sums = forward_fn(*inputs).sum(0).unbind()
        for unit in units:
            (gradient,) = torch.autograd.grad(sums[unit], inputs[0], retain_graph=unit != units[-1])
            yield unit, gradient


def _sums(inputs: Tensor) -> Tensor:
    flat = inputs.detach().flatten(1)
    weights = torch.linspace(1, 2, flat.shape[1], dtype=flat.dtype, device=flat.device)
    return torch.stack([flat.sum(1), flat @ weights])
