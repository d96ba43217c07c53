"""What an explanation costs: passes through the model, and time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any


@dataclass
class Cost:
    """Filled in while the context of :func:`measured_cost` is open.

    Attributes:
        encoder_passes: spectrograms that went through the encoder.
        decoder_passes: token sequences, or single steps of generation, that went through
            the decoder.
        seconds: wall time, set at the end.
    """

    encoder_passes: int = 0
    decoder_passes: int = 0
    seconds: float = 0.0

    def plus(self, other: Cost) -> Cost:
        """Both together."""
        return Cost(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@contextmanager
def measured_cost(model: Any) -> Iterator[Cost]:
    """Count the examples that a model sees in this thread, and the seconds."""
    cost, owner = Cost(), threading.get_ident()

    def counter(name: str) -> Any:
        def count(module: Any, args: Any, kwargs: Any) -> None:
            if threading.get_ident() == owner:
                rows = next(len(v) for v in (*args, *kwargs.values()) if hasattr(v, "shape"))
                setattr(cost, name, getattr(cost, name) + rows)

        return count

    handles = [
        module.register_forward_pre_hook(counter(name), with_kwargs=True)
        for module, name in (
            (model.get_encoder(), "encoder_passes"),
            (model.get_decoder(), "decoder_passes"),
        )
    ]
    start = time.perf_counter()
    try:
        yield cost
    finally:
        cost.seconds = time.perf_counter() - start
        for handle in handles:
            handle.remove()
