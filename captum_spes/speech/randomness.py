"""Seeds for code that draws from the global generators, and their state given back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

# The generators are the process's: two threads must not seed and restore them in turns.
_LOCK = threading.RLock()


@contextmanager
def seeded_global_generators(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's and NumPy's global generators inside the context and restore them after.

    Some of Captum's own methods, and sampling in text generation, draw from them and take no
    seed. Explanations in other threads that need the generators wait.
    """
    with _LOCK:
        numpy_state = np.random.get_state()  # noqa: NPY002
        torch_state = torch.get_rng_state()
        device_state = _device_state(device)
        try:
            torch.default_generator.manual_seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            _seed_device(device, seed)
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
            torch.set_rng_state(torch_state)
            _restore_device(device, device_state)


def _device_state(device: torch.device) -> torch.Tensor | None:
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.mps.get_rng_state() if device.type == "mps" else None


def _seed_device(device: torch.device, seed: int) -> None:
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


def _restore_device(device: torch.device, state: torch.Tensor | None) -> None:
    if state is None:
        return
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.mps.set_rng_state(state)
