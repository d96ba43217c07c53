"""How much of a word is in the audio. (arXiv 2411.01710, section 8.3)"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.alignment.matching import joined_words
from captum_spes.analysis.findings import (
    Findings,
    Results,
    believable,
    check_results,
    corrected,
    mean_test,
    number,
    rank_test,
    roc_auc,
    table,
    with_noise,
)
from captum_spes.errors import ArgumentError
from captum_spes.maps import span_mean
from captum_spes.speech import SpeechToTextAttributionResult
from captum_spes.speech.noise import reliability_of, token_reliabilities

if TYPE_CHECKING:
    from pandas import DataFrame, Series

# What counts as evidence: a higher value speaks for the audio.
EVIDENCE = ("impact", "peak_impact", "kurtosis", "speech_share")
# Means over all cells of a map: sampling noise, which differs from cell to cell, averages out.
_WITHOUT_NOISE = ("impact", "speech_share")
# With fewer a bootstrap says nothing.
_FEWEST_CLUSTERS = 5
_WORD, _CONTINUATION, _PUNCTUATION, _SPECIAL = (
    "start of a word", "within a word", "punctuation", "end of sentence",
)  # fmt: skip


def token_evidence(results: Results, *, keep_noise: bool = False) -> Findings:
    r"""
    Compare kinds of tokens by how concentrated their maps are (Figure 10 of the paper).

    A map whose saliency gathers in few cells has a high kurtosis; tokens that follow from the text
    alone, such as punctuation, have flat ones.

    Args:

        results (mapping of str to SpeechToTextAttributionResult): Explanations of one method, by
                    utterance.
        keep_noise (bool, optional): Whether tests are also made on tokens whose maps are mostly
                    noise (reliability below 0.5). They are in the table in any case.
                    Default: False

    Returns:
        *Findings*: one row per token: its ``kind`` ("start of a word", "within a word",
        "punctuation", "end of sentence"), the ``kurtosis`` of its raw map (Fisher's: 0 for a
        normal distribution), ``impact`` and ``peak_impact``, the mean and the maximum of its raw
        map (for SPES the divergence, in nats, that removing audio causes), and ``speech_share``
        (NaN without attributions of previous tokens). Tests, one-sided: whether starts of words
        have a higher kurtosis than each other kind, over tokens (Mann-Whitney), and within
        utterances (t-test of the differences of their medians).

    Raises:
        ArgumentError: there is no result, or several methods are mixed.
        ImportError: pandas is not installed.

    Examples::

        >>> token_evidence({"speech": result}).table["kind"].iloc[0]
        'start of a word'
    """
    check_results(results)
    rows = [
        {"utterance": name, **row} for name, result in results.items() for row in _tokens(result)
    ]
    tokens = table(rows, ["utterance", "token", "position", "kind", *EVIDENCE, "reliability"])
    tested = believable(tokens, keep_noise)
    tests = [
        test
        for kind in (_CONTINUATION, _PUNCTUATION, _SPECIAL)
        for test in _higher_kurtosis(tested, kind)
    ]
    return Findings(tokens, corrected(tests), keep_noise=keep_noise)


def _higher_kurtosis(tokens: DataFrame, kind: str) -> list[dict[str, Any]]:
    question = f"kurtosis, {_WORD} > {kind}"
    starts, others = (tokens[tokens["kind"] == k] for k in (_WORD, kind))
    medians = tokens.groupby(["utterance", "kind"])["kurtosis"].median().unstack()
    differences = medians.reindex(columns=[_WORD, kind]).diff(-1, axis=1)[_WORD]
    tests = [
        rank_test(
            f"{question}, tokens",
            starts["kurtosis"],
            others["kurtosis"],
            (starts["utterance"].tolist(), others["utterance"].tolist()),
        ),
        mean_test(f"{question}, utterances", differences, differences.index.tolist()),
    ]
    return [with_noise(test, starts, others) for test in tests]


def word_evidence(results: Results) -> Findings:
    r"""
    Measure for each written word how much in the audio speaks for it.

    Words that a model adds where it hears nothing rest on the text alone: whatever is removed from
    the recording changes little. What counts as little depends on the model and on the settings;
    :func:`hallucination_check` measures how well a score separates. The divergence of SPES shows
    that the model listens, not that it hears this very word; for a text that the model did not
    write itself, explain the probability instead: ``attribute(..., score="probability")``.

    Args:

        results (mapping of str to SpeechToTextAttributionResult): Explanations of one method, by
                    utterance.

    Returns:
        *Findings*: one row per word, punctuation left out: ``impact``, ``peak_impact`` (mean and
        maximum of the mean raw map of its tokens), ``kurtosis`` of that map, and ``speech_share``
        (mean over its tokens; NaN without attributions of previous tokens). No tests.

    Raises:
        ArgumentError: there is no result, or several methods are mixed.
        ImportError: pandas is not installed.

    Examples::

        >>> word_evidence({"speech": result}).table["word"].tolist()
        ['the', 'cat']
    """
    check_results(results)
    rows, dropped = [], {}
    for name, result in results.items():
        of_result = list(_words(result))
        if not of_result:
            dropped[name] = "no word"
        rows += [{"utterance": name, **row} for row in of_result]
    return Findings(
        table(rows, ["utterance", "word", "position", *EVIDENCE, "reliability"]),
        corrected([]),
        dropped,
    )


def hallucination_check(
    words: Findings,
    supported: Sequence[bool] | Series,
    *,
    clusters: Sequence[str] | Series | None = None,
    n_resamples: int = 1_000,
    seed: int = 0,
) -> Findings:
    r"""
    Measure how well each kind of evidence separates words that were said from words that were not.

    No word is left out as mostly noise: what was not said leaves nothing in a map but noise, and
    leaving it out would decide the question. Tests on such maps are marked, except those of means
    over all cells (impact, speech share), in which the noise of cells averages out.

    Args:

        words (Findings): What :func:`word_evidence` returns.
        supported (sequence of bool): For each of its rows whether the word is in the audio.
        clusters (sequence of str, optional): For each row the group that is drawn together: the
                    recording, for example, where one has several explanations.
                    Default: None, the utterance
        n_resamples (int, optional): Of the bootstrap over clusters.
                    Default: 1000
        seed (int, optional): Seed of the bootstrap.
                    Default: 0

    Returns:
        *Findings*: the words with a column ``supported``, and a test per kind of evidence:
        Mann-Whitney, one-sided, with the ROC-AUC as ``effect_size`` and its 95 % bootstrap interval
        over clusters in ``auc_low`` and ``auc_high`` (NaN for fewer than five clusters). p treats
        words as independent; the interval does not.

    Raises:
        ArgumentError: the number of labels is not that of the words, or one kind is missing.

    Examples::

        >>> words = word_evidence({"speech": result})
        >>> check = hallucination_check(words, [True, False])
        >>> check.table["supported"].tolist()
        [True, False]
    """
    labels = np.asarray(supported, dtype=bool)
    if labels.shape != (len(words.table),) or labels.all() or not labels.any():
        raise ArgumentError(
            f"supported needs one truth value for each of the {len(words.table)} words, both "
            f"kinds among them; got shape {labels.shape}, {int(labels.sum())} true."
        )
    frame = words.table.assign(supported=labels)
    cluster = np.asarray(frame["utterance"] if clusters is None else clusters)
    rows, intervals = [], []
    for name in EVIDENCE:
        said, invented = (frame[frame["supported"] == truth] for truth in (True, False))
        of = (said["utterance"].tolist(), invented["utterance"].tolist())
        test = rank_test(f"{name}, said > not said", said[name], invented[name], of)
        is_mean = name in _WITHOUT_NOISE
        rows.append(test | {"noise": ""} if is_mean else with_noise(test, frame))
        known = frame[name].notna().to_numpy()
        values = frame.loc[known, name].to_numpy(dtype=float)
        intervals.append(_interval(values, labels[known], cluster[known], n_resamples, seed))
    tests = corrected(rows)
    tests[["auc_low", "auc_high"]] = intervals
    return Findings(frame, tests, words.dropped, keep_noise=True)


def was_matched(words: Findings, results: Results) -> list[bool]:
    r"""
    Tell for each row of :func:`word_evidence` whether the word was matched to a spoken one.

    A word without a match was not said as it is written; it may have been said all the same, if
    the alignment lacks it or spells it in another way (*Mr.*, *50%*).

    Args:

        words (Findings): What :func:`word_evidence` returns.
        results (mapping of str to SpeechToTextAttributionResult): The explanations that it was
                    given, with times: see :func:`align_results`.

    Returns:
        *list[bool]*

    Examples::

        >>> aligned = align_results({"speech": result}, {"speech": alignment})
        >>> was_matched(word_evidence(aligned.results), aligned.results)
        [True, True]
    """
    places = zip(words.table["utterance"], words.table["position"], strict=True)
    return [results[name].words[position].start is not None for name, position in places]


def _interval(
    values: NDArray[np.float64],
    labels: NDArray[np.bool_],
    clusters: NDArray[Any],
    n_resamples: int,
    seed: int,
) -> tuple[float, float]:
    """The interval of the ROC-AUC; words of a cluster are drawn together."""
    names = list(dict.fromkeys(clusters.tolist()))
    if len(names) < _FEWEST_CLUSTERS:
        return float("nan"), float("nan")
    members = [np.flatnonzero(clusters == name) for name in names]
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(n_resamples):
        drawn = generator.integers(0, len(names), len(names))
        rows = np.concatenate([members[i] for i in drawn])
        found.append(roc_auc(values[rows][labels[rows]], values[rows][~labels[rows]]))
    if np.isnan(found).any():  # some draws lack one of the two kinds
        return float("nan"), float("nan")
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def _tokens(result: SpeechToTextAttributionResult) -> Iterator[dict[str, Any]]:
    kinds = _kinds(result)
    measured = _measured(result.spectrogram_attr, _shares(result))
    reliabilities = [number(value) for value in token_reliabilities(result)]
    for index, (token, kind) in enumerate(zip(result.output_tokens, kinds, strict=True)):
        row = {"token": token, "position": index, "kind": kind, **measured(index)}
        yield row | {"reliability": reliabilities[index]}


def _words(result: SpeechToTextAttributionResult) -> Iterator[dict[str, Any]]:
    spoken = [(i, word) for i, word in enumerate(joined_words(result)) if _is_spoken(word.word)]
    spans = [word.token_indices for _, word in spoken]
    shares = _shares(result)
    means = np.array([np.mean(shares[list(span)]) for span in spans])
    measured = _measured(span_mean(result.spectrogram_attr, None, spans).spectrogram_attr, means)
    for index, (position, word) in enumerate(spoken):
        row = {"word": word.word, "position": position, **measured(index)}
        yield row | {"reliability": number(reliability_of(result, word.token_indices))}


def _measured(maps: Tensor, shares: Any) -> Callable[[int], Mapping[str, float]]:
    flat = maps.double().flatten(1).numpy()

    def evidence(index: int) -> Mapping[str, float]:
        cells = flat[index]
        is_flat = cells.max() == cells.min()
        values = (
            cells.mean(),
            cells.max(),
            np.nan if is_flat else scipy.stats.kurtosis(cells),
            shares[index],
        )
        return dict(zip(EVIDENCE, map(float, values), strict=True))

    return evidence


def _shares(result: SpeechToTextAttributionResult) -> Any:
    if result.token_attr is None:
        return np.full(len(result.output_tokens), np.nan)
    return result.speech_share().double().numpy()


def _kinds(result: SpeechToTextAttributionResult) -> list[str]:
    kinds = [_SPECIAL] * len(result.output_tokens)
    for word in joined_words(result):
        for place, index in enumerate(word.token_indices):
            if not _is_spoken(word.word):
                kinds[index] = _PUNCTUATION
            elif place == 0:
                kinds[index] = _WORD
            else:
                is_mark = not _is_spoken(result.output_tokens[index])
                kinds[index] = _PUNCTUATION if is_mark else _CONTINUATION
    return kinds


def _is_spoken(text: str) -> bool:
    return any(character.isalnum() for character in text)
