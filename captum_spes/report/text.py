"""An explanation as a table of text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from captum_spes.maps import Peak
from captum_spes.report.certainty import (
    about_certainty,
    about_given_target,
    label,
    token_certainty,
    word_table,
)
from captum_spes.report.contrast import contrast_lines
from captum_spes.report.regions import span
from captum_spes.report.tables import aligned_lines
from captum_spes.speech.regions import strongest_region
from captum_spes.speech.result import SpeechToTextAttributionResult
from captum_spes.text import visible

_SHOWN_LEVELS = 4
# The table's columns by what must be known for them, and their widths.
_COLUMNS = {"token": "{:<17}", "time (s)": "{:<12}", "band (Hz)": "{:<9}"}
_SHARE_COLUMNS = {"speech": "{:>6}"}
_CERTAINTY_COLUMNS = {"prob": "{:>5}", "rank": "{:>5}", "runner-up": " {:<13}"}
_PREVIOUS_COLUMNS = {"strongest previous token": " {}"}


@dataclass(frozen=True)
class TokenSummary:
    """Where the evidence for one token is strongest.

    Attributes:
        token: the token.
        time: start, maximum and end of the strongest stretch of time, in seconds; None for a map
            that is constant over time.
        band: lowest, strongest and highest frequency within that time, in Hz; None for a map that
            is constant over frequency, such as attention weights.
        previous_token: the previous token with the highest attribution, None without
            attributions of previous tokens.
        speech_share: see ``SpeechToTextAttributionResult.speech_share``; None likewise.
        probability: of the token, given the intact speech and the tokens before it; None, like the
            next two, where the result does not say.
        rank: of the token among all, 1 for the likeliest.
        runner_up: the likeliest other token.
    """

    token: str
    time: Peak | None
    band: Peak | None
    previous_token: str | None
    speech_share: float | None
    probability: float | None = None
    rank: int | None = None
    runner_up: str | None = None


def summarize_tokens(result: SpeechToTextAttributionResult) -> list[TokenSummary]:
    r"""
    Read off the strongest time, band and previous token of every token.

    Args:

        result (SpeechToTextAttributionResult): An explanation.

    Returns:
        *list[TokenSummary]*, one per output token.

    Examples::

        >>> seconds = summarize_tokens(result)[0].time.peak
    """
    shares = None if result.token_attr is None else result.speech_share().tolist()
    certainty = token_certainty(result)
    summaries = []
    for index, token in enumerate(result.output_tokens):
        time, band = strongest_region(result, result.spectrogram_attr[index])
        summaries.append(
            TokenSummary(
                token=token,
                time=time,
                band=band,
                previous_token=_strongest_previous_token(result, index),
                speech_share=None if shares is None else shares[index],
                probability=None if certainty is None else float(certainty.probabilities[index]),
                rank=None if certainty is None else int(certainty.ranks[index]),
                runner_up=None if certainty is None else certainty.runners_up[index],
            )
        )
    return summaries


def explanation_text(
    result: SpeechToTextAttributionResult, tokens: Sequence[int] | None = None
) -> str:
    r"""
    Write an explanation as a table, one line per token, and one per word of several tokens.

    Of a target that was given it also says how likely the model holds it. Of a contrast it says
    how likely word and foil are, and which place and which previous tokens speak most for each.

    Args:

        result (SpeechToTextAttributionResult): An explanation.
        tokens (sequence of int, optional): Rows to show.
                    Default: None, all

    Returns:
        *str*: several lines, without a newline at the end.

    Examples::

        >>> print(explanation_text(result))  # doctest: +ELLIPSIS
        the cat
        SPES, ...
    """
    levels = result.parameters.get("patches_per_level", [])
    distinct = result.parameters.get("distinct_levels")
    asked = result.parameters.get("n_samples")
    n_samples = result.parameters.get("n_samples_evaluated", asked)
    head = [
        visible(result.text),
        f"{visible(result.method)}, {visible(result.model_id)}, {result.seconds:.1f} s of speech, "
        f"{n_samples} samples, seed {result.seed}; patches per level: "
        f"{_counts(levels)} ({distinct} distinct)",
    ]
    if "contrast" in result.parameters:
        return "\n".join([*head, *contrast_lines(result)])
    summaries = summarize_tokens(result)
    rows = range(len(summaries)) if tokens is None else tokens
    lines = [
        *head,
        *_noise(result),
        *about_given_target(result),
        _about_sides(result),
        *about_certainty(result),
        "",
        *_table(result, [summaries[row] for row in rows]),
        *word_table(result, rows),
    ]
    return "\n".join(lines)


def _about_sides(result: SpeechToTextAttributionResult) -> str:
    if result.token_attr is not None:
        return "speech: mean impact of removed audio beside that of removed previous tokens, 0 to 1"
    if not result.previous_tokens:
        return "the model reads no previous tokens: the audio alone was explained"
    return "the audio alone was explained"


def _table(result: SpeechToTextAttributionResult, shown: list[TokenSummary]) -> list[str]:
    has_previous = result.token_attr is not None
    columns = {
        **_COLUMNS,
        **(_SHARE_COLUMNS if has_previous else {}),
        **({} if token_certainty(result) is None else _CERTAINTY_COLUMNS),
        **(_PREVIOUS_COLUMNS if has_previous else {}),
    }
    rows = [[_cells(summary)[name] for name in columns] for summary in shown]
    return aligned_lines(" ".join(columns.values()), list(columns), rows)


def _cells(summary: TokenSummary) -> dict[str, str]:
    """What stands in each column."""
    return {
        "token": label(summary.token, 17),
        "time (s)": span(summary.time, ".2f"),
        "band (Hz)": span(summary.band, ".0f"),
        "speech": "" if summary.speech_share is None else f"{summary.speech_share:.2f}",
        "prob": "" if summary.probability is None else f"{summary.probability:.2f}",
        "rank": "" if summary.rank is None else str(summary.rank),
        "runner-up": "" if summary.runner_up is None else label(summary.runner_up, 13),
        "strongest previous token": (
            "" if summary.previous_token is None else label(summary.previous_token)
        ),
    }


def _counts(levels: list[int]) -> str:
    if len(levels) <= _SHOWN_LEVELS:
        return ", ".join(map(str, levels))
    return f"{min(levels)} to {max(levels)} in {len(levels)} levels"


def _noise(result: SpeechToTextAttributionResult) -> list[str]:
    if "reliability" not in result.parameters:
        return []
    found = result.reliability()
    if math.isnan(found.sentence):
        return []
    of_tokens = 1 - float(found.spectrogram.nanmean())
    return [
        f"sampling noise: {1 - found.sentence:.0%} of the variance of the sentence's map, "
        f"{of_tokens:.0%} of that of a token's (mean)"
    ]


def _strongest_previous_token(result: SpeechToTextAttributionResult, index: int) -> str | None:
    if result.token_attr is None:
        return None
    row = torch.nan_to_num(result.token_attr[index], nan=-torch.inf)
    if row.isneginf().all():  # none is before it
        return None
    return result.previous_tokens[int(row.argmax())]
