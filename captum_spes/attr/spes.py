"""SPES: the average impact of the random perturbations that remove a feature."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from captum.attr import PerturbationAttribution
from captum.log import log_usage
from torch import Tensor

from captum_spes.attr._captum_compat import (
    BaselineType,
    TargetType,
    TensorOrTupleOfTensorsGeneric,
    _format_input_baseline,
    _format_output,
    _is_tuple,
)
from captum_spes.attr.batch_size import FixedBatchSize, batch_size
from captum_spes.attr.estimation import HALVES, Estimation, Estimator, check_estimator
from captum_spes.attr.evaluation import (
    Evaluation,
    check_inputs,
    check_value_per_batch,
    has_value_per_example,
    on_device_of,
    progress_bar,
    result_dtype,
    scores_of,
)
from captum_spes.attr.mask_groups import MaskGroup, mask_groups
from captum_spes.attr.perturbation import baseline_tensors
from captum_spes.attr.reliability import check_tolerance, split_half_reliability
from captum_spes.attr.sampler import Sampler, rounds
from captum_spes.attr.sampling import BernoulliDesign, MaskDesign, resolve_seed
from captum_spes.attr.segmentation import FeatureMaskLevels, segmentation_levels
from captum_spes.errors import whole_number


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
    ``perturb_prob``). The order of the features is that of FeatureAblation; the absolute
    level, and hence the score of a feature without any effect, is not zero.

    For speech-to-text models use it through
    :class:`captum_spes.SpeechToTextAttribution`.

    Source: Fucci et al., "SPES: Spectrogram Perturbation for Explainable Speech-to-Text
    Generation", https://arxiv.org/abs/2411.01710, section 4.
    """

    def __init__(self, forward_func: Callable[..., Any]) -> None:
        r"""
        Args:

            forward_func (Callable): The forward function of the model or any
                        modification of it. It is called with the inputs and
                        ``additional_forward_args`` as positional arguments and returns a
                        Tensor, or a number for the whole batch.
        """
        super().__init__(forward_func)

    @log_usage()
    def attribute(
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
            n_samples (int, optional): Forward evaluations of perturbed inputs, over all
                        levels together; at least 1. Without a ``tolerance`` it is spent
                        exactly, split over the levels as evenly as it goes, the first
                        levels taking the rest.
                        Default: 20000
            perturbations_per_eval (int or "auto", optional): Perturbed inputs per call of
                        ``forward_func``; each call sees at most
                        ``perturbations_per_eval * batch`` examples. Must be 1 if
                        ``forward_func`` returns one value for the whole batch. It does
                        not change the masks. "auto" starts with 1, doubles while that
                        makes a sample cheaper, and halves where memory ends; nothing that
                        was evaluated is lost.
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
                        :class:`captum_spes.attr.sampling.MaskDesign`.
                        Default: None, independent Bernoulli masks
            estimator (Estimator, optional): Turns masks and impacts into attributions;
                        :class:`captum_spes.attr.GaussianProcess` gets more out of few samples.
                        Default: None, the mean above
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
                        halves of the samples, too.
                        Default: False

        Returns:
            *Tensor* or *tuple[Tensor, ...]* of **attributions**, or, with
            ``return_halves=True``, a tuple of **attributions** and **halves**:
            - **attributions** (*Tensor* or *tuple[Tensor, ...]*):
                        If ``forward_func`` (after selecting ``target``) returns a scalar
                        per example, the shape of the inputs; if it returns
                        ``(batch, k)``, the shape ``(batch, k, *input.shape[1:])``; if it
                        returns a scalar per batch, ``(1, *input.shape[1:])``. float32, or
                        float64 where the forward returns float64. Features that no
                        sample perturbed get 0 (from a GaussianProcess what their
                        surroundings suggest), with a warning.
            - **halves** (*tuple*): the same twice, from every second sample each.

        Raises:
            ArgumentError: an argument has an unusable value or shape (also caught as
                ValueError and AssertionError), or the forward returns NaN or infinity.
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
        tensors, baseline_values = _format_input_baseline(inputs, baselines)
        n_samples = whole_number("n_samples", n_samples, 1)
        batch = batch_size(perturbations_per_eval)
        check_tolerance(tolerance)
        check_estimator(estimator, n_samples)
        check_inputs(tensors, self.forward_func)
        removed = baseline_tensors(baseline_values, tensors)
        levels = segmentation_levels(feature_mask, tensors)
        design = BernoulliDesign(perturb_prob) if design is None else design

        with (
            torch.no_grad(),
            progress_bar(self.get_name(), n_samples, show_progress) as advance,
        ):
            evaluate = Evaluation(self.forward_func, target, additional_forward_args)
            initial = evaluate(tensors)
            has_rows = has_value_per_example(initial, len(tensors[0]))
            if not has_rows:
                check_value_per_batch(initial, perturbations_per_eval, levels)
                batch = FixedBatchSize(1)
            reference = scores_of(initial).reshape(len(tensors[0]) if has_rows else 1, -1)
            examples = list(range(len(reference)))
            estimation = Estimation(levels, examples, reference.shape[1], tensors, removed)
            groups = mask_groups(estimation, estimator, design, resolve_seed(seed))
            sampler = Sampler(evaluate, tensors, removed, levels, groups, reference, batch, advance)
            shape = tuple(initial.shape) or (1,)
            assemble = partial(_assemble, groups, tensors, shape, reference, result_dtype(initial))
            takes_turns = tolerance is not None or (return_partial and len(levels) > 1)
            try:
                for samples_per_level in rounds(n_samples, len(levels), takes_turns):
                    for level, level_samples in enumerate(samples_per_level):
                        sampler.sample(level, level_samples)
                    if (
                        tolerance is not None
                        and _noise_share(assemble, reference.numel()) <= tolerance
                    ):
                        break
            except KeyboardInterrupt:
                if not return_partial or not sampler.n_samples:
                    raise
                _warn_interrupted(sampler.n_samples, n_samples)

            attributions = _format_output(is_inputs_tuple, assemble())
            _warn_never_perturbed(groups)
            if not return_halves:
                return attributions
            halves = tuple(_format_output(is_inputs_tuple, assemble((half,))) for half in HALVES)
        return attributions, halves

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


def _assemble(
    groups: list[MaskGroup],
    tensors: tuple[Tensor, ...],
    output_shape: tuple[int, ...],
    reference: Tensor,
    dtype: torch.dtype,
    halves: tuple[int, ...] = HALVES,
) -> tuple[Tensor, ...]:
    attributions = tuple(
        torch.zeros(*reference.shape, *tensor.shape[1:], dtype=dtype) for tensor in tensors
    )
    for group in groups:
        group.estimate.write(attributions, halves)
    return tuple(
        on_device_of(tensor, attribution.reshape(*output_shape, *tensor.shape[1:]))
        for attribution, tensor in zip(attributions, tensors, strict=True)
    )


def _noise_share(assemble: Callable[[tuple[int, ...]], tuple[Tensor, ...]], rows: int) -> float:
    """The mean over examples and outputs; 1 where nothing is known yet."""
    first, second = (
        torch.cat([maps.reshape(rows, -1).cpu() for maps in assemble((half,))], 1)
        for half in HALVES
    )
    # Elements that are never perturbed are 0 in both halves, which is no agreement.
    counts = (first != 0) | (second != 0)
    known = (half.where(counts, torch.nan) for half in (first, second))
    # Constant outputs have no noise to ask for.
    return 1 - float(split_half_reliability(*known).nanmean().nan_to_num(0.0))


def _warn_interrupted(n_done: int, n_samples: int) -> None:
    warnings.warn(
        f"interrupted after {n_done} of {n_samples} samples; the attributions are those of the "
        "samples so far.",
        stacklevel=4,
    )


def _warn_never_perturbed(groups: list[MaskGroup]) -> None:
    missed = sum(group.estimate.n_never_perturbed for group in groups)
    if missed:
        warnings.warn(
            f"{missed} elements were perturbed by no sample and {groups[0].estimate.unseen}; raise "
            "n_samples or perturb_prob.",
            stacklevel=4,
        )
