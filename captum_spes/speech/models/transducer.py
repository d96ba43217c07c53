"""Transducers: states of the encoder and of a network over the text so far meet in a joint one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.errors import ArgumentError
from captum_spes.speech.models.capabilities import SpeechInput, TargetSequence
from captum_spes.speech.models.compatibility import Parts, plain
from captum_spes.speech.models.frame_by_frame import FrameByFrameModel
from captum_spes.speech.models.huggingface import scaled
from captum_spes.speech.models.parakeet_features import ParakeetFeatures

# States of the encoder whose joint outputs with all tokens are computed at a time.
_STATES_AT_A_TIME = 32


class ParakeetRNNTModel(ParakeetFeatures, FrameByFrameModel):
    """Adapter of Parakeet with a transducer (RNN-T).

    A token is scored at the state of the encoder that it is written from, by the joint network's
    distribution over all tokens and the blank. Previous tokens are what the prediction network
    reads; what it starts with is not among them.
    """

    family = "Parakeet"
    parts = Parts(
        model_class="ParakeetForRNNT",
        processor_class="ParakeetProcessor",
        extractor_names=("preemphasis", "hop_length", "feature_size"),
        generation_ids=(),
        mel_bins=lambda config, own: (config.encoder_config.num_mel_bins, own.feature_size),
        called=("encoder", "decoder", "joint", "encoder_projector", "generate"),
        loader="AutoModelForRNNT",
    )
    checkpoint = "nvidia/parakeet-rnnt-0.6b"

    def __init__(self, model: Any, processor: Any) -> None:
        super().__init__(model, processor)
        self.blank = int(model.config.blank_token_id)
        self._own = plain(model)

    # Forward passes --------------------------------------------------------------------

    def encode(self, speech: SpeechInput, spectrograms: Tensor) -> Tensor:
        features = self.model_features(speech, spectrograms.to(self.device))
        heard = self._own.get_audio_features(features.to(self.device, self.model.dtype))
        states = heard.pooler_output
        assert isinstance(states, Tensor)
        return states

    def states_of(self, speech: SpeechInput) -> int:
        return self._states(speech).shape[1]

    def _states(self, speech: SpeechInput) -> Tensor:
        """Of the intact speech."""
        with torch.no_grad(), self.evaluation_mode():
            return self.encode(speech, speech.spectrogram[None])

    def decode(self, states: Tensor, target: TargetSequence) -> Tensor:
        """See ``ScoresTokens``."""
        read = self._own.decoder(target.decoder_ids.to(states.device).expand(len(states), -1))
        heard = states[:, [run[0] for run in target.frames]]
        hidden: Tensor = self._own.joint.activation(heard + self.explained_states(read, target))
        return hidden

    def prepared(self, states: Tensor, target: TargetSequence) -> Any:
        """See ``ReadsPreviousTokens``: there is nothing to prepare."""

    def decode_prepared(self, states: Tensor, target: TargetSequence, prepared: Any) -> Tensor:
        """See ``ReadsPreviousTokens``."""
        return self.decode(states, target)

    def output_layer(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self._own.joint.head(hidden)[..., : self.model.config.vocab_size]
        return logits.float()

    def keep_previous_tokens(self, keep: Tensor) -> AbstractContextManager[None]:
        """See ``ReadsPreviousTokens``."""
        return scaled(self._own.decoder.embedding, keep)

    # Targets ---------------------------------------------------------------------------

    def generate(self, speech: SpeechInput, gen_args: Mapping[str, Any]) -> TargetSequence:
        """What the model's own greedy search writes."""
        self.check_request(gen_args)
        (written,) = self._search(self._states(speech))
        return self._sequence_of(written)

    def force(
        self, speech: SpeechInput, target: str | Sequence[int] | Tensor, gen_args: Mapping[str, Any]
    ) -> TargetSequence:
        """The likeliest states to write a text from."""
        self.check_request(gen_args)
        ids = self.given_ids(target)
        states = self._states(speech)
        with torch.no_grad(), self.evaluation_mode():
            frames = self._best_frames(states, ids)
        return self._sequence_of(list(zip(ids, frames, strict=True)))

    def _sequence_of(self, written: Sequence[tuple[int, int]]) -> TargetSequence:
        """Of tokens and the states that they are written from."""
        if not written:
            raise ArgumentError(
                "the output has no token to explain: the model wrote nothing but blanks."
            )
        ids = torch.tensor([self.blank, *(token for token, _ in written)], dtype=torch.int64)
        positions = tuple(range(1, len(ids)))
        return TargetSequence(
            ids, positions, positions[:-1], frames=tuple((frame,) for _, frame in written)
        )

    def transcribe(
        self, speech: SpeechInput, states: Tensor, gen_args: Mapping[str, Any]
    ) -> list[str]:
        self.check_request(gen_args)
        return [
            self.text(torch.tensor([token for token, _ in written], dtype=torch.int64))
            for written in self._search(states)
        ]

    # Greedy search, as the model's own ``generate`` does it, which takes no states --------

    @torch.no_grad()
    def _search(self, states: Tensor) -> list[list[tuple[int, int]]]:
        """Tokens of each row, with the states that they are written from."""
        from transformers.models.parakeet.generation_parakeet import ParakeetRNNTDecoderCache

        count, n_states = len(states), states.shape[1]
        rows = torch.arange(count, device=states.device)
        frames, since = torch.zeros_like(rows), torch.zeros_like(rows)
        tokens, cache = (
            rows.new_full((count,), self.blank),
            ParakeetRNNTDecoderCache(self.model.config),
        )
        written: list[list[tuple[int, int]]] = [[] for _ in range(count)]
        # As many steps as ``generate`` makes at most, which counts the start among its tokens.
        for _ in range(n_states * int(self.model.config.max_symbols_per_step) - 1):
            is_open = frames < n_states
            if not bool(is_open.any()):
                break
            read = self._own.decoder(tokens[:, None], cache=cache)[:, 0]
            heard = states[rows, frames.clamp(max=n_states - 1)]
            joint = self._own.joint.head(self._own.joint.activation(heard + read))
            tokens = joint[:, : self.model.config.vocab_size].argmax(-1)
            for row in torch.nonzero(is_open & (tokens != self.blank))[:, 0].tolist():
                written[row].append((int(tokens[row]), int(frames[row])))
            since = torch.where(tokens == self.blank, 0, since + 1)
            frames = frames + self._advance(joint, tokens == self.blank, since)
            since = torch.where(since >= self.model.config.max_symbols_per_step, 0, since)
        return written

    def _advance(self, joint: Tensor, is_blank: Tensor, since: Tensor) -> Tensor:
        """By how many states the search goes on; ``since`` tokens were written in this one."""
        is_over: Tensor = is_blank | (since >= self.model.config.max_symbols_per_step)
        return is_over.long()

    # The best alignment of a given text (Viterbi) ----------------------------------------

    def _best_frames(self, states: Tensor, ids: Sequence[int]) -> list[int]:
        """Of each token the state that it is written from, on the likeliest way through."""
        prompt = torch.tensor([[self.blank, *ids]], device=states.device)
        read = self._own.decoder(prompt)[0]
        stays, writes = [], []
        for heard in states[0].split(_STATES_AT_A_TIME):
            joint = self._own.joint.head(self._own.joint.activation(heard[:, None] + read)).float()
            tokens = joint[..., : self.model.config.vocab_size].log_softmax(-1).cpu()
            of_blank, of_token = self._durations_of(joint)
            own = tokens[:, :-1].gather(-1, prompt[0, 1:].cpu().expand(len(tokens), -1)[..., None])
            stays.append(tokens[..., self.blank, None] + of_blank)
            writes.append(own + of_token[:, :-1])
        frames = best_way(
            torch.cat(stays).double().numpy(), torch.cat(writes).double().numpy(), self._durations
        )
        if frames is None:
            raise ArgumentError(
                f"the target has {len(ids)} tokens and cannot be written in the "
                f"{states.shape[1]} states of the model: explain a shorter text."
            )
        return frames

    @property
    def _durations(self) -> tuple[int, ...]:
        """How many states a token, or a blank, may last."""
        return (0, 1)

    def _durations_of(self, joint: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the durations of a blank, and of a token, (states, tokens + 1,
        durations): here a blank lasts a state, and a token none."""
        shape = (*joint.shape[:2], 1)
        return torch.tensor([-torch.inf, 0.0]).expand(*shape[:2], 2), torch.tensor(
            [0.0, -torch.inf]
        ).expand(*shape[:2], 2)


class ParakeetTDTModel(ParakeetRNNTModel):
    """Adapter of Parakeet with a token-and-duration transducer (TDT)."""

    parts = replace(ParakeetRNNTModel.parts, model_class="ParakeetForTDT", loader="AutoModelForTDT")
    checkpoint = "nvidia/parakeet-tdt-0.6b-v3"

    @property
    def _durations(self) -> tuple[int, ...]:
        return tuple(int(own) for own in self.model.config.durations)

    def _durations_of(self, joint: Tensor) -> tuple[Tensor, Tensor]:
        found = joint[..., self.model.config.vocab_size :].log_softmax(-1).cpu()
        # The search never stays where it wrote nothing.
        stands = torch.tensor([own == 0 for own in self._durations], device="cpu")
        return found.masked_fill(stands, -torch.inf), found

    def _advance(self, joint: Tensor, is_blank: Tensor, since: Tensor) -> Tensor:
        durations = joint[:, self.model.config.vocab_size :].argmax(-1)
        advance: Tensor = torch.where(is_blank & (durations == 0), 1, durations)
        return advance


def best_way(
    stays: NDArray[np.float64], writes: NDArray[np.float64], durations: Sequence[int]
) -> list[int] | None:
    r"""
    The likeliest way through the states of a transducer that writes given tokens (Viterbi).

    Args:

        stays (ndarray): ``(states, tokens + 1, durations)``: log-probability of a blank, at each
                    state and after so many tokens, with each duration.
        writes (ndarray): ``(states, tokens, durations)``: of the next token.
        durations (sequence of int): in states. A duration beyond the last state ends there.

    Returns:
        *list* of the state that each token is written from; None where no way leads through.
    """
    n_states, n_tokens = writes.shape[:2]
    best = np.full((n_states + 1, n_tokens + 1), -np.inf)
    best[0, 0] = 0.0
    # Where the best way comes from: the state, and whether a token was written there.
    came = np.zeros((n_states + 1, n_tokens + 1, 2), dtype=np.int64)

    def offer(to: int, scores: NDArray[np.float64], origin: int, is_written: bool) -> None:
        tokens = slice(1, None) if is_written else slice(None)
        is_better = scores > best[to, tokens]
        best[to, tokens] = np.where(is_better, scores, best[to, tokens])
        came[to, tokens][is_better] = (origin, int(is_written))

    for state in range(n_states):
        for place, duration in enumerate(durations):
            if duration == 0:  # one token after the other, from the same state
                for token in range(n_tokens):
                    score = best[state, token] + writes[state, token, place]
                    if score > best[state, token + 1]:
                        best[state, token + 1] = score
                        came[state, token + 1] = (state, 1)
        for place, duration in enumerate(durations):
            if duration:
                to = min(state + duration, n_states)
                offer(to, best[state] + stays[state, :, place], state, False)
                offer(to, best[state, :-1] + writes[state, :, place], state, True)
    if not np.isfinite(best[-1, -1]):
        return None
    frames, state, token = [], n_states, n_tokens
    while state or token:
        origin, is_written = came[state, token]
        if is_written:
            frames.append(int(origin))
            token -= 1
        state = int(origin)
    return frames[::-1]
