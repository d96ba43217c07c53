"""The regression of impacts on masks: which effects of the elements explain them."""

from __future__ import annotations

import math
from functools import cache, cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from captum_spes.attr.prior import PriorMaps
from captum_spes.attr.regression.known import Known, sizes, weight_beside
from captum_spes.attr.regression.linear import Regression
from captum_spes.attr.regression.patches import Patches

# Impacts below this share of their mean count as this share: log needs a floor.
_FLOOR = 1e-6
# Masks that vary by less than this share of what they remove differ by rounding only.
_LEAST_VARIATION = 1e-5


class MaskRegression:
    """The regression of one example's impacts on its masks.

    Args:
        patches (Patches): Those of all levels.
        masks (dict[int, Tensor]): bool ``(samples, patches)`` of every level with samples.
        impacts (Tensor): float64 ``(samples, outputs)`` of these levels, one after the other.
        halves (tuple[Tensor, Tensor]): bool ``(samples,)``, the samples of either half.
        least_impact (float, optional): Logarithms of impacts are regressed, smaller ones raised to
            this first.
            Default: None, the impacts themselves are regressed
        prior (PriorMaps, optional): What is known of the effects before sampling.
            Default: None
    """

    def __init__(
        self,
        patches: Patches,
        masks: dict[int, Tensor],
        impacts: Tensor,
        halves: tuple[Tensor, Tensor],
        least_impact: float | None = None,
        prior: PriorMaps | None = None,
    ) -> None:
        # Examples of a batch may lack the patches of some level.
        is_used = torch.cat([own.new_full((len(own),), own.numel() > 0) for own in masks.values()])
        self._masks = {level: own for level, own in masks.items() if own.numel()}
        self._impacts, self._least_impact = impacts[is_used], least_impact
        self._halves = [half[is_used] for half in halves]
        self._patches = patches
        self._known = None
        if prior is not None:
            self._known = Known(prior, patches, is_never_negative=least_impact is not None)
        self._found = cache(self._find)

    def maps(self, half: int | None = None) -> Tensor:
        """The maps from all samples, or from one half with the noise's share found from all.

        Args:
            half (int, optional): Which half.
                Default: None, all samples

        Returns:
            *Tensor* of shape ``(outputs, elements)``, float64.
        """
        chosen = None if half is None else self._halves[half]
        impacts = self._impacts if chosen is None else self._impacts[chosen]
        if not len(impacts):
            shape = (impacts.shape[1], len(self._patches.weights))
            return impacts.new_zeros(shape)
        # The caller's autocast is meant for the model.
        with torch.autocast("cpu", enabled=False):
            effects = self._found(half).effects
            if self._known is not None and self._prior_weight:
                effects = effects + self._prior_weight * self._known.beside(effects, half)
        means = impacts.mean(0)[:, None]
        masks = _chosen(self._masks, chosen).values()
        probability = float(torch.cat([own.double().mean(1) for own in masks]).mean())
        changes = (1 - probability) * self._patches.elements_per_finest * effects
        scale = 1.0 if self._least_impact is None else means
        return (means + scale * changes) * self._patches.is_perturbed

    def _find(self, half: int | None) -> _Found:
        """The effects from all samples or from a half."""
        whole, noise = self._whole
        fit = whole if half is None else self._fit_of(self._halves[half])
        weights = fit.weights(noise)
        return _Found(weights, fit.effects(weights))

    @cached_property
    def _prior_weight(self) -> float:
        """How much the prior counts beside the regression."""
        assert self._known is not None
        known, values = self._known.predicted(self._masks), self._values(self._impacts).T
        parts = []
        for half, other in ((0, self._halves[1]), (1, self._halves[0])):
            if bool(self._halves[half].any()) and int(other.sum()) > 1:
                found = self._found(half)
                predicted = (found.weights @ self._removed.features[:, other]).double()
                parts.append((predicted, known[:, other] * sizes(found.effects), values[:, other]))
        return weight_beside(parts)

    @cached_property
    def _removed(self) -> _Removed:
        return _Removed(self._patches, self._masks)

    @cached_property
    def _whole(self) -> tuple[_Fit, Tensor]:
        """The first fit of all samples, and the noise of each output."""
        fit = _Fit(self._removed, self._removed.features, self._values(self._impacts))
        return fit, fit.likeliest_noise()

    def _fit_of(self, chosen: Tensor) -> _Fit:
        whole, _ = self._whole
        regression = whole.regression
        products = None if regression is None else regression.kernel
        features, kernel = self._removed.part(chosen, products)
        values = self._values(self._impacts[chosen])
        return _Fit(self._removed, features, values, whole=regression, kernel=kernel)

    def _values(self, impacts: Tensor) -> Tensor:
        if self._least_impact is None:
            return impacts
        # Where nothing has any impact the logarithms are constant, and so is the map.
        return impacts.maximum((_FLOOR * impacts.mean(0)).clamp(min=self._least_impact)).log()


class _Removed:
    """What the samples removed of the patches: the features of the regression.

    Attributes:
        features: float32 ``(patches of all scales, samples)``, centred within each level, all
            scales alike in size.
        divisor: ``(patches of all scales,)``, what they were divided by to that end.
        patches: the patches, without scales that all samples change alike.
    """

    def __init__(self, patches: Patches, masks: dict[int, Tensor]) -> None:
        self._masks = masks
        removed = torch.cat([patches.removed(level, own) for level, own in masks.items()], 1)
        self._centers = []
        start = 0
        for level, own in masks.items():
            columns = removed[:, start : start + len(own)]
            # Centred over all levels at once, deletion scores were clearly lower.
            center = columns.mean(1) if len(own) > 1 else _all_alike(patches, level, own)
            columns -= center[:, None]
            self._centers.append(center)
            start += len(own)
        scales = removed.split(patches.sizes)
        removed_of = [float(own.square().sum(0).mean().sqrt()) for own in scales]
        vary = [
            size > _LEAST_VARIATION * float(total.norm())
            for size, total in zip(removed_of, patches.totals, strict=True)
        ]
        equal = math.sqrt(max(1, sum(vary)))
        for own, size, varies in zip(scales, removed_of, vary, strict=True):
            own /= equal * size if varies else 1
        counts = torch.tensor(patches.sizes, device="cpu")
        self._kept = torch.tensor(vary, device="cpu").repeat_interleave(counts)
        self.features = removed if all(vary) else removed[self._kept]
        self.divisor = equal * removed.new_tensor(removed_of).repeat_interleave(counts)[self._kept]
        self._unreduced = patches
        self.patches = patches.of_scales(
            [scale for scale, varies in zip(patches.scales, vary, strict=True) if varies]
        )

    def part(self, chosen: Tensor, kernel: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Features of some samples, centred among themselves, and their products with each other,
        computed from those of all samples."""
        index = chosen.nonzero()[:, 0]
        features = self.features.index_select(1, index)
        if kernel is not None:
            kernel = kernel.index_select(0, index).index_select(1, index)
        start = 0
        parts = _chosen(self._masks, chosen)
        for (level, own), center in zip(parts.items(), self._centers, strict=True):
            columns = slice(start, start + len(own))
            if len(own) == 1:
                shift = (center - _all_alike(self._unreduced, level, own))[self._kept]
                features[:, columns] += (shift / self.divisor)[:, None]
                kernel = None
            elif len(own):
                features[:, columns] -= features[:, columns].mean(1, keepdim=True)
                if kernel is not None:
                    kernel[columns] -= kernel[columns].mean(0)
                    kernel[:, columns] -= kernel[:, columns].mean(1, keepdim=True)
            start += len(own)
        return features, kernel


class _Fit:
    """The regression of values on what masks removed, both of some samples.

    Args:
        removed (_Removed): Patches and the sizes of what was removed.
        features (Tensor): Of these samples.
        values (Tensor): float64 ``(samples, outputs)``.
        **known (Any): Arguments of ``Regression`` that save work done before.
    """

    def __init__(self, removed: _Removed, features: Tensor, values: Tensor, **known: Any) -> None:
        self._removed, self._n_outputs = removed, values.shape[1]
        centered = values - values.mean(0)
        spread = centered.square().mean(0).sqrt()
        # Relative to the size of the values, as even the mean of a constant is rounded.
        self._varies = (spread > 1e-12 * values.abs().amax(0)).nonzero()[:, 0]
        self._spread = spread[self._varies, None]
        self.regression: Regression | None = None
        # Otherwise no sample changed anything, or no change had an impact.
        if len(self._varies) and len(features):
            targets = centered[:, self._varies].T / self._spread
            self.regression = Regression(features, targets, **known)
            self._variances = self._variances_of(self.regression.surprises)

    def likeliest_noise(self) -> Tensor:
        """The share of the noise of each output: ``(outputs,)``."""
        noise = self._spread.new_ones(self._n_outputs)
        if self.regression is not None:
            noise[self._varies] = self.regression.likeliest_noise(self._variances)
        return noise

    def weights(self, noise: Tensor) -> Tensor:
        """What a unit of each feature adds to the values: float32 ``(outputs, features)``."""
        weights = self._removed.features.new_zeros(self._n_outputs, len(self._removed.features))
        if self.regression is not None:
            own = self.regression.weights(self._variances, noise[self._varies])
            weights[self._varies] = own * self._spread.to(own)
        return weights

    def effects(self, weights: Tensor) -> Tensor:
        """What removing each element adds to the values: float64 ``(outputs, elements)``."""
        patches = self._removed.patches
        return patches.spread(weights / self._removed.divisor).double() * patches.weights

    def _variances_of(self, surprises: Tensor) -> Tensor:
        """Variances of the patches of all scales, from surprises averaged over the scales: their
        borders differ, so the average is smoother than any of them."""
        patches, tiny = self._removed.patches, torch.finfo(surprises.dtype).tiny
        scales = surprises.split(patches.sizes, 1)
        relative = [own / own.mean(1, keepdim=True).clamp(min=tiny) for own in scales]
        count = patches.spread(torch.ones_like(surprises[:1])).clamp(min=1)
        return patches.average(patches.spread(torch.cat(relative, 1)) / count)


class _Found(NamedTuple):
    """What a fit says.

    Attributes:
        weights: of the regression's features, ``(outputs, features)``.
        effects: what removing each element adds to the values, ``(outputs, elements)``.
    """

    weights: Tensor
    effects: Tensor


def _all_alike(patches: Patches, level: int, masks: Tensor) -> Tensor:
    """What is removed by a mask that removes the same share of every patch."""
    share = masks.double().mean()
    return patches.removed(level, share.expand(masks.shape))[:, 0]


def _chosen(masks: dict[int, Tensor], chosen: Tensor | None) -> dict[int, Tensor]:
    if chosen is None:
        return masks
    parts = chosen.split([len(own) for own in masks.values()])
    return {level: own[part] for (level, own), part in zip(masks.items(), parts, strict=True)}
