"""Bubble Noise: which parts must be clean for the model to write what it writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from captum.attr import PerturbationAttribution
from captum.log import log_usage
from torch import Tensor

from captum_spes.attr.captum_compat import TargetType
from captum_spes.attr.designs import resolve_seed
from captum_spes.attr.estimators import HALVES, first_of_half
from captum_spes.attr.forward import Forward, Original, check_inputs
from captum_spes.attr.loop import Plan, sample, shaped
from captum_spes.errors import ArgumentError, ArgumentTypeError, positive_number


class BubbleNoise(PerturbationAttribution):
    r"""
    Drowns the input in noise except inside random ellipses ("bubbles") and gives each cell
    the average impact of the noise on it.

    It was made for listening tests with people and machines; the adaptation here is the
    second baseline of the SPES paper. In every sample the input outside the bubbles is
    replaced by noise, uniform between the lowest and the highest value of the input. Inside
    a bubble the noise is multiplied by the squared distance from the bubble's centre (0 in
    the centre, 1 at the edge) and added to the input. With w this factor (1 outside), r the
    impact ``forward_func(x) - forward_func(x')``, and sums over samples, a cell gets

    .. math:: S = \sum_i r_i w_i / \sum_i w_i

    which is Eq. 3 of the paper with a mask between 0 and 1.

    Sources: Mandel, Yoho, Healy (2016), "Measuring time-frequency importance functions of
    speech with bubble noise", https://doi.org/10.1121/1.4964102; Fucci et al.,
    https://arxiv.org/abs/2411.01710, section 5. The paper does not say how the noise fades
    inside a bubble or how scores are averaged. With its numbers (the defaults) and 80 mel
    bins a third of the cells are pure noise, and w averages 0.6.
    """

    def __init__(self, forward_func: Callable[..., Any]) -> None:
        r"""
        Args:

            forward_func (Callable): The forward function of the model or any
                        modification of it, as for :class:`captum_spes.SPES`; usually a
                        :class:`captum_spes.KLDivergenceForward`.
        """
        super().__init__(forward_func)

    @log_usage()
    def attribute(  # noqa: PLR0913
        self,
        inputs: Tensor,
        target: TargetType = None,
        additional_forward_args: object | None = None,
        n_samples: int = 1_000,
        perturbations_per_eval: int | str = 1,
        show_progress: bool = False,
        *,
        bubbles_per_second: float = 10.0,
        width: float = 0.43,
        height: float = 31.0,
        frame_rate: float = 100.0,
        time_dim: int = -2,
        seed: int | None = None,
        tolerance: float | None = None,
        return_partial: bool = False,
        return_halves: bool = False,
    ) -> Any:
        r"""
        Args:

            inputs (Tensor): ``(batch, ..., time, freq)``, floating point, for example a
                        spectrogram. Dimensions between the batch and the last two share
                        their bubbles.
            target (int, tuple, Tensor, or list, optional): Output indices for which
                        attributions are computed, as in every Captum method.
                        Default: None
            additional_forward_args (Any, optional): Further positional arguments of
                        ``forward_func``; see :class:`captum_spes.SPES`.
                        Default: None
            n_samples (int, optional): Number of noisy inputs to evaluate, at least 1.
                        Default: 1000, the paper's
            perturbations_per_eval (int or "auto", optional): Noisy inputs per call of
                        ``forward_func``, as for :class:`captum_spes.SPES`. It changes neither
                        bubbles nor noise.
                        Default: 1
            show_progress (bool, optional): Displays a progress bar.
                        Default: False
            bubbles_per_second (float, optional): Bubbles per second of input; at least one is
                        drawn.
                        Default: 10, the paper's
            width (float, optional): Width of a bubble, in seconds.
                        Default: 0.43, the paper's
            height (float, optional): Height of a bubble, in cells of the frequency axis.
                        Default: 31 (of 80 mel bins), the paper's
            frame_rate (float, optional): Frames per second.
                        Default: 100
            time_dim (int, optional): -2 for ``(..., time, freq)``, -1 for
                        ``(..., freq, time)``.
                        Default: -2
            seed (int, optional): Bubbles and noise depend on it alone; torch's global
                        generator is not touched.
                        Default: None, a seed is drawn from torch's global generator
            tolerance (float, optional): Stop when at most this share of the attributions'
                        variance is sampling noise; see :class:`captum_spes.SPES`.
                        Default: None, all of ``n_samples``
            return_partial (bool, optional): Whether Ctrl-C ends the sampling and returns the
                        attributions of the samples so far, with a warning.
                        Default: False
            return_halves (bool, optional): Whether to return the attributions of both
                        halves of the samples as well.
                        Default: False

        Returns:
            *Tensor* of **attributions**, shaped as :class:`captum_spes.SPES` shapes them:
            like the input for one score per example, ``(batch, k, *input.shape[1:])`` for
            k of them; or, with ``return_halves=True``, a tuple of **attributions** and
            **halves**: two more such Tensors, each from every second sample.

        Raises:
            ArgumentError: an argument has an unusable value or shape, or ``forward_func``
                returns NaN or infinity.
            ArgumentTypeError: an argument, or what ``forward_func`` returns, has the wrong
                type.

        Examples::

            >>> spectrogram = torch.randn(1, 200, 80)
            >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16_000, 3))
            >>> forward = KLDivergenceForward(model, spectrogram)
            >>> BubbleNoise(forward).attribute(spectrogram, n_samples=20, seed=0).shape
            torch.Size([1, 200, 80])
        """
        _check_spectrogram(inputs, time_dim)
        check_inputs((inputs,), self.forward_func)
        plan = Plan(n_samples, perturbations_per_eval, tolerance, return_partial, show_progress)
        bubbles = _Bubbles(inputs, time_dim, bubbles_per_second, width, height, frame_rate)
        with torch.no_grad():
            forward = Forward(self.forward_func, target, additional_forward_args)
            original = Original.of(forward, (inputs,))
            original.check_batches(perturbations_per_eval)
            perturbations = _BubblePerturbations(
                bubbles, inputs, original.scores.numel(), resolve_seed(seed)
            )
            sample(perturbations, forward, original, plan, self.get_name())
            asked: tuple[int | None, ...] = (None, *HALVES) if return_halves else (None,)
            found = [
                shaped(perturbations.attributions(half), (inputs,), original)[0] for half in asked
            ]
        return (found[0], tuple(found[1:])) if return_halves else found[0]

    def attribute_future(self, *args: Any, **kwargs: Any) -> None:
        r"""
        This method is not implemented for BubbleNoise.
        """
        raise NotImplementedError("attribute_future is not implemented for BubbleNoise")


class _BubblePerturbations:
    """Draws bubbles and noise, and averages impacts by Eq. 3 with masks between 0 and 1."""

    n_levels = 1
    odds_exponent = 1.0

    def __init__(self, bubbles: _Bubbles, inputs: Tensor, n_rows: int, seed: int) -> None:
        self._bubbles, self._inputs = bubbles, inputs
        self._generator = torch.Generator("cpu").manual_seed(seed)
        sums, total = _zeros(n_rows, bubbles.n_cells), _zeros(bubbles.n_cells)
        self._sums, self._total = [sums, sums.clone()], [total, total.clone()]
        self._n_samples = 0

    def draw(self, level: int, size: int) -> tuple[Tensor, Tensor]:
        return self._bubbles.draw(size, self._generator)

    def rows(self, drawn: tuple[Tensor, Tensor], rows: slice) -> tuple[Tensor, Tensor]:
        weights, noise = drawn
        return weights[rows], noise[rows]

    def perturb(self, level: int, drawn: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
        return (self._bubbles.drown(self._inputs, *drawn),)

    def add(self, level: int, drawn: tuple[Tensor, Tensor], impacts: Tensor) -> None:
        size = len(impacts)
        weights, rows = drawn[0].reshape(size, -1).double(), impacts.reshape(size, -1)
        for half in HALVES:
            own = slice(first_of_half(half, level, self._n_samples), None, 2)
            self._sums[half] += rows[own].T @ weights[own]
            self._total[half] += weights[own].sum(0)
        self._n_samples += size

    def attributions(self, half: int | None = None) -> tuple[Tensor, ...]:
        halves = HALVES if half is None else (half,)
        sums = torch.stack([self._sums[h] for h in halves]).sum(0)
        total = torch.stack([self._total[h] for h in halves]).sum(0)
        # A cell that got no noise in any sample has no mean: its score is 0.
        means = torch.where(total > 0, sums / total.where(total > 0, total + 1), 0.0)
        n_examples = len(self._inputs) if len(means) % len(self._inputs) == 0 else 1
        shape = (n_examples, len(means) // n_examples)
        # Dimensions between the batch and the last two share their bubbles.
        spread = means.reshape(*shape, *self._bubbles.shape)
        return (spread.expand(*shape, *self._inputs.shape[1:]).flatten(2),)


class _Bubbles:
    """Draws where the noise is in each sample."""

    def __init__(
        self,
        inputs: Tensor,
        time_dim: int,
        bubbles_per_second: float,
        width: float,
        height: float,
        frame_rate: float,
    ) -> None:
        for name, value in (
            ("bubbles_per_second", bubbles_per_second),
            ("width", width),
            ("height", height),
            ("frame_rate", frame_rate),
        ):
            positive_number(name, value)
        self._rows, self._columns = inputs.shape[-2:]
        n_frames = inputs.shape[time_dim]
        self._count = max(1, round(bubbles_per_second * n_frames / frame_rate))
        radii = (width * frame_rate / 2, height / 2)  # in cells: time, frequency
        self._row_radius, self._column_radius = radii if time_dim == -2 else radii[::-1]
        self._noise_shape = inputs.shape[1:]
        # One row of random numbers per sample, so that samples do not depend on batches.
        self._n_numbers = 2 * self._count + self._noise_shape.numel()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the weights, which broadcasts to an example."""
        return (*(1,) * (len(self._noise_shape) - 2), self._rows, self._columns)

    @property
    def n_cells(self) -> int:
        return self._rows * self._columns

    def draw(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw weights of the noise, ``(size, 1..., rows, columns)``, and noise in [0, 1)."""
        numbers = torch.rand(
            size, self._n_numbers, generator=generator, dtype=torch.float32, device="cpu"
        )
        centres, noise = numbers[:, : 2 * self._count], numbers[:, 2 * self._count :]
        # The middle of cell i lies at i + 0.5.
        rows = _middles(self._rows) - centres[:, : self._count, None] * self._rows
        columns = _middles(self._columns) - centres[:, self._count :, None] * self._columns
        rows, columns = (rows / self._row_radius).square(), (columns / self._column_radius).square()
        weights = torch.ones(size, self._rows, self._columns, dtype=torch.float32, device="cpu")
        # Bubble by bubble: all at once would need the memory of that many inputs.
        for bubble in range(self._count):
            distance = rows[:, bubble, :, None] + columns[:, bubble, None, :]
            torch.minimum(weights, distance, out=weights)
        return weights.reshape(size, *self.shape), noise.reshape(size, *self._noise_shape)

    def drown(self, inputs: Tensor, weights: Tensor, noise: Tensor) -> Tensor:
        """Noisy inputs, ``(size * batch, ...)``: the whole batch for each sample in turn."""
        within = tuple(range(1, inputs.dim()))
        low, high = inputs.amin(within, keepdim=True), inputs.amax(within, keepdim=True)
        weights = weights[:, None].to(inputs.device, inputs.dtype)
        noise = low + (high - low) * noise[:, None].to(inputs.device, inputs.dtype)
        return torch.where(weights >= 1, noise, inputs + weights * noise).flatten(0, 1)


def _check_spectrogram(inputs: Tensor, time_dim: int) -> None:
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
        found = inputs.dtype if isinstance(inputs, Tensor) else type(inputs).__name__
        raise ArgumentTypeError(f"inputs must be one floating point Tensor, got {found}.")
    if inputs.dim() < 3 or 0 in inputs.shape:
        raise ArgumentError(
            f"inputs must be (batch, ..., time, freq) and not empty, got {tuple(inputs.shape)}."
        )
    if time_dim not in (-2, -1):
        raise ArgumentError(f"time_dim must be -2 or -1, got {time_dim}.")
    if not bool(torch.isfinite(inputs).all()):
        raise ArgumentError("inputs hold NaN or infinity; the noise needs finite ones.")


def _zeros(*shape: int) -> Tensor:
    return torch.zeros(*shape, dtype=torch.float64, device="cpu")


def _middles(count: int) -> Tensor:
    return torch.arange(count, dtype=torch.float32, device="cpu") + 0.5
