"""How much of a map is noise, as lines and cells of text."""

from __future__ import annotations

import math
import statistics
import textwrap
from collections.abc import Mapping, Sequence

from captum_spes.speech.noise import (
    MOSTLY_NOISE,
    MOSTLY_NOISE_TEXT,
    NOT_ON_AUDIO_TEXT,
    RESTS_ON_NOTHING,
    is_mostly_noise,
    needed_samples,
    word_reliabilities,
)
from captum_spes.speech.result import SpeechToTextAttributionResult

_WIDTH = 98
# Reliabilities that samples are counted for: half of the variance noise, and a fifth.
_WANTED = (0.5, 0.8)


def noise(reliability: float | None) -> str:
    """A cell of a table: the share of a map's variance that is noise, empty where unknown."""
    if reliability is None:
        return ""
    percent = 100 * (1 - reliability)
    # So that what is mostly noise never shows half of it, nor the other way round.
    return f"{(math.ceil if is_mostly_noise(reliability) else math.floor)(percent)}%"


def noise_line(result: SpeechToTextAttributionResult) -> list[str]:
    """The noise of a whole explanation; nothing where it is not known."""
    if "reliability" not in result.parameters:
        return []
    found = result.reliability()
    if math.isnan(found.sentence):
        return []
    if "contrast" in result.parameters:
        return [f"sampling noise: {1 - found.sentence:.0%} of the map's variance"]
    of_tokens = 1 - float(found.tokens.nanmean())
    return [
        f"sampling noise: {1 - found.sentence:.0%} of the variance of the sentence's map, "
        f"{of_tokens:.0%} of that of a token's (mean)"
    ]


def about_noisy_tokens(
    result: SpeechToTextAttributionResult, reliabilities: Sequence[float | None], n_shown: int
) -> list[str]:
    """How many of the tokens that are shown are mostly noise, and what would help.

    Args:
        result: the explanation.
        reliabilities: of the tokens that rest on something in the audio.
        n_shown: how many are shown, with the others.
    """
    noisy = [value for value in reliabilities if value is not None and is_mostly_noise(value)]
    if not noisy:
        return []
    n_samples = result.parameters["n_samples_evaluated"]
    told = (
        f"{MOSTLY_NOISE_TEXT}: {len(noisy)} of {n_shown} tokens at {n_samples} samples, no "
        f"place is read off their maps. Take more samples (--samples){_needed(result, noisy)}."
    )
    return textwrap.wrap(told, _WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def about_unheard_tokens(count: int, n_shown: int) -> list[str]:
    """How many of the tokens that are shown rest on nothing in the audio."""
    if not count:
        return []
    told = (
        f"{NOT_ON_AUDIO_TEXT}: {count} of {n_shown} tokens rest on nothing in the audio: removing "
        f"some moves them by less than {RESTS_ON_NOTHING:.0%} of what it moves the token that it "
        "moves most."
    )
    return textwrap.wrap(told, _WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def about_noisy_words(
    results: Mapping[str, SpeechToTextAttributionResult], keep_noise: bool
) -> str:
    """How much of what is analysed is noise, as a section of Markdown."""
    of_words = [
        reliability
        for result in results.values()
        for word, reliability in zip(result.words, word_reliabilities(result), strict=True)
        if any(map(str.isalnum, word.word))
    ]
    known = [value for value in of_words if value is not None]
    if not known:
        return (
            "\n## Noise\n\nHow much of the maps is sampling noise is not known: the method does "
            "not say, or the files are of an earlier version. Nothing is left out, and tests say "
            "noise: unknown."
        )
    count = sum(map(is_mostly_noise, known))
    unknown = len(of_words) - len(known)
    told = f"{count} of {len(of_words)} words are mostly noise (reliability below {MOSTLY_NOISE})"
    if unknown:
        told += f"; of {unknown} it is not known"
    if count:
        told += ". They stand in the tables; " + (
            "tests and figures keep them, as asked, and say noise: mostly noise"
            if keep_noise
            else "tests and figures leave them out (--keep-noise keeps them). More samples help"
        )
    return f"\n## Noise\n\n{told}."


def _needed(result: SpeechToTextAttributionResult, noisy: Sequence[float]) -> str:
    """How many samples the typical one of the noisy tokens takes; nothing where its halves do not
    agree at all, or where no number would do."""
    typical = statistics.median(noisy)
    counts = [(needed_samples(result, typical, wanted), wanted) for wanted in _WANTED]
    known = [
        f"about {count:,} for {1 - wanted:.0%} noise"
        for count, wanted in counts
        if count is not None
    ]
    return f": a typical one of them takes {', '.join(known)}" if known else ""
