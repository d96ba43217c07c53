"""SPES: the average impact of the random perturbations that remove a feature."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from captum.attr import PerturbationAttribution
from captum.log import log_usage
from torch import Tensor

from captum_spes.attr.captum_compat import (
    BaselineType,
    TargetType,
    TensorOrTupleOfTensorsGeneric,
    _format_input_baseline,
    _format_output,
    _is_tuple,
)
from captum_spes.attr.designs import (
    BernoulliDesign,
    MaskDesign,
    SeededMasks,
    examples_of_equal_sizes,
    resolve_seed,
)
from captum_spes.attr.estimators import (
    HALVES,
    Estimator,
    Features,
    MaskedMean,
    check_estimator,
    running_estimate,
)
from captum_spes.attr.forward import Forward, Original, check_inputs
from captum_spes.attr.gaussian_process import GaussianProcess
from captum_spes.attr.loop import Plan, progress_bar, sample, shaped
from captum_spes.attr.prior import Prior, PriorMaps, prior_of_examples
from captum_spes.attr.segmentation import (
    FeatureMaskLevels,
    baseline_tensors,
    perturb,
    segmentation_levels,
)
from captum_spes.errors import ArgumentError, ArgumentTypeError, function, one_or_tuple, warn_caller


class SPES(PerturbationAttribution):
    r"""
    A perturbation based approach that masks many random subsets of features and
    attributes to each feature the mean impact of the perturbations that it was part of:

    .. math::
        S = \frac{\sum_i r_i (1 - M_i)}{\sum_i (1 - M_i)}, \qquad
        r_i = f(x) - f(x'_i)

    where :math:`M_i` is 0 on the perturbed features of sample i and 1 elsewhere. Features
    can be grouped with a feature mask, and several feature masks can be used together as
    segmentation levels, over which the sums are pooled.

    The score is an expected impact and has no completeness: for a linear model in which
    feature j contributes :math:`d_j` it tends to :math:`(1-p)\,d_j + p\sum_k d_k` (p is
    ``perturb_prob``). The order of the features is that of FeatureAblation, but all scores are
    shifted: a feature without any effect does not get 0. Other estimators turn the same samples
    into other scores:

    - :class:`captum_spes.attr.MaskedMean`, the default, is the paper's: for ranks, and for maps
      that are standardised, as those of a spectrogram are;
    - :class:`captum_spes.attr.MaskedDifference` has a true zero and FeatureAblation's signs: for
      Captum's pictures, infidelity, and wherever zero or the sign matters;
    - :class:`captum_spes.attr.GaussianProcess` (:meth:`SPES.efficient`) gets more out of a few
      hundred to a few thousand samples of many features.

    For speech-to-text models use it through
    :class:`captum_spes.SpeechToTextAttribution`.

    Source: Fucci et al., "SPES: Spectrogram Perturbation for Explainable Speech-to-Text
    Generation", https://arxiv.org/abs/2411.01710, section 4.
    """

    def __init__(
        self, forward_func: Callable[..., Any], *, estimator: Estimator | None = None
    ) -> None:
        r"""
        Args:

            forward_func (Callable): The forward function of the model or any
                        modification of it. It is called with the inputs and
                        ``additional_forward_args`` as positional arguments and returns a
                        Tensor, or a number for the whole batch.
            estimator (Estimator, optional): Turns masks and impacts into attributions; see
                        :class:`captum_spes.attr.Estimator` to write one.
                        Default: None, :class:`captum_spes.attr.MaskedMean`, the mean above

        Raises:
            ArgumentTypeError: ``estimator`` has no method ``estimate``.
        """
        function("forward_func", forward_func)
        super().__init__(forward_func)
        self.estimator: Estimator = MaskedMean() if estimator is None else estimator
        check_estimator(self.estimator, 1)

    @classmethod
    def efficient(cls, forward_func: Callable[..., Any], **options: Any) -> SPES:
        r"""
        SPES with the estimator that gets most out of few samples, a Gaussian process.

        Args:

            forward_func (Callable): As for SPES; a divergence such as
                        :class:`captum_spes.KLDivergenceForward`, unless ``log_impacts=False``.
            **options (Any): Arguments of :class:`captum_spes.attr.GaussianProcess`.

        Returns:
            *SPES*

        Examples::

            >>> x = torch.randn(1, 30)
            >>> forward = KLDivergenceForward(torch.nn.Linear(30, 5), x)
            >>> attr = SPES.efficient(forward).attribute(x, n_samples=100, seed=0)
        """
        return cls(forward_func, estimator=GaussianProcess(**options))

    @log_usage()
    def attribute(  # noqa: PLR0913
        self,
        inputs: TensorOrTupleOfTensorsGeneric,
        baselines: BaselineType = None,
        target: TargetType = None,
        additional_forward_args: object | None = None,
        feature_mask: FeatureMaskLevels = None,
        n_samples: int = 20_000,
        perturbations_per_eval: int | str = 1,
        show_progress: bool = False,
        *,
        perturb_prob: float = 0.5,
        seed: int | None = None,
        design: MaskDesign | None = None,
        estimator: Estimator | None = None,
        tolerance: float | None = None,
        return_partial: bool = False,
        return_halves: bool = False,
        prior: Prior | Tensor | tuple[Tensor, ...] | None = None,
    ) -> Any:
        r"""
        Args:

            inputs (Tensor or tuple[Tensor, ...]): Input for which attributions are
                        computed. The first dimension of every tensor is the batch.
            baselines (scalar, Tensor, tuple of scalar, or Tensor, optional): The value
                        that replaces perturbed features: a scalar, a Tensor shaped like
                        the input or with a first dimension of 1, or a tuple with one of
                        these per input.
                        Default: None, which is 0
            target (int, tuple, Tensor, or list, optional): Output indices for which
                        attributions are computed, as in every Captum method: an int or a
                        tuple of ints for all examples, or one entry per example in a
                        list or 1D Tensor.
                        Default: None
            additional_forward_args (Any, optional): Further positional arguments of
                        ``forward_func``. Tensors are expected to have the batch in their
                        first dimension and are repeated for every perturbation; anything
                        else is passed as it is.
                        Default: None
            feature_mask (Tensor, tuple[Tensor, ...], or list of either, optional): Integer
                        labels; elements with the same label are perturbed together. One
                        Tensor per input, broadcastable to it, with a first dimension of 1
                        (or none) where all examples share it. Labels are global over a
                        tuple of inputs, need not be contiguous, and below 0 mean never
                        perturbed (padding): such elements get 0. A *list* holds one
                        segmentation level per entry.
                        Default: None, every scalar is a feature
            n_samples (int, optional): Number of perturbed inputs to evaluate, over all
                        levels together; at least 1. Without a ``tolerance`` exactly this
                        many are evaluated, split evenly over the levels; the first levels
                        take the remainder.
                        Default: 20000
            perturbations_per_eval (int or "auto", optional): Perturbed inputs per call of
                        ``forward_func``; each call sees at most
                        ``perturbations_per_eval * batch`` examples. Must be 1 if
                        ``forward_func`` returns one value for the whole batch. It does
                        not change the masks. "auto" starts with 1, doubles while that
                        makes a sample cheaper, and halves when memory runs out; no
                        evaluation is lost.
                        Default: 1
            show_progress (bool, optional): Displays a progress bar.
                        Default: False
            perturb_prob (float, optional): Probability that a feature is perturbed,
                        strictly between 0 and 1. Ignored with a ``design``.
                        Default: 0.5
            seed (int, optional): The masks depend on it alone; torch's global generator
                        is not touched.
                        Default: None, a seed is drawn from torch's global generator
            design (MaskDesign, optional): Draws the masks; see
                        :class:`captum_spes.attr.MaskDesign`.
                        Default: None, independent Bernoulli masks
            estimator (Estimator, optional): Used instead of the one that the method was
                        made with.
                        Default: None, the method's own
            tolerance (float, optional): Stop when at most this share of the attributions'
                        variance is sampling noise, in (0, 1): 1 minus their split-half
                        reliability (:func:`captum_spes.attr.split_half_reliability`), the
                        mean over outputs and examples. ``n_samples`` is then the most
                        that is spent. Levels take turns.
                        Default: None, all of ``n_samples``
            return_partial (bool, optional): Whether Ctrl-C ends the sampling and returns the
                        attributions of the samples so far, with a warning, instead of
                        raising KeyboardInterrupt. Levels take turns.
                        Default: False
            return_halves (bool, optional): Whether to return the attributions of both
                        halves of the samples as well.
                        Default: False
            prior (Prior, Tensor or tuple[Tensor, ...], optional): Attributions that are known
                        before sampling, of the shape that is returned: larger = more impact.
                        Only for estimators that take one (GaussianProcess), which find out
                        how much it is worth; see :class:`captum_spes.attr.Prior`.
                        Default: None

        Returns:
            *Tensor* or *tuple[Tensor, ...]* of **attributions**, or, with
            ``return_halves=True``, a tuple of **attributions** and **halves**:

            - **attributions** (*Tensor* or *tuple[Tensor, ...]*):
              If ``forward_func`` (after selecting ``target``) returns a scalar
              per example, the shape of the inputs; if it returns
              ``(batch, k)``, the shape ``(batch, k, *input.shape[1:])``; if it
              returns a scalar per batch, ``(1, *input.shape[1:])``. float32, or
              float64 where ``forward_func`` returns float64. Features that no
              sample perturbed get 0 (from a GaussianProcess what their
              surroundings suggest), with a warning.
            - **halves** (*tuple*): two more such attributions, each from every second sample.

        Raises:
            ArgumentError: an argument has an unusable value or shape (also caught as
                ValueError and AssertionError), or ``forward_func`` returns NaN or infinity.
            ArgumentTypeError: ``forward_func`` returned something that is no Tensor or
                number, or an argument has the wrong type (also caught as TypeError and
                AssertionError).

        Examples::

            >>> # SimpleClassifier takes a single input tensor of size Nx4x4,
            >>> # and returns an Nx3 tensor of class probabilities.
            >>> net = SimpleClassifier()
            >>> input = torch.randn(2, 4, 4)
            >>> spes = SPES(net)
            >>> # Each of the 16 scalars is a feature.
            >>> attr = spes.attribute(input, target=1, n_samples=400, seed=0)
            >>> # Group each 2x2 square, and halves as a second level.
            >>> squares = torch.tensor([[[0,0,1,1],[0,0,1,1],
            ...                          [2,2,3,3],[2,2,3,3]]])
            >>> halves = torch.tensor([[[0,0,1,1],[0,0,1,1],
            ...                         [0,0,1,1],[0,0,1,1]]])
            >>> attr = spes.attribute(input, target=1, n_samples=400, seed=0,
            ...                       feature_mask=[squares, halves])
        """
        is_inputs_tuple = _is_tuple(inputs)
        one_or_tuple("inputs", inputs, Tensor, "a Tensor or a tuple of Tensors")
        try:
            tensors, baseline_values = _format_input_baseline(inputs, baselines)
        except AssertionError as error:
            raise ArgumentTypeError(f"baselines {baselines!r} cannot be used: {error}") from error
        plan = Plan(n_samples, perturbations_per_eval, tolerance, return_partial, show_progress)
        estimator = self.estimator if estimator is None else estimator
        check_estimator(estimator, int(n_samples))
        check_inputs(tensors, self.forward_func)
        removed = baseline_tensors(baseline_values, tensors)
        levels = segmentation_levels(feature_mask, tensors)
        design = BernoulliDesign(perturb_prob) if design is None else design
        with torch.no_grad():
            forward = Forward(self.forward_func, target, additional_forward_args)
            original = Original.of(forward, tensors)
            original.check_batches(perturbations_per_eval, levels)
            priors = _priors(prior, estimator, tensors, original)
            features = [
                Features(levels, example, tensors, removed, own)
                for example, own in enumerate(priors)
            ]
            perturbations = _FeaturePerturbations(
                features, original.scores.shape[1], estimator, design, resolve_seed(seed)
            )
            sample(perturbations, forward, original, plan, self.get_name())
            perturbations.warn_of_unseen()
            found = [
                _format_output(is_inputs_tuple, shaped(maps, tensors, original))
                for maps in _estimates(perturbations, return_halves, plan, self.get_name())
            ]
        return (found[0], tuple(found[1:])) if return_halves else found[0]

    def attribute_future(self, *args: Any, **kwargs: Any) -> None:
        r"""
        This method is not implemented for SPES.
        """
        raise NotImplementedError("attribute_future is not implemented for SPES")

    @classmethod
    def get_name(cls) -> str:
        r"""
        Returns:
            *str*: the name in progress bars, without the spaces that Captum puts
            before every capital.
        """
        return cls.__name__


def _priors(
    prior: object, estimator: Estimator, tensors: tuple[Tensor, ...], original: Original
) -> Sequence[PriorMaps | None]:
    """What is known of each example before sampling."""
    n_examples, n_outputs = original.scores.shape[:2]
    if prior is None:
        return [None] * n_examples
    if not getattr(estimator, "takes_prior", False):
        raise ArgumentError(
            f"{type(estimator).__name__} makes no use of a prior: leave it out, or give "
            "estimator=GaussianProcess()."
        )
    return prior_of_examples(prior, tensors, n_examples, n_outputs)


class _FeaturePerturbations:
    """Masks over features, and the estimates of the examples that share them."""

    def __init__(
        self,
        features: Sequence[Features],
        n_outputs: int,
        estimator: Estimator,
        design: MaskDesign,
        seed: int,
    ) -> None:
        self._levels = features[0].levels
        self._tensors, self._baselines = features[0].tensors, features[0].baselines
        self._features, self._n_outputs = features, n_outputs
        self.estimator = estimator
        self.n_levels = len(self._levels)
        self.odds_exponent = float(getattr(estimator, "odds_exponent", 1.0))
        groups = examples_of_equal_sizes([own.n_features for own in features])
        # Groups after the first draw from copies of the design, so that an example gets the masks
        # that it would get if it were explained alone.
        designs = [design, *(copy.deepcopy(design) for _ in groups[1:])]
        self._groups = groups
        self._masks = [
            SeededMasks(own_design, features[examples[0]].n_features, seed)
            for own_design, examples in zip(designs, groups, strict=True)
        ]
        self._estimates = [
            running_estimate(estimator, [features[i] for i in examples], n_outputs)
            for examples in groups
        ]

    def draw(self, level: int, size: int) -> list[Tensor]:
        return [masks.draw(level, size) for masks in self._masks]

    def rows(self, drawn: list[Tensor], rows: slice) -> list[Tensor]:
        return [masks[rows] for masks in drawn]

    def perturb(self, level: int, drawn: list[Tensor]) -> tuple[Tensor, ...]:
        return perturb(self._tensors, self._baselines, self._levels[level], self._groups, drawn)

    def add(self, level: int, drawn: list[Tensor], impacts: Tensor) -> None:
        for examples, masks, seeded, estimate in zip(
            self._groups, drawn, self._masks, self._estimates, strict=True
        ):
            seeded.has_perturbed[level] |= masks.any(0)
            estimate.add(level, masks, impacts[:, examples])

    def attributions(self, half: int | None = None) -> tuple[Tensor, ...]:
        of_examples: list[Tensor] = [torch.empty(0)] * len(self._features)
        for examples, estimate in zip(self._groups, self._estimates, strict=True):
            for example, own in zip(examples, estimate.attributions(half), strict=True):
                of_examples[example] = own
        sizes = [tensor[0].numel() for tensor in self._tensors]
        return tuple(
            torch.stack(parts)
            for parts in zip(*(own.split(sizes, 1) for own in of_examples), strict=True)
        )

    def warn_of_unseen(self) -> None:
        """Warn of elements that belong to a feature and that no sample has perturbed."""
        missed = 0
        for examples, seeded in zip(self._groups, self._masks, strict=True):
            for example in examples:
                features = self._features[example]
                seen = torch.zeros(features.n_elements, dtype=torch.bool, device="cpu")
                for level, has_perturbed in enumerate(seeded.has_perturbed):
                    seen |= features.spread(has_perturbed, level)
                missed += int((features.is_perturbed & ~seen).sum())
        if missed:
            unseen = getattr(self.estimator, "unseen", "say nothing of the model")
            warn_caller(
                f"{missed} elements were perturbed by no sample and {unseen}; raise "
                "n_samples or perturb_prob."
            )


def _estimates(
    perturbations: _FeaturePerturbations, with_halves: bool, plan: Plan, name: str
) -> Iterator[tuple[Tensor, ...]]:
    """Yield estimates from all samples and, on request, from each half, with a progress bar where
    they may take a while."""
    asked: tuple[int | None, ...] = (None, *HALVES) if with_halves else (None,)
    is_shown = plan.show_progress and not isinstance(perturbations.estimator, MaskedMean)
    with progress_bar(f"{name} estimate", len(asked), is_shown) as advance:
        for half in asked:
            yield perturbations.attributions(half)
            advance(1)
