"""A map that is smooth where the samples say nothing: more from each forward pass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from captum_spes.attr.estimators import Features, Samples
from captum_spes.attr.regression import Regression
from captum_spes.errors import ArgumentError, real_number

# Impacts below this share of their mean count as this share: log needs a floor.
_FLOOR = 1e-6
# Patches of at most so many sizes make up the effects: the coarsest, the finest and some between.
_SCALES = 5


@dataclass(frozen=True)
class GaussianProcess:
    r"""
    Estimates what each element adds to the impact by Bayesian regression on the masks.

    The masked mean of the paper (Eq. 3) looks at one feature at a time; what the other
    perturbed features did is noise to it. Here the logarithm of the impact is the sum of what
    all perturbed elements add,

    .. math::
        \ln r_i = \mu + \sum_c (1 - M_{ic})\, |x_c - b_c|^a f_c + \varepsilon_i

    because impacts of parts multiply rather than add (their logarithms also have no heavy
    tail), and because an element that is hardly changed when it is replaced by its baseline b
    can hardly matter. f is a Gaussian process: a priori elements of one patch
    are alike, in patches of up to five levels from the coarsest to the finest. So every sample,
    of whatever level, informs all scales, and what no sample tells stays at what is known of
    its surroundings.

    It is fitted twice. In the first fit every place may matter as much as any other. How much
    larger than expected the squared effects then are says where an output has its evidence: a
    word at one time, in some bands. The second fit allows each output large effects there and
    small ones elsewhere, so that its map is quiet where it rests on nothing. The share of the
    noise has the highest marginal likelihood, in the first fit for all outputs together, in the
    second for each.

    The attribution of an element is the impact to expect when a patch of the finest level,
    all of whose elements are like it, is removed: the mean impact times one plus (1 - p) times
    the change of its logarithm. Elements can have less than the mean impact.

    Args:

        log_impacts (bool, optional): Whether to take logarithms; impacts must then not be
                    negative, as divergences are not. Without, impacts add up.
                    Default: True
        change_exponent (float, optional): a above; 0 ignores how much an element is changed.
                    At least 0.
                    Default: 0.5

    The second fit is based on one step of evidence maximisation: Tipping, "Sparse Bayesian
    learning and the relevance vector machine", Journal of Machine Learning Research 1 (2001),
    Eq. 16.

    Examples::

        >>> x = torch.randn(1, 30)
        >>> forward = KLDivergenceForward(torch.nn.Linear(30, 5), x)
        >>> attr = SPES(forward).attribute(x, estimator=GaussianProcess(), n_samples=100, seed=0)
    """

    log_impacts: bool = True
    change_exponent: float = 0.5

    # Memory grows with samples times patches.
    max_samples: ClassVar[int] = 10_000
    unseen: ClassVar[str] = "have scores inferred from their surroundings"

    def __post_init__(self) -> None:
        if not 0 <= real_number("change_exponent", self.change_exponent) < math.inf:
            raise ArgumentError(f"change_exponent must be at least 0, got {self.change_exponent}.")

    def check_features(self, features: Features) -> None:
        """Raise where the change of an element is not finite."""
        if not bool(torch.isfinite(features.change).all()):
            raise ArgumentError(
                "GaussianProcess needs finite inputs and baselines; use the default estimator, or "
                "GaussianProcess(change_exponent=0) after replacing infinite features."
            )

    def check_impacts(self, impacts: Tensor) -> None:
        """Raise where logarithms are to be taken of negative impacts."""
        if self.log_impacts and bool((impacts < -_FLOOR).any()):
            raise ArgumentError(
                "GaussianProcess takes logarithms of impacts, and forward_func returned more "
                "than for the unperturbed input; score by KLDivergenceForward, or give "
                "GaussianProcess(log_impacts=False)."
            )

    def estimate(self, features: Features, samples: Sequence[Samples]) -> Tensor:
        """Return ``(outputs, elements)``; see :class:`captum_spes.attr.Estimator`."""
        elements = _Elements(features, self.change_exponent)
        impacts = torch.cat([own.impacts for own in samples])
        means = impacts.mean(0)
        values = impacts
        if self.log_impacts:
            # Where nothing has any impact the logarithms are constant, whatever the floor.
            floor = (_FLOOR * means).clamp(min=torch.finfo(torch.float64).tiny)
            values = impacts.maximum(floor).log()
        exact = [(level, masks.double(), own) for level, masks, own in samples]
        # The caller's autocast is meant for the model.
        with torch.autocast("cpu", enabled=False):
            effects = _effects(values, exact, elements)
        probability = float(torch.cat([masks.mean(1) for _, masks, _ in exact]).mean())
        changes = (1 - probability) * elements.per_finest_feature * effects
        scale = means[:, None] if self.log_impacts else 1.0
        return (means[:, None] + scale * changes) * elements.is_feature


class _Elements:
    """All elements of one example's inputs, one after the other.

    Attributes:
        columns: of each level, the feature of every element; one past the last for none.
        weights: ``|x - b|`` to the exponent, 0 for elements that are never perturbed.
        is_feature: whether an element is perturbed at all.
    """

    def __init__(self, features: Features, exponent: float) -> None:
        self.columns, self.n_features = features.columns, features.n_features
        self.is_feature = features.is_perturbed
        self.weights = (features.change.abs() ** exponent) * self.is_feature

    @property
    def per_finest_feature(self) -> float:
        """Elements of a feature of the finest level, on average."""
        return float(self.is_feature.sum()) / max(1, *self.n_features)

    @property
    def scales(self) -> list[int]:
        """Levels from the coarsest to the finest, evenly spaced in their order."""
        levels = [level for level, count in enumerate(self.n_features) if count]
        by_size = sorted(levels, key=lambda level: self.n_features[level])
        count = min(_SCALES, len(by_size))
        return [
            by_size[round(i)]
            for i in torch.linspace(
                0, len(by_size) - 1, count, dtype=torch.float32, device="cpu"
            ).tolist()
        ]

    def overlap(self, level: int, scale: int) -> Tensor:
        """Weight that features of a level share with features of a scale."""
        n_rows, n_columns = self.n_features[level], self.n_features[scale]
        rows, columns = self.columns[level], self.columns[scale]
        both = (rows < n_rows) & (columns < n_columns)
        index = rows[both] * n_columns + columns[both]
        shared = torch.zeros(n_rows * n_columns, dtype=torch.float64, device="cpu")
        return shared.index_add_(0, index, self.weights[both]).reshape(n_rows, n_columns)

    def spread(self, values: Tensor, scale: int) -> Tensor:
        """Values of the features of a scale on their elements, 0 on those without a feature."""
        return torch.nn.functional.pad(values, (0, 1))[self.columns[scale]]

    def average(self, values: Tensor, scale: int) -> Tensor:
        """Mean over the elements of each feature of a scale."""
        columns, size = self.columns[scale], self.n_features[scale] + 1
        sums = torch.zeros(size, dtype=torch.float64, device="cpu").index_add_(0, columns, values)
        return (sums / torch.bincount(columns, minlength=size).clamp(min=1))[:-1]


def _effects(
    values: Tensor, samples: list[tuple[int, Tensor, Tensor]], elements: _Elements
) -> Tensor:
    """What removing each element adds to the values: ``(outputs, elements)``."""
    effects = torch.zeros(values.shape[1], len(elements.weights), dtype=torch.float64, device="cpu")
    centered = values - values.mean(0)
    spread = centered.square().mean(0).sqrt()
    # Of constants too, the mean rounds.
    varies = (spread > 1e-12 * values.abs().amax(0)).nonzero()[:, 0]
    scales, removed, sizes = _removed(samples, elements)
    if not scales or not len(varies):
        return effects  # nothing was changed, or nothing came of it
    counts = [rows.shape[1] for rows in removed]
    regression = Regression(torch.cat(removed, 1), centered[:, varies] / spread[varies])
    for column, output in enumerate(varies.tolist()):
        surprises = regression.surprises[:, column].split(counts)
        variances = _variances(surprises, scales, elements)
        weights = regression.weights(column, variances).split(counts)
        for own, size, scale in zip(weights, sizes, scales, strict=True):
            effects[output] += elements.spread(own / size, scale)
    return effects * elements.weights * spread[:, None]


def _removed(
    samples: list[tuple[int, Tensor, Tensor]], elements: _Elements
) -> tuple[list[int], list[Tensor], list[float]]:
    """Scales that samples change, how much of their features is removed by each sample, all
    scales alike in size, and by what they were divided for that."""
    scales = []
    for scale in elements.scales:
        rows = torch.cat([_centered(m) @ elements.overlap(level, scale) for level, m, _ in samples])
        size = float(rows.square().sum(1).mean().sqrt())
        if size > 0:
            scales.append((scale, rows, size))
    equal = math.sqrt(len(scales))
    return (
        [scale for scale, _, _ in scales],
        [rows / (equal * size) for _, rows, size in scales],
        [equal * size for _, _, size in scales],
    )


def _variances(surprises: tuple[Tensor, ...], scales: list[int], elements: _Elements) -> Tensor:
    """Of the features of all scales: means over the scales, whose borders differ, are a smoother
    picture than any of them."""
    total = torch.zeros(len(elements.weights), dtype=torch.float64, device="cpu")
    count = torch.zeros_like(total)
    for own, scale in zip(surprises, scales, strict=True):
        relative = own / own.mean().clamp(min=torch.finfo(own.dtype).tiny)
        total += elements.spread(relative, scale)
        count += elements.spread(torch.ones_like(own), scale)
    relevance = total / count.clamp(min=1)
    return torch.cat([elements.average(relevance, scale) for scale in scales])


def _centered(masks: Tensor) -> Tensor:
    """Within a level: centred over all levels at once, deletion scores were clearly lower."""
    return masks - (masks.mean(0) if len(masks) > 1 else masks.mean())
