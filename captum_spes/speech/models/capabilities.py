"""What methods can ask of a model: one small protocol for each capability.

An adapter of a model family implements those that the family has. Every explanation needs
:class:`HearsAudio` and :class:`ScoresTokens`; what else is needed depends on the method and on
what is asked, and is checked before the model runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.errors import ArgumentTypeError


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
    """What the model reads and writes as tokens.

    Attributes:
        ids: ``(length,)``, int64: everything, prompt, placeholders of audio and output.
        explained: positions in ``ids`` of the tokens to explain, in ascending order: output
            tokens, end of sentence included, without prompt and timestamp tokens.
        previous: positions in ``ids`` of the tokens that the model reads and that can be
            removed, in ascending order, placeholders of audio not among them; empty for a model
            without previous tokens. None for a decoder that reads all ids but the last.
        instruction: positions in ``ids`` of the user's instruction, ahead of every explained
            token; it can be removed on a side of its own and is not among ``previous``.
        frames: of each explained token the positions of the encoder that it is written from; empty
            for a decoder, which has a state for each token.
    """

    ids: Tensor
    explained: tuple[int, ...]
    previous: tuple[int, ...] | None = None
    instruction: tuple[int, ...] = ()
    frames: tuple[tuple[int, ...], ...] = ()

    @property
    def decoder_ids(self) -> Tensor:
        """``(length - 1,)``: what a decoder reads; the last id is written and not read."""
        return self.ids[:-1]

    @property
    def explained_ids(self) -> Tensor:
        """``(explained,)``: the ids of the tokens to explain."""
        return self.ids[list(self.explained)]

    @property
    def rows(self) -> tuple[int, ...]:
        """For each state that ``decode`` returns, the explained token that it belongs to."""
        runs = self.frames or ((0,),) * len(self.explained)
        return tuple(token for token, run in enumerate(runs) for _ in run)

    @property
    def row_ids(self) -> Tensor:
        """``(states,)``: the id that each state that ``decode`` returns stands for."""
        return self.explained_ids[list(self.rows)]

    @property
    def previous_positions(self) -> tuple[int, ...]:
        """See ``previous``."""
        return tuple(range(len(self.ids) - 1)) if self.previous is None else self.previous

    @property
    def previous_ids(self) -> Tensor:
        """``(previous tokens,)``: their ids."""
        return self.ids[list(self.previous_positions)]

    @property
    def n_before(self) -> tuple[int, ...]:
        """How many previous tokens are before each explained token."""
        return tuple(int(n) for n in self.valid_previous_tokens().sum(1))

    def to_dict(self) -> dict[str, Any]:
        """In JSON's types."""
        return {
            "ids": self.ids.tolist(),
            "explained": list(self.explained),
            "previous": None if self.previous is None else list(self.previous),
            "instruction": list(self.instruction),
            "frames": [list(run) for run in self.frames],
        }

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> TargetSequence:
        """Read what :meth:`to_dict` wrote."""
        previous = saved["previous"]
        return cls(
            torch.tensor(saved["ids"], dtype=torch.int64, device="cpu"),
            tuple(saved["explained"]),
            None if previous is None else tuple(previous),
            tuple(saved["instruction"]),
            tuple(tuple(run) for run in saved.get("frames", ())),
        )

    def valid_previous_tokens(self) -> Tensor:
        """bool ``(explained, previous tokens)``: True where the column precedes the row."""
        columns = torch.tensor(self.previous_positions, dtype=torch.int64, device="cpu")
        return columns[None, :] < torch.tensor(self.explained, device="cpu")[:, None]


@dataclass(frozen=True)
class DecodedWindow:
    """What a model wrote from one window of a recording.

    Attributes:
        start: where the window starts in the recording, in samples.
        end: where it ends.
        sequence: prompt and output, in full.
        segments: the parts of the output that belong to the transcript; what is in none of them the
            model wrote anew from the next window.
        gen_args: with them the model reads this prompt.
        states: what encoding the window gave, where it is still known, batch of 1.
    """

    start: int
    end: int
    sequence: TargetSequence
    segments: tuple[DecodedSegment, ...]
    gen_args: Mapping[str, Any]
    states: Tensor | None = field(default=None, compare=False)


@dataclass(frozen=True)
class DecodedSegment:
    """A stretch of a window's output.

    Attributes:
        start: seconds from the start of the window.
        end: likewise.
        first: position of its first id in the window's sequence.
        last: position after its last one.
    """

    start: float
    end: float
    first: int
    last: int


@dataclass(frozen=True)
class Attention:
    """Attention weights of one teacher-forced pass, averaged over the heads.

    Attributes:
        cross: ``(layers, explained tokens, positions)``: where in the audio each token looks.
        decoder: ``(layers, explained tokens, previous tokens)``.
        n_frames: frames of the features that the positions cover, padding included.
    """

    cross: Tensor
    decoder: Tensor
    n_frames: int


@dataclass(frozen=True)
class HeadAttention:
    """Attention weights of one teacher-forced pass, each head's own.

    Attributes:
        cross: ``(layers, heads, explained tokens, positions)``: where in the audio each token
            looks.
        decoder: ``(layers, heads, explained tokens, previous tokens)``.
        n_frames: frames of the features that the positions cover, padding included.
    """

    cross: Tensor
    decoder: Tensor
    n_frames: int

    def mean(self) -> Attention:
        """Averaged over the heads."""
        return Attention(self.cross.mean(1), self.decoder.mean(1), self.n_frames)


@runtime_checkable
class HearsAudio(Protocol):
    """Turns audio into a spectrogram, and spectrograms into states.

    Attributes:
        model_id: name or folder of the model.
        sampling_rate: samples per second that it takes.
        frame_rate: frames per second of its spectrogram.
        max_seconds: the most that it takes at once; None for any length.
    """

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

    def encode(self, speech: SpeechInput, spectrograms: Tensor) -> Tensor:
        """Encode ``(batch, time, freq)`` in one pass into states of shape (batch, ...)."""
        ...

    def evaluation_mode(self) -> AbstractContextManager[None]:
        """Run the model without dropout inside the context and restore its mode after."""
        ...


@runtime_checkable
class HearsShortWindows(Protocol):
    """Hears windows of a fixed length, and can leave out most of the padding behind the speech."""

    def window_share(self, speech: SpeechInput) -> float:
        """Which share of the window :meth:`encode_shortened` runs; 1 where it can leave out
        nothing."""
        ...

    def encode_shortened(self, speech: SpeechInput, spectrograms: Tensor) -> Tensor:
        """Nearly what :meth:`HearsAudio.encode` gives for the first positions, at a fraction of the
        cost."""
        ...


@runtime_checkable
class ScoresTokens(Protocol):
    """Scores given tokens from the states of the audio, and spells them."""

    def force(
        self, speech: SpeechInput, target: str | Sequence[int] | Tensor, gen_args: Mapping[str, Any]
    ) -> TargetSequence:
        """Take a given text, or given token ids, as the output."""
        ...

    def decode(self, states: Tensor, target: TargetSequence) -> Tensor:
        """Hidden states that the explained tokens are written from, (batch, explained, hidden), in
        one pass; where a token is written in several frames, one for each (``target.rows``)."""
        ...

    def output_layer(self, hidden: Tensor) -> Tensor:
        """Turn (..., hidden) into logits, (..., vocab), float32."""
        ...

    def token_strings(self, ids: Tensor) -> list[str]:
        """Readable tokens; a leading space starts a word."""
        ...

    def spelled(self, ids: Tensor) -> list[tuple[str, list[int]]]:
        """Text and indices of each token that spells text; special tokens are left out, and
        tokens that spell parts of one character are put together."""
        ...

    def text(self, ids: Tensor) -> str:
        """The text that ids spell, without special tokens."""
        ...


@runtime_checkable
class ReadsPreviousTokens(Protocol):
    """Writes a token also from the tokens before it, some of which can be removed."""

    def keep_previous_tokens(self, keep: Tensor) -> AbstractContextManager[None]:
        """Multiply the embeddings of the ids that the decoder reads by ``keep``,
        (batch, length - 1), before positions are added, for the passes inside the context."""
        ...

    def prepared(self, states: Tensor, target: TargetSequence) -> Any:
        """What decoding computes from the states of one utterance whatever tokens it reads, to be
        computed once and used for every pass."""
        ...

    def decode_prepared(self, states: Tensor, target: TargetSequence, prepared: Any) -> Tensor:
        """:meth:`ScoresTokens.decode`, given what :meth:`prepared` returned."""
        ...


@runtime_checkable
class SharesBeginnings(Protocol):
    """Decodes texts that begin alike without reading the beginning more than once."""

    def decode_branches(self, states: Tensor, targets: Sequence[TargetSequence]) -> list[Tensor]:
        """:meth:`ScoresTokens.decode` of each; the ids of all are the same ahead of their first
        explained token."""
        ...


@runtime_checkable
class SpellsTexts(Protocol):
    """Knows the tokens of a text without a pass through the model."""

    def ids_of_text(self, text: str, sequence: TargetSequence) -> Tensor:
        """The ids that would be explained if a text stood in the place of the output that a
        sequence holds."""
        ...


@runtime_checkable
class WritesInFrames(Protocol):
    """Writes a token, or a blank, in each frame: CTC.

    Attributes:
        blank: the id of the blank.
    """

    blank: int

    def emissions(self, states: Tensor) -> Tensor:
        """Hidden states of all frames, (batch, frames, hidden), for :meth:`output_layer`."""
        ...


@runtime_checkable
class Generates(Protocol):
    """Writes text of its own."""

    def generate(self, speech: SpeechInput, gen_args: Mapping[str, Any]) -> TargetSequence:
        """Let the model write its own output."""
        ...


@runtime_checkable
class RemembersStates(Protocol):
    """Hands out the states that it computed while it wrote."""

    def remembered_states(self) -> AbstractContextManager[list[Tensor]]:
        """Fill the list with what each encoding inside the context gave, (batch, ...)."""
        ...


@runtime_checkable
class Transcribes(Protocol):
    """Writes what it hears in perturbed copies, many at a time."""

    def transcribe(
        self, speech: SpeechInput, states: Tensor, gen_args: Mapping[str, Any]
    ) -> list[str]:
        """Let the model write what it hears in each of the states, in one batch."""
        ...


@runtime_checkable
class DecodesLongForm(Protocol):
    """Has a decoding of its own for recordings that are longer than it takes at once."""

    def decode_windows(
        self, audio: NDArray[Any], gen_args: Mapping[str, Any]
    ) -> Iterator[DecodedWindow]:
        """Write what is said in checked audio of shape ``(samples,)``, window by window."""
        ...


@runtime_checkable
class AlignsTokens(Protocol):
    """Knows roughly when each token is spoken."""

    def alignment(self, speech: SpeechInput, target: TargetSequence) -> Tensor:
        """Weights over the time of the speech, (heads, explained tokens, positions)."""
        ...


@runtime_checkable
class Attends(Protocol):
    """Has attention weights that can be read."""

    def attention(self, speech: SpeechInput, target: TargetSequence) -> Attention:
        """Read the attention weights of one teacher-forced pass."""
        ...


@runtime_checkable
class AttendsInHeads(Protocol):
    """Has attention heads whose weights can be read one by one."""

    def head_attention(self, speech: SpeechInput, target: TargetSequence) -> HeadAttention:
        """Read the attention weights of one teacher-forced pass."""
        ...


@runtime_checkable
class AttendsInEncoder(Protocol):
    """Has attention weights within its encoder that can be read."""

    def encoder_attention(self, speech: SpeechInput) -> Tensor:
        """Averaged over the heads, ``(layers, positions, positions)``; rows sum to 1."""
        ...


@runtime_checkable
class NamesLanguages(Protocol):
    """Is told which language it hears or writes."""

    def languages(self, gen_args: Mapping[str, Any]) -> tuple[str | None, str | None]:
        """Codes of the spoken and of the written language that ``gen_args`` ask for; None where the
        model decides."""
        ...


@runtime_checkable
class FollowsInstructions(Protocol):
    """Is asked in words what to do with the audio."""

    def is_own_request(self, gen_args: Mapping[str, Any]) -> bool:
        """Whether ``gen_args`` ask for a transcript in the model's own words."""
        ...


@runtime_checkable
class SpeechModel(HearsAudio, ScoresTokens, Protocol):
    """What every adapter can do: hear audio and score tokens."""


# In words, for messages and for the list of families.
CAPABILITIES: dict[type[Any], str] = {
    HearsAudio: "hear audio",
    HearsShortWindows: "hear a window without most of its padding",
    ScoresTokens: "score given tokens",
    ReadsPreviousTokens: "read previous tokens",
    SharesBeginnings: "read the beginning of several texts once",
    SpellsTexts: "name the tokens of a text",
    WritesInFrames: "write in each frame (CTC)",
    Generates: "write text of its own",
    RemembersStates: "hand out the states that it computed",
    Transcribes: "transcribe many copies at a time",
    DecodesLongForm: "decode long recordings in its own way",
    AlignsTokens: "tell when it writes a token",
    Attends: "tell where it attends",
    AttendsInHeads: "tell where each of its heads attends",
    AttendsInEncoder: "tell where its encoder attends",
    NamesLanguages: "be told the language",
    FollowsInstructions: "follow an instruction",
}


def can(adapter: object, capability: type[Any]) -> bool:
    """Whether an adapter has a capability. From Python 3.12 on ``isinstance`` does not see what an
    adapter passes on by ``__getattr__``, so that attributes are looked up as they are used."""
    return not _lacking(adapter, capability)


def makes_able(kind: type[Any], capability: type[Any]) -> bool:
    """Whether a class of adapters gives a capability, as far as a class alone can tell: attributes
    that only an adapter has are not looked at."""
    asked = [name for name in _members(capability) if hasattr(capability, name)]
    return all(getattr(kind, name, None) is not None for name in asked)


def require(adapter: object, capability: type[Any], purpose: str) -> None:
    """Raise where an adapter lacks what is needed, before any pass is spent.

    Args:
        adapter: the model's adapter.
        capability: one of ``CAPABILITIES``.
        purpose: what needs it, for the message.
    """
    lacking = _lacking(adapter, capability)
    if not lacking:
        return
    raise ArgumentTypeError(
        f"{purpose} needs a model that can {CAPABILITIES[capability]} ({capability.__name__}); "
        f"{type(adapter).__name__} cannot: it lacks {', '.join(lacking)}."
    )


def _lacking(adapter: object, capability: type[Any]) -> list[str]:
    """What an adapter has not: attributes that can be None may be."""
    return [
        name
        for name in sorted(_members(capability))
        if not hasattr(adapter, name)
        or (callable(getattr(capability, name, None)) and getattr(adapter, name) is None)
    ]


def _members(capability: type[Any]) -> set[str]:
    names = {name for kind in capability.__mro__ for name in getattr(kind, "__annotations__", {})}
    names |= {name for kind in capability.__mro__ for name in vars(kind)}
    return {name for name in names if not name.startswith("_")}
