"""Which frequencies words, phones and speakers rest on. (arXiv 2411.01710, section 8.2)"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.alignment import Alignment, Interval
from captum_spes.analysis.findings import (
    Findings,
    Results,
    check_results,
    corrected,
    number,
    table,
    test_row,
    with_noise,
)
from captum_spes.errors import ArgumentError
from captum_spes.io.texts import nfc
from captum_spes.maps import Band, band_mean, frames_within, frequency_bands
from captum_spes.speech import SpeechToTextAttributionResult, Word
from captum_spes.speech.noise import word_reliabilities
from captum_spes.speech.regions import has_frequency

if TYPE_CHECKING:
    from pandas import DataFrame

_DESCRIPTION = ("utterance", "unit", "word", "group", "start", "end", "frames", "reliability")
_NO_FREQUENCY = "its maps say nothing of frequency"
# Values at a time, so that permutations of large tables fit into memory.
_BATCH = 2**24
# From fewer means a bootstrap learns too little about their spread.
_FEWEST_RESAMPLED = 5


@dataclass(frozen=True, eq=False)
class Profiles(Findings):
    """Findings about frequencies.

    Attributes:
        bands: the bands that columns of the table are named after.
    """

    bands: tuple[Band, ...] = ()


def frequency_profiles(
    results: Results,
    *,
    alignments: Mapping[str, Alignment] | None = None,
    groups: Mapping[str, str] | None = None,
    bands: str | Sequence[float] | Sequence[Band] | Mapping[str, tuple[float, float]] = "bark",
    over_frames: str = "max",
    keep_noise: bool = False,
) -> Profiles:
    r"""
    Read off how high a word's, or a phone's, saliency rises at each frequency.

    A profile is the maximum over the frames of the unit per mel bin (Figure 7 of the paper), from
    the mean of the normalised maps of the word's tokens; then the mean over the mel bins of each
    band.

    Args:

        results (mapping of str to SpeechToTextAttributionResult): Explanations of one method, by
                    utterance, whose words have times: see :func:`align_results`.
        alignments (mapping of str to Alignment, optional): If given, units are phones, each in the
                    map of the word that it is part of.
                    Default: None, units are words
        groups (mapping of str to str, optional): Group of each utterance, its speaker or their
                    gender for example.
                    Default: None
        bands (str, sequence, or mapping, optional): As :func:`frequency_bands` takes, its result,
                    or "bins" for the mel bins themselves.
                    Default: "bark"
        over_frames (str, optional): "max", as in the paper, which rises with the number of frames;
                    or "mean", to compare units of different length.
                    Default: "max"
        keep_noise (bool, optional): Whether :func:`compare_profiles` and figures also take words
                    whose maps are mostly noise (reliability below 0.5). They are in the table in
                    any case.
                    Default: False

    Returns:
        *Profiles*: one row per unit: ``utterance``, ``unit`` (the word in lower case, or the
        phone, as the alignment calls it), ``word``, ``group``, ``start`` and ``end`` in seconds,
        number of ``frames``, ``reliability`` of
        the word's map, and a column per band, named after it. No tests: see
        :func:`compare_profiles`.

    Raises:
        ArgumentError: there is no result, methods or models are mixed, an argument is unknown, or
            no map says anything of frequency, such as those of attention.
        ImportError: pandas is not installed.

    Examples::

        >>> aligned = align_results({"speech": result}, {"speech": alignment})
        >>> found = frequency_profiles(aligned.results, bands=[0, 1000, 8000])
        >>> found.table.columns[-2:].tolist()
        ['0-1000 Hz', '1000-8000 Hz']
    """
    check_results(results)
    if over_frames not in _OVER_FRAMES:
        raise ArgumentError(f"over_frames must be 'max' or 'mean', got {over_frames!r}.")
    cut = _bands(bands, _mel_frequencies(results))
    rows, dropped = [], {}
    for name, result in results.items():
        if not has_frequency(result):
            dropped[name] = _NO_FREQUENCY
            continue
        alignment = None if alignments is None else alignments.get(name)
        group = None if groups is None else groups.get(name, groups.get(nfc(name)))
        of_result = [
            {"utterance": name, "group": group, **row}
            for row in _profiles(result, alignment, alignments is None, cut, over_frames)
        ]
        if not of_result:
            dropped[name] = "no unit with a time that lies within the recording"
        rows += of_result
    if set(dropped.values()) == {_NO_FREQUENCY} and not rows:
        raise ArgumentError(
            f"there is no frequency to analyse: of every utterance, {_NO_FREQUENCY}."
        )
    columns = [*_DESCRIPTION, *(band.name for band in cut)]
    return Profiles(table(rows, columns), corrected([]), dropped, tuple(cut), keep_noise=keep_noise)


def compare_profiles(
    profiles: Profiles,
    first: str,
    second: str,
    *,
    by: str = "unit",
    speakers: Mapping[str, str] | None = None,
    n_resamples: int = 9_999,
    seed: int = 0,
) -> Profiles:
    r"""
    Test in which bands the profiles of two words, phones or groups differ.

    Units of one utterance, or of one speaker, are not independent: they are averaged first, and
    these means are compared. Groups are compared word by word, so that which words they say does
    not count.

    Args:

        profiles (Profiles): What :func:`frequency_profiles` returns.
        first (str): A word, a phone or a group, for example "so".
        second (str): Another, for example "no".
        by (str, optional): The column that holds the two: "unit" or "group".
                    Default: "unit"
        speakers (mapping of str to str, optional): Speaker of each utterance, where a speaker has
                    several.
                    Default: None, every utterance counts as one
        n_resamples (int, optional): Permutations of the labels, at most.
                    Default: 9999
        seed (int, optional): Seed of the permutations.
                    Default: 0

    Returns:
        *Profiles*: the profiles of the two, and a test per band: ``estimate`` is the difference of
        the means (first minus second, with 95 % bootstrap interval where each has five means or
        more), p that of a two-sided permutation test, the effect size Cohen's d; ``n`` counts the
        means that are compared. Bands without mel bins are left out.

    Raises:
        ArgumentError: one of the two occurs in fewer than two utterances (or speakers).

    Examples::

        >>> aligned = align_results({"speech": result}, {"speech": alignment})
        >>> profiles = frequency_profiles(aligned.results, bands=[0, 1000, 8000])
        >>> compare_profiles(profiles, "the", "cat")
        Traceback (most recent call last):
        captum_spes.errors.ArgumentError: 'the' occurs in 1 utterances, 'cat' in 1; ...
    """
    frame = profiles.tested
    if by not in ("unit", "group"):
        raise ArgumentError(f"by must be 'unit' or 'group', got {by!r}.")
    known = set(frame[by])
    # Words are kept in lower case; phones may not be and are looked up as they are.
    first, second = (x if x in known else nfc(x).casefold() for x in (first, second))
    if first == second:
        raise ArgumentError(f"{first!r} cannot be compared with itself.")
    both = frame[frame[by].isin([first, second])]
    names = [band.name for band in profiles.bands if not both[band.name].isna().any()]
    means = _means(both, names, by, speakers)
    one, other = (means[means[by] == label] for label in (first, second))
    if min(len(one), len(other)) < 2:
        raise ArgumentError(
            f"{first!r} occurs in {len(one)} utterances, {second!r} in {len(other)}"
            f"{_about_noise(profiles)}; a comparison "
            f"needs each at least twice{', and words in common' if by == 'group' else ''}. The "
            f"most frequent are {', '.join(map(str, frame[by].value_counts().index[:6]))}."
        )
    rows = [
        _difference(f"{first} - {second}, {name}", one[name], other[name], n_resamples, seed)
        | {"utterances": both["utterance"].nunique()}
        for name in names
    ]
    return Profiles(
        profiles.table[profiles.table[by].isin([first, second])],
        corrected([with_noise(row, both) for row in rows]),
        profiles.dropped,
        profiles.bands,
        keep_noise=profiles.keep_noise,
    )


def _about_noise(profiles: Profiles) -> str:
    count = len(profiles.table) - len(profiles.tested)
    return f", without {count} words that are mostly noise" if count else ""


def _means(
    frame: DataFrame, names: list[str], by: str, speakers: Mapping[str, str] | None
) -> DataFrame:
    """One row per independent source and label."""
    frame = frame.copy()
    frame["source"] = frame["utterance"] if speakers is None else frame["utterance"].map(speakers)
    if by == "group":
        in_both = frame.groupby("unit")["group"].transform("nunique") == 2
        frame = frame[in_both]
        # The mean of both groups' means, so that the larger group does not decide it.
        of_groups = frame.groupby(["unit", "group"])[names].mean().groupby("unit").mean()
        frame[names] = frame[names].to_numpy() - of_groups.loc[frame["unit"]].to_numpy()
    means: DataFrame = frame.groupby(["source", by])[names].mean().reset_index()
    return means


def _difference(
    question: str, one: DataFrame, other: DataFrame, n_resamples: int, seed: int
) -> dict[str, Any]:
    samples = one.to_numpy(dtype=float), other.to_numpy(dtype=float)
    n = sum(map(len, samples))
    batch = max(1, _BATCH // n)
    tested = scipy.stats.permutation_test(
        samples, _mean_difference, vectorized=True, n_resamples=n_resamples, batch=batch,
        rng=np.random.default_rng(seed),
    )  # fmt: skip
    low = high = np.nan
    if min(map(len, samples)) >= _FEWEST_RESAMPLED:
        low, high = scipy.stats.bootstrap(
            samples, _mean_difference, vectorized=True, method="percentile", batch=batch,
            rng=np.random.default_rng(seed),
        ).confidence_interval  # fmt: skip
    pooled = np.sqrt(sum(s.var(ddof=1) * (len(s) - 1) for s in samples) / (n - 2))
    difference = float(tested.statistic)
    n_permutations = len(tested.null_distribution)
    # With few means there are few ways to divide them, and p cannot become small.
    test = f"permutation of the labels, {n_permutations:,}, p at least {2 / n_permutations:.2g}"
    return test_row(question, test, "two-sided", n, 0) | {
        "estimate": difference,
        "low": float(low),
        "high": float(high),
        "effect": "Cohen's d",
        "effect_size": difference / pooled if pooled else np.nan,
        "statistic": difference,
        "p": float(tested.pvalue),
    }


def _mean_difference(one: Any, other: Any, axis: int = -1) -> Any:
    return np.mean(one, axis=axis) - np.mean(other, axis=axis)


_OVER_FRAMES: dict[str, Callable[[Tensor], Tensor]] = {
    "max": lambda frames: frames.amax(0),
    "mean": lambda frames: frames.mean(0),
}


def _mel_frequencies(results: Results) -> Tensor:
    first, *others = results.values()
    if any(not torch.equal(first.mel_frequencies, o.mel_frequencies) for o in others):
        raise ArgumentError("the explanations are of models with different mel bins.")
    return first.mel_frequencies


def _bands(bands: Any, frequencies: Tensor) -> list[Band]:
    if bands == "bins":
        # From each middle to the next; the last has no neighbour above.
        edges = [*frequencies.tolist(), float("inf")]
        return [Band(f"{low:.0f} Hz", low, high) for low, high in pairwise(edges)]
    if not isinstance(bands, str | Mapping) and all(isinstance(b, Band) for b in bands):
        return list(bands)
    return frequency_bands(bands)


def _profiles(
    result: SpeechToTextAttributionResult,
    alignment: Alignment | None,
    is_of_words: bool,
    bands: Sequence[Band],
    over_frames: str,
) -> Iterator[dict[str, Any]]:
    maps, reliabilities = None, word_reliabilities(result)
    for index, word in enumerate(result.words):
        if word.start is None or word.end is None:
            continue
        for unit in _units(word, alignment, is_of_words):
            inside = frames_within(result.frame_times, unit.start, unit.end)
            if not inside.any():
                continue
            maps = result.word_attr().spectrogram_attr if maps is None else maps
            of_bins = _OVER_FRAMES[over_frames](maps[index][inside])
            profile = band_mean(of_bins, result.mel_frequencies, bands)
            yield {
                "unit": unit.label,
                "word": word.word,
                "start": unit.start,
                "end": unit.end,
                "frames": int(inside.sum()),
                "reliability": number(reliabilities[index]),
                **_named(profile.double().numpy(), bands),
            }


def _units(word: Word, alignment: Alignment | None, is_of_words: bool) -> Sequence[Interval]:
    assert word.start is not None
    assert word.end is not None
    spoken = Interval(nfc(word.word).casefold(), word.start, word.end)
    if is_of_words:
        return (spoken,)
    return () if alignment is None else alignment.phones_of(spoken)


def _named(profile: NDArray[np.float64], bands: Sequence[Band]) -> dict[str, float]:
    return {band.name: float(value) for band, value in zip(bands, profile, strict=True)}
