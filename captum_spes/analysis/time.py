"""Do maps lie where their words are spoken? (arXiv 2411.01710, section 8.1)"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
from numpy.typing import NDArray

from captum_spes.analysis.findings import (
    Findings,
    Results,
    believable,
    check_results,
    corrected,
    mean_test,
    number,
    roc_auc,
    table,
    test_row,
    utterance_means,
    with_noise,
)
from captum_spes.errors import ArgumentError
from captum_spes.maps import frames_within, is_constant
from captum_spes.speech import SpeechToTextAttributionResult, Word
from captum_spes.speech.noise import is_mostly_noise, word_reliabilities

if TYPE_CHECKING:
    from pandas import DataFrame

_Array = NDArray[np.float64]
_CONSTANT = "its maps are constant over time"
_COLUMNS = (
    "utterance", "word", "position", "start", "end", "inside", "outside", "difference", "hit",
    "chance", "auc", "peak", "centre", "reliability",
)  # fmt: skip


def time_analysis(
    results: Results, *, n_resamples: int = 9_999, seed: int = 0, keep_noise: bool = False
) -> Findings:
    r"""
    Compare each word's saliency within the time in which it is spoken with that outside.

    The normalised maps of a word's tokens are averaged, and a frame's score is the maximum over
    its mel bins, as in the paper.

    Args:

        results (mapping of str to SpeechToTextAttributionResult): Explanations of one method, by
                    utterance, whose words have times: see :func:`align_results`.
        n_resamples (int, optional): Number of permutations.
                    Default: 9999
        seed (int, optional): Seed of the permutations.
                    Default: 0
        keep_noise (bool, optional): Whether tests are also made on words whose maps are mostly
                    noise (reliability below 0.5). They are in the table in any case.
                    Default: False

    Returns:
        *Findings*: one row per word with times, ``start`` and ``end`` in seconds: mean frame score
        ``inside`` and ``outside``; ``hit``, whether the highest frame lies inside (pointing game),
        with the share of the frames that do (``chance``); ``auc`` of the frame scores (ROC, 0.5
        by chance); the time of the ``peak`` and the ``centre`` of what lies above the median.

        Tests, one-sided. Against no difference, by t-test: inside above outside over words (the
        paper's) and over utterances; hits above chance and ``auc`` above 0.5 over utterances.
        Speech is louder than what surrounds it, so a map of loudness alone passes these;
        permutation tests therefore compare with the spans of the *other* words of the utterance:
        the difference, hits and ``auc`` of the own word above those of others, and whether
        centres follow the order of the words (mean of the utterances' Spearman rho).

    Raises:
        ArgumentError: there is no result, no word has a time, or several methods or models are
            mixed.
        ImportError: pandas is not installed.

    Examples::

        >>> found = time_analysis({"speech": align_result(result, alignment).result})
        >>> found.table["word"].tolist()
        ['the', 'cat']
    """
    check_results(results)
    rows: list[dict[str, Any]] = []
    dropped: dict[str, str] = {}
    crossed: list[_Crossed] = []
    for name, result in results.items():
        if is_constant(result.spectrogram_attr, 1):
            dropped[name] = _CONSTANT
            continue
        words = [(i, w) for i, w in enumerate(result.words) if w.start is not None]
        usable = [(i, w) for i, w in words if _has_both_sides(result, w)]
        if len(usable) < len(words) or not words:
            dropped[name] = _reason(len(words), len(usable))
        if usable:
            of_result = list(_measured(result, usable))
            rows += [{"utterance": name, **row} for row, _ in of_result]
            kept = _kept(result, usable, [scores for _, scores in of_result], keep_noise)
            crossed += [_Crossed.of(scores, result, words) for words, scores in kept]
    if set(dropped.values()) == {_CONSTANT} and not rows:
        raise ArgumentError(f"there is no time to analyse: of every utterance, {_CONSTANT}.")
    if not rows:
        raise ArgumentError(
            "no written word has a time within its recording: call align_results first, and check "
            "that the output transcribes what the alignment says."
        )
    words_table = table(rows, _COLUMNS)
    tested = believable(words_table, keep_noise)
    tests = [*_against_nothing(tested), *_against_others(crossed, n_resamples, seed)]
    return Findings(
        words_table,
        corrected([with_noise(test, tested) for test in tests]),
        dropped,
        keep_noise=keep_noise,
    )


def _kept(
    result: SpeechToTextAttributionResult,
    words: Sequence[tuple[int, Word]],
    scores: Sequence[_Array],
    keep_noise: bool,
) -> Iterator[tuple[list[tuple[int, Word]], list[_Array]]]:
    """The words of an utterance that tests are made on, with their frame scores; nothing where
    there are none."""
    reliabilities = word_reliabilities(result)
    kept = [
        (word, own)
        for word, own in zip(words, scores, strict=True)
        if keep_noise or not is_mostly_noise(reliabilities[word[0]])
    ]
    if kept:
        yield [word for word, _ in kept], [own for _, own in kept]


def _reason(n_words: int, n_usable: int) -> str:
    if not n_words:
        return "no word with a time"
    return f"{n_words - n_usable} of {n_words} words have no frame inside, or none outside"


def _inside(result: SpeechToTextAttributionResult, word: Word) -> NDArray[np.bool_]:
    assert word.start is not None
    assert word.end is not None
    return np.asarray(frames_within(result.frame_times, word.start, word.end).numpy())


def _has_both_sides(result: SpeechToTextAttributionResult, word: Word) -> bool:
    inside = _inside(result, word)
    return bool(inside.any() and not inside.all())


def _measured(
    result: SpeechToTextAttributionResult, words: Sequence[tuple[int, Word]]
) -> Iterator[tuple[dict[str, Any], _Array]]:
    """A row for each word, and its frame scores."""
    maps = result.word_attr().spectrogram_attr
    times = result.frame_times.double().numpy()
    reliabilities = word_reliabilities(result)
    for position, word in words:
        inside = _inside(result, word)
        scores = maps[position].amax(1).double().numpy()
        peak = int(scores.argmax())
        row = {
            "word": word.word,
            "position": position,
            "start": word.start,
            "end": word.end,
            "inside": scores[inside].mean(),
            "outside": scores[~inside].mean(),
            "difference": scores[inside].mean() - scores[~inside].mean(),
            "hit": bool(inside[peak]),
            "chance": inside.mean(),
            "auc": roc_auc(scores[inside], scores[~inside]),
            "peak": times[peak],
            "centre": _centre(scores, times),
            "reliability": number(reliabilities[position]),
        }
        yield row, scores


def _centre(scores: _Array, times: _Array) -> float:
    # Above the median: the background would pull every centre to the middle.
    weights = np.clip(scores - np.median(scores), 0, None)
    return float(np.average(times, weights=weights)) if weights.any() else float("nan")


def _against_nothing(words: DataFrame) -> list[dict[str, Any]]:
    utterances = words["utterance"].tolist()
    questions = {
        "inside > outside": words["difference"],
        "pointing > chance": words["hit"].astype(float) - words["chance"].astype(float),
        "ROC-AUC of frames > 0.5": words["auc"].astype(float) - 0.5,
    }
    over_words = mean_test("inside > outside, words", words["difference"], utterances)
    return [over_words] + [
        mean_test(f"{question}, utterances", *utterance_means(values, utterances))
        for question, values in questions.items()
    ]


@dataclass(frozen=True)
class _Crossed:
    """Every map of an utterance against the span of every word: ``(words, words)`` each."""

    difference: _Array
    hit: _Array
    auc: _Array
    order: _Array

    @classmethod
    def of(
        cls,
        scores: Sequence[_Array],
        result: SpeechToTextAttributionResult,
        words: Sequence[tuple[int, Word]],
    ) -> _Crossed:
        times = result.frame_times.double().numpy()
        spans = [_inside(result, word) for _, word in words]
        pairs = [[(one, span) for span in spans] for one in scores]
        centres = np.array([_centre(one, times) for one in scores])
        starts = np.array([word.start for _, word in words], dtype=float)
        return cls(
            np.array([[s[i].mean() - s[~i].mean() for s, i in row] for row in pairs]),
            np.array([[float(i[s.argmax()]) for s, i in row] for row in pairs]),
            np.array([[roc_auc(s[i], s[~i]) for s, i in row] for row in pairs]),
            # The mean over words of a product of standardised ranks is Spearman's rho.
            np.outer(_standard_ranks(centres), _standard_ranks(starts)),
        )


def _standard_ranks(values: _Array) -> _Array:
    if not np.isfinite(values).all() or not np.ptp(values):
        return np.zeros(len(values))
    ranks = scipy.stats.rankdata(values)
    return np.asarray((ranks - ranks.mean()) / ranks.std())


def _against_others(
    crossed: Sequence[_Crossed], n_resamples: int, seed: int
) -> list[dict[str, Any]]:
    """Test by shuffling, within each utterance, which map goes with which word."""
    kept = [one for one in crossed if len(one.hit) > 1]
    questions = {
        "inside - outside, own word > others": "difference",
        "pointing, own word > others": "hit",
        "ROC-AUC, own word > others": "auc",
        "centres follow the words (rho > 0)": "order",
    }
    test = f"permutation of the words within utterances, {n_resamples:,}"
    rows = []
    for question, name in questions.items():
        tables = [np.asarray(getattr(one, name)) for one in kept]
        n_words = sum(len(one) for one in tables)
        row = test_row(question, test, "greater", n_words, len(tables))
        rows.append(row if not kept else row | _permuted(tables, n_resamples, seed))
    return rows


def _permuted(tables: Sequence[_Array], n_resamples: int, seed: int) -> dict[str, Any]:
    generator = np.random.default_rng(seed)
    own = float(np.mean([np.diag(one).mean() for one in tables]))
    others = np.zeros(n_resamples)
    for one in tables:
        shuffled = generator.random((n_resamples, len(one))).argsort(1)
        others += one[np.arange(len(one)), shuffled].mean(1) / len(tables)
    # Sums in another order can differ in their last digit.
    reached = int((others >= own - 1e-12).sum())
    return {
        "estimate": own - float(np.mean([one.mean() for one in tables])),
        "effect": "mean of the utterances",
        "effect_size": own,
        "statistic": own,
        "p": (1 + reached) / (1 + n_resamples),
    }
