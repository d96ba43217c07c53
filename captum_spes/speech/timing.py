"""When tokens are spoken, from where a model looks while it writes them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from torch import Tensor

# Width of the filter in time, as in openai/whisper.
_SMOOTHING = 7


def token_times(weights: Tensor, seconds: float) -> NDArray[np.float64]:
    r"""
    Find the stretch of time that belongs to each token.

    The weights of each head are standardised over the tokens and smoothed in time, and of all ways
    to hand the time to the tokens in their order the one with the largest sum is taken (as in
    openai/whisper, where it is dynamic time warping).

    Args:

        weights (Tensor): Attention of each token over time, ``(heads, tokens, positions)``.
        seconds (float): Duration that the positions cover.

    Returns:
        *ndarray* of shape ``(tokens, 2)``: start and end, in seconds.

    Examples::

        >>> weights = torch.tensor([[[0.9, 0.8, 0.1, 0.1], [0.1, 0.2, 0.9, 0.9]]])
        >>> token_times(weights, 4.0).tolist()
        [[0.0, 2.0], [2.0, 4.0]]
    """
    heads = weights.double().numpy()
    heads = heads - heads.mean(1, keepdims=True)
    heads /= np.maximum(heads.std(1, keepdims=True), 1e-9)
    width = min(_SMOOTHING, heads.shape[2] - (heads.shape[2] + 1) % 2)
    gain = median_filter(heads, size=(1, 1, max(1, width))).mean(0)
    borders = best_borders(gain)
    times: NDArray[np.float64] = np.stack([borders[:-1], borders[1:]], 1) * seconds / gain.shape[1]
    return times


def best_borders(gain: NDArray[np.float64]) -> NDArray[np.int64]:
    """Where tokens begin, and the end: the path through (tokens, positions) with the largest sum,
    on which the token stays or becomes the next one (Viterbi)."""
    n_tokens, n_positions = gain.shape
    best = np.full(n_tokens, -np.inf)
    best[0] = gain[0, 0]
    moved = np.zeros((n_positions, n_tokens), dtype=bool)
    # There may be more tokens than positions; then the last ones share the end.
    for position in range(1, n_positions):
        from_before = np.concatenate([[-np.inf], best[:-1]])
        moved[position] = from_before > best
        best = np.maximum(best, from_before) + gain[:, position]
    token = min(n_tokens, n_positions) - 1
    borders = np.full(n_tokens + 1, n_positions)
    for position in range(n_positions - 1, 0, -1):
        if moved[position, token]:
            borders[token] = position
            token -= 1
    borders[0] = 0
    return borders
