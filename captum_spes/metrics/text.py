"""How close what a model wrote is to what it should have written."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from captum_spes.errors import ArgumentError

METRICS = ("wer", "wer_capped", "bleu")


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
    if metric not in METRICS:
        raise ArgumentError(f"metric must be one of {', '.join(METRICS)}, got {metric!r}.")
    if isinstance(references, str) or isinstance(hypotheses, str):
        raise ArgumentError("references and hypotheses are sequences of texts, not one text.")
    if len(references) != len(hypotheses) or not references:
        raise ArgumentError(
            f"every reference needs one hypothesis: got {len(references)} references and "
            f"{len(hypotheses)} hypotheses."
        )
    if metric == "bleu":
        sacrebleu = _library("sacrebleu")
        return float(sacrebleu.corpus_bleu(list(hypotheses), [list(references)]).score)
    rate = _word_error_rate(references, hypotheses)
    return min(rate, 100.0) if metric == "wer_capped" else rate


def _word_error_rate(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    editdistance = _library("editdistance")
    pairs = [
        (reference.split(), hypothesis.split())
        for reference, hypothesis in zip(references, hypotheses, strict=True)
    ]
    words = sum(len(reference) for reference, _ in pairs)
    if words == 0:
        raise ArgumentError("the references hold no word.")
    errors = sum(editdistance.eval(reference, hypothesis) for reference, hypothesis in pairs)
    return 100 * int(errors) / words


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(f"this score needs {name}: pip install 'captum-spes[metrics]'") from error
