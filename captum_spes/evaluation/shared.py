"""What all methods that are measured on an utterance have in common."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.evaluation.comparison import EvaluationSettings
from captum_spes.evaluation.cost import Cost, measured_cost
from captum_spes.metrics.hearing import Hearing, encoded
from captum_spes.speech.ambient import ordinary_torch
from captum_spes.speech.models import SpeechInput, TargetSequence
from captum_spes.speech.patches import Patches
from captum_spes.speech.randomness import seeded_draws

# Numbers in the encoder states of copies that are encoded at a time on a CPU, whose caches a larger
# batch leaves, and copies at most.
_ENCODED_ON_CPU, _MOST_ENCODED_ON_CPU = 2**20, 8
# The same of copies that the model writes from at a time: a decoder keeps ten to a hundred times as
# many numbers of them, as keys and values. At least so many copies are taken all the same, and
# where the model draws what it writes.
_WRITTEN_FROM, _LEAST = 2**23, 8


class Heard(NamedTuple):
    """What the model makes of copies of an utterance.

    Attributes:
        texts: what it writes.
        graded: measures of an output that it was made to write, means over the tokens.
    """

    texts: list[str]
    graded: dict[str, list[float]]


class SharedUtterance:
    """An utterance that several methods are measured on.

    What the model writes of it is found once, as are its patches, and what the model makes of a
    damaged copy, whichever methods that is of: the intact one, and that of which nothing is left,
    are the same for all.

    Args:
        adapter: the model's.
        speech: the utterance.
        seed: of its explanations.
        settings: of the comparison.

    Attributes:
        adapter: the model's.
        speech: the utterance.
        patches: for :func:`captum_spes.speech.patches.remembered_patches`.
    """

    def __init__(
        self, adapter: Any, speech: SpeechInput, seed: int, settings: EvaluationSettings
    ) -> None:
        self.speech = speech
        self.adapter, self._seed = adapter, seed
        self._gen_args, self._batch_size = settings.settings.gen_args, settings.batch_size
        self.patches: Patches = []
        self._written: tuple[TargetSequence, Cost] | None = None
        # Of copies, by their bits, and of outputs.
        self._grades: dict[tuple[bytes, str], dict[str, float]] = {}

    def is_of(self, speech: SpeechInput, seed: int) -> bool:
        """Whether it is this one."""
        return seed == self._seed and torch.equal(speech.features, self.speech.features)

    def written(self, model: Any) -> tuple[TargetSequence, Cost]:
        """What the model writes, and what that cost."""
        if self._written is None:
            adapter = self.adapter
            with (
                ordinary_torch(adapter.device),
                adapter.evaluation_mode(),
                measured_cost(model) as cost,
                seeded_draws(self._seed),
            ):
                sequence = adapter.generate(self.speech, self._gen_args)
            self._written = sequence, cost
        return self._written

    def hear(self, copies: Tensor, output: TargetSequence | None = None) -> Heard:
        """What the model makes of copies, ``(copies, time, freq)``, and of an output, where one is
        given, when it hears them."""
        texts = self._texts
        if texts is None:
            return self._heard_anew(copies, output)
        keys = [_bits(copy) for copy in copies]
        by_key = dict(zip(keys, copies, strict=True))
        for batch, hearing in self._hearings({k: by_key[k] for k in by_key if k not in texts}):
            texts |= zip(batch, hearing.transcripts(self._gen_args, self._seed), strict=True)
            self._grade(batch, hearing, output)
        if output is None:
            return Heard([texts[key] for key in keys], {})
        # Of copies that were heard before, the intact one among them, the text alone may be known.
        name = _name(output)
        ungraded = {k: by_key[k] for k in by_key if (k, name) not in self._grades}
        for batch, hearing in self._hearings(ungraded):
            self._grade(batch, hearing, output)
        grades = [self._grades[key, name] for key in keys]
        return Heard(
            [texts[key] for key in keys],
            {measure: [own[measure] for own in grades] for measure in grades[0]},
        )

    def token_losses(self, copies: Tensor, output: TargetSequence) -> NDArray[np.float64]:
        """The divergence of each token of an output, ``(copies, tokens)``; the texts that the model
        would write are not asked for."""
        n_encoded, _ = self._sizes(len(copies))
        states = encoded(self.adapter, self.speech, copies, n_encoded)
        hearing = Hearing.of_states(self.adapter, self.speech, states, self._intact)
        return hearing.graded(output)["kl"]

    @cached_property
    def _texts(self) -> dict[bytes, str] | None:
        """What the model writes of copies, by their bits, at first of the intact speech; None where
        it draws what it writes, so that equal copies give different texts."""
        with self.adapter.evaluation_mode(), seeded_draws(self._seed) as draws:
            (text,) = self.adapter.transcribe(self.speech, self._intact, self._gen_args)
        return None if draws.has_drawn else {_bits(self.speech.spectrogram): text}

    @cached_property
    def _intact(self) -> Tensor:
        """Encoder states of the intact speech."""
        (states,) = encoded(self.adapter, self.speech, self.speech.spectrogram[None])
        return states

    def _hearings(self, copies: Mapping[bytes, Tensor]) -> Iterator[tuple[list[bytes], Hearing]]:
        """Batches of copies, and what hears them. Neighbours, of which about as much is left, stay
        together: texts of a batch are written until the longest ends."""
        if not copies:
            return
        n_encoded, n_written = self._sizes(len(copies))
        keys, n_batches = list(copies), math.ceil(len(copies) / n_written)
        size = math.ceil(len(keys) / n_batches)
        for first in range(0, len(keys), size):
            own = keys[first : first + size]
            spectrograms = torch.stack([copies[key] for key in own])
            states = torch.cat(encoded(self.adapter, self.speech, spectrograms, n_encoded))
            yield own, Hearing.of_states(self.adapter, self.speech, [states], self._intact)

    def _heard_anew(self, copies: Tensor, output: TargetSequence | None) -> Heard:
        """As if nothing were known. What is drawn depends on the batches: they are those of earlier
        versions."""
        size = _LEAST if isinstance(self._batch_size, str) else self._batch_size
        states = encoded(self.adapter, self.speech, copies, size)
        hearing = Hearing.of_states(self.adapter, self.speech, states, self._intact)
        texts = hearing.transcripts(self._gen_args, self._seed)
        return Heard(texts, {} if output is None else _means(hearing, output))

    def _sizes(self, n_copies: int) -> tuple[int, int]:
        """How many copies are encoded, and written from, at a time."""
        if not isinstance(self._batch_size, str):
            size = self._batch_size or n_copies
            return size, size
        each = self._intact.numel()
        n_written = max(_LEAST, _WRITTEN_FROM // each)
        if self._intact.device.type != "cpu":
            return n_written, n_written
        return min(_MOST_ENCODED_ON_CPU, max(1, _ENCODED_ON_CPU // each)), n_written

    def _grade(
        self, batch: Sequence[bytes], hearing: Hearing, output: TargetSequence | None
    ) -> None:
        if output is not None:
            found = _means(hearing, output)
            for number, key in enumerate(batch):
                own = {measure: values[number] for measure, values in found.items()}
                self._grades[key, _name(output)] = own


def _means(hearing: Hearing, output: TargetSequence) -> dict[str, list[float]]:
    found = hearing.graded(output)
    return {measure: values.mean(1).tolist() for measure, values in found.items()}


def _name(output: TargetSequence) -> str:
    return str(output.to_dict())


def _bits(copy: Tensor) -> bytes:
    """Stands for the numbers of a copy, which would fill memory."""
    return hashlib.blake2b(copy.contiguous().numpy().tobytes(), digest_size=16).digest()
