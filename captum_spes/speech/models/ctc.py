"""CTC: a token or a blank in every frame, and no previous tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from captum_spes.errors import ArgumentError
from captum_spes.speech.models.capabilities import SpeechInput, TargetSequence
from captum_spes.speech.models.compatibility import plain
from captum_spes.speech.models.frame_by_frame import FrameByFrameModel


class CTCModel(FrameByFrameModel):
    """Base of the adapters of CTC models.

    A token of the output is a run of frames: of the likeliest token of each frame (the best path)
    where the model writes, of the likeliest path that spells it where a text is given. Beam search
    with a language model from elsewhere is not the model's own and not done.

    Attributes:
        encoder_name: the part of the model that hears.
        input_name: what the model calls its features.
        head_name: the layer that turns states into logits.
    """

    encoder_name: str = "encoder"
    input_name: str = "input_features"
    head_name: str = "ctc_head"

    def __init__(self, model: Any, processor: Any) -> None:
        super().__init__(model, processor)
        self.blank = int(model.config.pad_token_id)

    # Forward passes --------------------------------------------------------------------

    def states_of(self, speech: SpeechInput) -> int:
        return len(self._emitted(speech))

    def encode(self, speech: SpeechInput, spectrograms: Tensor) -> Tensor:
        features = self.model_features(speech, spectrograms.to(self.device))
        encoder = getattr(plain(self.model), self.encoder_name)
        heard = encoder(**{self.input_name: features.to(self.device, self.model.dtype)})
        states = heard.last_hidden_state
        assert isinstance(states, Tensor)
        return states

    def emissions(self, states: Tensor) -> Tensor:
        """See ``WritesInFrames``."""
        return states

    def decode(self, states: Tensor, target: TargetSequence) -> Tensor:
        """See ``ScoresTokens``."""
        frames = [frame for run in target.frames for frame in run]
        return states[:, frames]

    def output_layer(self, hidden: Tensor) -> Tensor:
        # Some heads are convolutions over one frame, and take batches of frames only.
        frames = hidden.reshape(1, -1, hidden.shape[-1])
        logits = getattr(self.model, self.head_name)(frames).float()
        assert isinstance(logits, Tensor)
        return logits.reshape(*hidden.shape[:-1], -1)

    # Targets ---------------------------------------------------------------------------

    def generate(self, speech: SpeechInput, gen_args: Mapping[str, Any]) -> TargetSequence:
        """The best path of the intact speech."""
        self.check_request(gen_args)
        return sequence_of(self._emitted(speech).argmax(-1).tolist(), self.blank)

    def force(
        self, speech: SpeechInput, target: str | Sequence[int] | Tensor, gen_args: Mapping[str, Any]
    ) -> TargetSequence:
        """The likeliest path that spells a text."""
        self.check_request(gen_args)
        ids = self.given_ids(target)
        scores = self._emitted(speech).log_softmax(-1)
        return sequence_of(best_alignment(scores, ids, self.blank), self.blank)

    def transcribe(
        self, speech: SpeechInput, states: Tensor, gen_args: Mapping[str, Any]
    ) -> list[str]:
        self.check_request(gen_args)
        with torch.no_grad():
            paths = [self.output_layer(row[None])[0].argmax(-1).tolist() for row in states]
        return [self.text(torch.tensor(collapsed(path, self.blank))) for path in paths]

    def _emitted(self, speech: SpeechInput) -> Tensor:
        """Logits of all frames of the intact speech, on the CPU."""
        with torch.no_grad(), self.evaluation_mode():
            states = self.encode(speech, speech.spectrogram[None])
            return self.output_layer(self.emissions(states))[0].cpu()


def collapsed(path: Sequence[int], blank: int) -> list[int]:
    """What a path spells: equal neighbours are one token, blanks are none."""
    return [token for token, _ in groupby(path) if token != blank]


def sequence_of(path: Sequence[int], blank: int) -> TargetSequence:
    """The output that a path spells, with the frames of each token."""
    ids, frames, start = [], [], 0
    for token, run in groupby(path):
        end = start + len(list(run))
        if token != blank:
            ids.append(token)
            frames.append(tuple(range(start, end)))
        start = end
    if not ids:
        raise ArgumentError(
            "the output has no token to explain: the model wrote nothing but blanks."
        )
    return TargetSequence(
        torch.tensor(ids, dtype=torch.int64, device="cpu"), tuple(range(len(ids))), (),
        frames=tuple(frames),
    )  # fmt: skip


def best_alignment(scores: Tensor, ids: Sequence[int], blank: int) -> list[int]:
    r"""
    The likeliest path that spells some tokens (Viterbi).

    Args:

        scores (Tensor): ``(frames, vocab)``, log-probabilities.
        ids (sequence of int): The tokens.
        blank (int): The id of the blank.

    Returns:
        *list* of the id in each frame.

    Raises:
        ArgumentError: there are too few frames for the tokens.
    """
    # Blanks before, between and behind the tokens.
    states = [blank, *(i for token in ids for i in (token, blank))]
    emitted = scores[:, states].double()
    # A blank may be left out between different tokens.
    may_skip = torch.tensor(
        [
            place >= 2 and state not in (blank, states[place - 2])
            for place, state in enumerate(states)
        ],
        device="cpu",
    )
    never = -torch.inf
    best = torch.full((len(states),), never, dtype=torch.float64, device="cpu")
    best[:2] = emitted[0, :2]
    steps = []
    for frame in emitted[1:]:
        ways = torch.stack([best, _moved(best, 1), _moved(best, 2).masked_fill(~may_skip, never)])
        found, step = ways.max(0)
        best = found + frame
        steps.append(step)
    place = len(states) - 2 + int(best[-1] > best[-2])
    if not bool(torch.isfinite(best[place])):
        raise ArgumentError(
            f"the target has {len(ids)} tokens and the speech only {len(scores)} frames of the "
            "model: it cannot be written in them. Explain a shorter text."
        )
    places = [place]
    for step in reversed(steps):
        places.append(places[-1] - int(step[places[-1]]))
    return [states[place] for place in reversed(places)]


def _moved(values: Tensor, by: int) -> Tensor:
    """Behind as many places that nothing comes from."""
    return torch.cat([values.new_full((by,), -torch.inf), values])[: len(values)]
