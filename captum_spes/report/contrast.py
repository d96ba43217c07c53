"""A contrastive explanation as lines of text."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from captum_spes.report.certainty import label
from captum_spes.report.noise import noise_line
from captum_spes.report.regions import span
from captum_spes.report.tables import aligned_lines
from captum_spes.speech.noise import MOSTLY_NOISE_TEXT, is_mostly_noise, reliability_of
from captum_spes.speech.regions import strongest_region
from captum_spes.speech.result import SpeechToTextAttributionResult
from captum_spes.text import visible

_LINE = "{:<21} {:<12} {:<10} {:>9}  {}"
_MOST_TOKENS = 3
# Of the largest value of a row: what is less is not named.
_NAMED = 0.1
_MANY = 10  # times as likely, without decimals


def contrast_lines(result: SpeechToTextAttributionResult) -> list[str]:
    """How likely word and foil are, and what speaks most for each of them."""
    contrast = result.parameters["contrast"]
    maps = result.contrast_attr()
    sides = [
        ("previous tokens", maps.token_attr, result.previous_tokens),
        ("instruction", maps.instruction_attr, result.instruction_tokens),
    ]
    columns = [(name, row, tokens) for name, row, tokens in sides if row is not None]
    rows = []
    for name, sign in (("word", 1), ("foil", -1)):
        shown = [_strongest(sign * row, tokens, sign) for _, row, tokens in columns]
        region = _region_cells(result, maps.spectrogram_attr, sign)
        rows.append([f"for {label(contrast[name], 16)}", *region, " | ".join(shown)])
    header = ["", "time (s)", "band (Hz)", "score", " | ".join(name for name, *_ in columns)]
    return [
        *noise_line(result),
        f"why {visible(contrast['word'])} and not {visible(contrast['foil'])}?",
        *_probabilities(result, contrast),
        f"score: {visible(contrast['score'])}, a mean over time and band; positive speaks for "
        f"{visible(contrast['word'])}, negative for {visible(contrast['foil'])}",
        "",
        *aligned_lines(_LINE, header, rows),
    ]


def _region_cells(
    result: SpeechToTextAttributionResult, values: Tensor, sign: int
) -> tuple[str, str, str]:
    """Where the map is strongest on a side, and the mean there of what is on this side; dashes
    where nothing is, and neither time nor band of a map that is mostly noise."""
    part = (sign * values).clamp(min=0)
    if not bool(part.any()):
        return "-", "-", "-"
    if is_mostly_noise(reliability_of(result, [0])):
        return MOSTLY_NOISE_TEXT, "-", "-"
    time, band = strongest_region(result, part)
    if time is not None:
        part = part[(result.frame_times >= time.start) & (result.frame_times <= time.end)]
    if band is not None:
        is_inside = (result.mel_frequencies >= band.start) & (result.mel_frequencies <= band.end)
        part = part[:, is_inside]
    return span(time, ".2f"), span(band, ".0f"), f"{sign * float(part.mean()):+.2g}"


def _strongest(values: Tensor, tokens: list[str], sign: int) -> str:
    """The tokens that speak most for a side, with their values."""
    largest = float(values.abs().nan_to_num().max())
    order = values.nan_to_num(nan=-math.inf).argsort(descending=True).tolist()
    named = [
        f"{label(tokens[place])} {sign * float(values[place]):+.2g}"
        for place in order[:_MOST_TOKENS]
        if float(values[place]) > _NAMED * largest
    ]
    return "; ".join(named) or "-"


def _probabilities(result: SpeechToTextAttributionResult, contrast: dict[str, Any]) -> list[str]:
    word = contrast.get("probability")
    if word is None and result.probabilities is not None:
        word = float(result.probabilities[0])
    foil = contrast.get("foil_probability")
    if word is None:
        return []
    shown = visible(contrast["word"]), visible(contrast["foil"])
    told = f"probability of {shown[0]} {word:.2g}"
    if foil is None:
        return [told]
    told += f", of {shown[1]} {foil:.2g}"
    if not foil:
        return [told]
    ratio = word / foil
    times = f"{ratio:,.0f}" if ratio >= _MANY else f"{ratio:.2g}"
    return [f"{told}: {shown[0]} is {times} times as likely"]
