"""Hidden states whose answers are known, because they are planted."""

import numpy as np

from captum_spes.alignment import Alignment, Interval
from captum_spes.analysis import EncoderStates

PHONES, FRAME = "aknt", 0.02
WORDS = ("ak", "nt", "kan", "tak", "ant", "na")


class Speech:
    """Recordings of random words, three to six frames a phone, with silence around them.

    Layers: "noise" knows nothing; "phones" holds a code of the phone, "words" one of the word and
    the place in it alone, "segments" one that is new for every phone that is spoken.
    """

    def __init__(self, n=10, n_words=8, seed=0, width=12):
        self._generator = np.random.default_rng(seed)
        self._width, self._codes = width, {}
        self.states, self.alignments = {}, {}
        for number in range(n):
            self._add(f"r{number}", n_words)

    def _code(self, *key):
        if key not in self._codes:
            self._codes[key] = 3 * self._generator.standard_normal(self._width)
        return self._codes[key]

    def _add(self, name, n_words):
        phones, words, rows = [], [], [(None, None, None)] * 4
        for word in self._generator.choice(WORDS, n_words):
            first = len(rows)
            for place, phone in enumerate(word):
                start = len(rows)
                rows += [(phone, (word, place), (name, len(phones)))] * int(
                    self._generator.integers(3, 7)
                )
                phones.append(Interval(phone, start * FRAME, len(rows) * FRAME))
            words.append(Interval(word, first * FRAME, len(rows) * FRAME))
        rows += [(None, None, None)] * 4
        layers = {"noise": self._noise(len(rows))}
        for number, layer in enumerate(("phones", "words", "segments")):
            codes = [self._code(layer, row[number]) for row in rows]
            layers[layer] = np.array(codes) + self._noise(len(rows))
        # Frames are told by their middles.
        times = (np.arange(len(rows)) + 0.5) * FRAME
        loudness = self._generator.random(len(rows))
        self.states[name] = EncoderStates(layers, times, loudness)
        self.alignments[name] = Alignment(tuple(words), tuple(phones))

    def _noise(self, count):
        return self._generator.standard_normal((count, self._width))
