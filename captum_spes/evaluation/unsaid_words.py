"""Words that were not said, made from recordings whose texts are right.

A recording is cut, a stretch of it is silenced, words are cut out of it, words of its text are
swapped for others, and noise takes its place: then it is known which words are not in the audio.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
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
from captum_spes.speech.models import AlignsTokens, SpeechInput, TargetSequence, can
from captum_spes.speech.removals import measure_removals
from captum_spes.speech.timing import token_times

# Passes that find out when the words of a recording are spoken.
_PASSES_FOR_TIMES = 12
# Seconds on either side of a cut: a word there may lie on its other side.
_UNSURE = 0.5
_FEWEST_WORDS = 3
_SILENCED = 1 / 2
# Words from one that is swapped, or cut out, to the next.
_EVERY = 4
_MARKS = ".,;:?!\"'()[]"
# Of noise, in decibels below full scale.
_LEVELS = (-60.0, -10.0)
# Samples over which what stood before a cut fades into what stood behind it.
_FADE = 80
# White, pink and brown noise, and silence.
_SLOPES = (0.0, 0.5, 1.0, None)


@dataclass(frozen=True, eq=False)
class LabelledText:
    """A recording with a text of which it is known which words were said.

    Attributes:
        utterance: the recording that it was made from; what is made from one belongs together.
        kind: "as it is", "cut", "silenced", "cut out", "swapped" or "noise".
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
        """Yield the six kinds, as far as the utterance lends itself to them.

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
        yield self._labelled(name, "as it is", speech, own, utterance.text)
        text = utterance.text
        times = self._times(speech, text)
        if len(times) >= _FEWEST_WORDS:
            yield self._cut(name, samples, text, times)
            yield self._silenced(name, samples, text, times, generator)
            if can(adapter, AlignsTokens):
                yield self._cut_out(name, samples, text, speech)
        with suppress(ArgumentError):  # another recording's text may be one that cannot be written
            sequence = adapter.force(
                speech, _with_words_of(text, other.text, generator), self._gen_args
            )
            swapped = self._labelled(name, "swapped", speech, sequence, text)
            yield replace(swapped, said=tuple(bool(said) for said in swapped.said))
        heard = adapter.from_audio(_noise(len(samples), generator))
        sequence = adapter.generate(heard, self._gen_args)
        invented = self._labelled(name, "noise", heard, sequence, "")
        yield replace(invented, said=(False,) * len(invented.words))

    def _labelled(
        self,
        name: str,
        kind: str,
        speech: SpeechInput,
        sequence: TargetSequence,
        spoken: str,
    ) -> LabelledText:
        """Words that match those that were spoken were said; of others nobody knows."""
        words = self._words(sequence)
        matches = match_words([word.word for word in words], spoken.split())
        matched = {written for written, _ in matches.pairs}
        said = tuple(True if place in matched else None for place in range(len(words)))
        return LabelledText(name, kind, speech, sequence, tuple(words), said)

    def _words(self, sequence: TargetSequence) -> list[SpokenWord]:
        return spoken_words(self._adapter, sequence, range(len(sequence.explained)))

    def _times(self, speech: SpeechInput, text: str) -> NDArray[np.float64]:
        """When the words of a text are spoken, as shares of the duration."""
        adapter = self._adapter
        sequence = adapter.force(speech, text, self._gen_args)
        words = self._words(sequence)
        removed = removed_value(adapter, speech, self._baselines)
        removals = measure_removals(adapter, speech, sequence, removed, _PASSES_FOR_TIMES)
        return word_places(
            removals, [word.rows for word in words], [len(word.word) for word in words]
        )

    def _cut(
        self, name: str, samples: NDArray[np.float32], text: str, times: NDArray[np.float64]
    ) -> LabelledText:
        """The recording up to the middle of its words, with the whole text."""
        end = float(times[len(times) // 2, 0])
        kept = samples[: max(1, round(end * len(samples)))]
        margin = self._margin(samples)
        said = [_side(time, end - margin, end + margin) for time in times]
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
        margin = self._margin(samples)
        said: list[bool | None] = []
        for time in times:
            before = _side(time, start - margin, start + margin)
            after = _side(time, end - margin, end + margin)
            is_inside, is_outside = before is False and after is True, before or after is False
            said.append(False if is_inside else True if is_outside else None)
        return self._forced(name, "silenced", silenced, text, said)

    def _cut_out(
        self, name: str, samples: NDArray[np.float32], text: str, speech: SpeechInput
    ) -> LabelledText:
        """The recording without every fourth word, as far as the model knows when it writes it.

        A word was not said if the model, writing freely from what is left, does not write it.
        """
        adapter = self._adapter
        sequence = adapter.force(speech, text, self._gen_args)
        words = self._words(sequence)
        times = token_times(adapter.alignment(speech, sequence), speech.seconds)
        stretches = [
            (times[word.rows[0], 0] / speech.seconds, times[word.rows[-1], 1] / speech.seconds)
            for word in words[1::_EVERY]
        ]
        rest = _without(samples, stretches)
        written = self._words(adapter.generate(adapter.from_audio(rest), self._gen_args))
        matches = match_words([word.word for word in written], [word.word for word in words])
        matched = {spoken for _, places in matches.pairs for spoken in places}
        said = [
            (True if place in matched else None)
            if place % _EVERY != 1
            else (None if place in matched else False)
            for place in range(len(words))
        ]
        return self._forced(name, "cut out", rest, text, said)

    def _margin(self, samples: NDArray[np.float32]) -> float:
        """The share of the duration by which a word's time may be wrong."""
        return _UNSURE * float(self._adapter.sampling_rate) / len(samples)

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


def _without(
    samples: NDArray[np.float32], stretches: Sequence[tuple[float, float]]
) -> NDArray[np.float32]:
    """The samples without some stretches, given as shares of all; the ends of a cut are faded into
    each other."""
    ramp = np.linspace(0, 1, _FADE, dtype=np.float32)
    kept, last = samples[:0], 0
    for start, end in [*stretches, (1.0, 1.0)]:
        part = samples[last : max(last, round(start * len(samples)))]
        if min(len(kept), len(part)) > 2 * _FADE:
            joint = kept[-_FADE:] * (1 - ramp) + part[:_FADE] * ramp
            kept = np.concatenate([kept[:-_FADE], joint, part[_FADE:]])
        else:
            kept = np.concatenate([kept, part])
        last = max(last, round(end * len(samples)))
    return kept


def _side(time: NDArray[np.float64], earlier: float, later: float) -> bool | None:
    """True for a word that ends before a border, False for one that starts after it; None where the
    word lies between the earliest and the latest place that the border may have."""
    return True if time[1] <= earlier else False if time[0] >= later else None


def _with_words_of(text: str, other: str, generator: np.random.Generator) -> str:
    """A text in which every fourth word, or the only one, is replaced by one of another text."""
    words = text.split()
    own = {word.strip(_MARKS).casefold() for word in words}
    others = [word.strip(_MARKS) for word in other.split()]
    strange = [word for word in others if word and word.casefold() not in own]
    if not strange:
        raise ArgumentError("the other text has no word of its own.")
    for place in range(int(generator.integers(min(_EVERY, len(words)))), len(words), _EVERY):
        words[place] = str(generator.choice(strange))
    return " ".join(words)


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
