"""Numbers that tell words that were heard from words that were not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.speech.removals import Removals
from captum_spes.speech.timing import best_borders

# Nats; what is less does not count.
_LEAST = 1e-3
# How much it counts, with one pass, that a place is off an even pace: of 0 to 1,200 the best, with
# 12 passes, on the recordings that the shipped rules were calibrated on.
_PACE = 120.0
# A token that became impossible counts as that improbable.
_MOST_NATS = 30.0

# Of each word, in the order of the columns of word_measures.
MEASURES = (
    "confidence",
    "confidence_of_neighbours",
    "confidence_of_output",
    "largest_divergence",
    "mean_divergence",
    "least_divergence",
    "largest_loss",
    "mean_loss",
    "least_loss",
)


def word_evidence(removals: Removals, words: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """The evidence for each word in nats, ``(words,)``: of all removals the divergence that is
    largest, as the mean over the word's tokens."""
    evidence: NDArray[np.float64] = _of_words(removals.divergences, words).max(0)
    return evidence


def word_measures(removals: Removals, words: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """Compute :data:`MEASURES`, ``(words, measures)``.

    Confidence is minus the logarithm of the mean surprisal, of the word's tokens, of its tokens and
    those of the words beside it, and of all words. Divergences and losses are means over the word's
    tokens; of them the largest, the mean and the least over the passes, divergences as logarithms
    and losses (which can be negative) as inverse hyperbolic sines.
    """
    surprisals = -removals.log_probabilities.clamp(-_MOST_NATS, 0.0)
    beside = [
        [token for word in words[max(0, place - 1) : place + 2] for token in word]
        for place in range(len(words))
    ]
    everything = [[token for word in words for token in word]] * len(words)
    confidences = [
        -np.log(_of_words(surprisals[None], rows)[0] + _LEAST)
        for rows in (words, beside, everything)
    ]
    divergences = _of_words(removals.divergences.clamp_max(_MOST_NATS), words)
    losses = _of_words(removals.losses.clamp(-_MOST_NATS, _MOST_NATS), words)
    reductions = (np.max, np.mean, np.min)
    columns = [
        *confidences,
        *(np.log(over(divergences, axis=0) + _LEAST) for over in reductions),
        *(np.arcsinh(over(losses, axis=0)) for over in reductions),
    ]
    return np.stack(columns, 1)


def word_places(
    removals: Removals,
    words: Sequence[Sequence[int]],
    letters: Sequence[int],
    span: tuple[float, float] = (0.0, 1.0),
) -> NDArray[np.float64]:
    """The part of a recording that speaks for each word, ``(words, 2)``: start and end as shares of
    its duration.

    A frame speaks for a word by how much larger the logarithm of its divergence is where the frame
    is removed than where it is not (Eq. 3 of the paper). Of all ways to hand the time to the words
    in their order the one is taken on which frames speak most for their own word. What the removals
    leave open is decided by an even pace, in letters.

    Args:
        removals: what was measured on the recording.
        words: tokens of words that follow each other.
        letters: how many letters each word has.
        span: between which shares of the duration they were spoken.
    """
    n_frames = removals.masks.shape[1]
    first = min(n_frames - 1, max(0, round(span[0] * n_frames)))
    last = max(first + 1, min(n_frames, round(span[1] * n_frames)))
    ends = np.cumsum(letters) / max(1, sum(letters))
    middles = ends - np.asarray(letters) / max(1, sum(letters)) / 2
    times = (np.arange(last - first) + 0.5) / (last - first)
    # The more windows there are, the less is left to the pace.
    gain = -_PACE / len(removals.masks) * (times[None, :] - middles[:, None]) ** 2
    # The first pass removes every frame and tells none from another.
    if len(removals.masks) > 2 and len(words) > 1:
        logs = np.log(_of_words(removals.divergences[1:], words) + _LEAST)
        impact = _impact(removals.masks[1:, first:last].double().numpy(), logs)
        impact -= impact.mean(0)
        gain += impact / np.maximum(impact.std(0), 1e-9)
    borders = first + _spread(best_borders(gain), last - first)
    return np.stack([borders[:-1], borders[1:]], 1) / n_frames


def _impact(is_removed: NDArray[np.float64], logs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of ``(passes, words)`` where a frame is removed minus that where it is not, ``(words,
    frames)``; 0 where there is only one of the two."""
    n_removed, n_kept = is_removed.sum(0), (1 - is_removed).sum(0)
    impact: NDArray[np.float64] = logs.T @ is_removed / np.maximum(n_removed, 1)
    impact -= logs.T @ (1 - is_removed) / np.maximum(n_kept, 1)
    impact[:, np.minimum(n_removed, n_kept) == 0] = 0.0
    return impact


def _spread(borders: NDArray[Any], n_frames: int) -> NDArray[Any]:
    """Borders with at least a quarter of an even share of the time between them."""
    places = np.arange(len(borders))
    least = n_frames / (len(borders) - 1) / 4
    apart: NDArray[Any] = np.maximum.accumulate(borders - places * least) + places * least
    spread: NDArray[Any] = np.minimum(apart, n_frames - places[::-1] * least)
    return spread


def _of_words(values: Tensor, words: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """Means over the tokens of each word, ``(passes, words)``."""
    return np.stack([values[:, list(rows)].mean(1).numpy() for rows in words], 1)
