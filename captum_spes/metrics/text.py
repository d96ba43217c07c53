"""How close what a model wrote is to what it should have written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from captum_spes.errors import ArgumentError, optional_library


class TextMetric(NamedTuple):
    """A corpus score that is computed from sums over utterances.

    Attributes:
        counts: what a reference and a hypothesis add to the sums.
        score: percent, from the sums.
    """

    counts: Callable[[str, str], list[int]]
    score: Callable[[ArrayLike], float]


def corpus_score(
    references: Sequence[str], hypotheses: Sequence[str], metric: str = "wer"
) -> float:
    r"""
    Score hypotheses against references over a whole corpus.

    The word error rate is the edit distance between all words divided by the words of all
    references, with case and punctuation kept and words cut at spaces; BLEU is sacrebleu's
    with its defaults (tokenizer 13a, cased). Both as in arXiv 2411.01710, section 5.

    Args:

        references (sequence of str): What should have been written, at least one.
        hypotheses (sequence of str): What was written, in the same order.
        metric (str, optional): "wer", "wer_capped" (at most 100) or "bleu".
                    Default: "wer"

    Returns:
        *float*: percent; the word error rate can exceed 100.

    Raises:
        ArgumentError: the metric is unknown, the numbers of texts differ or are 0, or the
            references hold no word.
        ImportError: editdistance or sacrebleu is not installed.

    Examples::

        >>> corpus_score(["the cat sat down"], ["the cat sits down"])
        25.0
    """
    counts, score = text_metric(metric)
    if isinstance(references, str) or isinstance(hypotheses, str):
        raise ArgumentError("references and hypotheses are sequences of texts, not one text.")
    if len(references) != len(hypotheses) or not references:
        raise ArgumentError(
            f"every reference needs one hypothesis: got {len(references)} references and "
            f"{len(hypotheses)} hypotheses."
        )
    if not any(reference.split() for reference in references):
        raise ArgumentError("the references hold no word.")
    pairs = zip(references, hypotheses, strict=True)
    return score(np.sum([counts(reference, hypothesis) for reference, hypothesis in pairs], 0))


def word_error_rate(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    r"""
    The word error rate of a corpus: :func:`corpus_score` with the metric "wer".

    Args:

        references (sequence of str): What should have been written, at least one.
        hypotheses (sequence of str): What was written, in the same order.

    Returns:
        *float*: percent; it can exceed 100.

    Raises:
        ArgumentError: the numbers of texts differ or are 0, or the references hold no word.
        ImportError: editdistance is not installed.

    Examples::

        >>> word_error_rate(["the cat sat"], ["the cat"])
        33.333...
    """
    return corpus_score(references, hypotheses, "wer")


def text_metric(name: str) -> TextMetric:
    """Look up a metric and load the library that it needs."""
    if name not in _METRICS:
        raise ArgumentError(f"metric must be one of {', '.join(_METRICS)}, got {name!r}.")
    _library("sacrebleu" if name == "bleu" else "editdistance")
    return _METRICS[name]


def _word_errors(reference: str, hypothesis: str) -> list[int]:
    words = reference.split()
    return [int(_library("editdistance").eval(words, hypothesis.split())), len(words)]


def _error_rate(sums: ArrayLike) -> float:
    errors, words = np.asarray(sums)
    # References without words have no rate; only a resampled corpus can hold none.
    return 100 * int(errors) / int(words) if words else 0.0


def _matches(reference: str, hypothesis: str) -> list[int]:
    score = _library("sacrebleu").corpus_bleu([hypothesis], [[reference]])
    return [*score.counts, *score.totals, score.sys_len, score.ref_len]


def _bleu(sums: ArrayLike) -> float:
    matches = [int(value) for value in np.asarray(sums)]
    correct, total = matches[:4], matches[4:8]
    bleu = _library("sacrebleu.metrics").BLEU
    # The smoothing of sacrebleu's own corpus score.
    return float(bleu.compute_bleu(correct, total, *matches[8:], smooth_method="exp").score)


_METRICS = {
    "wer": TextMetric(_word_errors, _error_rate),
    "wer_capped": TextMetric(_word_errors, lambda sums: min(_error_rate(sums), 100.0)),
    "bleu": TextMetric(_matches, _bleu),
}


def _library(name: str) -> Any:
    return optional_library(name, "this score", "metrics")
