"""What all Hugging Face encoder-decoder speech models have in common."""

from __future__ import annotations

import copy
import re
import reprlib
import threading
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.errors import ArgumentError, ArgumentTypeError, whole_number
from captum_spes.speech.models.attention import attention_reader, head_mean
from captum_spes.speech.models.capabilities import Attention, SpeechInput, TargetSequence
from captum_spes.speech.models.compatibility import Parts, token_ids, vocabulary_size

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
_COUNTS = ("num_beams", "max_new_tokens", "max_length")
# What adapters add to a user's arguments.
_OUTPUT_FORM = ("force_unique_generate_call", "return_dict_in_generate")
# What a wrong argument ends in, wherever it is first used. A RuntimeError can be the user's own.
_OF_ARGUMENTS = (TypeError, ValueError, ArithmeticError, AttributeError, LookupError)
# How many explanations run on a model that was in training mode, and what to restore.
_MODES: WeakKeyDictionary[Any, tuple[int, list[Any]]] = WeakKeyDictionary()
_MODES_LOCK = threading.Lock()


class HuggingFaceSpeechModel(ABC):
    """Base of the adapters; a family says how its features and its prompt look.

    Args:
        model: the ``...ForConditionalGeneration`` model, on any device, in any dtype.
        processor: its processor, with ``feature_extractor`` and ``tokenizer``.

    Attributes:
        parts: what a family's own model and processor are; None for a base.
    """

    parts: ClassVar[Parts | None] = None

    def __init__(self, model: Any, processor: Any) -> None:
        for part in ("feature_extractor", "tokenizer"):
            if getattr(processor, part, None) is None:
                raise ArgumentTypeError(
                    f"processor has no {part}: give the model's whole processor, for example "
                    f"AutoProcessor.from_pretrained(...), got {type(processor).__name__}."
                )
        self.model = model
        self.feature_extractor = processor.feature_extractor
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
        added = self.tokenizer.added_tokens_decoder.values()
        found = {*self.tokenizer.all_special_tokens, *(str(t) for t in added if t.special)}
        return sorted(found, key=len, reverse=True)

    def is_explained(self, token_id: int) -> bool:
        """Whether an output token is explained; timestamps, for example, are not."""
        return True

    def is_prompt(self, token_id: int) -> bool:
        """Whether a token can stand in a prompt only."""
        return False

    # Targets ---------------------------------------------------------------------------

    @property
    def start_id(self) -> int:
        """The token that the decoder starts with."""
        return token_ids(self.model, "decoder_start_token_id")[0]

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

    def heard(self, features: Tensor) -> dict[str, Any]:
        """What generation starts from: features in the model's own layout."""
        return {"inputs": features.to(self.model.device, self.model.dtype)}

    def encoded(self, states: Tensor) -> dict[str, Any]:
        """What generation starts from: states of the encoder, which need not run again."""
        return {"encoder_outputs": self.encoder_outputs(states)}

    def generated(
        self, start: dict[str, Any], gen_args: Mapping[str, Any], prompt: list[int] | None = None
    ) -> Any:
        """Run the model's own generation from what was ``heard`` or ``encoded``, after a prompt
        where the family has one, and return what it returns."""
        check_generation(gen_args)
        if getattr(self.model.config, "return_dict", True) is False:
            raise ArgumentError(
                "model.config.return_dict is False, with which transformers generates nothing: set "
                "it to True."
            )
        if prompt is not None:
            count = len(start["inputs"] if "inputs" in start else start["encoder_outputs"][0])
            ids = torch.tensor([prompt] * count, device=self.model.device)
            start = {**start, "decoder_input_ids": ids}
        with torch.no_grad():
            try:
                return self.model.generate(**start, **{"num_return_sequences": 1, **gen_args})
            except _OF_ARGUMENTS as error:
                own = {k: v for k, v in gen_args.items() if k not in _OUTPUT_FORM}
                raise ArgumentError(
                    f"the model cannot generate with {reprlib.repr(own)}: {error}"
                ) from error

    def force(
        self, speech: SpeechInput, target: str | Sequence[int] | Tensor, gen_args: Mapping[str, Any]
    ) -> TargetSequence:
        check_generation(gen_args)
        prompt = self.prompt_ids(speech, gen_args)
        ids = (
            self._ids_of_text(target)
            if isinstance(target, str)
            else as_ids("target", target, "a text or ")
        )
        if ids[: len(prompt)] == prompt:
            ids = ids[len(prompt) :]
        self._check_ids(ids)
        return self._sequence(prompt, self._ended(ids))

    def _ended(self, ids: list[int]) -> list[int]:
        """End the ids with one end of sentence; further ones, and padding, are cut off."""
        end = self.end_of_sentence
        text = ids[: ids.index(end)] if end in ids else ids
        padding = {end, self.model.config.pad_token_id}
        if not set(ids[len(text) :]) <= padding:
            raise ArgumentError(f"target ids go on after the end of sentence ({end}): {ids}.")
        return [*text, end]

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

    def encode(self, speech: SpeechInput, spectrograms: Tensor) -> Tensor:
        features = self.model_features(speech, spectrograms)
        features = features.to(self.model.device, self.model.dtype)
        states = self.model.get_encoder()(features, return_dict=True).last_hidden_state
        assert isinstance(states, Tensor)
        return states

    def encoder_outputs(self, states: Tensor) -> Any:
        """Put encoder states into the form that the model takes them in."""
        from transformers.modeling_outputs import BaseModelOutput

        return BaseModelOutput(last_hidden_state=states)

    def prepared(self, states: Tensor, target: TargetSequence) -> Any:
        """Keys and values of the cross-attention; see ``ReadsPreviousTokens``."""
        from transformers import DynamicCache, EncoderDecoderCache

        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        self._read(states, target, past_key_values=cache, use_cache=True)
        return cache.cross_attention_cache

    def decode(self, states: Tensor, target: TargetSequence) -> Tensor:
        """See ``ScoresTokens``."""
        return self._explained(self._read(states, target, use_cache=False), target)

    def decode_prepared(self, states: Tensor, target: TargetSequence, prepared: Any) -> Tensor:
        """See ``ReadsPreviousTokens``."""
        from transformers import DynamicCache, EncoderDecoderCache

        cache = EncoderDecoderCache(DynamicCache(), _for_batch(prepared, len(states)))
        hidden = self._read(states, target, past_key_values=cache, use_cache=True)
        return self._explained(hidden, target)

    def _explained(self, hidden: Tensor, target: TargetSequence) -> Tensor:
        # A token is written from the position before it.
        positions = torch.tensor(target.explained, device=hidden.device) - 1
        return hidden.index_select(1, positions)

    def _read(self, states: Tensor, target: TargetSequence, **caching: Any) -> Tensor:
        output = self.model.get_decoder()(
            input_ids=target.decoder_ids.to(self.model.device).expand(len(states), -1),
            encoder_hidden_states=states,
            return_dict=True,
            **caching,
        )
        assert isinstance(output.last_hidden_state, Tensor)
        return output.last_hidden_state

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

    def attention(
        self, speech: SpeechInput, target: TargetSequence, with_encoder: bool = False
    ) -> Attention:
        features = self.model_features(speech, speech.spectrogram[None])
        features = features.to(self.model.device, self.model.dtype)
        reader = attention_reader(self.model)
        with torch.no_grad():
            # The encoder's weights grow with the square of its length, for every layer and head.
            encoder = reader.get_encoder() if with_encoder else self.model.get_encoder()
            encoded = encoder(features, output_attentions=with_encoder, return_dict=True)
            output = reader(
                encoder_outputs=self.encoder_outputs(encoded.last_hidden_state),
                decoder_input_ids=target.decoder_ids.to(self.model.device)[None],
                use_cache=False,
                output_attentions=True,
                return_dict=True,
            )
        # A token is written from the position before it.
        positions = torch.tensor(target.explained) - 1
        return Attention(
            encoder=head_mean(encoded.attentions) if with_encoder else None,
            cross=head_mean(output.cross_attentions)[:, positions],
            decoder=head_mean(output.decoder_attentions)[:, positions],
            n_frames=self.n_frames(features),
        )

    def cross_attention(self, speech: SpeechInput, target: TargetSequence) -> Tensor:
        """Weights of each head over the time of the speech, padding left out, (layers, heads,
        explained tokens, positions)."""
        features = self.model_features(speech, speech.spectrogram[None])
        features = features.to(self.model.device, self.model.dtype)
        with torch.no_grad():
            encoded = self.model.get_encoder()(features)
            output = attention_reader(self.model)(
                encoder_outputs=self.encoder_outputs(encoded.last_hidden_state),
                decoder_input_ids=target.decoder_ids.to(self.model.device)[None],
                use_cache=False,
                output_attentions=True,
            )
        weights = torch.stack(
            [layer[0].detach().float().cpu() for layer in output.cross_attentions]
        )
        # A token is written from the position before it.
        weights = weights[:, :, torch.tensor(target.explained) - 1]
        share = len(speech.spectrogram) / self.n_frames(features)
        return weights[..., : max(1, round(weights.shape[-1] * share))]

    def alignment(self, speech: SpeechInput, target: TargetSequence) -> Tensor:
        """See ``AlignsTokens``. Later layers look where a token is spoken more than early ones."""
        weights = self.cross_attention(speech, target)
        return weights[len(weights) // 2 :].flatten(0, 1)

    def sequence_of(self, prompt: list[int], output: list[int]) -> TargetSequence:
        """The sequence of a prompt and what was written after it."""
        return self._sequence(prompt, output)

    @abstractmethod
    def n_frames(self, features: Tensor) -> int:
        """Frames of features in the model's layout, padding included."""

    @contextmanager
    def keep_previous_tokens(self, keep: Tensor) -> Iterator[None]:
        owner = threading.get_ident()

        def scale(module: Any, args: Any, embeddings: Tensor) -> Tensor:
            # Another thread may explain with the same model: its passes are not ours.
            if threading.get_ident() != owner:
                return embeddings
            return embeddings * keep[..., None].to(embeddings.device, embeddings.dtype)

        embedding = self.model.get_decoder().get_input_embeddings()
        handle = embedding.register_forward_hook(scale)
        try:
            yield
        finally:
            handle.remove()

    @contextmanager
    def remembered_states(self) -> Iterator[list[Tensor]]:
        owner, found = threading.get_ident(), list[Tensor]()

        def remember(module: Any, args: Any, output: Any) -> None:
            if threading.get_ident() == owner:
                found.append(output[0].detach())

        handle = self.model.get_encoder().register_forward_hook(remember)
        try:
            yield found
        finally:
            handle.remove()

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
        added = {i for i, t in self.tokenizer.added_tokens_decoder.items() if t.special}
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


def _for_batch(cache: Any, size: int) -> Any:
    """The cache of one example for a batch of equal ones, without copies of keys and values."""
    expanded = copy.copy(cache)
    expanded.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in expanded.layers:
        layer.keys = layer.keys.expand(size, -1, -1, -1)
        layer.values = layer.values.expand(size, -1, -1, -1)
    return expanded


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
