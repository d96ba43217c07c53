"""Calling a user's logits function with clear errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from captum_spes.errors import ArgumentError, ArgumentTypeError, function


def call_logits(logits_func: Callable[..., Any], args: tuple[Any, ...]) -> Tensor:
    """Return ``logits_func(*args)``, checked to be ``(batch, [tokens,] vocab)``."""
    function("logits_func", logits_func)
    logits = logits_func(*args)
    if not isinstance(logits, Tensor):
        kind = f"{type(logits).__module__}.{type(logits).__qualname__}"
        raise ArgumentTypeError(
            f"logits_func must return a Tensor of logits, received: {kind}. Wrap the model, "
            "for example `lambda *args: model(*args).logits`."
        )
    if logits.dim() not in (2, 3):
        raise ArgumentError(
            "logits_func must return (batch, vocab) or (batch, tokens, vocab), got shape "
            f"{tuple(logits.shape)}."
        )
    return logits


def output_logits(output_layer: Callable[[Tensor], Tensor] | None, states: Tensor) -> Tensor:
    """Turn hidden states into logits; without an output layer they are logits already."""
    if output_layer is None:
        return states
    function("output_layer", output_layer)
    return output_layer(states)
