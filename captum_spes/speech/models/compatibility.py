"""Whether a model and a processor are of one family and belong together."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from captum_spes.errors import ArgumentError, ArgumentTypeError, whole_number

# What the adapter of a model that generates calls.
_GENERATING = (
    "generate",
    "get_encoder",
    "get_decoder",
    "get_output_embeddings",
    "generation_config",
)
_TOKENIZER = (
    "encode",
    "decode",
    "convert_ids_to_tokens",
    "all_special_ids",
)
# Numbers of feature extractors that everything divides by.
_POSITIVE = (
    "sampling_rate", "feature_size", "num_mel_bins", "hop_length", "n_fft", "win_length",
    "chunk_length", "nb_max_frames",
)  # fmt: skip


@dataclass(frozen=True)
class Parts:
    """What a family consists of.

    Attributes:
        model_class: name of the class in transformers that hears and writes.
        processor_class: name of its processor's class.
        extractor_names: what its feature extractor has and those of other families lack.
        generation_ids: what ``generation_config`` must name tokens with.
        optional_ids: what it need not.
        other_parts: how the names of weights begin that its checkpoints hold for other tasks.
        mel_bins: how many the model's configuration says, and its feature extractor.
            None for a model that reads samples.
        frames: likewise, where features have one length only.
        called: what the adapter calls of the model.
        loader: the class of transformers that loads such models.
    """

    model_class: str
    processor_class: str
    extractor_names: tuple[str, ...]
    generation_ids: tuple[str, ...]
    mel_bins: Callable[[Any, Any], tuple[int, int]] | None
    frames: Callable[[Any, Any], tuple[int, int]] | None = None
    optional_ids: tuple[str, ...] = ()
    other_parts: tuple[str, ...] = ()
    called: tuple[str, ...] = _GENERATING
    loader: str = "AutoModelForSpeechSeq2Seq"


def check_pair(model: Any, processor: Any, parts: Parts) -> None:
    """Raise where a model of a known family cannot be explained, or not with this processor.

    A vocabulary may be larger than the tokenizer's (padded, for example), never smaller.
    """
    _check_class(model, parts)
    name, wanted = type(processor).__name__, f"give the model's own, a {parts.processor_class}"
    for part in ("feature_extractor", "tokenizer"):
        if part_of(processor, part) is None:
            raise ArgumentTypeError(
                f"processor has no {part}: give the model's whole processor, a "
                f"{parts.processor_class}, got {name}."
            )
    extractor, tokenizer = part_of(processor, "feature_extractor"), processor.tokenizer
    for part, names in ((extractor, parts.extractor_names), (tokenizer, _TOKENIZER)):
        if not all(hasattr(part, own) for own in names):
            raise ArgumentTypeError(
                f"the processor's {type(part).__name__} does not belong to a "
                f"{type(model).__name__}: {wanted}, got {name}."
            )
    check_extractor(extractor, "the processor's ")
    compared = {"mel bins": parts.mel_bins, "frames": parts.frames}
    for unit, numbers in compared.items():
        if numbers is None:
            continue
        of_model, of_processor = numbers(model.config, extractor)
        if of_model != of_processor:
            raise ArgumentTypeError(
                f"processor and model disagree: it makes features of {of_processor} {unit}, and "
                f"the model takes {of_model}; {wanted}."
            )
    _check_vocabulary(model, tokenizer, wanted)
    if "eos_token_id" in parts.generation_ids:
        _check_end(model, tokenizer, wanted)
    for name in (*parts.generation_ids, *parts.optional_ids):
        if name in parts.generation_ids or getattr(model.generation_config, name, None) is not None:
            token_ids(model, name)


def plain(model: Any) -> Any:
    """A model as it is without torch.compile and without PEFT."""
    own = getattr(model, "_orig_mod", model)
    return own.get_base_model() if hasattr(own, "get_base_model") else own


def part_of(processor: Any, part: str) -> Any:
    """A part of a processor; some call their feature extractor an audio processor."""
    own = getattr(processor, part, None)
    if own is None and part == "feature_extractor":
        own = getattr(processor, "audio_processor", None)
    return own


def added_tokens(tokenizer: Any) -> Mapping[int, Any]:
    """Tokens that do not come from a tokenizer's training; empty where it has no list of them."""
    found = getattr(tokenizer, "added_tokens_decoder", None)
    return found if isinstance(found, Mapping) else {}


def vocabulary_size(model: Any) -> int:
    """How many tokens a model can write, tokens that were added later included."""
    size = getattr(model.get_output_embeddings(), "out_features", None)
    if isinstance(size, int):
        return size
    config = model.config
    texts = config.get_text_config(decoder=True) if hasattr(config, "get_text_config") else config
    return max(int(getattr(own, "vocab_size", 0)) for own in (config, texts))


def token_ids(model: Any, name: str) -> list[int]:
    """Ids that a model's generation needs to be told, such as its ``eos_token_id``."""
    value = getattr(model.generation_config, name, None)
    found = value if isinstance(value, list | tuple) else [value]
    size = vocabulary_size(model)
    if not found or not all(type(own) is int and 0 <= own < size for own in found):
        raise ArgumentError(
            f"model.generation_config.{name} must be the id of a token, in [0, {size}), got "
            f"{value!r}: set it, or mend generation_config.json."
        )
    return list(found)


def check_extractor(extractor: Any, where: str) -> None:
    """Raise where a number of a feature extractor, or of its file, cannot be one."""
    values = extractor if isinstance(extractor, Mapping) else vars(extractor)
    for name in _POSITIVE:
        if name in values:
            whole_number(f"{where}{name}", values[name], 1)


def _check_class(model: Any, parts: Parts) -> None:
    import transformers

    own = plain(model)
    lacking = [name for name in parts.called if not hasattr(own, name)]
    is_of_transformers = isinstance(own, transformers.PreTrainedModel)
    is_meant = parts.model_class in {kind.__name__ for kind in type(own).__mro__}
    if is_of_transformers and is_meant and lacking:
        raise ArgumentTypeError(
            f"cannot explain a {type(own).__name__} of transformers {transformers.__version__}, "
            f"which has no {lacking[0]} yet: take a later one (pip install -U transformers)."
        )
    if lacking or (is_of_transformers and not is_meant):
        raise ArgumentTypeError(
            f"cannot explain a {type(own).__name__}, which does not write text from speech: "
            f"load the model as {parts.model_class}, for example with "
            f"{parts.loader}.from_pretrained(...)."
        )


def _check_vocabulary(model: Any, tokenizer: Any, wanted: str) -> None:
    known = vocabulary_size(model)
    largest = max([int(tokenizer.vocab_size) - 1, *added_tokens(tokenizer)])
    if largest >= known:
        raise ArgumentTypeError(
            f"processor and model disagree: the tokenizer has ids up to {largest}, and the model "
            f"knows {known} tokens; {wanted}, or, where tokens were added, make room for them: "
            "model.resize_token_embeddings(len(processor.tokenizer))."
        )


def _check_end(model: Any, tokenizer: Any, wanted: str) -> None:
    ends, own = token_ids(model, "eos_token_id"), tokenizer.eos_token_id
    if own is not None and own not in ends:
        raise ArgumentTypeError(
            f"processor and model disagree: the tokenizer ends a text with id {own}, and the model "
            f"with {ends[0]}; {wanted}."
        )


def keeps_all_positions(cache: Any) -> bool:
    """Whether a model keeps keys and values of all positions in a cache, and nothing else."""
    from transformers.cache_utils import DynamicLayer

    return all(type(layer) is DynamicLayer for layer in cache.layers)


def cut_cache(cache: Any, length: int) -> bool:
    """Let a ``DynamicCache`` know the first positions alone; its own ``crop`` counts from either
    end, by version. False, and nothing is done, for a model that keeps more than keys and values of
    all positions."""
    if not keeps_all_positions(cache):
        return False
    for layer in cache.layers:
        layer.keys, layer.values = layer.keys[..., :length, :], layer.values[..., :length, :]
    return True


def as_cache(reader: Any, cache: Any) -> dict[str, Any]:
    """The argument by which a decoder or a language model takes keys and values: transformers 5.24
    calls ``cache`` what was ``past_key_values``, and warns of the latter."""
    takes = inspect.signature(reader.forward).parameters
    return {"cache" if "cache" in takes else "past_key_values": cache}
