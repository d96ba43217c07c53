"""What a batch of sequences has in common at their start, read once and shared without copies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_spes.speech.models.compatibility import as_cache, keeps_all_positions


@dataclass(frozen=True, eq=False)
class SharedPrefix:
    """A beginning that a language model has read.

    Attributes:
        length: positions.
        hidden: ``(1, length, hidden)``: what the model makes of them.
        layers: keys and values of each layer, batch of 1.
    """

    length: int
    hidden: Tensor
    layers: tuple[tuple[Tensor, Tensor], ...]

    @classmethod
    def of(cls, language_model: Any, embeddings: Tensor) -> SharedPrefix | None:
        """Read ``(1, length, hidden)``; None for a model that keeps more than keys and values of
        all positions."""
        from transformers import DynamicCache

        cache = DynamicCache()
        output = language_model(
            inputs_embeds=embeddings, use_cache=True, return_dict=True,
            **as_cache(language_model, cache),
        )  # fmt: skip
        if not keeps_all_positions(cache):
            return None
        layers = tuple((layer.keys, layer.values) for layer in cache.layers)
        return cls(embeddings.shape[1], output.last_hidden_state, layers)

    def read(self, language_model: Any, embeddings: Tensor) -> Tensor:
        """Read what follows in each of a batch, ``(batch, rest, hidden)``; return hidden states
        of beginning and rest, ``(batch, length + rest, hidden)``."""
        output = language_model(
            inputs_embeds=embeddings, use_cache=True, return_dict=True,
            **as_cache(language_model, self.cache()),
        )  # fmt: skip
        prefix = self.hidden.expand(len(embeddings), -1, -1)
        return torch.cat([prefix, output.last_hidden_state], 1)

    def cache(self) -> Any:
        """What a model is given that has read the beginning; it keeps nothing of what follows."""
        from transformers import DynamicCache
        from transformers.cache_utils import DynamicLayer

        class PrefixLayer(DynamicLayer):  # type: ignore[misc]
            """Puts the beginning before what is read, and keeps nothing of it: a usual cache holds
            a copy per example, of every layer at once."""

            def __init__(self, keys: Tensor, values: Tensor) -> None:
                super().__init__()
                self.keys, self.values = keys, values
                self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True

            def update(
                self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
            ) -> tuple[Tensor, Tensor]:
                count = len(key_states)
                return (
                    torch.cat([self.keys.expand(count, -1, -1, -1), key_states], -2),
                    torch.cat([self.values.expand(count, -1, -1, -1), value_states], -2),
                )

        cache = DynamicCache()
        cache.layers = [PrefixLayer(keys, values) for keys, values in self.layers]
        return cache
