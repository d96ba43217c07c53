"""Do maps lie where their words are spoken? (arXiv 2411.01710, section 8.1)"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from captum_spes.analysis.findings import (
    Findings,
    Results,
    check_results,
    corrected,
    mean_test,
    roc_auc,
    table,
)
from captum_spes.maps import frames_within
from captum_spes.speech import SpeechToTextAttributionResult

if TYPE_CHECKING:
    from pandas import DataFrame

_COLUMNS = (
    "utterance", "word", "position", "start", "end", "inside", "outside", "difference", "hit",
    "chance", "auc", "peak", "centre",
)  # fmt: skip
# A correlation of two words says nothing.
_FEWEST_WORDS = 3


def time_analysis(results: Results) -> Findings:
    r"""
    Compare each word's saliency within the time in which it is spoken with that outside.

    The normalised maps of a word's tokens are averaged, and a frame's score is the maximum over
    its mel bins, as in the paper.

    Args:

        results (mapping of str to SpeechToTextAttributionResult): Explanations of one method, by
                    utterance, whose words have times: see :func:`align_results`.

    Returns:
        *Findings*: one row per word with times, ``start`` and ``end`` in seconds: mean frame score
        ``inside`` and ``outside``; ``hit``, whether the highest frame lies inside (pointing game),
        with the share of the frames that do (``chance``); ``auc`` of the frame scores (ROC, 0.5
        by chance); the time of the ``peak`` and the ``centre`` of what lies above the median.
        Tests, each against chance and one-sided: inside above outside over words (the paper's)
        and over utterances, whose words are not independent of each other; hits; ``auc``; and
        whether centres follow the order of the words (Spearman's rho of each utterance of
        three words or more).

    Raises:
        ArgumentError: there is no result, or several methods are mixed.
        ImportError: pandas is not installed.

    Examples::

        >>> found = time_analysis({"speech": align_result(result, alignment).result})
        >>> found.table["word"].tolist()
        ['the', 'cat']
    """
    check_results(results)
    rows, dropped = [], {}
    for name, result in results.items():
        of_result = list(_words(name, result))
        if not of_result:
            dropped[name] = "no word with a time that lies within the recording"
        rows += of_result
    words = table(rows, _COLUMNS)
    return Findings(words, corrected(_tests(words)), dropped)


def _words(name: str, result: SpeechToTextAttributionResult) -> Iterator[dict[str, Any]]:
    times = result.frame_times
    if all(word.start is None for word in result.words):
        return
    maps = result.word_attr().spectrogram_attr
    for position, word in enumerate(result.words):
        if word.start is None or word.end is None:
            continue
        inside = frames_within(times, word.start, word.end).numpy()
        if not inside.any() or inside.all():
            continue
        scores = maps[position].amax(1).double().numpy()
        difference = scores[inside].mean() - scores[~inside].mean()
        peak = int(scores.argmax())
        yield {
            "utterance": name,
            "word": word.word,
            "position": position,
            "start": word.start,
            "end": word.end,
            "inside": scores[inside].mean(),
            "outside": scores[~inside].mean(),
            "difference": difference,
            "hit": bool(inside[peak]),
            "chance": inside.mean(),
            "auc": roc_auc(scores[inside], scores[~inside]),
            "peak": float(times[peak]),
            "centre": _centre(scores, times.double().numpy()),
        }


def _centre(scores: NDArray[np.float64], times: NDArray[np.float64]) -> float:
    # Above the median: the background would pull every centre to the middle.
    weights = np.clip(scores - np.median(scores), 0, None)
    return float(np.average(times, weights=weights)) if weights.any() else float("nan")


def _tests(words: DataFrame) -> list[dict[str, Any]]:
    of_utterance = words.groupby("utterance", sort=False)
    means = of_utterance["difference"].mean()
    orders = _orders(words)
    utterances = words["utterance"].tolist()
    return [
        mean_test("inside > outside, words", words["difference"], utterances),
        mean_test("inside > outside, means of utterances", means, means.index.tolist()),
        _hits(words),
        mean_test("ROC-AUC of frames > 0.5", words["auc"].astype(float) - 0.5, utterances),
        mean_test("centres follow the words (rho > 0)", list(orders.values()), list(orders)),
    ]


def _hits(words: DataFrame) -> dict[str, Any]:
    """How many maxima lie inside, against the chance of each word: exact."""
    hits, chances = words["hit"].astype(float), words["chance"].astype(float)
    row = mean_test("pointing > chance", hits - chances, words["utterance"].tolist())
    if len(words) < 2:
        return row
    expected = stats.poisson_binom(chances.to_numpy())
    return row | {
        "test": "Poisson binomial, exact",
        "effect": "share of hits",
        "effect_size": float(hits.mean()),
        "statistic": float(hits.sum()),
        "p": float(expected.sf(hits.sum() - 1)),
    }


def _orders(words: DataFrame) -> dict[str, float]:
    orders = {}
    for name, group in words.dropna(subset="centre").groupby("utterance", sort=False):
        if len(group) >= _FEWEST_WORDS:
            rho = stats.spearmanr(group["start"], group["centre"]).statistic
            if np.isfinite(rho):
                orders[str(name)] = float(rho)
    return orders
