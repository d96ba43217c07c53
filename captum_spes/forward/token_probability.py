"""The probability of given tokens as a forward function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from captum_spes.errors import ArgumentError, ArgumentTypeError, function
from captum_spes.forward.logits import call_logits, output_logits


class TokenProbabilityForward:
    r"""
    Forward function that returns the probability of given tokens.

    As a score for SPES it is the paper's ablation without KL (the probability of the
    token, original minus perturbed); with ``log=True`` it is what gradient methods
    differentiate.

    Args:

        logits_func (Callable): ``logits_func(*inputs, *args)`` returns logits of shape
                    ``(batch, vocab)`` or ``(batch, tokens, vocab)``.
        tokens (int, sequence of int, or Tensor): Token ids: one id or ``(batch,)`` for
                    logits of shape ``(batch, vocab)``; ``(tokens,)`` or
                    ``(batch, tokens)`` for ``(batch, tokens, vocab)``. Ids per example fit
                    methods that repeat the whole batch (perturbation methods,
                    IntegratedGradients); with NoiseTunnel and GradientShap explain one
                    example at a time.
        log (bool, optional): Whether to return log-probabilities.
                    Default: False
        output_layer (Callable, optional): Turns what ``logits_func`` returns, then hidden
                    states, into logits, one example at a time; see
                    :class:`captum_spes.KLDivergenceForward`.
                    Default: None, ``logits_func`` returns logits

    Raises:
        ArgumentTypeError: ``logits_func`` does not return a Tensor.
        ArgumentError: the ids do not fit the logits.

    Examples::

        >>> model = torch.nn.Linear(4, 10)
        >>> forward = TokenProbabilityForward(model, 3, log=True)
        >>> attr = Saliency(forward).attribute(torch.randn(1, 4))
    """

    def __init__(
        self,
        logits_func: Callable[..., Any],
        tokens: int | Sequence[int] | Tensor,
        log: bool = False,
        *,
        output_layer: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        function("logits_func", logits_func)
        self.logits_func = logits_func
        self.output_layer = output_layer
        try:
            ids = tokens if isinstance(tokens, Tensor) else torch.as_tensor(tokens, device="cpu")
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise ArgumentTypeError(
                f"tokens must be integer ids, at least one, got {tokens!r}: {error}."
            ) from error
        if ids.numel() == 0 or ids.is_floating_point() or ids.dtype == torch.bool:
            raise ArgumentError(f"tokens must be integer ids, at least one, got {tokens!r}.")
        self.tokens = ids.to(torch.int64)
        self.log = log

    def __call__(self, *args: Any) -> Tensor:
        r"""
        Args:

            *args (Any): Inputs and additional arguments of ``logits_func``.

        Returns:
            *Tensor*: ``(batch,)`` or ``(batch, tokens)``, float32 (float64 for float64
            logits).
        """
        states = call_logits(self.logits_func, args)
        ids = self._ids_for(states)
        if self.output_layer is None:
            return self._score(states, ids)
        scores = [self._score(states[i : i + 1], ids[i : i + 1]) for i in range(len(states))]
        return torch.cat(scores)

    def _score(self, states: Tensor, ids: Tensor) -> Tensor:
        logits = output_logits(self.output_layer, states)
        if int(ids.min()) < 0 or int(ids.max()) >= logits.shape[-1]:
            raise ArgumentError(
                f"token ids must lie in [0, {logits.shape[-1]}), got {ids.tolist()}."
            )
        dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
        log_probs = logits.log_softmax(-1, dtype=dtype).gather(-1, ids[..., None]).squeeze(-1)
        return log_probs if self.log else log_probs.exp()

    def _ids_for(self, states: Tensor) -> Tensor:
        ids = self.tokens.to(states.device)
        shape = states.shape[:-1]
        if ids.dim() == len(shape) and len(shape) > 0 and ids.shape[1:] == shape[1:]:
            if shape[0] % len(ids) == 0:
                # Captum repeats the whole batch, once per perturbation.
                return ids.repeat(shape[0] // len(ids), *[1] * (ids.dim() - 1))
        elif ids.shape == shape[1:]:
            return ids.expand(shape)
        raise ArgumentError(
            f"tokens of shape {tuple(ids.shape)} do not fit logits for {tuple(shape)} "
            "(batch, [tokens])."
        )
