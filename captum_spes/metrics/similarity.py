"""How alike the maps of two explanations of one output are, token by token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from captum_spes.errors import ArgumentError, open_share, truth
from captum_spes.metrics.agreement import inter_seed_agreement
from captum_spes.speech import SpeechToTextAttributionResult

_Values = NDArray[np.float64]
# Rank correlation, overlap of the highest places, and likeness of the pictures.
MEASURES = ("spearman", "overlap", "ssim")
# Side of the square that the structural similarity looks at, that of scikit-image.
_WINDOW = 7


@dataclass(frozen=True)
class MapComparison:
    """What is compared of two maps, and how.

    Attributes:
        top: share of the cells that counts as the highest.
        absolute: whether magnitudes are compared, without signs.
    """

    top: float = 0.2
    absolute: bool = False

    def __post_init__(self) -> None:
        open_share("top", self.top)
        truth("absolute", self.absolute)

    def of(
        self, one: SpeechToTextAttributionResult, other: SpeechToTextAttributionResult
    ) -> dict[str, _Values]:
        """``(K,)`` for each of ``MEASURES``; NaN for tokens of which one map is constant."""
        if one.spectrogram_attr.shape != other.spectrogram_attr.shape:
            raise ArgumentError(
                f"maps of {tuple(one.spectrogram_attr.shape)} and "
                f"{tuple(other.spectrogram_attr.shape)} tokens, frames and mel bins cannot be "
                "compared: both explanations must be of one recording and one output."
            )
        ranks, places = (
            inter_seed_agreement(
                [one, other], self.top, measure=measure, absolute=self.absolute
            ).values[0]
            for measure in ("spearman", "overlap")
        )
        pictures = zip(self._pictures(one), self._pictures(other), strict=True)
        alike = np.array([_structural_similarity(*pair) for pair in pictures])
        return {"spearman": ranks, "overlap": places, "ssim": alike}

    def chances(self, n_cells: int) -> dict[str, float]:
        """The agreement of unrelated maps; NaN where it is not known."""
        count = max(1, int(self.top * n_cells))
        return {"spearman": 0.0, "overlap": count / n_cells, "ssim": float("nan")}

    def _pictures(self, result: SpeechToTextAttributionResult) -> _Values:
        maps = result.spectrogram_attr.double().cpu().numpy()
        return np.abs(maps) if self.absolute else maps


def mean_over_tokens(values: _Values) -> _Values:
    """Mean over the last axis of what is known; NaN where nothing is."""
    is_known = np.isfinite(values)
    counts = is_known.sum(-1)
    sums = np.where(is_known, values, 0.0).sum(-1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def stacked(rows: list[dict[str, _Values]]) -> Mapping[str, _Values]:
    """For each measure ``(rows, K)``."""
    return {measure: np.stack([row[measure] for row in rows]) for measure in MEASURES}


def _structural_similarity(one: _Values, other: _Values) -> float:
    """Of two pictures, each scaled to [0, 1]; NaN where one is constant, or too small."""
    side = min(*one.shape, _WINDOW)
    if side < 3 or not np.ptp(one) or not np.ptp(other):
        return float("nan")
    scaled = [(picture - picture.min()) / np.ptp(picture) for picture in (one, other)]
    width = side if side % 2 else side - 1
    return float(structural_similarity(*scaled, win_size=width, data_range=1.0))
