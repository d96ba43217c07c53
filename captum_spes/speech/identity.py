"""What makes a model and its processor the same: a digest of all that decides what they write."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import torch

# What loading writes into a configuration, and what changes no output.
_INCIDENTAL = {
    "_attn_implementation",
    "_commit_hash",
    "_name_or_path",
    "name_or_path",
    "processor_class",
    "transformers_version",
}


def model_digest(model: Any, processor: Any) -> str:
    """Digest the weights, the configurations, the features and the vocabulary.

    Of what is in memory and not of files, so that it holds for models that were changed, adapted or
    never saved. Takes about as long as reading the weights.

    Args:
        model: a PreTrainedModel.
        processor: its processor.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.blake2b(digest_size=8)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        content = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
        digest.update(content.numpy().data)
    for part in _described(model, processor):
        digest.update(json.dumps(part, sort_keys=True, default=str).encode())
    return digest.hexdigest()


def _described(model: Any, processor: Any) -> Iterator[Any]:
    for name in ("config", "generation_config"):
        yield [name, _lasting(_as_dictionary(getattr(model, name, None)))]
    yield _lasting(_as_dictionary(getattr(processor, "feature_extractor", None)))
    tokenizer = getattr(processor, "tokenizer", None)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        yield _as_made(backend).to_str()
    elif tokenizer is not None:
        yield tokenizer.get_vocab()
    yield getattr(tokenizer, "all_special_tokens", None)


def _as_made(backend: Any) -> Any:
    """A tokenizer without what its last call has asked for, which changes with every call."""
    if backend.padding is None and backend.truncation is None:
        return backend
    made = copy.deepcopy(backend)
    made.no_padding()
    made.no_truncation()
    return made


def _as_dictionary(part: Any) -> Any:
    return part.to_dict() if hasattr(part, "to_dict") else None


def _lasting(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _lasting(own) for k, own in value.items() if k not in _INCIDENTAL}
    return [_lasting(own) for own in value] if isinstance(value, list | tuple) else value
