"""Do the frames that an explanation calls salient tell the phone better than others?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from captum_spes.analysis.findings import Results, check_results, table
from captum_spes.analysis.probes import PhoneProbe
from captum_spes.analysis.resampling import (
    FEWEST_GROUPS,
    Array,
    draws,
    interval,
    numbers_of,
    tallies,
)
from captum_spes.errors import (
    ArgumentError,
    ArgumentTypeError,
    instance_of,
    open_share,
    truth,
    whole_number,
)
from captum_spes.maps import frames_within
from captum_spes.speech import SpeechToTextAttributionResult
from captum_spes.speech.noise import is_mostly_noise, word_reliabilities

if TYPE_CHECKING:
    from pandas import DataFrame

# Times in seconds, and how salient each is.
Profile: TypeAlias = tuple[ArrayLike, ArrayLike]
# What frames are matched for, and how many classes of loudness there are beside each phone, of
# which some are spoken in few frames.
_MATCHES = ("nothing", "loudness", "loudness and phone")
_CLASSES_BESIDE_PHONES = 3
_NOISE = "its map is mostly noise"


@dataclass(frozen=True, eq=False)
class SalientPhones:
    """How well phones are told in salient frames and in others.

    Attributes:
        table: one row per layer and kind of matching, see :func:`salient_phones`.
        frames: rows of the probe's with ``salience`` and ``salient``.
        dropped: utterances of the probe that were left out, and why.
    """

    table: DataFrame
    frames: DataFrame
    dropped: Mapping[str, str]


def time_profiles(
    results: Results, *, words: bool = False, keep_noise: bool = False
) -> dict[str, Profile]:
    r"""
    Reduce explanations to how salient each moment is: the maximum over the mel bins.

    Args:

        results (mapping of str to SpeechToTextAttributionResult): Explanations of one method, by
                    utterance.
        words (bool, optional): Whether a moment is as salient as the map of the word says that is
                    spoken then (see :func:`align_results`), and in no profile where no word is. By
                    default the map of the whole sentence says it.
                    Default: False
        keep_noise (bool, optional): Whether maps that are mostly noise (reliability below 0.5) are
                    read, too.
                    Default: False

    Returns:
        *dict* by utterance, those without any map left out, of times in seconds and saliences,
        ``(time,)`` each.

    Raises:
        ArgumentError: there is no result, several methods or models are mixed, or no profile is
            left.

    Examples::

        >>> times, salience = time_profiles({"speech": result}, keep_noise=True)["speech"]
        >>> len(times) == len(result.frame_times)
        True
    """
    check_results(results)
    words, keep_noise = truth("words", words), truth("keep_noise", keep_noise)
    of_result = _of_words if words else _of_sentence
    found = {name: of_result(result, keep_noise) for name, result in results.items()}
    profiles: dict[str, Profile] = {name: own for name, own in found.items() if own is not None}
    if not profiles:
        raise ArgumentError(
            "no explanation has a map that can be read: all are mostly noise (keep_noise=True "
            "reads them)" + (", or no word has a time: call align_results." if words else ".")
        )
    return profiles


def _of_sentence(result: SpeechToTextAttributionResult, keep_noise: bool) -> Profile | None:
    if not keep_noise and "reliability" in result.parameters:
        reliability = result.reliability().sentence
        if is_mostly_noise(None if np.isnan(reliability) else reliability):
            return None
    profile = result.sentence_attr().spectrogram_attr.amax(1)
    return result.frame_times.double().numpy(), profile.double().numpy()


def _of_words(result: SpeechToTextAttributionResult, keep_noise: bool) -> Profile | None:
    maps = result.word_attr().spectrogram_attr.amax(2).double().numpy()
    times = result.frame_times.double().numpy()
    found = np.full(len(times), np.nan)
    for word, profile, reliability in zip(
        result.words, maps, word_reliabilities(result), strict=True
    ):
        if word.start is None or word.end is None:
            continue
        if keep_noise or not is_mostly_noise(reliability):
            inside = frames_within(result.frame_times, word.start, word.end).numpy()
            found[inside] = profile[inside]
    known = np.isfinite(found)
    return (times[known], found[known]) if known.any() else None


def salient_phones(
    probe: PhoneProbe,
    profiles: Mapping[str, Profile],
    *,
    top: float = 0.2,
    loudness_classes: int = 10,
    n_resamples: int = 2_000,
    seed: int = 0,
) -> SalientPhones:
    r"""
    Compare how often a probe tells the phone in salient frames and in all others.

    Salient frames are loud ones, and loud ones are easily told, whatever the model does. So they
    are compared with others that are as loud: frames of a recording are ranked by loudness and cut
    into classes, and each class counts as much as it has salient frames. A class without others
    is left out (``matched`` tells how much is not). Where vowels are salient, it may also be that
    vowels are easily told: the last matching compares frames of the same phone, in three classes
    of loudness. What else differs, such as the distance from the next phone, is not matched.

    Args:

        probe (PhoneProbe): What :func:`phone_probe` returns: each frame is told by a probe that
                    was fitted on other recordings.
        profiles (mapping of str to pair of arrays): By utterance times in seconds, ascending, and
                    the salience of each: :func:`time_profiles`, or your own. A frame gets the mean
                    within half a frame of it.
        top (float, optional): Share of a recording's frames that counts as salient, in (0, 1).
                    Default: 0.2
        loudness_classes (int, optional): Of each recording's frames.
                    Default: 10
        n_resamples (int, optional): Of the bootstrap.
                    Default: 2000
        seed (int, optional): Of the bootstrap.
                    Default: 0

    Returns:
        *SalientPhones*. Its table holds per ``layer`` and what is ``matched_for`` ("nothing",
        "loudness", "loudness and phone"): the share of ``salient`` frames that are told, that of
        ``others``, their ``difference`` with its 95 % interval, ``low`` to ``high``, and the share
        of the salient frames that found others (``matched``). Intervals draw groups of recordings,
        both kinds of frames together (NaN for fewer than five). A map of loudness itself leaves
        little to compare, as it should.

    Raises:
        ArgumentError: no utterance of the probe has a profile, a profile is unusable, or an
            argument is out of range.

    Examples::

        >>> model, processor, clips = load_demo()
        >>> explainer = SpeechToTextAttribution(SPES(model), processor)
        >>> states = encoder_states(explainer, {clip.name: clip.path for clip in clips})
        >>> times = {clip.name: clip.alignment for clip in clips}
        >>> probe = phone_probe(states, times, folds=2)
        >>> loud = {name: (own.times, own.loudness) for name, own in states.items()}
        >>> salient_phones(probe, loud).table["matched_for"].unique().tolist()
        ['nothing', 'loudness', 'loudness and phone']
    """
    instance_of("probe", probe, PhoneProbe, "what phone_probe returns")
    instance_of("profiles", profiles, Mapping, "a dict of (times, saliences) by utterance")
    top, seed = open_share("top", top), whole_number("seed", seed, 0)
    loudness_classes = whole_number("loudness_classes", loudness_classes, 1)
    n_resamples = whole_number("n_resamples", n_resamples, 1)
    salience, dropped = _saliences(probe.frames, profiles)
    known = np.isfinite(salience)
    if not known.any():
        raise ArgumentError("no frame of the probe lies within a profile: compare their names.")
    frames = probe.frames.assign(salience=salience)[known]
    told = probe.predicted[known].reset_index(drop=True)
    frames = frames.reset_index(drop=True)
    frames["salient"] = _highest(frames, top)
    classes = {
        "nothing": np.zeros(len(frames), dtype=np.int64),
        "loudness": _ranked(frames, loudness_classes),
        "loudness and phone": _numbered(frames["phone"], _ranked(frames, _CLASSES_BESIDE_PHONES)),
    }
    groups, names = numbers_of(frames["group"].tolist())
    weights = draws(len(names), n_resamples if len(names) >= FEWEST_GROUPS else 0, seed)
    rows = []
    for layer in told.columns:
        right = (told[layer] == frames["phone"]).to_numpy()
        for match in _MATCHES:
            compared = _compared(
                right, frames["salient"].to_numpy(), groups, classes[match], weights
            )
            rows.append({"layer": layer, "matched_for": match, **compared})
    counts = {"frames": len(frames), "utterances": frames["utterance"].nunique()}
    return SalientPhones(table(rows).assign(**counts), frames, dropped)


def _saliences(frames: DataFrame, profiles: Mapping[str, Profile]) -> tuple[Array, dict[str, str]]:
    """Of each frame, NaN where it is not known; and the utterances without any."""
    found, dropped = np.full(len(frames), np.nan), {}
    for name, rows in frames.groupby("utterance", sort=False).indices.items():
        if name not in profiles:
            dropped[str(name)] = "no profile"
            continue
        at = frames["time"].to_numpy(dtype=float)[rows]
        found[rows] = _means_around(at, *_profile(str(name), profiles[name]))
        if not np.isfinite(found[rows]).any():
            dropped[str(name)] = "no frame within its profile"
    return found, dropped


def _profile(name: str, given: Any) -> tuple[Array, Array]:
    try:
        times, values = (np.asarray(part, dtype=np.float64) for part in given)
    except (TypeError, ValueError) as error:
        raise ArgumentTypeError(
            f"the profile of {name} must be a pair of arrays, times and saliences: {error}."
        ) from error
    if times.shape != values.shape or times.ndim != 1 or not len(times):
        raise ArgumentError(
            f"the profile of {name} needs as many times as saliences, in one dimension, got shapes "
            f"{times.shape} and {values.shape}."
        )
    if not (np.isfinite(times).all() and np.isfinite(values).all() and (np.diff(times) > 0).all()):
        raise ArgumentError(f"the profile of {name} needs finite values, and times that ascend.")
    return times, values


def _means_around(at: Array, times: Array, values: Array) -> Array:
    """The mean within half a frame of each time; the nearest value where profiles are coarser."""
    half = float(np.diff(np.unique(at)).min()) / 2 if len(np.unique(at)) > 1 else 0.0
    # Times in float32 differ in their last digits.
    first = np.searchsorted(times, at - half - 1e-6)
    last = np.searchsorted(times, at + half - 1e-6)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    count = last - first
    step = float(np.diff(times).max()) if len(times) > 1 else 0.0
    nearest = np.abs(times[:, None] - at).argmin(0)
    is_near = np.abs(times[nearest] - at) <= max(half, step / 2) + 1e-6
    coarse = np.where(is_near, values[nearest], np.nan)
    means = (sums[last] - sums[first]) / np.maximum(count, 1)
    return np.asarray(np.where(count > 0, means, coarse))


def _highest(frames: DataFrame, top: float) -> Any:
    """Whether a frame is among its recording's most salient; of equal ones, the later."""
    rank = frames.groupby("utterance")["salience"].rank(method="first", ascending=True)
    count = frames.groupby("utterance")["salience"].transform("size")
    return rank > count - np.maximum(1, (top * count).astype(int))


def _ranked(frames: DataFrame, classes: int) -> Any:
    """The class of each frame's loudness among those of its recording."""
    rank = frames.groupby("utterance")["loudness"].rank(method="first") - 1
    count = frames.groupby("utterance")["loudness"].transform("size")
    return (rank * classes // count).to_numpy(dtype=np.int64)


def _numbered(phones: Any, classes: Any) -> Any:
    pairs = [f"{phone} {number}" for phone, number in zip(phones, classes, strict=True)]
    return numbers_of(pairs)[0]


def _compared(
    right: Any, salient: Any, groups: Any, classes: Any, weights: Array
) -> dict[str, float]:
    """Shares of frames that are told, of salient ones and of others in the same classes."""
    shape = weights.shape[1], int(classes.max()) + 1
    both = {
        kind: (
            weights @ tallies(right & chosen, groups, classes, shape),
            weights @ tallies(chosen, groups, classes, shape),
        )
        for kind, chosen in (("salient", salient), ("others", ~salient))
    }
    counted = both["salient"][1]
    weight = np.where(both["others"][1] > 0, counted, 0.0)
    total = weight.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = {
            kind: (np.where(weight > 0, told / count, 0.0) * weight).sum(1) / total
            for kind, (told, count) in both.items()
        }
    difference, low, high = interval(shares["salient"] - shares["others"])
    return {
        "salient": float(shares["salient"][0]),
        "others": float(shares["others"][0]),
        "difference": difference,
        "low": low,
        "high": high,
        "matched": float(total[0] / counted[0].sum()),
    }
