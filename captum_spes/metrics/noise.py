"""Do maps stay where they are when noise is added that the transcript does not notice?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captum_spes.errors import (
    ArgumentError,
    instance_of,
    real_number,
    several,
    truth,
    whole_number,
)
from captum_spes.io.samples import read_samples
from captum_spes.metrics.perturbation import explained_sequence
from captum_spes.metrics.similarity import (
    MEASURES,
    MapComparison,
    mean_over_tokens,
    stacked,
)
from captum_spes.speech import SpeechToTextAttribution, SpeechToTextAttributionResult
from captum_spes.speech.ambient import ordinary_torch
from captum_spes.speech.inputs import Audio, is_features, read_speech
from captum_spes.speech.models import Generates, require
from captum_spes.speech.randomness import seeded_draws

_SAMPLING_RATE = 16_000  # of arrays, unless another is given


@dataclass(frozen=True, eq=False)
class NoiseAgreement:
    r"""
    How far maps of a noisy recording agree with those of the recording as it is.

    Attributes:
        method: name of the attribution method.
        output_tokens: the K tokens.
        snrs: ``(noises,)``: decibels by which the recording is louder than the noise.
        seeds: ``(noises,)``: of the noise.
        is_same: ``(noises,)``: whether the model writes the same tokens all the same. Maps of the
            others were not made: a map may change with the transcript.
        agreements: ``(noises, K)`` for each of "spearman", "overlap" and "ssim"; NaN where tokens
            were not the same, or a map is constant.
        ceilings: ``(K,)`` by the same names: the agreement of two mask seeds on the recording as it
            is. By this much maps differ without any noise; 1 for methods that draw nothing.
        chances: the agreement of unrelated maps, by the same names; NaN of "ssim".
    """

    method: str
    output_tokens: list[str]
    snrs: NDArray[np.float64]
    seeds: tuple[int, ...]
    is_same: NDArray[np.bool_]
    agreements: Mapping[str, NDArray[np.float64]]
    ceilings: Mapping[str, NDArray[np.float64]]
    chances: Mapping[str, float]

    def means(self, measure: str = "spearman") -> dict[float, float]:
        r"""
        The agreement at each ratio of speech to noise.

        Args:

            measure (str, optional): "spearman", "overlap" or "ssim".
                        Default: "spearman"

        Returns:
            *dict*: of each of the ratios, in decibels, the mean over tokens and over the noises
            that the transcript did not notice; NaN where it noticed all of them. Put it beside
            ``ceilings``.

        Raises:
            ArgumentError: there is no such measure.

        Examples::

            >>> energy = SpeechToTextAttribution(EnergyMap(model), processor)
            >>> found = noise_agreement(energy, "speech.flac", snrs=[60.0], n_noises=1)
            >>> found.means()[60.0] > 0.9
            True
        """
        if measure not in MEASURES:
            raise ArgumentError(f"measure must be one of {', '.join(MEASURES)}, got {measure!r}.")
        rows = self.agreements[measure]
        return {
            snr: float(mean_over_tokens(rows[self.snrs == snr].ravel()))
            for snr in dict.fromkeys(self.snrs.tolist())
        }

    def __str__(self) -> str:
        lines = [f"{self.method:<24} {'same':>7} " + " ".join(f"{m:>9}" for m in MEASURES)]
        columns = {measure: self.means(measure) for measure in MEASURES}
        for snr in columns["spearman"]:
            own = self.is_same[self.snrs == snr]
            values = " ".join(f"{columns[measure][snr]:>9.3f}" for measure in MEASURES)
            lines.append(f"{f'{snr:g} dB':<24} {own.sum():>3}/{len(own):<3} {values}")
        ceilings = " ".join(f"{mean_over_tokens(self.ceilings[m]):>9.3f}" for m in MEASURES)
        chances = " ".join(f"{self.chances[m]:>9.3f}" for m in ("spearman", "overlap"))
        return "\n".join(
            [*lines, f"{'no noise, two seeds':<32} {ceilings}", f"{'chance':<32} {chances}"]
        )


def noise_agreement(
    explainer: SpeechToTextAttribution,
    audio: Audio,
    snrs: Sequence[float] = (40.0, 30.0, 20.0, 10.0),
    *,
    n_noises: int = 2,
    keep_patches: bool = True,
    seed: int = 0,
    top: float = 0.2,
    absolute: bool = False,
    **options: Any,
) -> NoiseAgreement:
    r"""
    Add white noise to a recording; where the model still writes the same tokens, explain them anew
    and compare the maps, token by token.

    An explanation of the same decision should stay where it is when nothing changes that the model
    minds. What noise of sampling alone changes is measured beside it: the recording as it is,
    explained with two mask seeds. The maps of noisy recordings have the second seed, so that both
    comparisons hold the noise of two runs.

    Source of the measure: Alvarez-Melis and Jaakkola, "On the robustness of interpretability
    methods", https://arxiv.org/abs/1806.08049, on agreement in place of their Lipschitz estimate,
    which depends on the scale of maps.

    Args:

        explainer (SpeechToTextAttribution): A method and a model that writes text of its own.
        audio (path, array, ...): A recording, as ``explainer.attribute`` takes it, but no features.
        snrs (sequence of float, optional): Decibels by which the recording's power, its mean over
                    the whole of it, exceeds that of the noise.
                    Default: (40, 30, 20, 10)
        n_noises (int, optional): How often noise is drawn at each ratio.
                    Default: 2
        keep_patches (bool, optional): Whether noisy spectrograms are cut into the patches of the
                    recording as it is, so that what moves is due to the model. With False they are
                    cut anew, as a user's would be; the ceiling, two runs with the same patches,
                    does not hold what that changes.
                    Default: True
        seed (int, optional): Of the maps (this one and the next) and of the noise.
                    Default: 0
        top (float, optional): Share of the cells that counts as the highest, in (0, 1).
                    Default: 0.2
        absolute (bool, optional): Whether magnitudes are compared, without signs.
                    Default: False
        **options (Any): What ``explainer.attribute`` takes besides, such as ``settings``,
                    ``n_samples`` and ``sampling_rate``; but no ``target``: what the model writes is
                    explained.

    Returns:
        *NoiseAgreement*; print it for a table.

    Raises:
        ArgumentError: an argument is out of range, the recording is silent, or what
            ``explainer.attribute`` raises.
        ArgumentTypeError: an argument has the wrong type, or the model writes no text of its own.
        FileNotFoundError: there is no such audio file.

    Examples::

        >>> found = noise_agreement(
        ...     explainer, "speech.flac", snrs=[50.0], n_noises=1, n_samples=50, n_token_samples=0,
        ...     patches_per_second=40,
        ... )
        >>> found.agreements["spearman"].shape == (1, len(found.output_tokens))
        True
    """
    instance_of("explainer", explainer, SpeechToTextAttribution, "a SpeechToTextAttribution")
    ratios = [real_number("each of snrs", snr) for snr in several("snrs", snrs, "decibels")]
    if not ratios or not np.isfinite(ratios).all():
        raise ArgumentError(f"snrs must be finite decibels, at least one, got {snrs!r}.")
    n_noises, seed = whole_number("n_noises", n_noises, 1), whole_number("seed", seed, 0)
    if "target" in options:
        raise ArgumentError(
            "noise_agreement explains what the model writes, so that it can tell whether noise "
            "changes it: leave out target."
        )
    comparison, adapter = MapComparison(top, absolute), explainer.adapter
    require(adapter, Generates, "comparing what it writes with and without noise")
    if is_features(adapter, audio):
        raise ArgumentError("noise is added to samples: give a recording, not features.")
    truth("keep_patches", keep_patches)
    rate = options.pop("sampling_rate", _SAMPLING_RATE)
    samples = read_samples(audio, rate, adapter.sampling_rate, adapter.max_seconds)
    power = float(np.mean(np.square(samples, dtype=np.float64)))
    if not power > 0:
        raise ArgumentError("the recording is silent: there is no ratio of speech to noise.")
    own = {"sampling_rate": adapter.sampling_rate}
    clean = explainer.attribute(samples, seed=seed, **own, **options)
    masks = {"feature_mask": list(clean.feature_masks)} if keep_patches else {}
    again: dict[str, Any] = {
        **own,
        "settings": clean.settings.replace(**masks),
        "target": explained_sequence(clean),
    }
    other = explainer.attribute(samples, seed=seed + 1, **again)
    rows, is_same, seeds = [], [], []
    for number, ratio in enumerate(np.repeat(ratios, n_noises)):
        seeds.append(seed + number)
        noisy = samples + _noise(len(samples), power, float(ratio), seeds[-1])
        is_same.append(_writes_the_same(adapter, noisy, clean))
        if is_same[-1]:
            rows.append(comparison.of(clean, explainer.attribute(noisy, seed=seed + 1, **again)))
        else:
            unknown = np.full(len(clean.output_tokens), np.nan)
            rows.append(dict.fromkeys(MEASURES, unknown))
    return NoiseAgreement(
        clean.method,
        clean.output_tokens,
        np.repeat(np.array(ratios, dtype=np.float64), n_noises),
        tuple(seeds),
        np.array(is_same),
        stacked(rows),
        comparison.of(clean, other),
        comparison.chances(clean.spectrogram.numel()),
    )


def _noise(n_samples: int, power: float, ratio: float, seed: int) -> NDArray[np.float32]:
    """White noise of a power that is ``ratio`` decibels below another."""
    drawn = np.random.default_rng(seed).standard_normal(n_samples)
    loud = np.sqrt(power / 10 ** (ratio / 10) / np.mean(drawn**2))
    return np.asarray(loud * drawn, dtype=np.float32)


def _writes_the_same(
    adapter: Any, samples: NDArray[np.float32], clean: SpeechToTextAttributionResult
) -> bool:
    """Whether the model writes the explained tokens from other samples."""
    with (
        ordinary_torch(adapter.device),
        adapter.evaluation_mode(),
        seeded_draws(clean.seed),
    ):
        speech = read_speech(adapter, samples, adapter.sampling_rate)
        written = adapter.generate(speech, clean.settings.gen_args)
    ids: list[int] = written.explained_ids.tolist()
    return ids == clean.output_ids
