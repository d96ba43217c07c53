"""What a model makes of damaged copies of an utterance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.forward import KL, SCORES, Score, as_score, mean_by_token, score_name
from captum_spes.metrics.text import text_metric
from captum_spes.speech import SpeechToTextAttribution, SpeechToTextAttributionResult
from captum_spes.speech.frames import for_output, reads_all_frames
from captum_spes.speech.models import SpeechInput, SpeechModel, TargetSequence
from captum_spes.speech.plain import first_unsaved
from captum_spes.speech.randomness import seeded_draws

# What comparisons of methods measure besides texts.
GRADED = ("kl", "token_accuracy")


class Measure(NamedTuple):
    """What a curve shows.

    Attributes:
        name: of the metric.
        scores: what is graded, by that name; empty for token accuracy and for texts.
        is_graded: whether the output is forced, and not written anew.
    """

    name: str
    scores: Mapping[str, Score]
    is_graded: bool

    @classmethod
    def of(cls, metric: str | Score) -> Measure:
        """Read a metric by name, or a score."""
        if metric == "token_accuracy":
            return cls("token_accuracy", {}, True)
        if isinstance(metric, str) and metric not in SCORES:
            text_metric(metric)
            return cls(metric, {}, False)
        score = as_score(metric)
        return cls(score_name(score), {score_name(score): score}, True)


class Hearing:
    """What the model makes of each step; steps are encoded once for all measures.

    Args:
        adapter: the model's adapter.
        speech: the utterance.
        spectrograms: ``(steps, time, freq)``.
        batch_size: steps per forward pass; None for all.
    """

    def __init__(
        self,
        adapter: Any,
        speech: SpeechInput,
        spectrograms: Tensor,
        batch_size: int | None = None,
    ) -> None:
        self._adapter, self._speech = adapter, speech
        self._states = encoded(adapter, speech, spectrograms, batch_size)

    @classmethod
    def of_states(
        cls,
        adapter: Any,
        speech: SpeechInput,
        states: Sequence[Tensor],
        intact: Tensor | None = None,
    ) -> Hearing:
        """What the model makes of states that are known, in batches, as those of the intact speech
        may be, a batch of one."""
        found = cls.__new__(cls)
        found._adapter, found._speech, found._states = adapter, speech, list(states)
        if intact is not None:
            found._intact = intact
        return found

    @cached_property
    def _intact(self) -> Tensor:
        """The states of the intact speech."""
        (states,) = encoded(self._adapter, self._speech, self._speech.spectrogram[None])
        return states

    def transcripts(self, gen_args: Mapping[str, Any], seed: int = 0) -> list[str]:
        """What the model writes at each step, with its own generation settings."""
        adapter = self._adapter
        # Generation may sample (do_sample, temperature).
        with adapter.evaluation_mode(), seeded_draws(seed):
            batches = [adapter.transcribe(self._speech, s, gen_args) for s in self._states]
        return [text for batch in batches for text in batch]

    def graded(
        self, sequence: TargetSequence, scores: Mapping[str, Score] | None = None
    ) -> dict[str, NDArray[np.float64]]:
        """What becomes of each token of an output at each step, teacher-forced, as arrays of
        shape ``(steps, units)``: by how much each score fell, and "token_accuracy", 100 where the
        token is ranked first. The default score is the divergence, in nats."""
        scores = {"kl": KL()} if scores is None else scores
        losses: dict[str, list[Tensor]] = {name: [] for name in scores}
        hits = []
        with torch.no_grad(), self._adapter.evaluation_mode():
            measured = self._losses(scores, sequence)
            for states in self._states:
                logits = self._logits(states, sequence)
                # Before a score of the user's is given them.
                hits.append(self._hits(logits, sequence))
                for name, loss in measured.items():
                    losses[name].append(loss(states, logits))
        found = {name: torch.cat(own).numpy() for name, own in losses.items()}
        return {**found, "token_accuracy": torch.cat(hits).numpy()}

    def scores(
        self, sequence: TargetSequence, score: Callable[[Tensor, Tensor], Tensor]
    ) -> NDArray[np.float64]:
        """A score of an output itself at each step, ``(steps, units)``.

        Args:
            sequence: the output, teacher-forced.
            score: from logits, ``(batch, tokens, vocab)``, and ids, ``(tokens,)``, to
                ``(batch, units)``.
        """
        ids = sequence.explained_ids
        with torch.no_grad(), self._adapter.evaluation_mode():
            found = []
            for states in self._states:
                logits = self._logits(states, sequence)
                found.append(score(logits, ids.to(logits.device)).double().cpu())
        return torch.cat(found).numpy()

    def _losses(
        self, scores: Mapping[str, Score], sequence: TargetSequence
    ) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
        """By how much each score falls from that of the intact speech, as functions of states and
        of the logits that were made of them."""
        if not scores:
            return {}
        logits = self._logits(self._intact, sequence)
        return {name: self._loss(score, sequence, logits) for name, score in scores.items()}

    def _loss(
        self, score: Score, sequence: TargetSequence, intact: Tensor
    ) -> Callable[[Tensor, Tensor], Tensor]:
        own, ids = for_output(score, self._adapter, sequence)
        reads_all = reads_all_frames(score)
        original = self._emitted(self._intact) if reads_all else intact
        ids = ids.to(original.device)
        before = own(original, original[0], ids).double()

        def loss(states: Tensor, logits: Tensor) -> Tensor:
            read = self._emitted(states) if reads_all else logits
            return (before - own(read, original[0], ids).double()).cpu()

        return loss

    def _hits(self, logits: Tensor, sequence: TargetSequence) -> Tensor:
        """100 where a token is ranked first, in each of its frames."""
        is_first = logits.argmax(-1).cpu() == sequence.row_ids
        return 100 * mean_by_token(is_first.double(), sequence.rows)

    def _logits(self, states: Tensor, sequence: TargetSequence) -> Tensor:
        logits: Tensor = self._adapter.output_layer(self._adapter.decode(states, sequence))
        return logits

    def _emitted(self, states: Tensor) -> Tensor:
        logits: Tensor = self._adapter.output_layer(self._adapter.emissions(states))
        return logits


def encoded(
    adapter: Any, speech: SpeechInput, spectrograms: Tensor, batch_size: int | None = None
) -> list[Tensor]:
    """Encoder states of copies of an utterance, in batches."""
    with torch.no_grad(), adapter.evaluation_mode():
        batches = spectrograms.split(batch_size or len(spectrograms))
        return [adapter.encode(speech, batch) for batch in batches]


def explained_sequence(result: SpeechToTextAttributionResult) -> TargetSequence:
    """What the model read and wrote when a result was made."""
    saved = result.parameters.get("sequence")
    if saved is not None:
        return TargetSequence.from_dict(saved)
    # Earlier versions kept the tokens alone.
    ids = [*result.previous_ids, result.output_ids[-1]]
    explained: list[int] = []
    position = len(ids)
    for token_id in reversed(result.output_ids):
        position -= 1
        while ids[position] != token_id:  # a timestamp, which is read and not explained
            position -= 1
        explained.append(position)
    return TargetSequence(torch.tensor(ids, device="cpu"), tuple(reversed(explained)))


def check_kept(gen_args: Mapping[str, Any]) -> None:
    """Raise where an explanation from a file was made with objects that a file does not hold."""
    for name, value in gen_args.items():
        unsaved = first_unsaved(value)
        if unsaved is not None:
            raise ArgumentError(
                f"the explanation was generated with {name}={unsaved.name}, which its file does "
                f"not hold: give gen_args, with {name}."
            )


def adapter_of(explainer_or_model: SpeechToTextAttribution | SpeechModel) -> Any:
    """The adapter of an explainer, or an adapter as it is."""
    if isinstance(explainer_or_model, SpeechToTextAttribution):
        return explainer_or_model.adapter
    if not hasattr(explainer_or_model, "encode"):
        raise ArgumentTypeError(
            "give an explainer, SpeechToTextAttribution(method, processor), or its adapter; got "
            f"{type(explainer_or_model).__name__}."
        )
    return explainer_or_model
