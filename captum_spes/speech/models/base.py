"""What explaining a speech-to-text model needs to know of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class SpeechInput:
    """An utterance as the model sees it.

    Attributes:
        features: what the model takes, padding included, in its own layout, batch of 1.
        spectrogram: ``(time, freq)``, float32: the part of the features that is speech
            and not padding. This is what is perturbed.
        frame_times: ``(time,)``, seconds: the middle of each frame.
        mel_frequencies: ``(freq,)``, Hz: the middle of each mel bin.
        seconds: duration of the speech.
    """

    features: Tensor
    spectrogram: Tensor
    frame_times: Tensor
    mel_frequencies: Tensor
    seconds: float


@dataclass(frozen=True)
class TargetSequence:
    """What the decoder reads and writes.

    Attributes:
        ids: ``(length,)``, int64: prompt and output, the last one not read again.
        explained: positions in ``ids`` of the tokens to explain: output tokens, end of
            sentence included, without prompt and timestamp tokens. In ascending order.
    """

    ids: Tensor
    explained: tuple[int, ...]

    @property
    def decoder_ids(self) -> Tensor:
        """``(previous tokens,)``: what the decoder reads."""
        return self.ids[:-1]

    @property
    def explained_ids(self) -> Tensor:
        return self.ids[list(self.explained)]

    def valid_previous_tokens(self) -> Tensor:
        """bool ``(explained, previous tokens)``: True where the column precedes the row."""
        columns = torch.arange(len(self.decoder_ids))
        return columns[None, :] < torch.tensor(self.explained)[:, None]


@dataclass(frozen=True)
class Attention:
    """Attention weights of one teacher-forced pass, averaged over the heads.

    Attributes:
        encoder: ``(layers, positions, positions)``; rows sum to 1. None if not asked for.
        cross: ``(layers, explained tokens, positions)``: from where each token is written.
        decoder: ``(layers, explained tokens, previous tokens)``.
        n_frames: frames of the features that the positions cover, padding included.
    """

    encoder: Tensor | None
    cross: Tensor
    decoder: Tensor
    n_frames: int


class SpeechModel(Protocol):
    """One model family: how audio becomes its input and how its tokens are scored."""

    model_id: str
    sampling_rate: int
    frame_rate: float
    max_seconds: float | None

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        ...

    def from_audio(self, audio: NDArray[Any]) -> SpeechInput:
        """Turn checked audio of shape ``(samples,)`` into the model's input."""
        ...

    def from_features(self, features: Tensor) -> SpeechInput:
        """Read features that were computed before, in the model's own layout."""
        ...

    def is_features(self, value: Any) -> bool:
        """Whether ``value`` is features in the model's layout, and not samples."""
        ...

    def removed_value(self, speech: SpeechInput, name: str | None) -> Tensor:
        """The value that means "removed", broadcastable to ``(time, freq)``."""
        ...

    def generate(self, speech: SpeechInput, gen_args: Mapping[str, Any]) -> TargetSequence:
        """Let the model write its own output."""
        ...

    def force(
        self, speech: SpeechInput, target: str | Sequence[int] | Tensor, gen_args: Mapping[str, Any]
    ) -> TargetSequence:
        """Take a given text, or given token ids, as the output."""
        ...

    def transcribe(
        self, speech: SpeechInput, states: Tensor, gen_args: Mapping[str, Any]
    ) -> list[str]:
        """Let the model write what it hears in each of the encoder's states, in one batch."""
        ...

    def encode(self, speech: SpeechInput, spectrograms: Tensor) -> Tensor:
        """Encode ``(batch, time, freq)`` in one pass into states of shape (batch, ...)."""
        ...

    def cross_attention(self, states: Tensor, target: TargetSequence) -> Any:
        """What the decoder makes of the states of one utterance, whatever it has read: to be
        computed once for many passes over them."""
        ...

    def decode(self, states: Tensor, target: TargetSequence, cross_attention: Any = None) -> Tensor:
        """Read the target in one teacher-forced pass: what each explained token is written
        from, (batch, tokens, hidden)."""
        ...

    def logits(self, states: Tensor, target: TargetSequence) -> Tensor:
        """Score the explained tokens: (batch, tokens, vocab), the output layer after
        ``decode``."""
        ...

    def output_layer(self, hidden: Tensor) -> Tensor:
        """Turn (..., hidden) into logits, (..., vocab), float32."""
        ...

    def attention(
        self, speech: SpeechInput, target: TargetSequence, with_encoder: bool = False
    ) -> Attention:
        """Read the attention weights of one teacher-forced pass, on request also those within
        the encoder."""
        ...

    def keep_previous_tokens(self, keep: Tensor) -> AbstractContextManager[None]:
        """Multiply the embeddings of previous tokens by ``keep``, (batch, previous tokens),
        before positions are added, for the decoder passes inside the context."""
        ...

    def evaluation_mode(self) -> AbstractContextManager[None]:
        """Run the model without dropout inside the context and restore its mode after."""
        ...

    def token_strings(self, ids: Tensor) -> list[str]:
        """Readable tokens; a leading space starts a word."""
        ...

    def spelled(self, ids: Tensor) -> list[tuple[str, list[int]]]:
        """Text and indices of each token that spells some, special tokens left out; tokens
        that are parts of one character come together."""
        ...

    def text(self, ids: Tensor) -> str:
        """The text that ids spell, without special tokens."""
        ...
