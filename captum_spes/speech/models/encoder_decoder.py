"""What all Hugging Face encoder-decoder speech models have in common."""

from __future__ import annotations

import copy
import threading
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor

from captum_spes.speech.models.attention import (
    AlignedByAttention,
    attention_reader,
    head_mean,
    head_weights,
)
from captum_spes.speech.models.capabilities import (
    Attention,
    HeadAttention,
    SpeechInput,
    TargetSequence,
)
from captum_spes.speech.models.compatibility import as_cache, cut_cache, token_ids
from captum_spes.speech.models.huggingface import HuggingFaceAdapter, scaled


class HuggingFaceSpeechModel(AlignedByAttention, HuggingFaceAdapter):
    """Base of the adapters of encoder-decoders; a family says how its features and its prompt
    look."""

    # The name by which the decoder takes ids.
    ids_argument = "input_ids"

    @property
    def start_id(self) -> int:
        """The token that the decoder starts with."""
        return token_ids(self.model, "decoder_start_token_id")[0]

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
        if prompt is not None:
            count = len(start["inputs"] if "inputs" in start else start["encoder_outputs"][0])
            ids = torch.tensor([prompt] * count, device=self.model.device)
            start = {**start, "decoder_input_ids": ids}
        return self.run_generation(start, gen_args)

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
        self._read(states, target, cache=cache)
        return cache.cross_attention_cache

    def decode(self, states: Tensor, target: TargetSequence) -> Tensor:
        """See ``ScoresTokens``."""
        return self.explained_states(self._read(states, target), target)

    def decode_prepared(self, states: Tensor, target: TargetSequence, prepared: Any) -> Tensor:
        """See ``ReadsPreviousTokens``."""
        from transformers import DynamicCache, EncoderDecoderCache

        cache = EncoderDecoderCache(DynamicCache(), _for_batch(prepared, len(states)))
        hidden = self._read(states, target, cache=cache)
        return self.explained_states(hidden, target)

    def decode_branches(self, states: Tensor, targets: Sequence[TargetSequence]) -> list[Tensor]:
        """See ``SharesBeginnings``."""
        from transformers import DynamicCache, EncoderDecoderCache

        first, *others = targets
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        read = self._read(states, first, cache=cache)
        shared = first.explained[0]
        found = [self.explained_states(read, first)]
        for target in others:
            if not cut_cache(cache.self_attention_cache, shared):
                found.append(self.decode(states, target))
                continue
            rest = self._read(states, target, shared, cache)
            found.append(self.explained_states(torch.cat([read[:, :shared], rest], 1), target))
        return found

    def _read(
        self, states: Tensor, target: TargetSequence, start: int = 0, cache: Any = None
    ) -> Tensor:
        """Hidden states of all ids from ``start`` on; those before are in the cache."""
        ids, decoder = target.decoder_ids[start:].to(self.model.device), self.model.get_decoder()
        output = decoder(
            **{self.ids_argument: ids.expand(len(states), -1)},
            encoder_hidden_states=states,
            return_dict=True,
            use_cache=cache is not None,
            **({} if cache is None else as_cache(decoder, cache)),
        )
        assert isinstance(output.last_hidden_state, Tensor)
        return output.last_hidden_state

    def attention(self, speech: SpeechInput, target: TargetSequence) -> Attention:
        """See ``Attends``."""
        return self.head_attention(speech, target).mean()

    def head_attention(self, speech: SpeechInput, target: TargetSequence) -> HeadAttention:
        """See ``AttendsInHeads``."""
        features = self._features(speech)
        with torch.no_grad():
            encoded = self.model.get_encoder()(features, return_dict=True)
            output = attention_reader(self.model)(
                encoder_outputs=self.encoder_outputs(encoded.last_hidden_state),
                decoder_input_ids=target.decoder_ids.to(self.model.device)[None],
                use_cache=False,
                output_attentions=True,
                return_dict=True,
            )
        # A token is written from the position before it.
        rows = torch.tensor(target.explained) - 1
        return HeadAttention(
            cross=head_weights(output.cross_attentions, rows),
            decoder=head_weights(output.decoder_attentions, rows),
            n_frames=self.n_frames(features),
        )

    def encoder_attention(self, speech: SpeechInput) -> Tensor:
        """See ``AttendsInEncoder``."""
        encoder = attention_reader(self.model).get_encoder()
        with torch.no_grad():
            encoded = encoder(self._features(speech), output_attentions=True, return_dict=True)
        return head_mean(encoded.attentions)

    def _features(self, speech: SpeechInput) -> Tensor:
        """Of the intact speech, where the model is."""
        features = self.model_features(speech, speech.spectrogram[None])
        return features.to(self.model.device, self.model.dtype)

    def cross_attention(self, speech: SpeechInput, target: TargetSequence) -> Tensor:
        """Weights of each head over the time of the speech, padding left out, (layers, heads,
        explained tokens, positions)."""
        found = self.head_attention(speech, target)
        share = len(speech.spectrogram) / found.n_frames
        return found.cross[..., : max(1, round(found.cross.shape[-1] * share))]

    def covered_frames(self, speech: SpeechInput, n_positions: int) -> int:
        """Frames that the encoder's positions stand for, padding included."""
        return self.n_frames(speech.features)

    @abstractmethod
    def n_frames(self, features: Tensor) -> int:
        """Frames of features in the model's layout, padding included."""

    def keep_previous_tokens(self, keep: Tensor) -> AbstractContextManager[None]:
        """See ``ReadsPreviousTokens``."""
        return scaled(self.model.get_decoder().get_input_embeddings(), keep)

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


def _for_batch(cache: Any, size: int) -> Any:
    """The cache of one example for a batch of equal ones, without copies of keys and values."""
    expanded = copy.copy(cache)
    expanded.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in expanded.layers:
        layer.keys = layer.keys.expand(size, -1, -1, -1)
        layer.values = layer.values.expand(size, -1, -1, -1)
    return expanded
