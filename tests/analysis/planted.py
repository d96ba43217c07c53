"""Explanations whose answers are known, because they are planted."""

import numpy as np
import torch

from captum_spes import SpeechToTextAttributionResult, Word
from captum_spes.maps import group_words

FRAMES, BINS = 100, 16
# 10 ms a frame, 500 Hz a bin.
TIMES = torch.arange(FRAMES) * 0.01 + 0.005
FREQUENCIES = torch.arange(BINS) * 500.0 + 250.0
PROMPT = ["<|start|>"]


def planted_result(tokens, spectrogram_attr=None, token_attr=None, *, times=None, **changes):
    """A result of 1 s; ``times`` are (start, end) or None for each word."""
    spelled = group_words(tokens)
    times = [None] * len(spelled) if times is None else times
    words = [
        Word(word, tuple(indices), *(time or (None, None)))
        for (word, indices), time in zip(spelled, times, strict=True)
    ]
    count = len(tokens)
    fields = {
        "output_tokens": list(tokens),
        "previous_tokens": [*PROMPT, *tokens[:-1]],
        "spectrogram": torch.zeros(FRAMES, BINS),
        "removed": torch.zeros(FRAMES, BINS),
        "feature_masks": torch.arange(FRAMES * BINS).reshape(1, FRAMES, BINS),
        "spectrogram_attr": noise(count) if spectrogram_attr is None else spectrogram_attr,
        "token_attr": token_attr,
        "frame_times": TIMES,
        "mel_frequencies": FREQUENCIES,
        "words": words,
        "text": "".join(tokens),
        "output_ids": list(range(count)),
        "previous_ids": list(range(count)),
        "seconds": 1.0,
        "seed": 0,
        "method": "SPES",
        "model_id": "planted",
    }
    return SpeechToTextAttributionResult(**{**fields, **changes})


def noise(count, seed=0, scale=0.01):
    generator = np.random.default_rng(seed)
    return torch.from_numpy(scale * generator.random((count, FRAMES, BINS)).astype(np.float32))


def bump(start, end, low=0, high=BINS, seed=0):
    """A map that is high in a span of time (seconds) and bins, over a little noise."""
    saliency = noise(1, seed)[0]
    saliency[(start <= TIMES) & (end > TIMES), low:high] += 1.0
    return saliency


def previous(count, strongest):
    """Attributions of previous tokens, each row's strongest column as given; the prompt is 0."""
    columns = count
    saliency = torch.full((count, columns), torch.nan)
    for row in range(count):
        saliency[row, : row + 1] = 0.1 + 0.01 * torch.arange(row + 1)
        saliency[row, strongest[row]] = 1.0
    return saliency
