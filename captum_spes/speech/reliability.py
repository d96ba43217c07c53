"""How much of an explanation is sampling noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from captum_spes.attr.reliability import samples_for, split_half_reliability
from captum_spes.errors import warn_caller
from captum_spes.maps import paired_min_max, sentence_mean, span_mean, standardize
from captum_spes.speech.noise import MOSTLY_NOISE
from captum_spes.speech.sides import SideMaps

# What a map to rely on should reach.
_RELIABLE = 0.8


@dataclass(frozen=True)
class Reliability:
    r"""
    The share of each map's variance that is not sampling noise, in [0, 1].

    From the agreement of the maps of every second sample
    (:func:`captum_spes.attr.split_half_reliability`). It says how much of a map another seed
    would give again, not whether the map is right.

    Attributes:
        tokens: ``(K,)``: of each token's map.
        words: ``(W,)``: of each word's normalised map.
        previous_tokens: ``(K,)``: of each token's row of previous tokens, NaN with fewer than
            three of them; None without attributions of previous tokens.
        sentence: of the sentence's normalised map of the spectrogram.
        standard_error: ``(K,)``: of the raw attributions of the spectrogram, root mean square
            over cells; errors that shift the whole map do not count.
        n_samples: perturbed spectrograms evaluated.
        n_token_samples: perturbed previous tokens evaluated; None without attributions of them.
        instruction: ``(K,)``: of each token's row of the instruction, NaN where that has fewer than
            three tokens; None without attributions of an instruction.
        n_instruction_samples: perturbed instructions evaluated; None likewise.
    """

    tokens: Tensor
    words: Tensor
    previous_tokens: Tensor | None
    sentence: float
    standard_error: Tensor
    n_samples: int
    n_token_samples: int | None
    instruction: Tensor | None = None
    n_instruction_samples: int | None = None

    @property
    def spectrogram(self) -> Tensor:
        """The name of ``tokens`` in earlier versions."""
        return self.tokens


def sampling_quality(
    spectrogram: SideMaps,
    tokens: SideMaps | None,
    instruction: SideMaps | None,
    is_perturbed: Tensor,
    words: Sequence[Sequence[int]],
) -> dict[str, Any]:
    """The reliability as a result keeps it, in JSON's types; empty for methods that do not sample.

    ``is_perturbed`` is ``(time, freq)``: cells that are never perturbed are no agreement and do not
    count. ``words`` holds the token rows of each word.
    """
    if spectrogram.halves is None or spectrogram.n_samples is None:
        return {}
    token_halves = (None, None) if tokens is None or tokens.halves is None else tokens.halves
    normalized = [
        paired_min_max(*standardize(*pair))
        for pair in zip(spectrogram.halves, token_halves, strict=True)
    ]
    sentences = [sentence_mean(*maps).spectrogram_attr[None, is_perturbed] for maps in normalized]
    of_words = [span_mean(*maps, words).spectrogram_attr[:, is_perturbed] for maps in normalized]
    flat = [half[:, is_perturbed] for half in spectrogram.halves]
    errors = [float((a - b).double().std()) / 2 for a, b in zip(*flat, strict=True)]

    def reliability(halves: Sequence[Tensor]) -> Tensor:
        return split_half_reliability(halves[0], halves[1], spectrogram.odds_exponent)

    return {
        "n_samples_evaluated": spectrogram.n_samples,
        "n_token_samples_evaluated": None if tokens is None else tokens.n_samples,
        **_of_instruction(instruction),
        "reliability": {
            "tokens": reliability(flat).tolist(),
            "words": reliability(of_words).tolist(),
            "previous_tokens": _of_rows(tokens),
            "instruction": _of_rows(instruction),
            "sentence": float(reliability(sentences)),
            "standard_error": errors,
        },
    }


def _of_rows(side: SideMaps | None) -> list[float] | None:
    """Of each token's row of what it read."""
    if side is None or side.halves is None:
        return None
    found: list[float] = split_half_reliability(*side.halves).tolist()
    return found


def _of_instruction(side: SideMaps | None) -> dict[str, int]:
    """How often what was asked was perturbed; fewer than planned in a run that was stopped."""
    if side is None or side.n_samples is None:
        return {}
    return {"n_instruction_samples_evaluated": side.n_samples}


def warn_if_noise(reliability: float, n_samples: int, odds_exponent: float = 1.0) -> None:
    """Warn where most of the sentence's map is noise, and say what would help."""
    if not reliability < MOSTLY_NOISE:
        return
    needed = ""
    if reliability > 0:
        count = samples_for(reliability, n_samples, _RELIABLE, odds_exponent)
        if count is not None:
            needed = f" About {count:,} samples would give {_RELIABLE}."
    warn_caller(
        f"{1 - reliability:.0%} of the saliency map is sampling noise (split-half reliability "
        f"{reliability:.2f} with {n_samples} samples).{needed} Raise n_samples, or take "
        "larger patches (patches_per_second)."
    )
