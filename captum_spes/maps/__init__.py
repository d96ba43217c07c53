"""What is done to maps: normalise, aggregate, read off the strongest places."""

from captum_spes.maps.aggregate import sentence_mean, span_mean
from captum_spes.maps.bands import Band, band_mean, frequency_bands
from captum_spes.maps.normalize import Maps, paired_min_max, standardize
from captum_spes.maps.order import top_cells
from captum_spes.maps.peaks import Peak, is_constant, strongest_span
from captum_spes.maps.spans import frames_within, time_mean
from captum_spes.maps.words import (
    begins_word,
    group_words,
    is_unspaced,
    join_inner_punctuation,
    split_unspaced,
)

__all__ = [
    "Band",
    "Maps",
    "Peak",
    "band_mean",
    "begins_word",
    "frames_within",
    "frequency_bands",
    "group_words",
    "is_constant",
    "is_unspaced",
    "join_inner_punctuation",
    "paired_min_max",
    "sentence_mean",
    "span_mean",
    "split_unspaced",
    "standardize",
    "strongest_span",
    "time_mean",
    "top_cells",
]
