"""Reading attention weights from a Hugging Face model without leaving a trace in it."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from captum_spes.speech.models.capabilities import SpeechInput, TargetSequence


class AlignedByAttention(ABC):
    """A model that tells when it writes a token by where it looks; see ``AlignsTokens``."""

    @abstractmethod
    def cross_attention(self, speech: SpeechInput, target: TargetSequence) -> Tensor:
        """Weights of each head over the time of the speech, padding left out, (layers, heads,
        explained tokens, positions)."""

    def alignment(self, speech: SpeechInput, target: TargetSequence) -> Tensor:
        """See ``AlignsTokens``. Later layers look where a token is spoken more than early ones."""
        weights = self.cross_attention(speech, target)
        return weights[len(weights) // 2 :].flatten(0, 1)


def attention_reader(model: Any) -> Any:
    """A copy of a model whose ``output_attentions=True`` returns weights.

    Fast attention computes no weights, so the copy uses the slow one; transformers reads them by
    hooks that it leaves behind. Neither may touch the original, which another thread may be using.
    Parameters and buffers are shared, not copied.
    """
    shared = [*model.parameters(), *model.buffers()]
    reader = copy.deepcopy(model, {id(tensor): tensor for tensor in shared})
    for module in reader.modules():
        config: Any = getattr(module, "config", None)
        if hasattr(config, "_attn_implementation"):
            config._attn_implementation = "eager"
    return reader


def head_mean(layers: Any) -> Tensor:
    """Weights of the first example, ``(layers, queries, keys)``."""
    return torch.stack([layer[0].detach().float().mean(0).cpu() for layer in layers])


def head_weights(layers: Any, rows: Tensor) -> Tensor:
    """Weights of the first example's ``rows`` of queries, ``(layers, heads, rows, keys)``."""
    return torch.stack([layer[0][:, rows.to(layer.device)].float().cpu() for layer in layers])
