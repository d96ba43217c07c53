"""A measure over steps, the area under it, and how sure the area is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from captum_spes.errors import (
    ArgumentError,
    instance_of,
    open_share,
    real_number,
    several,
    whole_number,
)
from captum_spes.plotting import plot_curves

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Curve:
    r"""
    A corpus measure at every step, with what each utterance adds to it.

    Attributes:
        name: what is drawn, for example "deletion".
        metric: its unit, for example "wer_capped".
        x: steps: percent of the cells, or thresholds in [0, 1].
        counts: ``(utterances, steps, n)``: what each utterance adds to the sums from which
            the measure is computed.
        score: the measure at one step, from sums of shape ``(n,)``.
        ids: names of the utterances.
    """

    name: str
    metric: str
    x: tuple[float, ...]
    counts: NDArray[np.float64] = field(repr=False)
    score: Callable[[ArrayLike], float] = field(repr=False)
    ids: tuple[str, ...] = field(repr=False, default=())

    def __post_init__(self) -> None:
        instance_of("counts", self.counts, np.ndarray, "an array (utterances, steps, n)")
        several("x", self.x, "a sequence of steps")
        if self.counts.ndim != 3 or 0 in self.counts.shape or len(self.x) != self.counts.shape[1]:
            raise ArgumentError(
                f"a curve of {len(self.x)} steps needs counts (utterances, steps, n), none of "
                f"them 0; got shape {self.counts.shape}."
            )

    @property
    def y(self) -> tuple[float, ...]:
        """The measure at each step, over all utterances."""
        return self._values(np.arange(len(self.counts)))

    @property
    def auc(self) -> float:
        """Area under the curve; see :func:`auc`."""
        return auc(self.x, self.y)

    def interval(
        self, confidence: float = 0.95, *, n_resamples: int = 1_000, seed: int = 0
    ) -> Interval:
        r"""
        Bootstrap the area under the curve over utterances (percentile method).

        Args:

            confidence (float, optional): Coverage, in (0, 1).
                        Default: 0.95
            n_resamples (int, optional): Corpora drawn with replacement.
                        Default: 1000
            seed (int, optional): Seed of the drawing.
                        Default: 0

        Returns:
            *Interval* (low, high); NaN, both, for a single utterance. With fewer than about
            twenty utterances the interval is too narrow. It does not contain the noise of the
            masks, which other seeds would show.

        Examples::

            >>> curve = size_curve([result, result])
            >>> curve.interval().low <= curve.auc <= curve.interval().high
            True
        """
        return bootstrapped(self.area_of, len(self.counts), confidence, n_resamples, seed)

    def difference(
        self, other: Curve, confidence: float = 0.95, *, n_resamples: int = 1_000, seed: int = 0
    ) -> tuple[float, Interval]:
        r"""
        Compare two methods on the same utterances.

        Args:

            other (Curve): Another method's curve of the same measure and utterances, in
                        the same order.
            confidence (float, optional): Default: 0.95
            n_resamples (int, optional): Default: 1000
            seed (int, optional): Default: 0

        Returns:
            *tuple* of the difference of the areas (self minus other) and its interval from
            a paired bootstrap over utterances.

        Raises:
            ArgumentError: the curves differ in metric, steps or utterances.

        Examples::

            >>> curve = size_curve([result, result])
            >>> curve.difference(curve)
            (0.0, Interval(low=0.0, high=0.0))
        """
        instance_of("other", other, Curve, "a Curve")
        check_paired(self, other)

        def gap(rows: NDArray[np.int64]) -> float:
            return self.area_of(rows) - other.area_of(rows)

        interval = bootstrapped(gap, len(self.counts), confidence, n_resamples, seed)
        return self.auc - other.auc, interval

    def plot(self) -> Figure:
        r"""
        Draw the curve.

        Returns:
            *matplotlib.figure.Figure*, not shown; the title gives the area.

        Examples::

            >>> size_curve(result).plot().savefig("size.png")
        """
        return plot_curves({self.name: self}, title=f"{self.name}: area {self.auc:.1f}")

    def _values(self, rows: NDArray[np.int64]) -> tuple[float, ...]:
        return tuple(self.score(sums) for sums in self.counts[rows].sum(0))

    def area_of(self, rows: NDArray[np.int64]) -> float:
        """The area of some utterances, by their numbers; each counts as often as it is named."""
        return _area(self.x, self._values(rows))


@dataclass(frozen=True, eq=False)
class CurveDifference:
    r"""
    One curve minus another one of the same measure, steps and utterances.

    Attributes:
        name: what is drawn, for example "symmetric relevance gain".
        first: the curve.
        second: what is subtracted of it.

    Raises:
        ArgumentError: the curves differ in metric, steps or utterances.
    """

    name: str
    first: Curve
    second: Curve

    def __post_init__(self) -> None:
        check_paired(self.first, self.second)

    @property
    def metric(self) -> str:
        """The unit of both."""
        return self.first.metric

    @property
    def x(self) -> tuple[float, ...]:
        """The steps."""
        return self.first.x

    @property
    def ids(self) -> tuple[str, ...]:
        """Names of the utterances."""
        return self.first.ids

    @property
    def y(self) -> tuple[float, ...]:
        """The difference at each step."""
        return tuple(a - b for a, b in zip(self.first.y, self.second.y, strict=True))

    @property
    def auc(self) -> float:
        """The difference of the areas."""
        return self.first.auc - self.second.auc

    def interval(
        self, confidence: float = 0.95, *, n_resamples: int = 1_000, seed: int = 0
    ) -> Interval:
        r"""
        Bootstrap the difference over utterances, the two curves of each together.

        Args:

            confidence (float, optional): Coverage, in (0, 1).
                        Default: 0.95
            n_resamples (int, optional): Corpora drawn with replacement.
                        Default: 1000
            seed (int, optional): Seed of the drawing.
                        Default: 0

        Returns:
            *Interval*, as :meth:`Curve.interval`.

        Examples::

            >>> given = [("speech.flac", None, result)]
            >>> gain = symmetric_gain(explainer, given, 0.25, metric="kl")
            >>> gain.interval().low  # of one utterance nothing can be told
            nan
        """
        return bootstrapped(self.area_of, len(self.first.counts), confidence, n_resamples, seed)

    def difference(
        self, other: CurveDifference, confidence: float = 0.95, *, n_resamples: int = 1_000,
        seed: int = 0,
    ) -> tuple[float, Interval]:  # fmt: skip
        r"""
        Compare two methods by a difference, on the same utterances.

        Args:

            other (CurveDifference): Another method's.
            confidence (float, optional): Default: 0.95
            n_resamples (int, optional): Default: 1000
            seed (int, optional): Default: 0

        Returns:
            *tuple* of self minus other and its interval from a paired bootstrap over utterances.

        Raises:
            ArgumentError: the curves differ in metric, steps or utterances.

        Examples::

            >>> given = [("speech.flac", None, result)] * 2
            >>> gain = symmetric_gain(explainer, given, 0.25, metric="kl")
            >>> gain.difference(gain)
            (0.0, Interval(low=0.0, high=0.0))
        """
        instance_of("other", other, CurveDifference, "a difference of curves")
        check_paired(self.first, other.first)

        def gap(rows: NDArray[np.int64]) -> float:
            return self.area_of(rows) - other.area_of(rows)

        interval = bootstrapped(gap, len(self.first.counts), confidence, n_resamples, seed)
        return self.auc - other.auc, interval

    def plot(self) -> Figure:
        r"""
        Draw both curves.

        Returns:
            *matplotlib.figure.Figure*, not shown; the title gives the difference of the areas.

        Examples::

            >>> given = [("speech.flac", None, result)]
            >>> symmetric_gain(explainer, given, 0.5, metric="kl").plot().savefig("gain.png")
        """
        curves = {curve.name: curve for curve in (self.first, self.second)}
        return plot_curves(curves, title=f"{self.name}: {self.auc:.2f}")

    def area_of(self, rows: NDArray[np.int64]) -> float:
        """The area of some utterances, by their numbers; each counts as often as it is named."""
        return self.first.area_of(rows) - self.second.area_of(rows)


def check_paired(first: Curve, second: Curve) -> None:
    """Raise where curves are not of the same measure, steps and utterances."""
    mismatch = first.x != second.x or first.ids != second.ids or first.metric != second.metric
    if mismatch or len(first.counts) != len(second.counts):
        raise ArgumentError(
            "curves can be compared if they share metric, steps and utterances; got "
            f"{first.metric} of {len(first.counts)} and {second.metric} of {len(second.counts)}."
        )


def auc(x: Curve | Sequence[float], y: Sequence[float] | None = None) -> float:
    r"""
    Area under a curve by the trapezoidal rule, on the paper's scale: over all steps from 0 to
    100 %, or from 0 to 1, a measure in percent gives an area in [0, 100].

    Args:

        x (Curve or sequence of float): A curve; or its steps in ascending order, in [0, 1]
                    or in percent (anything above 1 is read as percent).
        y (sequence of float, optional): The measure at each step.
                    Default: None, the curve's own

    Returns:
        *float*: the area, 100 % counting as 1.

    Raises:
        ArgumentError: x and y differ in length, or hold fewer than two steps.

    Examples::

        >>> auc([0, 50, 100], [0.0, 100.0, 100.0])
        75.0
    """
    if isinstance(x, Curve):
        return x.auc
    steps, values = (
        [real_number(f"each of {name}", value) for value in several(name, given, "numbers")]
        for name, given in (("x", x), ("y", () if y is None else y))
    )
    if len(steps) != len(values) or len(steps) < 2:
        raise ArgumentError("auc needs a curve, or x and y of the same length, at least 2.")
    if not all(low < high for low, high in pairwise(steps)):
        raise ArgumentError(f"x must ascend, got {steps}.")
    return _area(steps, values)


def _area(steps: Sequence[float], values: Sequence[float]) -> float:
    """Of numbers that were checked: resampling asks for thousands of areas."""
    from scipy.integrate import trapezoid

    return float(trapezoid(values, steps) / (100 if steps[-1] > 1 else 1))


def mean_counts(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Counts of a measure that is a plain mean over utterances, from (utterances, steps)."""
    return np.stack([values, np.ones_like(values)], axis=-1)


def mean_score(sums: ArrayLike) -> float:
    total, count = np.asarray(sums, dtype=float)
    return float(total / count)


def bootstrapped(
    statistic: Callable[[NDArray[np.int64]], float],
    count: int,
    confidence: float,
    n_resamples: int,
    seed: int,
) -> Interval:
    """The interval of a statistic of utterances, whose numbers are drawn with replacement."""
    confidence = open_share("confidence", confidence)
    n_resamples, seed = whole_number("n_resamples", n_resamples, 1), whole_number("seed", seed, 0)
    rows = np.arange(count)
    if count < 2:
        return Interval(float("nan"), float("nan"))
    from scipy.stats import bootstrap

    found = bootstrap(
        (rows,),
        statistic,
        n_resamples=n_resamples,
        vectorized=False,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(float(found.low), float(found.high))
