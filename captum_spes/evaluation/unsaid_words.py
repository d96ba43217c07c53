"""Words that were not said, made from recordings whose texts are right.

A recording is cut, a stretch of it is silenced, its text is swapped for another's, and noise takes
its place: then it is known which words are not in the audio.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captum_spes.alignment import match_words
from captum_spes.corpus.manifest import Utterance
from captum_spes.errors import ArgumentError
from captum_spes.io.samples import read_samples
from captum_spes.speech.checking import SpokenWord, spoken_words
from captum_spes.speech.inputs import removed_value
from captum_spes.speech.measures import word_places
from captum_spes.speech.models import SpeechInput, TargetSequence
from captum_spes.speech.removals import measure_removals

# Passes that find out when the words of a recording are spoken.
_PASSES_FOR_TIMES = 24
_BATCH = 4
# Words on either side of a cut that may lie on its other side.
_UNSURE = 1
_SILENCED = 1 / 3
# Of noise, in decibels below full scale.
_LEVELS = (-60.0, -10.0)
# White, pink and brown noise, and silence.
_SLOPES = (0.0, 0.5, 1.0, None)


@dataclass(frozen=True, eq=False)
class LabelledText:
    """A recording with a text of which it is known which words were said.

    Attributes:
        utterance: the recording that it was made from; what is made from one belongs together.
        kind: "as it is", "cut", "silenced", "swapped" or "noise".
        speech: as the model sees it.
        sequence: what is, or would be, written.
        words: the words of it.
        said: for each True, False, or None where nobody knows.
    """

    utterance: str
    kind: str
    speech: SpeechInput
    sequence: TargetSequence
    words: tuple[SpokenWord, ...]
    said: tuple[bool | None, ...]


class UnsaidWords:
    """Makes recordings with words that were not said.

    Args:
        adapter: of the model.
        baselines: the removed value, by which times of words are found.
        seed: of what is cut, silenced and swapped, and of the noise.
        gen_args: of generation.
    """

    def __init__(
        self, adapter: Any, baselines: str, seed: int, gen_args: Mapping[str, Any] | None = None
    ) -> None:
        self._adapter, self._baselines = adapter, baselines
        self._seed, self._gen_args = seed, {} if gen_args is None else gen_args

    def of_utterance(
        self, utterance: Utterance, other: Utterance, place: int
    ) -> Iterator[LabelledText]:
        """Yield the five kinds, as far as the utterance lends itself to them.

        Args:
            utterance: the recording and its text.
            other: another one, whose text is taken.
            place: of the utterance among all, for its own random choices.
        """
        adapter, generator = self._adapter, np.random.default_rng([self._seed, place])
        samples = read_samples(
            utterance.audio, adapter.sampling_rate, adapter.sampling_rate, adapter.max_seconds
        )
        name = utterance.id
        speech = adapter.from_audio(samples)
        own = adapter.generate(speech, self._gen_args)
        yield self._labelled(name, "as it is", samples, own, utterance.text)
        text = utterance.text
        times = self._times(speech, text)
        if len(times) > 2 * _UNSURE + 1:
            yield self._cut(name, samples, text, times)
            yield self._silenced(name, samples, text, times, generator)
        with suppress(ArgumentError):  # another recording's text may be one that cannot be written
            sequence = adapter.force(speech, other.text, self._gen_args)
            swapped = self._labelled(name, "swapped", samples, sequence, text)
            # A word that both texts have may match, and may as well be guessed.
            yield _relabelled(swapped, [None if said else False for said in swapped.said])
        noise = _noise(len(samples), generator)
        heard = adapter.from_audio(noise)
        invented = self._labelled(name, "noise", noise, adapter.generate(heard, self._gen_args), "")
        yield _relabelled(invented, [False] * len(invented.words))

    def _labelled(
        self,
        name: str,
        kind: str,
        samples: NDArray[np.float32],
        sequence: TargetSequence,
        spoken: str,
    ) -> LabelledText:
        """Words that match those that were spoken were said; of others nobody knows."""
        words = self._words(sequence)
        matches = match_words([word.word for word in words], spoken.split())
        matched = {written for written, _ in matches.pairs}
        said = tuple(True if place in matched else None for place in range(len(words)))
        return LabelledText(
            name, kind, self._adapter.from_audio(samples), sequence, tuple(words), said
        )

    def _words(self, sequence: TargetSequence) -> list[SpokenWord]:
        return spoken_words(self._adapter, sequence, range(len(sequence.explained)))

    def _times(self, speech: SpeechInput, text: str) -> NDArray[np.float64]:
        """When the words of a text are spoken, as shares of the duration."""
        adapter = self._adapter
        sequence = adapter.force(speech, text, self._gen_args)
        words = self._words(sequence)
        removed = removed_value(adapter, speech, self._baselines)
        removals = measure_removals(adapter, speech, sequence, removed, _PASSES_FOR_TIMES, _BATCH)
        return word_places(
            removals, [word.rows for word in words], [len(word.word) for word in words]
        )

    def _cut(
        self, name: str, samples: NDArray[np.float32], text: str, times: NDArray[np.float64]
    ) -> LabelledText:
        """The recording up to the middle of its words, with the whole text."""
        half = len(times) // 2
        kept = samples[: max(1, round(float(times[half, 0]) * len(samples)))]
        said = [
            None if abs(place - half + 0.5) <= _UNSURE else place < half
            for place in range(len(times))
        ]
        return self._forced(name, "cut", kept, text, said)

    def _silenced(
        self,
        name: str,
        samples: NDArray[np.float32],
        text: str,
        times: NDArray[np.float64],
        generator: np.random.Generator,
    ) -> LabelledText:
        """The recording with a stretch of silence in it."""
        start = generator.uniform(0.0, 1.0 - _SILENCED)
        end = start + _SILENCED
        silenced = samples.copy()
        silenced[round(start * len(samples)) : round(end * len(samples))] = 0.0
        inside = (times[:, 0] >= start) & (times[:, 1] <= end)
        outside = (times[:, 1] <= start) | (times[:, 0] >= end)
        said: list[bool | None] = [
            None if not (inside[place] or outside[place]) else bool(outside[place])
            for place in range(len(times))
        ]
        # Words beside those that change sides may lie on the other side.
        borders = [p for p in range(1, len(said)) if said[p] != said[p - 1]]
        for border in borders:
            said[border - 1 : border + 1] = [None, None]
        return self._forced(name, "silenced", silenced, text, said)

    def _forced(
        self,
        name: str,
        kind: str,
        samples: NDArray[np.float32],
        text: str,
        said: Sequence[bool | None],
    ) -> LabelledText:
        speech = self._adapter.from_audio(samples)
        sequence = self._adapter.force(speech, text, self._gen_args)
        words = self._words(sequence)
        if len(words) != len(said):
            raise ArgumentError(f"{name}: its text has other words when it is cut.")
        return LabelledText(name, kind, speech, sequence, tuple(words), tuple(said))


def _relabelled(found: LabelledText, said: Sequence[bool | None]) -> LabelledText:
    return LabelledText(
        found.utterance, found.kind, found.speech, found.sequence, found.words, tuple(said)
    )


def _noise(n_samples: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """Silence, or noise at any level at which a model may hear words in it."""
    slope = _SLOPES[generator.integers(len(_SLOPES))]
    if slope is None:
        return np.zeros(n_samples, dtype=np.float32)
    spectrum = np.fft.rfft(generator.standard_normal(n_samples))
    steps = np.maximum(1, np.arange(len(spectrum)))
    noise = np.fft.irfft(spectrum / steps**slope, n_samples)
    level = 10 ** (generator.uniform(*_LEVELS) / 20)
    noise *= level / max(1e-12, float(np.sqrt(np.mean(noise**2))))
    return np.clip(noise, -1.0, 1.0).astype(np.float32)
