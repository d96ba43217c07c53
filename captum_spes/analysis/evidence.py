"""How much of a word is in the audio. (arXiv 2411.01710, section 8.3)"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats
from torch import Tensor

from captum_spes.analysis.findings import (
    Findings,
    Results,
    check_results,
    corrected,
    rank_test,
    roc_auc,
    table,
)
from captum_spes.errors import ArgumentError
from captum_spes.maps import group_words, span_mean
from captum_spes.speech import SpeechToTextAttributionResult

if TYPE_CHECKING:
    from pandas import DataFrame, Series

# What counts as evidence: a higher value speaks for the audio.
EVIDENCE = ("impact", "peak_impact", "kurtosis", "speech_share")
_WORD, _CONTINUATION, _PUNCTUATION, _SPECIAL = (
    "start of a word", "within a word", "punctuation", "end of sentence",
)  # fmt: skip


def token_evidence(results: Results) -> Findings:
    r"""
    Compare kinds of tokens by how concentrated their maps are (Figure 10 of the paper).

    A map whose saliency gathers in few cells has a high kurtosis; tokens that follow from the text
    alone, such as punctuation, have flat ones.

    Args:

        results (mapping of str to SpeechToTextAttributionResult): Explanations of one method, by
                    utterance.

    Returns:
        *Findings*: one row per token: its ``kind`` ("start of a word", "within a word",
        "punctuation", "end of sentence"), the ``kurtosis`` of its raw map (Fisher's: 0 for a
        normal distribution), ``impact`` and ``peak_impact``, the mean and the maximum of its raw
        map (for SPES the divergence, in nats, that removing audio causes), and ``speech_share``
        (NaN without attributions of previous tokens). Tests: whether starts of words have a
        higher kurtosis than each other kind, Mann-Whitney, one-sided.

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
    tokens = table(rows, ["utterance", "token", "position", "kind", *EVIDENCE])
    of_kind = dict(iter(tokens.groupby("kind")))
    empty = tokens.iloc[:0]
    starts = of_kind.get(_WORD, empty)
    tests = [
        rank_test(
            f"kurtosis, {_WORD} > {kind}",
            starts["kurtosis"],
            of_kind.get(kind, empty)["kurtosis"],
            tokens["utterance"].tolist(),
        )
        for kind in (_CONTINUATION, _PUNCTUATION, _SPECIAL)
    ]
    return Findings(tokens, corrected(tests))


def word_evidence(results: Results) -> Findings:
    r"""
    Measure for each written word how much speaks for it in the audio.

    Words that a model invents rest on nothing that it heard: whatever is removed from the
    recording changes little. What counts as little depends on the model and on the settings;
    :func:`hallucination_check` measures how well a score separates.

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
        table(rows, ["utterance", "word", "position", *EVIDENCE]), corrected([]), dropped
    )


def hallucination_check(
    words: Findings,
    supported: Sequence[bool] | Series,
    *,
    n_resamples: int = 1_000,
    seed: int = 0,
) -> Findings:
    r"""
    Measure how well each kind of evidence separates words that were said from words that were not.

    Args:

        words (Findings): What :func:`word_evidence` returns.
        supported (sequence of bool): For each of its rows whether the word is in the audio.
        n_resamples (int, optional): Of the bootstrap over utterances.
                    Default: 1000
        seed (int, optional): Of the bootstrap.
                    Default: 0

    Returns:
        *Findings*: the words with a column ``supported``, and a test per kind of evidence:
        Mann-Whitney, one-sided, with the ROC-AUC as ``effect_size`` and its 95 % bootstrap interval
        over utterances in ``auc_low`` and ``auc_high``.

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
    rows, intervals = [], []
    for name in EVIDENCE:
        known = frame.dropna(subset=name)
        said, invented = (known[known["supported"] == truth][name] for truth in (True, False))
        rows.append(
            rank_test(f"{name}, said > not said", said, invented, known["utterance"].tolist())
        )
        intervals.append(_interval(known, name, n_resamples, seed))
    tests = corrected(rows)
    tests[["auc_low", "auc_high"]] = intervals
    return Findings(frame, tests, words.dropped)


def was_spoken(words: Findings, results: Results) -> list[bool]:
    r"""
    Tell for each row of :func:`word_evidence` whether the word was matched to a spoken one.

    Args:

        words (Findings): What :func:`word_evidence` returns.
        results (mapping of str to SpeechToTextAttributionResult): The explanations that it was
                    given, with times: see :func:`align_results`.

    Returns:
        *list[bool]*

    Examples::

        >>> aligned = align_results({"speech": result}, {"speech": alignment})
        >>> was_spoken(word_evidence(aligned.results), aligned.results)
        [True, True]
    """
    places = zip(words.table["utterance"], words.table["position"], strict=True)
    return [results[name].words[position].start is not None for name, position in places]


def _interval(frame: DataFrame, name: str, n_resamples: int, seed: int) -> tuple[float, float]:
    """Words of an utterance stand together in each resampled corpus."""
    groups = [group for _, group in frame.groupby("utterance", sort=False)]
    values = [g[name].to_numpy(dtype=float) for g in groups]
    labels = [g["supported"].to_numpy(dtype=bool) for g in groups]
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(n_resamples if groups else 0):
        drawn = generator.integers(0, len(groups), len(groups))
        of_words = np.concatenate([values[i] for i in drawn])
        is_said = np.concatenate([labels[i] for i in drawn])
        found.append(roc_auc(of_words[is_said], of_words[~is_said]))
    if not found or np.isnan(found).all():
        return float("nan"), float("nan")
    low, high = np.nanquantile(found, [0.025, 0.975])
    return float(low), float(high)


def _tokens(result: SpeechToTextAttributionResult) -> Iterator[dict[str, Any]]:
    kinds = _kinds(result)
    measured = _measured(result.spectrogram_attr, _shares(result))
    for index, (token, kind) in enumerate(zip(result.output_tokens, kinds, strict=True)):
        yield {"token": token, "position": index, "kind": kind, **measured(index)}


def _words(result: SpeechToTextAttributionResult) -> Iterator[dict[str, Any]]:
    spoken = [
        (position, word)
        for position, word in enumerate(result.words)
        if any(character.isalnum() for character in word.word)
    ]
    spans = [word.token_indices for _, word in spoken]
    shares = _shares(result)
    means = np.array([np.mean(shares[list(span)]) for span in spans])
    measured = _measured(span_mean(result.spectrogram_attr, None, spans).spectrogram_attr, means)
    for index, (position, word) in enumerate(spoken):
        yield {"word": word.word, "position": position, **measured(index)}


def _measured(maps: Tensor, shares: Any) -> Callable[[int], Mapping[str, float]]:
    flat = maps.double().flatten(1).numpy()

    def evidence(index: int) -> Mapping[str, float]:
        cells = flat[index]
        is_flat = cells.max() == cells.min()
        values = (
            cells.mean(),
            cells.max(),
            np.nan if is_flat else stats.kurtosis(cells),
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
    for word in result.words:
        is_word = any(character.isalnum() for character in word.word)
        for place, index in enumerate(word.token_indices):
            # The tokens of a word that an alignment put together keep what they are.
            text = group_words([result.output_tokens[index]])[0][0]
            is_mark = bool(text) and not any(character.isalnum() for character in text)
            if is_mark or not is_word:
                kinds[index] = _PUNCTUATION
            else:
                kinds[index] = _CONTINUATION if place else _WORD
    return kinds
