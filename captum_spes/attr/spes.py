"""SPES: the average impact of the random perturbations that remove a feature."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from captum.attr import PerturbationAttribution
from captum.log import log_usage
from torch import Tensor

from captum_spes.attr._captum_compat import (
    BaselineType,
    TargetType,
    TensorOrTupleOfTensorsGeneric,
    _expand_additional_forward_args,
    _expand_target,
    _format_additional_forward_args,
    _format_input_baseline,
    _format_output,
    _is_tuple,
    _run_forward,
    _select_targets,
    progress,
)
from captum_spes.attr.masked_mean import MaskedMean
from captum_spes.attr.sampling import (
    BernoulliDesign,
    MaskDesign,
    chunk_sizes,
    draw,
    resolve_seed,
    split_evenly,
)
from captum_spes.attr.segmentation import (
    FeatureMaskLevels,
    Segmentation,
    segmentation_levels,
)
from captum_spes.errors import ArgumentError, ArgumentTypeError


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
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
        *,
        perturb_prob: float = 0.5,
        seed: int | None = None,
        design: MaskDesign | None = None,
    ) -> TensorOrTupleOfTensorsGeneric:
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
                        levels together; at least 1. It is spent exactly, split over the
                        levels as evenly as it goes, the first levels taking the rest.
                        Default: 20000
            perturbations_per_eval (int, optional): Perturbed inputs per call of
                        ``forward_func``; each call sees at most
                        ``perturbations_per_eval * batch`` examples. Must be 1 if
                        ``forward_func`` returns one value for the whole batch. It does
                        not change the masks.
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

        Returns:
            *Tensor* or *tuple[Tensor, ...]* of **attributions**:
            - **attributions** (*Tensor* or *tuple[Tensor, ...]*):
                        If ``forward_func`` (after selecting ``target``) returns a scalar
                        per example, the shape of the inputs; if it returns
                        ``(batch, k)``, the shape ``(batch, k, *input.shape[1:])``; if it
                        returns a scalar per batch, ``(1, *input.shape[1:])``. float32, or
                        float64 where the forward returns float64. Features that no
                        sample perturbed get 0, with a warning.

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
        _check_arguments(tensors, n_samples, perturbations_per_eval, self.forward_func)
        baseline_tensors = _baseline_tensors(baseline_values, tensors)
        levels = segmentation_levels(feature_mask, tensors)
        design = BernoulliDesign(perturb_prob) if design is None else design
        samples_per_level = split_evenly(n_samples, len(levels))
        n_evaluations = sum(-(-n // perturbations_per_eval) for n in samples_per_level)

        with (
            torch.no_grad(),
            _progress(self.get_name(), n_evaluations + 1, show_progress) as advance,
        ):
            evaluate = _Evaluation(self.forward_func, target, additional_forward_args)
            initial = evaluate(tensors)
            advance()
            has_rows = _has_value_per_example(initial, len(tensors[0]))
            if not has_rows:
                _check_value_per_batch(initial, perturbations_per_eval, levels)
            reference = _values(initial).reshape(len(tensors[0]) if has_rows else 1, -1)
            groups = _groups(levels, len(reference), reference.shape[1], resolve_seed(seed))

            for level, level_samples in enumerate(samples_per_level):
                for size in chunk_sizes(level_samples, perturbations_per_eval):
                    masks = [group.draw(design, level, size) for group in groups]
                    perturbed = _perturb(tensors, baseline_tensors, levels[level], groups, masks)
                    values = _values(evaluate(perturbed, size))
                    impacts = reference - _per_sample(values, size, reference)
                    _check_finite(impacts)
                    for group, mask in zip(groups, masks, strict=True):
                        group.mean.add(level, mask, impacts[:, group.examples])
                    advance()

            _warn_never_perturbed(groups)
            output_shape = tuple(initial.shape) or (1,)
            attributions = _assemble(
                groups, tensors, output_shape, reference, _result_dtype(initial)
            )
        return cast(TensorOrTupleOfTensorsGeneric, _format_output(is_inputs_tuple, attributions))

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


class _Evaluation:
    """Runs the forward function on perturbed inputs in Captum's conventions."""

    def __init__(
        self, forward_func: Callable[..., Any], target: TargetType, additional: object | None
    ) -> None:
        self._forward_func = forward_func
        self._target = target
        self._additional = _format_additional_forward_args(additional)

    def __call__(self, tensors: tuple[Tensor, ...], repeats: int = 1) -> Tensor:
        target, additional = self._target, self._additional
        if repeats > 1:
            target = _expand_target(target, repeats)
            additional = _expand_additional_forward_args(additional, repeats)
        output = _run_forward(self._forward_func, tensors, None, additional)
        if isinstance(output, bool) or not isinstance(output, Tensor | int | float):
            kind = f"{type(output).__module__}.{type(output).__qualname__}"
            raise ArgumentTypeError(
                "the return of forward_func must be a tensor, int, or float, received: "
                f"{kind}. Wrap the model in a function that returns the tensor to explain, "
                "for example `lambda *args: model(*args).logits`."
            )
        if not isinstance(output, Tensor):
            output = torch.tensor(output, dtype=torch.float64)
        return output if target is None else _select_targets(output, target)


class _Group:
    """Examples with equally many features in every level: they share their masks.

    Every group draws from its own generator with the same seed, so that an example gets
    the masks it would get if it were explained alone.
    """

    def __init__(
        self, levels: list[Segmentation], examples: list[int], n_outputs: int, seed: int
    ) -> None:
        self.examples = examples
        self.mean = MaskedMean(levels, examples, n_outputs)
        self._n_features = [level.features_of(examples[0]) for level in levels]
        self._generator = torch.Generator().manual_seed(seed)

    def draw(self, design: MaskDesign, level: int, size: int) -> Tensor:
        return draw(design, size, self._n_features[level], self._generator)


def _groups(levels: list[Segmentation], batch: int, n_outputs: int, seed: int) -> list[_Group]:
    examples_of: dict[tuple[int, ...], list[int]] = {}
    for example in range(batch):
        sizes = tuple(level.features_of(example) for level in levels)
        examples_of.setdefault(sizes, []).append(example)
    return [_Group(levels, examples, n_outputs, seed) for examples in examples_of.values()]


def _check_arguments(
    tensors: tuple[Tensor, ...],
    n_samples: int,
    perturbations_per_eval: int,
    forward_func: Callable[..., Any],
) -> None:
    if isinstance(n_samples, bool) or not isinstance(n_samples, int) or n_samples < 1:
        raise ArgumentError(f"n_samples must be an int of at least 1, got {n_samples!r}.")
    if not isinstance(perturbations_per_eval, int) or perturbations_per_eval < 1:
        raise ArgumentError(
            "Perturbations per evaluation must be an integer and at least 1, got "
            f"perturbations_per_eval={perturbations_per_eval!r}."
        )
    for index, tensor in enumerate(tensors):
        if tensor.dim() == 0 or len(tensor) != len(tensors[0]):
            raise ArgumentError(
                "every input needs the batch as its first dimension; input "
                f"{index} has shape {tuple(tensor.shape)}, input 0 "
                f"{tuple(tensors[0].shape)}."
            )
    if len(tensors[0]) == 0:
        raise ArgumentError("inputs hold no example: their first dimension is 0.")
    if isinstance(forward_func, torch.nn.Module) and forward_func.training:
        warnings.warn(
            "forward_func is in training mode: dropout adds noise to every evaluation. "
            "Call .eval() on the model first.",
            stacklevel=4,
        )


def _baseline_tensors(
    baselines: tuple[Tensor | int | float, ...], tensors: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    if len(baselines) != len(tensors):
        raise ArgumentError(f"{len(baselines)} baselines given for {len(tensors)} inputs.")
    formatted = []
    for index, (baseline, tensor) in enumerate(zip(baselines, tensors, strict=True)):
        value = torch.as_tensor(baseline, device=tensor.device)
        if value.dim() > 0 and tuple(value.shape) not in (
            tuple(tensor.shape),
            (1, *tensor.shape[1:]),
        ):
            raise ArgumentError(
                f"baseline (index {index}) has shape {tuple(value.shape)}; a Tensor must be "
                f"shaped like the input, {tuple(tensor.shape)}, or have a first dimension "
                "of 1."
            )
        # An integer input with a fractional baseline becomes floating, as in Captum.
        cast_value = value.to(tensor.dtype)
        is_lossless = tensor.is_floating_point() or torch.equal(cast_value.double(), value.double())
        formatted.append(cast_value if is_lossless else value)
    return tuple(formatted)


def _perturb(
    tensors: tuple[Tensor, ...],
    baselines: tuple[Tensor, ...],
    level: Segmentation,
    groups: list[_Group],
    masks: list[Tensor],
) -> tuple[Tensor, ...]:
    """Replace the masked features; examples vary fastest, as Captum expands arguments."""
    perturbed = []
    for tensor, baseline, columns in zip(tensors, baselines, level.columns, strict=True):
        is_masked = _element_masks(columns, groups, masks)
        # where, not multiplication: an infinite feature (log of digital silence) times 0
        # would be NaN.
        replaced = torch.where(is_masked, baseline, tensor)
        perturbed.append(replaced.flatten(0, 1))
    return tuple(perturbed)


def _element_masks(columns: Tensor, groups: list[_Group], masks: list[Tensor]) -> Tensor:
    """Spread masks over features to elements: bool ``(samples, 1 or batch, *features)``."""
    # The additional column serves elements that are never perturbed.
    padded = [torch.nn.functional.pad(mask, (0, 1)).to(columns.device) for mask in masks]
    if len(groups) == 1 and len(columns) == 1:
        spread = padded[0].index_select(1, columns.reshape(-1))
        return spread.reshape(len(padded[0]), *columns.shape)
    batch = sum(len(group.examples) for group in groups)
    spread = torch.empty(
        len(padded[0]), batch, *columns.shape[1:], dtype=torch.bool, device=columns.device
    )
    for group, mask in zip(groups, padded, strict=True):
        for example in group.examples:
            row = columns[example if len(columns) > 1 else 0]
            spread[:, example] = mask[:, row]
    return spread


def _values(output: Tensor) -> Tensor:
    """Move scores to where they are summed; float64 after the move, as MPS lacks it."""
    return output.detach().cpu().to(torch.float64)


def _per_sample(values: Tensor, n_samples: int, reference: Tensor) -> Tensor:
    if values.numel() != n_samples * reference.numel():
        raise ArgumentError(
            "forward_func must return one row per example: for "
            f"{n_samples} x {len(reference)} perturbed examples it returned "
            f"{values.numel()} values, expected {n_samples * reference.numel()}. If it "
            "returns one value per batch, set perturbations_per_eval=1."
        )
    return values.reshape(n_samples, *reference.shape)


def _check_finite(impacts: Tensor) -> None:
    if not bool(torch.isfinite(impacts).all()):
        raise ArgumentError(
            "forward_func returned NaN or infinity for a perturbed (or the original) input; "
            "one such value would spoil the scores of every feature. Check the inputs, the "
            "baselines and the model's precision."
        )


def _has_value_per_example(output: Tensor, batch: int) -> bool:
    is_one_value_for_many = batch > 1 and output.numel() == 1
    return output.dim() > 0 and len(output) == batch and not is_one_value_for_many


def _check_value_per_batch(
    output: Tensor, perturbations_per_eval: int, levels: list[Segmentation]
) -> None:
    if perturbations_per_eval > 1:
        raise ArgumentError(
            "Cannot have perturbations_per_eval > 1 when function returns scalar: its "
            f"output of shape {tuple(output.shape)} has no row per example."
        )
    if not all(level.is_shared for level in levels):
        raise ArgumentError(
            "Cannot provide different masks for each example when function returns a scalar."
        )


def _result_dtype(output: Tensor) -> torch.dtype:
    return torch.float64 if output.dtype == torch.float64 else torch.float32


def _assemble(
    groups: list[_Group],
    tensors: tuple[Tensor, ...],
    output_shape: tuple[int, ...],
    reference: Tensor,
    dtype: torch.dtype,
) -> tuple[Tensor, ...]:
    attributions = tuple(
        torch.zeros(*reference.shape, *tensor.shape[1:], dtype=dtype) for tensor in tensors
    )
    for group in groups:
        group.mean.write(attributions)
    return tuple(
        attribution.reshape(*output_shape, *tensor.shape[1:]).to(tensor.device)
        for attribution, tensor in zip(attributions, tensors, strict=True)
    )


def _warn_never_perturbed(groups: list[_Group]) -> None:
    missed = max(group.mean.n_never_perturbed for group in groups)
    if missed:
        warnings.warn(
            f"{missed} features were perturbed by no sample and have a score of 0; raise "
            "n_samples or perturb_prob.",
            stacklevel=4,
        )


@contextmanager
def _progress(name: str, total: int, is_shown: bool) -> Iterator[Callable[[], None]]:
    """Captum's progress bar; yields a function that advances it."""
    if not is_shown:
        yield lambda: None
        return
    bar = progress(desc=f"{name} attribution", total=total)
    try:
        bar.update(0)
        yield lambda: bar.update()
    finally:
        bar.close()
