"""Do maps become salient where phones begin?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captum_spes.alignment import Alignment
from captum_spes.alignment.intervals import alignments_of
from captum_spes.analysis.findings import (
    Findings,
    Results,
    check_results,
    corrected,
    mean_test,
    number,
    table,
    with_noise,
)
from captum_spes.errors import ArgumentError, open_share, positive_number, truth
from captum_spes.speech import SpeechToTextAttributionResult
from captum_spes.speech.noise import is_mostly_noise, token_reliabilities

_Array = NDArray[np.float64]
_COLUMNS = (
    "utterance", "boundaries", "onsets", "outside", "hits", "precision", "recall", "f1",
    "chance_precision", "chance_recall", "chance_f1", "reliability",
)  # fmt: skip
# Times that differ by less are one: alignments are rounded to this.
_SAME_SECONDS = 1e-3
# Times of frames are float32: their last digits must not decide.
_ROUNDING = 1e-6
_MEASURES = ("precision", "recall", "f1")


def phone_boundary_agreement(
    results: Results,
    alignments: Mapping[str, Alignment],
    *,
    tokens: bool = False,
    top: float = 0.2,
    tolerance: float = 0.02,
    keep_noise: bool = False,
) -> Findings:
    r"""
    Compare the times at which maps become salient with those at which phones begin and end.

    A frame is as salient as its highest mel bin, the highest fifth of a recording's frames are
    salient, and an onset is the beginning of a salient frame behind one that is not. An onset and a
    boundary that lie within the tolerance of each other are a hit; each has one partner at most.

    There are many boundaries in speech, so that any onset is near one. Chance is what the same
    onsets reach when all are shifted by the same time, the mean over all shifts by whole frames
    within the speech, around whose end they come back at its beginning. Onsets keep their number
    and distances, and that a map lies in speech and not beside it counts for nothing. Loudness
    rises at boundaries, too: compare with ``energy``.

    Args:

        results (mapping of str to SpeechToTextAttributionResult): Explanations of one method, by
                    utterance.
        alignments (mapping of str to Alignment): When phones are spoken, by utterance.
        tokens (bool, optional): Whether the onsets are those of the maps of all tokens, taken
                    together, each with its own salient frames. By default they are those of the
                    sentence's map.
                    Default: False
        top (float, optional): Share of the frames that are salient, in (0, 1).
                    Default: 0.2
        tolerance (float, optional): Seconds, above 0. Half of the mean distance of boundaries or
                    more tells nothing.
                    Default: 0.02
        keep_noise (bool, optional): Whether tests are also made on utterances whose maps are
                    mostly noise (reliability below 0.5; of tokens: whether these tokens' onsets are
                    taken at all). In the table all utterances are in any case.
                    Default: False

    Returns:
        *Findings*: one row per utterance: numbers of ``boundaries`` and of ``onsets`` within the
        speech (from the first boundary to the last), of onsets ``outside`` of it, which do not
        count, and of ``hits``; ``precision``, the share of the onsets that hit, ``recall``, the
        share of the boundaries that are hit, and ``f1``, with what each would be by chance.

        Tests, one-sided t-tests over utterances: is each above its chance?

    Raises:
        ArgumentError: there is no result, several methods or models are mixed, or no utterance
            has both phones with times and an onset.
        ImportError: pandas is not installed.

    Examples::

        >>> phones = (Interval("dh", 0.05, 0.2), Interval("ax", 0.2, 0.55))
        >>> spoken = {"speech": Alignment(alignment.words, phones)}
        >>> found = phone_boundary_agreement({"speech": result}, spoken, tolerance=0.01)
        >>> found.table["boundaries"].tolist()
        [3]
    """
    check_results(results)
    top, tolerance = open_share("top", top), positive_number("tolerance", tolerance)
    tokens, keep_noise = truth("tokens", tokens), truth("keep_noise", keep_noise)
    known = alignments_of(results, alignments)
    rows, dropped = [], {}
    for name, result in results.items():
        phones = known[name].phones if name in known else ()
        if not phones:
            dropped[name] = "no times of phones"
            continue
        found, reliability = _onsets(result, tokens, top, keep_noise)
        hop = _hop(result)
        boundaries = _distinct(np.array([t for p in phones for t in (p.start, p.end)]))
        row = _compared(found, boundaries, tolerance, hop)
        if not row["onsets"]:
            dropped[name] = "no onset within the speech"
            continue
        rows.append({"utterance": name, **row, "reliability": reliability})
    if not rows:
        raise ArgumentError(
            "no utterance has phones with times and an onset of its maps while they are spoken: "
            f"{'; '.join(f'{name}: {why}' for name, why in list(dropped.items())[:3])}."
        )
    found_table = table(rows, _COLUMNS)
    findings = Findings(found_table, found_table, dropped, keep_noise=keep_noise)
    tested = findings.tested
    tests = [
        mean_test(
            f"{measure.replace('f1', 'F1')} > chance",
            tested[measure].astype(float) - tested[f"chance_{measure}"].astype(float),
            tested["utterance"].tolist(),
        )
        for measure in _MEASURES
    ]
    tests_table = corrected([with_noise(test, tested) for test in tests])
    return Findings(found_table, tests_table, dropped, keep_noise=keep_noise)


def _onsets(
    result: SpeechToTextAttributionResult, tokens: bool, top: float, keep_noise: bool
) -> tuple[_Array, float]:
    """When the sentence's map, or that of any token, becomes salient; and how reliable it is."""
    times = result.frame_times.double().numpy() - _hop(result) / 2
    if not tokens:
        profile = result.sentence_attr().spectrogram_attr.amax(1).double().numpy()
        return times[_begins(profile, top)], _sentence_reliability(result)
    reliabilities = token_reliabilities(result)
    profiles = result.spectrogram_attr.amax(2).double().numpy()
    used = [
        (profile, number(reliability))
        for profile, reliability in zip(profiles, reliabilities, strict=True)
        if np.ptp(profile) > 0 and (keep_noise or not is_mostly_noise(reliability))
    ]
    if not used:
        return np.zeros(0), float("nan")
    found = np.concatenate([times[_begins(profile, top)] for profile, _ in used])
    return _distinct(found), float(np.mean([reliability for _, reliability in used]))


def _sentence_reliability(result: SpeechToTextAttributionResult) -> float:
    known = [r for r in token_reliabilities(result) if r is not None]
    return result.reliability().sentence if known else float("nan")


def _hop(result: SpeechToTextAttributionResult) -> float:
    times = result.frame_times.double().numpy()
    return float(np.median(np.diff(times))) if len(times) > 1 else 0.0


def _begins(profile: _Array, top: float) -> NDArray[np.bool_]:
    """Frames that are salient behind one that is not; of equal ones the later are salient."""
    salient = np.zeros(len(profile), dtype=bool)
    if np.ptp(profile) > 0:
        salient[profile.argsort(kind="stable")[-max(1, int(top * len(profile))) :]] = True
    begins: NDArray[np.bool_] = salient & ~np.append(True, salient[:-1])
    return begins


def _distinct(times: _Array) -> _Array:
    """In order, those that are nearly the same once."""
    ordered = np.sort(times)
    return ordered[np.diff(ordered, prepend=-np.inf) > _SAME_SECONDS]


def _compared(onsets: _Array, boundaries: _Array, tolerance: float, hop: float) -> dict[str, Any]:
    """A row of the table, without the utterance's name."""
    first, last = boundaries[0], boundaries[-1]
    inside = onsets[(onsets >= first - tolerance) & (onsets <= last + tolerance)]
    row: dict[str, Any] = {
        "boundaries": len(boundaries),
        "onsets": len(inside),
        "outside": len(onsets) - len(inside),
    }
    if not len(inside):
        return row
    hits = _hits(inside, boundaries, tolerance)
    # From the earliest onset that counts to the latest, so that none leaves the speech.
    length = last - first + 2 * tolerance
    from_start = inside - (first - tolerance)
    shifts = np.arange(1, max(2, int(length / hop))) * hop
    by_chance = [
        _hits(np.sort((from_start + shift) % length) + first - tolerance, boundaries, tolerance)
        for shift in shifts
    ]
    own = _scores(np.array([hits]), len(inside), len(boundaries))
    chance = _scores(np.array(by_chance), len(inside), len(boundaries))
    return {**row, "hits": hits, **own, **{f"chance_{name}": v for name, v in chance.items()}}


def _hits(onsets: _Array, boundaries: _Array, tolerance: float) -> int:
    """The most pairs of an onset and a boundary within the tolerance; both in order."""
    pairs = onset = boundary = 0
    allowed = tolerance + _ROUNDING
    while onset < len(onsets) and boundary < len(boundaries):
        distance = onsets[onset] - boundaries[boundary]
        is_hit = abs(distance) <= allowed
        pairs += is_hit
        onset += bool(is_hit or distance < 0)
        boundary += bool(is_hit or distance > 0)
    return int(pairs)


def _scores(hits: NDArray[np.int64], n_onsets: int, n_boundaries: int) -> dict[str, float]:
    """Means of precision, recall and F1, whose denominators do not depend on the hits."""
    mean = float(hits.mean())
    values = mean / n_onsets, mean / n_boundaries, 2 * mean / (n_onsets + n_boundaries)
    return dict(zip(_MEASURES, values, strict=True))
