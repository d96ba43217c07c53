"""How close what a model wrote is to what it should have written."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from captum_spes.errors import ArgumentError, optional_library, texts
from captum_spes.io.texts import nfc
from captum_spes.maps import is_unspaced, split_unspaced

# sacrebleu's tokenizer for languages that its default, 13a, cannot cut into words. It names none
# that needs no download for those cut into characters.
_TOKENIZERS = {
    "zh": "zh", "yue": "zh", "ja": "ja-mecab", "ko": "ko-mecab", "th": "char", "lo": "char",
    "km": "char", "my": "char",
    "cmn": "zh", "zho": "zh", "jpn": "ja-mecab", "kor": "ko-mecab", "tha": "char", "lao": "char",
    "khm": "char", "mya": "char",
}  # fmt: skip


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

    Languages without spaces between words (Chinese, Japanese, Thai, ...) need other scores: the
    character error rate, which is the same of characters, spaces inside the text among them, or
    BLEU with another of sacrebleu's tokenizers. Texts are compared in Unicode's composed form
    (NFC).

    Args:

        references (sequence of str): What should have been written, at least one.
        hypotheses (sequence of str): What was written, in the same order.
        metric (str, optional): "wer", "cer", each also capped ("wer_capped", "cer_capped": at most
                    100), or "bleu", "bleu-zh", "bleu-ja-mecab", "bleu-ko-mecab", "bleu-char" (the
                    tokenizer's name behind the hyphen).
                    Default: "wer"

    Returns:
        *float*: percent; error rates can exceed 100.

    Raises:
        ArgumentError: the metric is unknown, the numbers of texts differ or are 0, or the
            references hold no word.
        ArgumentTypeError: something among the texts is none.
        ImportError: editdistance or sacrebleu is not installed, or what its tokenizer needs.

    Examples::

        >>> corpus_score(["the cat sat down"], ["the cat sits down"])
        25.0
        >>> corpus_score(["今天天气很好"], ["今天天气好"], "cer")
        16.666...
    """
    counts, score = text_metric(metric)
    if isinstance(references, str) or isinstance(hypotheses, str):
        raise ArgumentError("references and hypotheses are sequences of texts, not one text.")
    references, hypotheses = texts("references", references), texts("hypotheses", hypotheses)
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
    if not isinstance(name, str) or name not in METRICS:
        raise ArgumentError(f"metric must be one of {', '.join(METRICS)}, got {name!r}.")
    if name.startswith("bleu"):
        _bleu_of(_tokenizer(name))
    else:
        _library("editdistance")
    return METRICS[name]


def suitable_metric(references: Sequence[str], language: str | None = None) -> str:
    """The name of the metric that fits a corpus.

    Args:
        references: what should be written.
        language: code of the language of translations; None for transcripts.

    Returns:
        BLEU for translations, with the tokenizer of their language; for transcripts the capped
        error rate, of characters where most of the text is in scripts without spaces.
    """
    if language is not None:
        tokenizer = _TOKENIZERS.get(re.split("[-_]", language)[0].lower())
        return "bleu" if tokenizer is None else f"bleu-{tokenizer}"
    parts = [part for text in references for word in text.split() for part in split_unspaced(word)]
    n_unspaced = sum(is_unspaced(part[0]) for part in parts)
    return "cer_capped" if 2 * n_unspaced > len(parts) else "wer_capped"


def _word_errors(reference: str, hypothesis: str) -> list[int]:
    return _errors(nfc(reference).split(), nfc(hypothesis).split())


def _character_errors(reference: str, hypothesis: str) -> list[int]:
    return _errors(list(nfc(reference).strip()), list(nfc(hypothesis).strip()))


def _errors(reference: list[str], hypothesis: list[str]) -> list[int]:
    return [int(_library("editdistance").eval(reference, hypothesis)), len(reference)]


def _error_rate(sums: ArrayLike) -> float:
    errors, length = np.asarray(sums)
    # References without words have no rate; only a resampled corpus can hold none.
    return 100 * int(errors) / int(length) if length else 0.0


def _capped(sums: ArrayLike) -> float:
    return min(_error_rate(sums), 100.0)


def _matches(tokenizer: str, reference: str, hypothesis: str) -> list[int]:
    score = _bleu_of(tokenizer).corpus_score([nfc(hypothesis)], [[nfc(reference)]])
    return [*score.counts, *score.totals, score.sys_len, score.ref_len]


def _bleu(sums: ArrayLike) -> float:
    matches = [int(value) for value in np.asarray(sums)]
    correct, total = matches[:4], matches[4:8]
    bleu = _library("sacrebleu.metrics").BLEU
    # The smoothing of sacrebleu's own corpus score.
    return float(bleu.compute_bleu(correct, total, *matches[8:], smooth_method="exp").score)


def _tokenizer(name: str) -> str:
    return name.partition("-")[2] or "13a"


@lru_cache
def _bleu_of(tokenizer: str) -> Any:
    """sacrebleu's BLEU; its tokenizers of Japanese and Korean need a dictionary."""
    bleu = _library("sacrebleu.metrics").BLEU
    try:
        return bleu(tokenize=tokenizer)
    except RuntimeError as error:
        extra = tokenizer.partition("-")[0]
        raise ImportError(
            f"BLEU with the tokenizer {tokenizer} needs its dictionary: "
            f"pip install 'sacrebleu[{extra}]'"
        ) from error


def _library(name: str) -> Any:
    return optional_library(name, "this score", "metrics")


_BLEU_NAMES = ("bleu", *(f"bleu-{name}" for name in dict.fromkeys(_TOKENIZERS.values())))
METRICS = {
    "wer": TextMetric(_word_errors, _error_rate),
    "wer_capped": TextMetric(_word_errors, _capped),
    "cer": TextMetric(_character_errors, _error_rate),
    "cer_capped": TextMetric(_character_errors, _capped),
    **{name: TextMetric(partial(_matches, _tokenizer(name)), _bleu) for name in _BLEU_NAMES},
}
