"""An explanation as a table of text."""

from __future__ import annotations

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
from captum_spes.report.deletion import deletion_lines
from captum_spes.report.noise import about_noisy_tokens, about_unheard_tokens, noise, noise_line
from captum_spes.report.regions import span
from captum_spes.report.tables import aligned_lines
from captum_spes.speech.methods import draws_samples, removes_patches
from captum_spes.speech.noise import (
    believable_region,
    doubt,
    is_mostly_noise,
    rests_on_audio,
    tells_impacts,
    token_reliabilities,
)
from captum_spes.speech.result import SpeechToTextAttributionResult
from captum_spes.text import visible

_SHOWN_LEVELS = 4
# The table's columns by what must be known for them, and their widths: 100 letters in all.
_LONGEST_TOKEN, _LONGEST_RUNNER_UP = 14, 11
_COLUMNS = {"token": "{:<14}", "time (s)": "{:<12}", "band (Hz)": "{:<9}"}
_NOISE_COLUMNS = {"noise": "{:>5}"}
_SHARE_COLUMNS = {"speech": "{:>6}"}
_CERTAINTY_COLUMNS = {"prob": "{:>4}", "rank": "{:>5}", "runner-up": " {:<11}"}
_PREVIOUS_COLUMNS = {"strongest previous token": " {}"}


@dataclass(frozen=True)
class TokenSummary:
    """Where the evidence for one token is strongest.

    Attributes:
        token: the token.
        time: start, maximum and end of the strongest stretch of time, in seconds; None for a map
            that is constant over time or mostly noise, and for a token that rests on nothing in the
            audio.
        band: lowest, strongest and highest frequency within that time, in Hz; None likewise, and
            for a map that says nothing of frequency, such as attention weights.
        previous_token: the previous token with the highest attribution, None without
            attributions of previous tokens.
        speech_share: see ``SpeechToTextAttributionResult.speech_share``; None likewise.
        probability: of the token, given the intact speech and the tokens before it; None, like the
            next two, where the result does not say.
        rank: of the token among all, 1 for the likeliest.
        runner_up: the likeliest other token.
        reliability: the share of the map's variance that is not sampling noise, in [0, 1]; None
            where it is not known.
        rests_on_audio: False where removing audio moves the token next to nothing, see
            ``captum_spes.speech.noise.rests_on_audio``.
    """

    token: str
    time: Peak | None
    band: Peak | None
    previous_token: str | None
    speech_share: float | None
    probability: float | None = None
    rank: int | None = None
    runner_up: str | None = None
    reliability: float | None = None
    rests_on_audio: bool = True

    @property
    def is_mostly_noise(self) -> bool:
        """Whether most of the map is known to be sampling noise."""
        return is_mostly_noise(self.reliability)


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
    certainty, reliabilities = token_certainty(result), token_reliabilities(result)
    summaries = []
    for index, token in enumerate(result.output_tokens):
        time, band = believable_region(result, [index])
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
                reliability=reliabilities[index],
                rests_on_audio=rests_on_audio(result, [index]),
            )
        )
    return summaries


def explanation_text(
    result: SpeechToTextAttributionResult, tokens: Sequence[int] | None = None
) -> str:
    r"""
    Write an explanation as a table, one line per token, and one per word of several tokens.

    Of tokens whose maps are mostly noise, and of those that rest on nothing in the audio, it says
    so in the place of a time and a band. Where the deletion score is known (``--judge`` of the
    command line) it stands below.

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
    head = [visible(result.text), _about_run(result)]
    if "contrast" in result.parameters:
        return "\n".join([*head, *contrast_lines(result)])
    summaries = summarize_tokens(result)
    rows = range(len(summaries)) if tokens is None else tokens
    shown = [summaries[row] for row in rows]
    lines = [
        *head,
        *noise_line(result),
        *about_given_target(result),
        _about_sides(result),
        *about_certainty(result),
        "",
        *_table(result, shown),
        *word_table(result, rows),
        *_below(_about_places(result, shown)),
        *_below(deletion_lines(result)),
    ]
    return "\n".join(lines)


def _below(lines: list[str]) -> list[str]:
    return ["", *lines] if lines else []


def _about_run(result: SpeechToTextAttributionResult) -> str:
    told = [visible(result.method), visible(result.model_id), f"{result.seconds:.1f} s of speech"]
    if draws_samples(result.method):
        asked = result.parameters.get("n_samples")
        told.append(f"{result.parameters.get('n_samples_evaluated', asked)} samples")
    told.append(f"seed {result.seed}")
    levels = result.parameters.get("patches_per_level")
    if not levels or not removes_patches(result.method):
        return ", ".join(told)
    distinct = result.parameters.get("distinct_levels")
    return f"{', '.join(told)}; patches per level: {_counts(levels)} ({distinct} distinct)"


def _about_sides(result: SpeechToTextAttributionResult) -> str:
    if result.token_attr is not None and not tells_impacts(result):
        return "speech: mean attribution of the audio beside that of previous tokens, 0 to 1"
    if result.token_attr is not None:
        return "speech: mean impact of removed audio beside that of removed previous tokens, 0 to 1"
    if not result.previous_tokens:
        return "the model reads no previous tokens: the audio alone was explained"
    return "the audio alone was explained"


def _table(result: SpeechToTextAttributionResult, shown: list[TokenSummary]) -> list[str]:
    has_previous = result.token_attr is not None
    columns = {
        **_COLUMNS,
        **(_NOISE_COLUMNS if any(s.reliability is not None for s in shown) else {}),
        **(_SHARE_COLUMNS if has_previous else {}),
        **({} if token_certainty(result) is None else _CERTAINTY_COLUMNS),
        **(_PREVIOUS_COLUMNS if has_previous else {}),
    }
    rows = [[_cells(summary)[name] for name in columns] for summary in shown]
    return aligned_lines(" ".join(columns.values()), list(columns), rows)


def _cells(summary: TokenSummary) -> dict[str, str]:
    """What stands in each column."""
    return {
        "token": label(summary.token, _LONGEST_TOKEN),
        "time (s)": _time(summary),
        "band (Hz)": span(summary.band, ".0f"),
        "noise": noise(summary.reliability),
        "speech": "" if summary.speech_share is None else f"{summary.speech_share:.2f}",
        "prob": "" if summary.probability is None else f"{summary.probability:.2f}",
        "rank": "" if summary.rank is None else str(summary.rank),
        "runner-up": ""
        if summary.runner_up is None
        else label(summary.runner_up, _LONGEST_RUNNER_UP),
        "strongest previous token": (
            "" if summary.previous_token is None else label(summary.previous_token)
        ),
    }


def _time(summary: TokenSummary) -> str:
    """Where, or why nowhere."""
    return doubt(summary.rests_on_audio, summary.is_mostly_noise) or span(summary.time, ".2f")


def _about_places(result: SpeechToTextAttributionResult, shown: list[TokenSummary]) -> list[str]:
    """What the cells without a time mean, and what to do."""
    heard = [summary.reliability for summary in shown if summary.rests_on_audio]
    return [
        *about_noisy_tokens(result, heard, len(shown)),
        *about_unheard_tokens(len(shown) - len(heard), len(shown)),
    ]


def _counts(levels: list[int]) -> str:
    if len(levels) <= _SHOWN_LEVELS:
        return ", ".join(map(str, levels))
    return f"{min(levels)} to {max(levels)} in {len(levels)} levels"


def _strongest_previous_token(result: SpeechToTextAttributionResult, index: int) -> str | None:
    if result.token_attr is None:
        return None
    row = torch.nan_to_num(result.token_attr[index], nan=-torch.inf)
    if row.isneginf().all():  # none is before it
        return None
    return result.previous_tokens[int(row.argmax())]
