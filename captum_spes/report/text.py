"""An explanation as a table of text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from captum_spes.maps import Peak, is_constant, strongest_span
from captum_spes.report.tables import aligned_lines
from captum_spes.speech.result import SpeechToTextAttributionResult
from captum_spes.text import shortened, visible

# Moving averages that steady the reading of a noisy map: 90 ms, and 5 mel bins.
_SMOOTHING_SECONDS = 0.09
_SMOOTHING_BINS = 5
_SHOWN_LEVELS = 4
_LONGEST = 40
_HEADER = ("token", "time (s)", "band (Hz)", "speech", "strongest previous token")
_LINE = "{:<18} {:<12} {:<12} {:>6}  {}"
_AUDIO_LINE = "{:<18} {:<12} {:<12}"


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
    """

    token: str
    time: Peak | None
    band: Peak | None
    previous_token: str | None
    speech_share: float | None


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
    summaries = []
    for index, token in enumerate(result.output_tokens):
        time, band = _strongest_region(result, result.spectrogram_attr[index])
        summaries.append(
            TokenSummary(
                token=token,
                time=time,
                band=band,
                previous_token=_strongest_previous_token(result, index),
                speech_share=None if shares is None else shares[index],
            )
        )
    return summaries


def explanation_text(
    result: SpeechToTextAttributionResult, tokens: Sequence[int] | None = None
) -> str:
    r"""
    Write an explanation as a table, one line per token.

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
    summaries = summarize_tokens(result)
    shown = summaries if tokens is None else [summaries[row] for row in tokens]
    lines = [
        visible(result.text),
        f"{visible(result.method)}, {visible(result.model_id)}, {result.seconds:.1f} s of speech, "
        f"{n_samples} samples, seed {result.seed}; patches per level: "
        f"{_counts(levels)} ({distinct} distinct)",
        *_noise(result),
        _about_sides(result),
        "",
        *_table(result, shown),
    ]
    return "\n".join(lines)


def _about_sides(result: SpeechToTextAttributionResult) -> str:
    if result.token_attr is not None:
        return "speech: mean impact of removed audio beside that of removed previous tokens, 0 to 1"
    if not result.previous_tokens:
        return "the model reads no previous tokens: the audio alone was explained"
    return "the audio alone was explained"


def _table(result: SpeechToTextAttributionResult, shown: list[TokenSummary]) -> list[str]:
    cells = [_cells(summary) for summary in shown]
    if result.token_attr is not None:
        return aligned_lines(_LINE, _HEADER, cells)
    return aligned_lines(_AUDIO_LINE, _HEADER[:3], [row[:3] for row in cells])


def _cells(summary: TokenSummary) -> list[str]:
    return [
        _label(summary.token),
        "-" if summary.time is None else f"{summary.time.start:.2f}-{summary.time.end:.2f}",
        "-" if summary.band is None else f"{summary.band.start:.0f}-{summary.band.end:.0f}",
        "" if summary.speech_share is None else f"{summary.speech_share:.2f}",
        "" if summary.previous_token is None else _label(summary.previous_token),
    ]


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


def _strongest_region(
    result: SpeechToTextAttributionResult, saliency: Tensor
) -> tuple[Peak | None, Peak | None]:
    times, frequencies = result.frame_times, result.mel_frequencies
    frame_seconds = float(times[1] - times[0]) if len(times) > 1 else _SMOOTHING_SECONDS
    width = max(1, round(_SMOOTHING_SECONDS / frame_seconds))
    time = band = None
    if not is_constant(saliency, 0):
        time = strongest_span(saliency.mean(1), times, smoothing=width)
        saliency = saliency[(times >= time.start) & (times <= time.end)]
    if not is_constant(saliency, 1):
        band = strongest_span(saliency.mean(0), frequencies, smoothing=_SMOOTHING_BINS)
    return time, band


def _strongest_previous_token(result: SpeechToTextAttributionResult, index: int) -> str | None:
    if result.token_attr is None:
        return None
    row = torch.nan_to_num(result.token_attr[index], nan=-torch.inf)
    if row.isneginf().all():  # none is before it
        return None
    return result.previous_tokens[int(row.argmax())]


def _label(token: str) -> str:
    text = token.strip()
    return shortened(visible(text), _LONGEST) if text else repr(token)
