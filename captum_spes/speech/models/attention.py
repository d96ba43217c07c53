"""Reading attention weights from a Hugging Face model, and leaving no trace in it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

# Two threads must not switch the same model to and fro.
_LOCK = threading.Lock()
# transformers reads weights by hooks that it installs at the first wish and then leaves.
_INSTALLED = "_output_capturing_hooks_installed"
_INSTALLER = "transformers.utils.output_capturing"


@contextmanager
def readable_attention(model: Any) -> Iterator[None]:
    """Let ``output_attentions=True`` return weights inside the context.

    Fast attention computes none, the slow one does; both the choice and transformers' hooks
    are as before afterwards.
    """
    modules = list(model.modules())
    configs = {
        id(module.config): module.config
        for module in modules
        if hasattr(getattr(module, "config", None), "_attn_implementation")
    }
    with _LOCK:
        before = {key: config._attn_implementation for key, config in configs.items()}
        hooked = [module for module in modules if getattr(module, _INSTALLED, False)]
        try:
            for config in configs.values():
                config._attn_implementation = "eager"
            yield
        finally:
            for key, config in configs.items():
                config._attn_implementation = before[key]
            if not hooked:
                _remove_capturing_hooks(modules)


def head_mean(layers: Any) -> Tensor:
    """Weights of the first example, ``(layers, queries, keys)``."""
    return torch.stack([layer[0].detach().float().mean(0).cpu() for layer in layers])


def _remove_capturing_hooks(modules: list[Any]) -> None:
    for module in modules:
        vars(module).pop(_INSTALLED, None)
        hooks = module._forward_hooks
        for key in [k for k, hook in hooks.items() if hook.__module__ == _INSTALLER]:
            del hooks[key]
