"""What all Hugging Face speech models have in common."""

from __future__ import annotations

import re
import reprlib
import threading
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.errors import ArgumentError, ArgumentTypeError, whole_number
from captum_spes.speech.models.capabilities import SpeechInput, TargetSequence
from captum_spes.speech.models.compatibility import (
    Parts,
    added_tokens,
    part_of,
    token_ids,
    vocabulary_size,
)

# What a byte-level tokenizer shows for a part of a character.
_INCOMPLETE = "\N{REPLACEMENT CHARACTER}"
# Marks at the ends of a text that neither Python nor a tokenizer takes for blanks.
_INVISIBLE = "\ufeff\u200b\u2060\u180e"
# An array with fewer rows, or columns, holds the channels of a recording and no frequencies.
_MOST_CHANNELS = 16
# These would change the prompt, which the adapter needs to know to read the output.
_OF_PROMPTS = (
    "decoder_input_ids", "decoder_inputs_embeds", "decoder_start_token_id", "generation_config",
    "num_return_sequences",
)  # fmt: skip
# What the adapter gives itself.
_OF_ADAPTERS = ("inputs", "input_features", "inputs_embeds", "encoder_outputs", "return_dict")
# Code of a folder or of the hub; settings from a file must not name any.
_OF_CODE = ("custom_generate", "trust_remote_code")
# What decides the prompt of one family or another.
_REQUESTS = (
    "instruction", "language", "source_language", "target_language", "task", "tgt_lang",
    "punctuation",
)  # fmt: skip
_COUNTS = ("num_beams", "max_new_tokens", "max_length")
# What adapters add to a user's arguments.
_OUTPUT_FORM = ("force_unique_generate_call", "return_dict_in_generate")
# What a wrong argument ends in, wherever it is first used. A RuntimeError can be the user's own.
_OF_ARGUMENTS = (TypeError, ValueError, ArithmeticError, AttributeError, LookupError)
# How many explanations run on a model that was in training mode, and what to restore.
_MODES: WeakKeyDictionary[Any, tuple[int, list[Any]]] = WeakKeyDictionary()
_MODES_LOCK = threading.Lock()


class HuggingFaceAdapter(ABC):
    """Base of the adapters of every family: texts, targets, generation, modes.

    Args:
        model: the ``...ForConditionalGeneration`` model, on any device, in any dtype.
        processor: its processor, with ``feature_extractor`` and ``tokenizer``.

    Attributes:
        parts: what a family's own model and processor are; None for a base.
        checkpoint: a model of the family on the hub.
        requests: names in ``gen_args`` that decide the prompt.
        tried_on: trained weights that explanations were looked at with; empty where only small
            models with random weights were tried.
    """

    parts: ClassVar[Parts | None] = None
    checkpoint: ClassVar[str] = ""
    requests: frozenset[str] = frozenset()
    tried_on: ClassVar[str] = ""

    def __init__(self, model: Any, processor: Any) -> None:
        for part in ("feature_extractor", "tokenizer"):
            if part_of(processor, part) is None:
                raise ArgumentTypeError(
                    f"processor has no {part}: give the model's whole processor, for example "
                    f"AutoProcessor.from_pretrained(...), got {type(processor).__name__}."
                )
        self.model = model
        self.feature_extractor = part_of(processor, "feature_extractor")
        self.tokenizer = processor.tokenizer
        self.model_id = str(getattr(model, "name_or_path", "") or type(model).__name__)
        self.sampling_rate = int(self.feature_extractor.sampling_rate)

    # What a family says of itself ------------------------------------------------------

    @abstractmethod
    def from_audio(self, audio: NDArray[Any]) -> SpeechInput: ...

    @abstractmethod
    def from_features(self, features: Tensor) -> SpeechInput: ...

    @abstractmethod
    def is_features(self, value: Any) -> bool: ...

    @abstractmethod
    def removed_value(self, speech: SpeechInput, name: str | None) -> Tensor: ...

    @abstractmethod
    def model_features(self, speech: SpeechInput, spectrograms: Tensor) -> Tensor:
        """Put ``(batch, time, freq)`` into the model's layout, padding included."""

    @abstractmethod
    def prompt_ids(self, speech: SpeechInput, gen_args: Mapping[str, Any]) -> list[int]:
        """The ids that the model's own generation starts with."""

    @abstractmethod
    def token_strings(self, ids: Tensor) -> list[str]: ...

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        device: torch.device = self.model.device
        return device

    def text_ids(self, text: str) -> list[int]:
        """Tokenise a text as the model would have written it, without special tokens but those that
        stand in the text."""
        special = "|".join(re.escape(token) for token in self._special_tokens())
        if special:  # the blank before one would become a token of its own
            text = re.sub(f" ({special})", r"\1", text)
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def _special_tokens(self) -> list[str]:
        """Special tokens as they stand in a text, the longest first."""
        added = added_tokens(self.tokenizer).values()
        found = {*self.tokenizer.all_special_tokens, *(str(t) for t in added if t.special)}
        return sorted(found, key=len, reverse=True)

    def is_explained(self, token_id: int) -> bool:
        """Whether an output token is explained; timestamps, for example, are not."""
        return True

    def is_prompt(self, token_id: int) -> bool:
        """Whether a token can stand in a prompt only."""
        return False

    # Generation ------------------------------------------------------------------------

    def run_generation(self, start: Mapping[str, Any], gen_args: Mapping[str, Any]) -> Any:
        """Run the model's own generation and return what it returns."""
        check_generation(gen_args)
        if getattr(self.model.config, "return_dict", True) is False:
            raise ArgumentError(
                "model.config.return_dict is False, with which transformers generates nothing: set "
                "it to True."
            )
        with torch.no_grad():
            try:
                return self.generation(**start, **{"num_return_sequences": 1, **gen_args})
            except _OF_ARGUMENTS as error:
                own = {k: v for k, v in gen_args.items() if k not in _OUTPUT_FORM}
                raise ArgumentError(
                    f"the model cannot generate with {reprlib.repr(own)}: {error}"
                ) from error

    @property
    def generation(self) -> Callable[..., Any]:
        """The model's own."""
        own: Callable[..., Any] = self.model.generate
        return own

    # Targets ---------------------------------------------------------------------------

    @property
    def end_of_sentence(self) -> int:
        return token_ids(self.model, "eos_token_id")[0]

    @property
    def max_target_tokens(self) -> int:
        return int(self.model.config.max_target_positions)

    @abstractmethod
    def generate(self, speech: SpeechInput, gen_args: Mapping[str, Any]) -> TargetSequence: ...

    @abstractmethod
    def transcribe(
        self, speech: SpeechInput, states: Tensor, gen_args: Mapping[str, Any]
    ) -> list[str]: ...

    def force(
        self, speech: SpeechInput, target: str | Sequence[int] | Tensor, gen_args: Mapping[str, Any]
    ) -> TargetSequence:
        check_generation(gen_args)
        self.check_request(gen_args)
        return self.forced(self.prompt_ids(speech, gen_args), target)

    def check_request(self, gen_args: Mapping[str, Any]) -> None:
        """Raise at what decides the prompt of other families and means nothing to this one: a
        given target would hide that it was not looked at."""
        for name in gen_args:
            if name in _REQUESTS and name not in self.requests:
                known = ", ".join(sorted(self.requests)) or "none"
                raise ArgumentError(
                    f"gen_args cannot hold {name!r}: a {type(self.model).__name__} is asked by "
                    f"other names ({known})."
                )

    def forced(self, prompt: list[int], target: str | Sequence[int] | Tensor) -> TargetSequence:
        """Take a given text, or given token ids, as what is written after a prompt."""
        ids = (
            self._ids_of_text(target)
            if isinstance(target, str)
            else as_ids("target", target, "a text or ")
        )
        if ids[: len(prompt)] == prompt:
            ids = ids[len(prompt) :]
        self._check_ids(ids)
        return self._sequence(prompt, self._ended(ids))

    def ids_of_text(self, text: str, sequence: TargetSequence) -> Tensor:
        """See ``SpellsTexts``."""
        prompt = sequence.ids[: sequence.explained[0]].tolist()
        return self.forced(prompt, text).explained_ids

    def _ended(self, ids: list[int]) -> list[int]:
        """End the ids with one end of sentence; further ones, and padding, are cut off."""
        ends = {self.end_of_sentence, *token_ids(self.model, "eos_token_id")}
        last = next((place for place, token in enumerate(ids) if token in ends), len(ids))
        end = ids[last] if last < len(ids) else self.end_of_sentence
        if not set(ids[last:]) <= {*ends, getattr(self.model.config, "pad_token_id", None)}:
            raise ArgumentError(f"target ids go on after the end of sentence ({end}): {ids}.")
        return [*ids[:last], end]

    def _ids_of_text(self, text: str) -> list[int]:
        text = tidied(text)
        if not text:
            raise ArgumentError("target is an empty text; give the words to explain.")
        ids = self.text_ids(text)
        unknown = self.tokenizer.unk_token_id
        is_unknown = unknown is not None and unknown != self.end_of_sentence and unknown in ids
        if not ids or is_unknown:
            raise ArgumentError(
                f"target {text!r} cannot be written with the model's vocabulary: its tokens "
                f"are {self.tokenizer.convert_ids_to_tokens(ids)}."
            )
        return ids

    def _check_ids(self, ids: list[int]) -> None:
        if not ids:
            raise ArgumentError("target has no token ids to explain.")
        size = vocabulary_size(self.model)
        if min(ids) < 0 or max(ids) >= size:
            raise ArgumentError(f"target ids must lie in [0, {size}), got {ids}.")
        if any(self.is_prompt(token_id) for token_id in ids):
            raise ArgumentError(
                "target ids hold prompt tokens that differ from the model's own prompt; leave "
                "them out, and give language and task in gen_args."
            )

    def _sequence(self, prompt: list[int], output: list[int]) -> TargetSequence:
        ids = [*prompt, *output]
        if len(ids) - 1 > self.max_target_tokens:
            raise ArgumentError(
                f"target has {len(output)} tokens after a prompt of {len(prompt)}; the decoder "
                f"takes at most {self.max_target_tokens} together. Explain a shorter text."
            )
        explained = tuple(
            position
            for position in range(len(prompt), len(ids))
            if self.is_explained(ids[position])
        )
        if not explained:
            raise ArgumentError("the output has no token to explain: the model wrote nothing.")
        return TargetSequence(torch.tensor(ids, dtype=torch.int64), explained)

    # Forward passes --------------------------------------------------------------------

    @abstractmethod
    def decode(self, states: Tensor, target: TargetSequence) -> Tensor: ...

    def explained_states(self, hidden: Tensor, target: TargetSequence) -> Tensor:
        """Of all hidden states those that the explained tokens are written from."""
        # A token is written from the position before it.
        positions = torch.tensor(target.explained, device=hidden.device) - 1
        return hidden.index_select(1, positions)

    def logits(self, states: Tensor, target: TargetSequence) -> Tensor:
        """Score the explained tokens, (batch, explained, vocab): the output layer after
        ``decode``."""
        return self.output_layer(self.decode(states, target))

    def output_layer(self, hidden: Tensor) -> Tensor:
        layer = self.model.get_output_embeddings()
        if isinstance(layer.weight, Tensor):  # a quantized layer has a method of that name
            hidden = hidden.to(layer.weight.dtype)
        logits = layer(hidden).float()
        assert isinstance(logits, Tensor)
        return logits

    def sequence_of(self, prompt: list[int], output: list[int]) -> TargetSequence:
        """The sequence of a prompt and what was written after it."""
        return self._sequence(prompt, output)

    @contextmanager
    def evaluation_mode(self) -> Iterator[None]:
        # Counted per model: of two threads that explain with it, the last restores the mode.
        with _MODES_LOCK:
            users, training = _MODES.get(self.model, (0, []))
            training = training or [module for module in self.model.modules() if module.training]
            for module in training:
                module.training = False
            _MODES[self.model] = (users + 1, training)
        try:
            yield
        finally:
            with _MODES_LOCK:
                users, training = _MODES.pop(self.model)
                if users > 1:
                    _MODES[self.model] = (users - 1, training)
                else:
                    for module in training:
                        module.training = True

    # Text ------------------------------------------------------------------------------

    def is_text(self, ids: Tensor) -> list[bool]:
        # A tokenizer's own list leaves out special tokens that were added without a name.
        added = {i for i, t in added_tokens(self.tokenizer).items() if t.special}
        special = {*self.tokenizer.all_special_ids, *added, self.end_of_sentence}
        return [i not in special and self.is_explained(i) for i in ids.tolist()]

    def spelled(self, ids: Tensor) -> list[tuple[str, list[int]]]:
        pieces: list[tuple[str, list[int]]] = []
        strings = self.token_strings(ids)
        for index, (token, is_text) in enumerate(zip(strings, self.is_text(ids), strict=True)):
            if not is_text:
                continue
            if pieces and pieces[-1][0].endswith(_INCOMPLETE):
                rows = [*pieces[-1][1], index]
                pieces[-1] = (self._decoded(ids[rows]), rows)
            else:
                pieces.append((token, [index]))
        return pieces

    def _decoded(self, ids: Tensor) -> str:
        return str(self.tokenizer.decode(ids.tolist()))

    def text(self, ids: Tensor) -> str:
        kept = [i for i, is_text in zip(ids.tolist(), self.is_text(ids), strict=True) if is_text]
        return str(self.tokenizer.decode(kept)).strip()


@contextmanager
def scaled(embedding: Any, keep: Tensor) -> Iterator[None]:
    """Multiply what a layer of embeddings gives by ``keep``, ``(batch, tokens)``, inside the
    context, in this thread."""
    owner = threading.get_ident()

    def scale(module: Any, args: Any, embeddings: Tensor) -> Tensor:
        # Another thread may explain with the same model: its passes are not ours.
        if threading.get_ident() != owner:
            return embeddings
        return embeddings * keep[..., None].to(embeddings.device, embeddings.dtype)

    handle = embedding.register_forward_hook(scale)
    try:
        yield
    finally:
        handle.remove()


def check_generation(gen_args: Mapping[str, Any]) -> None:
    """Raise at arguments of generation that an explanation cannot do with."""
    reasons = {
        "it would change which tokens are prompt. Set model.generation_config instead": _OF_PROMPTS,
        "the explanation gives it": _OF_ADAPTERS,
        "it can run code from elsewhere": _OF_CODE,
    }
    for reason, names in reasons.items():
        for name in names:
            if name in gen_args:
                raise ArgumentError(f"gen_args cannot hold {name!r}: {reason}.")
    for name in _COUNTS:
        if gen_args.get(name) is not None:
            whole_number(f"the model cannot generate with this {name}: it", gen_args[name], 1)


def tidied(text: str) -> str:
    """A text as models write it: composed characters, single blanks, none at the ends."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ArgumentError(
            f"target {text!r} holds half of a character: {error.reason}."
        ) from error
    words = unicodedata.normalize("NFC", text).split()
    return " ".join(words).strip(f" {_INVISIBLE}")


def mel_bin_centers(n_bins: int, lowest: float, highest: float, mel_scale: str) -> Tensor:
    """Centre frequencies in Hz of a bank of triangular mel filters."""
    import numpy as np
    from transformers.audio_utils import hertz_to_mel, mel_to_hertz

    edges = np.linspace(
        hertz_to_mel(lowest, mel_scale=mel_scale),
        hertz_to_mel(highest, mel_scale=mel_scale),
        n_bins + 2,
    )
    return torch.from_numpy(mel_to_hertz(edges, mel_scale=mel_scale)[1:-1]).float()


def is_plane(shape: tuple[int, ...]) -> bool:
    """Whether an array of this shape holds times and frequencies, as no recording has that many
    channels."""
    return len(shape) in (2, 3) and min(shape[-2:]) >= _MOST_CHANNELS


def check_features(features: Tensor, expected: str, is_expected: bool) -> Tensor:
    """Return features as float32 on the CPU, checked for shape and finite values."""
    if not is_expected:
        raise ArgumentError(f"features must be {expected}, got shape {tuple(features.shape)}.")
    if not bool(torch.isfinite(features).all()):
        raise ArgumentError("features hold NaN or infinite values.")
    # A copy: the result must not change with the caller's tensor.
    return features.detach().to("cpu", torch.float32, copy=True)


def as_ids(name: str, given: object, otherwise: str = "") -> list[int]:
    """Token ids as a list, from a sequence, array or Tensor of one dimension."""
    try:
        ids = torch.as_tensor(given, device="cpu")
    except (TypeError, ValueError, RuntimeError) as error:
        raise ArgumentTypeError(
            f"{name} must be {otherwise}token ids, got {type(given).__name__}: {error}"
        ) from error
    if ids.numel() and (ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool):
        raise ArgumentTypeError(f"{name} ids must be integers, got {ids.dtype}.")
    ids = ids.squeeze(0) if ids.dim() == 2 and len(ids) == 1 else ids
    if ids.dim() != 1:
        raise ArgumentError(f"{name} ids must have one dimension, got shape {tuple(ids.shape)}.")
    return [int(i) for i in ids.tolist()]
