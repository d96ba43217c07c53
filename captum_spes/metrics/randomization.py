"""Does a map depend on what the model has learned? Explanations of a model whose weights are
permuted, stage by stage (Adebayo et al., arXiv 1810.03292)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm

from captum_spes.errors import ArgumentError, instance_of, truth, whole_number
from captum_spes.metrics.perturbation import explained_sequence
from captum_spes.metrics.similarity import (
    MEASURES,
    MapComparison,
    mean_over_tokens,
    stacked,
)
from captum_spes.metrics.weights import kept_weights, weight_stages
from captum_spes.speech import SpeechToTextAttribution, SpeechToTextAttributionResult
from captum_spes.speech.inputs import Audio
from captum_spes.text import shortened

ORDERS = ("cascading", "independent")
INTACT = "intact"
# A method that agrees with itself by less than this above chance shows nothing by falling.
_LEAST_ABOVE_CHANCE = 0.05


@dataclass(frozen=True, eq=False)
class RandomizedWeights:
    r"""
    How far the maps of a model with permuted weights agree with those of the model as it is.

    Attributes:
        method: name of the attribution method.
        order: "cascading" or "independent".
        stages: what was permuted, in this order; the first is "intact", the model as it is,
            explained with another seed: by this much maps differ without any change of the model.
        agreements: ``(stages, K)`` for each of "spearman", "overlap" and "ssim"; NaN where one of
            both maps is constant.
        chances: the agreement of unrelated maps, by the same names; NaN of "ssim", where it is not
            known.
        changed: ``(stages,)``: share of the stage's own values that are others than before. Where
            it is small (norms whose weights are all 1) the stage shows nothing.
        probabilities: ``(stages, K)``: of the explained tokens; NaN for controls.
    """

    method: str
    order: str
    stages: tuple[str, ...]
    agreements: Mapping[str, NDArray[np.float64]]
    chances: Mapping[str, float]
    changed: NDArray[np.float64]
    probabilities: NDArray[np.float64]

    def means(self, measure: str = "spearman") -> NDArray[np.float64]:
        r"""
        The agreement with the original maps at each stage.

        Args:

            measure (str, optional): "spearman", "overlap" or "ssim".
                        Default: "spearman"

        Returns:
            *array* ``(stages,)``: the mean over tokens with two maps that vary; NaN where there is
            none.

        Raises:
            ArgumentError: there is no such measure.

        Examples::

            >>> energy = SpeechToTextAttribution(EnergyMap(model), processor)
            >>> found = randomized_weights(energy, "speech.flac", target="the cat")
            >>> bool((found.means() == 1).all())  # a control knows nothing of the weights
            True
        """
        if measure not in MEASURES:
            raise ArgumentError(f"measure must be one of {', '.join(MEASURES)}, got {measure!r}.")
        return mean_over_tokens(self.agreements[measure])

    def kept(self, measure: str = "spearman") -> float:
        r"""
        How much of the agreement is left when everything is permuted.

        Args:

            measure (str, optional): As for :meth:`means`; "ssim" has no chance level, and counts
                        from 0.
                        Default: "spearman"

        Returns:
            *float*: of the last stage in "cascading" order, of the mean stage in "independent"
            order, on a scale where chance is 0 and the intact model with another seed is 1. About 0
            is what a map should show that depends on the weights; NaN where the maps of the intact
            model agree by less than 0.05 above chance.

        Raises:
            ArgumentError: there is no such measure.

        Examples::

            >>> found = randomized_weights(
            ...     explainer, "speech.flac", target="the cat", n_samples=50, n_token_samples=0,
            ...     patches_per_second=40,
            ... )
            >>> found.kept() < 1
            True
        """
        means = self.means(measure)
        chance = 0.0 if np.isnan(self.chances[measure]) else self.chances[measure]
        known = means[-1:] if self.order == "cascading" else means[1:][np.isfinite(means[1:])]
        above = means[0] - chance
        if not len(known) or not above >= _LEAST_ABOVE_CHANCE:
            return float("nan")
        return float((known.mean() - chance) / above)

    def __str__(self) -> str:
        columns = [self.means(measure) for measure in MEASURES]
        rows = [
            f"{shortened(stage, 44):<44} {ranks:>9.3f} {places:>9.3f} {alike:>9.3f}"
            for stage, ranks, places, alike in zip(self.stages, *columns, strict=True)
        ]
        head = f"{self.method}, {self.order}".ljust(44)
        chance = [self.chances[measure] for measure in MEASURES]
        return "\n".join(
            [
                f"{head} {'spearman':>9} {'overlap':>9} {'ssim':>9}",
                *rows,
                f"{'chance':<44} {chance[0]:>9.3f} {chance[1]:>9.3f} {'':>9}".rstrip(),
            ]
        )


def randomized_weights(
    explainer: SpeechToTextAttribution,
    audio: Audio,
    *,
    order: str = "cascading",
    modules: Sequence[str | Sequence[str]] | None = None,
    seed: int = 0,
    top: float = 0.2,
    absolute: bool = False,
    show_progress: bool = False,
    **options: Any,
) -> RandomizedWeights:
    r"""
    Permute the model's weights, one stage after another, and see whether its maps notice.

    A map that stays the same when the model has forgotten what it learned explains the recording,
    not the model: that is what the control of energy shows. The output of the intact model is
    forced, and explained anew by the same method at every stage.

    The values of each weight tensor are permuted among themselves, by a seed. That keeps their
    distribution, so that no activation explodes or dies for its scale alone; needs to know of no
    module how it is initialised; and works in every precision. What all values have in common stays
    (``changed`` tells where that leaves a stage as it was). Statistics of batch norms are no
    weights and stay.

    The maps at all stages, those of the intact model included, are made with a seed other than that
    of the original ones: with the same masks, the noise of a sampling method would agree, too.

    The weights are changed in place, and are what they were afterwards bit for bit, also after an
    error or Ctrl-C, weights that are tied among them. Meanwhile no other thread may use the model.

    Source: Adebayo et al., "Sanity checks for saliency maps", https://arxiv.org/abs/1810.03292,
    sections 3 and 4, who draw weights anew instead.

    Args:

        explainer (SpeechToTextAttribution): A method and its model.
        audio (path, array, ...): As ``explainer.attribute`` takes it.
        order (str, optional): "cascading" permutes from the output down, each stage on top of those
                    before it; "independent" permutes each stage alone.
                    Default: "cascading"
        modules (sequence, optional): Names of modules, as ``model.named_modules()`` has them, in
                    the order in which the model computes; sequences of names are permuted together.
                    Default: None: every layer of every stack of layers, and what stands between
                    stacks, in the order in which the model registers them
        seed (int, optional): Of the permutations and of the original maps; the other maps have the
                    next one.
                    Default: 0
        top (float, optional): Share of the cells that counts as the highest, in (0, 1).
                    Default: 0.2
        absolute (bool, optional): Whether magnitudes are compared, without signs.
                    Default: False
        show_progress (bool, optional): Displays a progress bar over stages.
                    Default: False
        **options (Any): What ``explainer.attribute`` takes besides: ``target``, ``settings``,
                    ``n_samples``, ... It is asked two times more than there are stages.

    Returns:
        *RandomizedWeights*; print it for a table, draw it with
        :func:`captum_spes.plotting.plot_stages`.

    Raises:
        ArgumentError: an argument is out of range, there is no such module, or what
            ``explainer.attribute`` raises.
        ArgumentTypeError: an argument has the wrong type, or the method was not made with a model
            of torch.

    Examples::

        >>> found = randomized_weights(
        ...     explainer, "speech.flac", target="the cat", n_samples=50, n_token_samples=0,
        ...     patches_per_second=40, modules=["model.encoder", "model.decoder"],
        ... )
        >>> found.stages
        ('intact', 'model.decoder', 'model.encoder')
        >>> found.agreements["overlap"].shape == (3, len(result.output_tokens))
        True
    """
    instance_of("explainer", explainer, SpeechToTextAttribution, "a SpeechToTextAttribution")
    if order not in ORDERS:
        raise ArgumentError(f"order must be one of {', '.join(ORDERS)}, got {order!r}.")
    seed, comparison = whole_number("seed", seed, 0), MapComparison(top, absolute)
    truth("show_progress", show_progress)
    stages = weight_stages(explainer.attr_method.forward_func, modules)[::-1]
    original = explainer.attribute(audio, seed=seed, **options)
    again = {name: options[name] for name in ("sampling_rate",) if name in options}
    again |= {"settings": original.settings, "target": explained_sequence(original)}
    agreements, changes, probabilities = [], [], []
    generator = torch.Generator("cpu").manual_seed(seed)
    with kept_weights() as keeper:
        steps = [None, *stages]
        for stage in tqdm(steps, "stages", unit="stage", disable=not show_progress):
            if order == "independent":
                keeper.restore()
            changes.append(0.0 if stage is None else keeper.permute(stage, generator))
            found = explainer.attribute(audio, seed=seed + 1, **again)
            agreements.append(comparison.of(original, found))
            probabilities.append(_probabilities(found))
    return RandomizedWeights(
        original.method,
        order,
        (INTACT, *(stage.name for stage in stages)),
        stacked(agreements),
        comparison.chances(original.spectrogram.numel()),
        np.array(changes),
        np.stack(probabilities),
    )


def _probabilities(result: SpeechToTextAttributionResult) -> NDArray[np.float64]:
    if result.probabilities is None:
        return np.full(len(result.output_tokens), np.nan)
    return np.asarray(result.probabilities.double())
