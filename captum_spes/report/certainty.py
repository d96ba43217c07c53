"""How sure the model was, as lines of text."""

from __future__ import annotations

import textwrap
from collections.abc import Collection

import torch

from captum_spes.report.noise import noise
from captum_spes.report.tables import aligned_lines
from captum_spes.speech.certainty import Certainty
from captum_spes.speech.noise import word_reliabilities
from captum_spes.speech.result import SpeechToTextAttributionResult
from captum_spes.text import shortened, visible

_WIDTH = 98
_MOST = 12  # tokens and words that a text lists
_HEADER = ("word of several tokens", "prob", "rank", "runner-up")
_LINE = "{:<24} {:>5} {:>5}  {}"
_NOISE_HEADER = (_HEADER[0], "noise", *_HEADER[1:])
_NOISE_LINE = "{:<24} {:>5} {:>5} {:>5}  {}"


def label(token: str, longest: int = 24) -> str:
    """A token or a word as it is shown in a table."""
    text = token.strip()
    return shortened(visible(text) if text else repr(token), longest)


def token_certainty(result: SpeechToTextAttributionResult) -> Certainty | None:
    """How sure the model was of each of the explained tokens; None where the result does not say,
    as where a score of one's own has other units."""
    certainty = result.certainty
    if certainty is None or len(certainty.probabilities) != len(result.output_tokens):
        return None
    return certainty


def about_certainty(result: SpeechToTextAttributionResult) -> list[str]:
    """What the columns mean."""
    if token_certainty(result) is None:
        return []
    return ["prob, rank: of the token after those before it; runner-up: the likeliest other token"]


def word_table(result: SpeechToTextAttributionResult, rows: Collection[int]) -> list[str]:
    """How sure the model was of the words that several tokens spell, some of which are in rows, and
    how much of their maps is noise; other words have the line of their token."""
    if token_certainty(result) is None:
        return []
    probabilities, ranks, runners_up = result.word_certainty()
    noises = [noise(reliability) for reliability in word_reliabilities(result)]
    shown = [
        i
        for i, word in enumerate(result.words)
        if len(word.token_indices) > 1 and not set(word.token_indices).isdisjoint(rows)
    ]
    if not shown:
        return []
    is_known = any(noises[i] for i in shown)  # other methods do not tell
    template, header = (_NOISE_LINE, _NOISE_HEADER) if is_known else (_LINE, _HEADER)
    lines = [
        [
            label(result.words[i].word),
            *([noises[i]] if is_known else []),
            f"{probabilities[i]:.2f}",
            str(int(ranks[i])),
            label(runners_up[i]),
        ]
        for i in shown
    ]
    return ["", *aligned_lines(template, header, lines)]


def about_given_target(result: SpeechToTextAttributionResult) -> list[str]:
    """Of a target that was given, that it was, and how likely the model holds it."""
    if result.parameters.get("target") != "given":
        return []
    text = "the target was given, not written by the model"
    if result.certainty is not None:
        text += f", which gives it {_log_probability(result.certainty)}; {_unlikely(result)}"
    return textwrap.wrap(text, _WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def _log_probability(certainty: Certainty) -> str:
    smallest = torch.finfo(torch.float32).tiny
    probabilities = certainty.probabilities.double()
    total = float(probabilities.clamp(min=smallest).log().sum())
    at_most = "at most " if bool((probabilities < smallest).any()) else ""
    return (
        f"a log-probability of {at_most}{total / len(probabilities):.2f} per token, {total:.2f} in "
        "all"
    )


def _unlikely(result: SpeechToTextAttributionResult) -> str:
    """The tokens that are not the likeliest, as words where they spell some."""
    assert result.certainty is not None
    ranks = result.certainty.ranks
    count = int((ranks > 1).sum())
    if not count:
        return "each token is its first choice"
    told = f"{count} of {len(ranks)} tokens are not its first choice"
    named = _named(result)
    more = f" and {len(named) - _MOST} more" if len(named) > _MOST else ""
    return told + (f": {', '.join(named[:_MOST])}{more}" if named else "")


def _named(result: SpeechToTextAttributionResult) -> list[str]:
    """Words, and tokens of no word, that are not the first choice, with what would be."""
    tokens = token_certainty(result)
    if tokens is None:
        return []
    words = result.word_certainty()
    of_word = {row for word in result.words for row in word.token_indices}
    found = [
        (word.token_indices[0], word.word, int(words.ranks[i]), words.runners_up[i])
        for i, word in enumerate(result.words)
    ] + [
        (row, token, int(tokens.ranks[row]), tokens.runners_up[row])
        for row, token in enumerate(result.output_tokens)
        if row not in of_word
    ]
    return [
        f"{label(text)} (rank {rank}, likeliest {label(first)})"
        for _, text, rank, first in sorted(found)
        if rank > 1
    ]
