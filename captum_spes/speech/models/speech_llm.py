"""Speech LLMs: language models that read audio as embeddings in their prompt."""

from __future__ import annotations

import math
import threading
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.errors import ArgumentError, ArgumentTypeError, instance_of
from captum_spes.speech.models.attention import AlignedByAttention, attention_reader
from captum_spes.speech.models.capabilities import (
    Attention,
    HeadAttention,
    SpeechInput,
    TargetSequence,
)
from captum_spes.speech.models.compatibility import (
    added_tokens,
    as_cache,
    cut_cache,
    plain,
    token_ids,
)
from captum_spes.speech.models.huggingface import (
    HuggingFaceAdapter,
    as_ids,
    check_generation,
)
from captum_spes.speech.models.prefix import SharedPrefix

# Where a user sets no limit: as many as Whisper can write, more of longer speech.
_MOST_NEW_TOKENS = 448
# Names in gen_args that decide the prompt, and most processors' names for them.
REQUEST = {"instruction": "prompt"}
LANGUAGE_REQUEST = {**REQUEST, "language": "language"}
# Tokens of what stands before the text: the name of a language, the beginning of a sentence.
LONGEST_HEADER = 24
# Tokens of a second of speech that nobody speaks faster than.
_TOKENS_PER_SECOND = 25
_LENGTHS = ("max_length", "max_new_tokens")
# Stands where the instruction stands, to find out where that is.
_IN_ITS_PLACE = "qxzqxzqxz"
# Prompts that are remembered, of one adapter.
_PROMPTS = 16


@dataclass(frozen=True)
class Prompt:
    """What a model reads before it writes.

    Attributes:
        ids: all of it, a placeholder for each embedding of audio.
        instruction: positions in ``ids`` of the user's instruction.
        n_audio: how many placeholders there are.
    """

    ids: tuple[int, ...]
    instruction: tuple[int, ...]
    n_audio: int


class SpeechLanguageModel(AlignedByAttention, HuggingFaceAdapter):
    """Base of the adapters of speech LLMs.

    States are the embeddings of the audio as the language model reads them: they come from the
    model's own front end, caught where it hands them over. A family says how its features are laid
    out and how it is asked. ``gen_args`` take ``instruction``, what the model is asked to do, and,
    where the family has languages, ``language``.

    Attributes:
        instruction: of transcription; None where the processor knows, or there is none.
        request: names in ``gen_args`` that decide the prompt, and the processor's names for them.
        frames_per_position: of the spectrogram, for each embedding of audio.
        writes_header: whether something stands before the text that is no part of it.
        is_language_model: the decoder is the larger part of the model.
    """

    is_language_model: ClassVar[bool] = True
    instruction: ClassVar[str | None] = None
    request: ClassVar[Mapping[str, str]] = REQUEST
    frames_per_position: ClassVar[int] = 4
    writes_header: ClassVar[bool] = False

    def __init__(self, model: Any, processor: Any) -> None:
        super().__init__(model, processor)
        self.processor = processor
        self._remembered_prompt = lru_cache(_PROMPTS)(self._prompt)
        self._kept = threading.local()
        self.requests = frozenset(self.request)
        added = {i for i, token in added_tokens(self.tokenizer).items() if token.special}
        added |= set(self.tokenizer.all_special_ids)
        output = {self.end_of_sentence, self.tokenizer.pad_token_id, self.tokenizer.unk_token_id}
        output |= set(token_ids(model, "eos_token_id"))
        self._control_ids = frozenset(added - output)

    # What a family says of itself ------------------------------------------------------

    @abstractmethod
    def front_end_inputs(self, features: Tensor, n_frames: int) -> dict[str, Tensor]:
        """What the model is given besides ids.

        Args:
            features: ``(batch * chunks, ...)``, in the model's layout.
            n_frames: of speech, per example; the others are padding.
        """

    @property
    def audio_id(self) -> int:
        """The placeholder of an embedding of audio."""
        return int(self.model.config.audio_token_id)

    def asked(self, audio: NDArray[np.float32], request: Mapping[str, str]) -> list[int]:
        """The ids of a prompt, a placeholder for each embedding of audio."""
        made = self.processed(self.request_text(audio, request), audio)
        return [int(i) for i in made["input_ids"][0]]

    def request_text(self, audio: NDArray[np.float32], request: Mapping[str, str]) -> str:
        """The prompt as a text with one placeholder for the audio."""
        made = self.processor.apply_transcription_request([audio], tokenize=False, **request)
        return str(made[0])

    def processed(self, text: str, audio: NDArray[np.float32]) -> Mapping[str, Tensor]:
        """What the processor makes of a prompt and audio."""
        made: Mapping[str, Tensor] = self.processor(
            text=[text], audio=[audio], sampling_rate=self.sampling_rate, return_tensors="pt"
        )
        return made

    # The prompt ------------------------------------------------------------------------

    def prompt(self, speech: SpeechInput, gen_args: Mapping[str, Any]) -> Prompt:
        """What the model reads before it writes."""
        request = {
            name: gen_args[given]
            for given, name in self.request.items()
            if gen_args.get(given) is not None
        }
        for name in self.request:
            value = gen_args.get(name)
            if value is not None:
                instance_of(name, value, str, "a text")
                if not value.strip():
                    raise ArgumentError(f"{name} is an empty text: leave it out, or say something.")
        n_samples = max(1, round(speech.seconds * self.sampling_rate))
        return self._remembered_prompt(n_samples, tuple(sorted(request.items())))

    def _prompt(self, n_samples: int, request: tuple[tuple[str, str], ...]) -> Prompt:
        # How many placeholders there are depends on the duration alone.
        audio = np.zeros(n_samples, dtype=np.float32)
        asked = dict(request)
        try:
            ids = self.asked(audio, asked)
        except (ValueError, TypeError) as error:
            raise ArgumentError(f"the model takes no request like {asked}: {error}") from error
        name = self.request["instruction"]
        instruction = asked.get(name, self.default_instruction)
        places: tuple[int, ...] = ()
        if instruction is not None:
            places = self.instruction_places(ids, {**asked, name: instruction})
            if not places and name in asked:  # the user's own, and no default of ours
                raise ArgumentError(
                    f"the instruction {instruction!r} is not in the prompt that the processor "
                    "makes of it: it can neither be read nor removed."
                )
        return Prompt(tuple(ids), places, ids.count(self.audio_id))

    def instruction_places(self, ids: Sequence[int], request: Mapping[str, str]) -> tuple[int, ...]:
        """Where the tokens of the instruction stand in the prompt."""
        name = self.request["instruction"]
        audio = np.zeros(1, dtype=np.float32)
        text = self.request_text(audio, request)
        # The same words can stand elsewhere in the chat: another text in its place tells which.
        start = self.request_text(audio, {**request, name: _IN_ITS_PLACE}).find(_IN_ITS_PLACE)
        start = text.find(request[name].strip(), max(0, start))
        end = start + len(request[name].strip())
        short = self.tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
        n_audio = ids.count(self.audio_id)
        spans: list[tuple[int, int]] = []
        tokens: list[int] = []
        for token, span in zip(short["input_ids"], short["offset_mapping"], strict=True):
            count = n_audio if token == self.audio_id else 1
            spans += [span] * count
            tokens += [token] * count
        shift = len(ids) - len(tokens)  # a token that starts every text
        if start < 0 or list(ids[shift:]) != tokens:
            return ()
        return tuple(
            place + shift
            for place, (first, last) in enumerate(spans)
            if first < end and last > start
        )

    @property
    def default_instruction(self) -> str | None:
        """What the model is asked to do where the user says nothing."""
        own = getattr(self.processor, "default_transcription_prompt", None)
        return self.instruction if own is None else str(own)

    def is_own_request(self, gen_args: Mapping[str, Any]) -> bool:
        asked, own = gen_args.get("instruction"), self.default_instruction
        return asked is None or (own is not None and str(asked).strip() == own.strip())

    def prompt_ids(self, speech: SpeechInput, gen_args: Mapping[str, Any]) -> list[int]:
        return list(self.prompt(speech, gen_args).ids)

    def is_prompt(self, token_id: int) -> bool:
        return token_id in self._control_ids

    @property
    def end_of_sentence(self) -> int:
        ends, own = token_ids(self.model, "eos_token_id"), self.tokenizer.eos_token_id
        return own if own in ends else ends[0]

    @property
    def max_target_tokens(self) -> int:
        return int(self.model.config.get_text_config().max_position_embeddings)

    def force(
        self, speech: SpeechInput, target: str | Sequence[int] | Tensor, gen_args: Mapping[str, Any]
    ) -> TargetSequence:
        check_generation(gen_args)
        self.check_request(gen_args)
        prompt = self.prompt(speech, gen_args)
        before = list(prompt.ids)
        if isinstance(target, str):
            header = self.header(speech, prompt, gen_args)
        else:
            ids = as_ids("target", target, "a text or ")
            ids = ids[len(before) :] if ids[: len(before)] == before else ids
            n_header = self.after_header(ids)
            header = ids[:n_header] or self.header(speech, prompt, gen_args)
            target = ids[n_header:]
        return self._with_sides(self.forced([*before, *header], target), prompt)

    def header(self, speech: SpeechInput, prompt: Prompt, gen_args: Mapping[str, Any]) -> list[int]:
        """What the model writes before any text."""
        if not self.writes_header:
            return []
        asked = {name: gen_args[name] for name in self.request if name in gen_args}
        written = self.written(speech, prompt, {**asked, "max_new_tokens": LONGEST_HEADER})
        return written[: self.after_header(written)]

    def after_header(self, written: list[int]) -> int:
        """How much of what was written stands before the text."""
        return 0

    def _with_sides(self, sequence: TargetSequence, prompt: Prompt) -> TargetSequence:
        """What can be removed: the text so far, and the instruction on a side of its own."""
        n_prompt = len(prompt.ids)
        first = n_prompt + self.after_header(sequence.ids[n_prompt:].tolist())
        explained = tuple(place for place in sequence.explained if place >= first)
        if not explained:
            raise ArgumentError("the output has no token to explain: the model wrote nothing.")
        previous = tuple(range(n_prompt, len(sequence.ids) - 1))
        return replace(
            sequence, explained=explained, previous=previous, instruction=prompt.instruction
        )

    # Generation ------------------------------------------------------------------------

    def generate(self, speech: SpeechInput, gen_args: Mapping[str, Any]) -> TargetSequence:
        prompt = self.prompt(speech, gen_args)
        written = self.written(speech, prompt, gen_args)
        return self._with_sides(self._sequence(list(prompt.ids), written), prompt)

    def written(
        self, speech: SpeechInput, prompt: Prompt, gen_args: Mapping[str, Any]
    ) -> list[int]:
        """What the model writes after a prompt."""
        inputs = self._front_end(speech, speech.spectrogram[None])
        ids = torch.tensor([prompt.ids], device=self.device)
        start = {"input_ids": ids, "attention_mask": torch.ones_like(ids), **inputs}
        output = self.run_generation(start, self._arguments(gen_args, speech.seconds))
        sequences = output if isinstance(output, Tensor) else output.sequences
        return self._to_the_end(sequences[0, len(prompt.ids) :].tolist())

    def transcribe(
        self, speech: SpeechInput, states: Tensor, gen_args: Mapping[str, Any]
    ) -> list[str]:
        prompt = torch.tensor(self.prompt(speech, gen_args).ids)
        embeddings = self._embeddings(states, prompt)
        mask = torch.ones(embeddings.shape[:2], dtype=torch.int64, device=self.device)
        # The ids are for what looks at them, such as a penalty for repetitions.
        ids = prompt.to(self.device).expand(len(states), -1)
        start = {"input_ids": ids, "inputs_embeds": embeddings, "attention_mask": mask}
        output = self.run_generation(start, self._arguments(gen_args, speech.seconds))
        sequences = output if isinstance(output, Tensor) else output.sequences
        sequences = sequences[:, ids.shape[1] :]
        written = [self._to_the_end(row.tolist()) for row in sequences]
        return [self.text(torch.tensor(ids[self.after_header(ids) :])) for ids in written]

    def _arguments(self, gen_args: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Those that do not decide the prompt, and room to write to the end: transformers alone
        would stop after 20 tokens, the prompt among them."""
        others = {name: value for name, value in gen_args.items() if name not in self.request}
        config = self.model.generation_config
        if any(name in others or getattr(config, name, None) is not None for name in _LENGTHS):
            return others
        most = max(_MOST_NEW_TOKENS, math.ceil(_TOKENS_PER_SECOND * seconds))
        return {**others, "max_new_tokens": most}

    def _to_the_end(self, ids: list[int]) -> list[int]:
        """Cut off what stands behind the first end of sentence, of which there can be several
        kinds."""
        ends = set(token_ids(self.model, "eos_token_id"))
        last = next((place for place, token in enumerate(ids) if token in ends), len(ids))
        return ids[: last + 1]

    # Forward passes --------------------------------------------------------------------

    @property
    def language_model(self) -> Any:
        """The part that reads embeddings."""
        return self.model.get_decoder()

    def _front_end(self, speech: SpeechInput, spectrograms: Tensor) -> dict[str, Tensor]:
        features = self.model_features(speech, spectrograms)
        inputs = self.front_end_inputs(features, spectrograms.shape[1])
        return {
            name: value.to(self.device, self.model.dtype if value.is_floating_point() else None)
            for name, value in inputs.items()
        }

    def encode(self, speech: SpeechInput, spectrograms: Tensor) -> Tensor:
        inputs = self._front_end(speech, spectrograms)
        n_audio = self.prompt(speech, {}).n_audio
        ids = torch.full((len(spectrograms), n_audio), self.audio_id, device=self.device)
        return self._handed_over(ids, inputs)

    def _handed_over(self, ids: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """The embeddings that the model's front end hands to its language model."""
        owner = threading.get_ident()

        def catch(module: Any, args: Any, kwargs: Any) -> None:
            # Another thread may explain with the same model: its passes are not ours.
            if threading.get_ident() == owner:
                raise _CaughtError(kwargs["inputs_embeds"])

        handle = self.language_model.register_forward_pre_hook(catch, with_kwargs=True)
        try:
            # Not what torch.compile made of it, which would be compiled anew for each length.
            plain(self.model)(input_ids=ids, attention_mask=torch.ones_like(ids), **inputs)
        except _CaughtError as caught:
            return caught.embeddings
        finally:
            handle.remove()
        raise ArgumentTypeError(
            f"{type(self.model).__name__} hands no embeddings to its language model."
        )

    def _embeddings(self, states: Tensor, ids: Tensor) -> Tensor:
        """Of ids, audio in the place of placeholders, ``(batch, ids, hidden)``."""
        ids = ids.to(self.device)
        is_audio = ids == self.audio_id
        embeddings = self.model.get_input_embeddings()(torch.where(is_audio, 0, ids))
        embeddings = embeddings.expand(len(states), -1, -1)
        keep = getattr(self._kept, "keep", None)
        if keep is not None:
            keep = keep[:, : len(ids), None].to(embeddings.device, embeddings.dtype)
            embeddings = embeddings * keep
        positions = is_audio.nonzero()[:, 0].to(embeddings.device)
        whole: Tensor = embeddings.index_copy(1, positions, states.to(embeddings))
        return whole

    def decode(self, states: Tensor, target: TargetSequence) -> Tensor:
        embeddings = self._embeddings(states, target.decoder_ids)
        output = self.language_model(inputs_embeds=embeddings, use_cache=False, return_dict=True)
        return self.explained_states(output.last_hidden_state, target)

    def decode_branches(self, states: Tensor, targets: Sequence[TargetSequence]) -> list[Tensor]:
        """See ``SharesBeginnings``."""
        from transformers import DynamicCache

        first, *others = targets
        cache = DynamicCache()

        def read(target: TargetSequence, start: int) -> Tensor:
            embeddings = self._embeddings(states, target.decoder_ids)[:, start:]
            output = self.language_model(
                inputs_embeds=embeddings, use_cache=True, return_dict=True,
                **as_cache(self.language_model, cache),
            )  # fmt: skip
            hidden: Tensor = output.last_hidden_state
            return hidden

        whole, shared = read(first, 0), first.explained[0]
        found = [self.explained_states(whole, first)]
        for target in others:
            if not cut_cache(cache, shared):
                found.append(self.decode(states, target))
                continue
            hidden = torch.cat([whole[:, :shared], read(target, shared)], 1)
            found.append(self.explained_states(hidden, target))
        return found

    def prepared(self, states: Tensor, target: TargetSequence) -> SharedPrefix | None:
        """What stands before the first token that can be removed, read once."""
        first = min(target.previous_positions, default=0)
        if not first:
            return None
        embeddings = self._embeddings(states, target.decoder_ids)[:, :first]
        return SharedPrefix.of(self.language_model, embeddings)

    def decode_prepared(
        self, states: Tensor, target: TargetSequence, prepared: SharedPrefix | None
    ) -> Tensor:
        if prepared is None:
            return self.decode(states, target)
        rest = self._embeddings(states, target.decoder_ids)[:, prepared.length :]
        return self.explained_states(prepared.read(self.language_model, rest), target)

    @contextmanager
    def keep_previous_tokens(self, keep: Tensor) -> Iterator[None]:
        outer = getattr(self._kept, "keep", None)
        self._kept.keep = keep
        try:
            yield
        finally:
            self._kept.keep = outer

    # Attention -------------------------------------------------------------------------

    def attention(self, speech: SpeechInput, target: TargetSequence) -> Attention:
        """See ``Attends``."""
        return self.head_attention(speech, target).mean()

    def head_attention(self, speech: SpeechInput, target: TargetSequence) -> HeadAttention:
        """See ``AttendsInHeads``."""
        weights = torch.stack(self._attentions(speech, target))
        is_audio = target.decoder_ids == self.audio_id
        return HeadAttention(
            cross=weights[..., is_audio],
            decoder=weights[..., list(target.previous_positions)],
            n_frames=self.covered_frames(speech, int(is_audio.sum())),
        )

    def cross_attention(self, speech: SpeechInput, target: TargetSequence) -> Tensor:
        """Weights of each head over the embeddings of the speech, (layers, heads, explained tokens,
        positions)."""
        found = self.head_attention(speech, target)
        share = len(speech.spectrogram) / found.n_frames
        return found.cross[..., : max(1, round(found.cross.shape[-1] * min(1.0, share)))]

    def covered_frames(self, speech: SpeechInput, n_positions: int) -> int:
        """Frames that so many embeddings stand for, padding included."""
        return n_positions * self.frames_per_position

    def _attentions(self, speech: SpeechInput, target: TargetSequence) -> list[Tensor]:
        """Of each layer what the explained tokens are written from looks at, (heads, explained,
        positions)."""
        # Weights of all that stands before the output would fill the memory. A token is written
        # from the position before it.
        first = target.explained[0] - 1
        with torch.no_grad():
            states = self.encode(speech, speech.spectrogram[None])
            embeddings = self._embeddings(states, target.decoder_ids)
            prefix = SharedPrefix.of(self.language_model, embeddings[:, :first])
            if prefix is None:
                first = 0
            reader = attention_reader(self.model).get_decoder()
            output = reader(
                inputs_embeds=embeddings[:, first:],
                **({} if prefix is None else as_cache(reader, prefix.cache())),
                use_cache=prefix is not None,
                output_attentions=True,
                return_dict=True,
            )
        rows = torch.tensor(target.explained) - 1 - first
        return [layer[0].detach().float().cpu()[:, rows] for layer in output.attentions]

    # Text ------------------------------------------------------------------------------

    def token_strings(self, ids: Tensor) -> list[str]:
        pieces = self.tokenizer.convert_ids_to_tokens(ids.tolist())
        return [
            str(piece).replace("▁", " ") if "▁" in str(piece) else str(self.tokenizer.decode([i]))
            for piece, i in zip(pieces, ids.tolist(), strict=True)
        ]


class _CaughtError(Exception):
    """Ends a forward pass where the front end has done its work."""

    def __init__(self, embeddings: Tensor) -> None:
        super().__init__()
        self.embeddings = embeddings
