"""What is explained of an output, and how the model computes what it is scored by."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from captum_spes.forward import Contrast, Score
from captum_spes.forward.contrast import ContrastScore, OfOutputs, OfWords
from captum_spes.speech.contrast import Contrasted, tokens_that_begin_words
from captum_spes.speech.frames import for_output, reads_all_frames
from captum_spes.speech.models import (
    ReadsPreviousTokens,
    SharesBeginnings,
    SpeechInput,
    TargetSequence,
    WritesInFrames,
    can,
)


class WordAndFoil(NamedTuple):
    """How likely the model holds a word and what could stand in its place.

    Attributes:
        word: log-probability of the word.
        foil: of the foil.
        name: the foil.
    """

    word: float
    foil: float
    name: str

    def described(self) -> dict[str, float]:
        """In JSON's types."""
        return {"probability": math.exp(self.word), "foil_probability": math.exp(self.foil)}


@dataclass(frozen=True)
class Output:
    """What is explained.

    Attributes:
        sequence: what the model reads and writes.
        readings: what it reads to be scored: ``sequence``, or that with a word and with a foil.
        score: given the logits of all readings, one behind the other.
        token_ids: what the score is given.
        contrasted: a word and its foil; None where all tokens are explained.
    """

    sequence: TargetSequence
    readings: tuple[TargetSequence, ...]
    score: Score
    token_ids: Tensor
    contrasted: Contrasted | None = None

    @classmethod
    def of(cls, adapter: Any, score: Score, sequence: TargetSequence) -> Output:
        """All explained tokens of a sequence."""
        own, token_ids = for_output(score, adapter, sequence)
        return cls(sequence, (sequence,), own, token_ids)

    @classmethod
    def of_contrast(
        cls,
        adapter: Any,
        contrast: Contrast,
        speech: SpeechInput,
        sequence: TargetSequence,
        gen_args: Mapping[str, Any],
    ) -> Output:
        """A word of a sequence, and a foil in its place."""
        found = Contrasted.of(contrast, adapter, speech, sequence, gen_args)
        return cls.of_contrasted(adapter, found)

    @classmethod
    def of_contrasted(cls, adapter: Any, contrasted: Contrasted) -> Output:
        """A word and a foil in its place, of which is known where they stand."""
        word, foil = contrasted.word, contrasted.foil
        contrast = contrasted.contrast
        if can(adapter, WritesInFrames):  # a token by itself has no probability there
            of_outputs = OfOutputs(adapter.blank, foil.ids)
            return cls(word, (), ContrastScore(contrast, of_outputs), word.ids, contrasted)
        # What reads no text has no boundaries in it: a classifier.
        reads_text = can(adapter, ReadsPreviousTokens)
        readings = contrasted.readings() if reads_text else (word, foil)
        of_words = OfWords(
            contrast.probability if reads_text else "chain_rule",
            (len(readings[0].explained), len(readings[1].explained)),
            partial(tokens_that_begin_words, adapter),
            has_end=reads_text,
        )
        ids = torch.cat([reading.explained_ids for reading in readings])
        return cls(word, readings, ContrastScore(contrast, of_words), ids, contrasted)

    # Forward passes --------------------------------------------------------------------

    def decode(self, adapter: Any, states: Tensor) -> Tensor:
        """Hidden states that the score is computed from, (batch, rows, hidden)."""
        if reads_all_frames(self.score):
            emissions: Tensor = adapter.emissions(states)
            return emissions
        if len(self.readings) > 1 and can(adapter, SharesBeginnings):
            return torch.cat(self._branches(adapter, states), 1)
        return torch.cat([adapter.decode(states, reading) for reading in self.readings], 1)

    def _branches(self, adapter: Any, states: Tensor) -> list[Tensor]:
        # In an order of their own, so that word and foil that change places round alike.
        order = sorted(range(len(self.readings)), key=lambda i: self.readings[i].ids.tolist())
        read = adapter.decode_branches(states, [self.readings[i] for i in order])
        return [hidden for _, hidden in sorted(zip(order, read, strict=True), key=lambda p: p[0])]

    def word_and_foil(self, logits: Tensor) -> WordAndFoil:
        """Of the logits of ``decode``, a batch of one."""
        assert self.contrasted is not None
        assert isinstance(self.score, ContrastScore)
        found = self.score.log_probabilities(logits, self.token_ids.to(logits.device))
        word, foil = found[0].tolist()
        return WordAndFoil(word, foil, self.contrasted.contrast.foil or "")

    def decode_kept(
        self,
        adapter: Any,
        keep: Tensor,
        positions: Sequence[int],
        decode: Callable[[TargetSequence], Tensor],
    ) -> Tensor:
        """The same where some of the ids that the model reads are removed.

        Args:
            adapter: of the model.
            keep: ``(batch, positions)``: 1 keeps, 0 removes.
            positions: of the ids that can be removed; all others are kept.
            decode: from what the model reads to hidden states of a batch.
        """
        rows = []
        for reading in self.readings:
            with adapter.keep_previous_tokens(_spread(keep, positions, len(reading.ids) - 1)):
                rows.append(decode(reading))
        return torch.cat(rows, 1)


def _spread(keep: Tensor, positions: Sequence[int], length: int) -> Tensor:
    """Extend ``keep`` from the ids at some positions to all that the decoder reads, of which the
    others are always kept."""
    if len(positions) == length:
        return keep
    whole = keep.new_ones(len(keep), length)
    whole[:, list(positions)] = keep
    return whole
