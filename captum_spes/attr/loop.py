"""The loop of all methods that perturb at random: draw, perturb, score, add up.

:class:`Perturbations` decides what is drawn: masks over features, or bubbles of noise. This module
decides how many perturbed inputs go through the model at a time, when to stop, and what Ctrl-C
does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from captum_spes.attr.captum_compat import progress
from captum_spes.attr.estimators import HALVES
from captum_spes.attr.forward import Forward, Original, on_device_of
from captum_spes.attr.reliability import check_tolerance, split_half_reliability
from captum_spes.errors import ArgumentError, warn_caller, whole_number

AUTO = "auto"
# Levels take turns in rounds. The first has this many samples, at least two of each level; every
# later one has half as many as all before it. So there are few enough rounds to compute maps after
# each, and no level gets far ahead.
_FIRST_ROUND = 32
_GROWTH = 1.5
# A larger batch must save at least a tenth of the time per sample.
_WORTHWHILE = 0.9
# The first evaluation of a size also pays for caches and memory; the faster of two counts.
_EVALUATIONS_PER_SIZE = 2
_LARGEST = 1024
_OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")


class Perturbations(Protocol):
    """What a method draws, and how it turns impacts into attributions."""

    n_levels: int
    odds_exponent: float

    def draw(self, level: int, size: int) -> Any:
        """Draw the perturbations of ``size`` samples."""
        ...

    def rows(self, drawn: Any, rows: slice) -> Any:
        """Return some of the perturbations that were drawn."""
        ...

    def perturb(self, level: int, drawn: Any) -> tuple[Tensor, ...]:
        """Return perturbed inputs, ``(samples * batch, ...)`` each: the batch for each sample in
        turn."""
        ...

    def add(self, level: int, drawn: Any, impacts: Tensor) -> None:
        """Add impacts, ``(samples, examples, outputs)``."""
        ...

    def attributions(self, half: int | None = None) -> tuple[Tensor, ...]:
        """Return ``(examples, outputs, elements)`` for each input, from all samples or one half."""
        ...


@dataclass(frozen=True)
class Plan:
    """How many samples to take, and when to stop.

    Attributes:
        n_samples: the number of samples, or with a tolerance the most.
        perturbations_per_eval: perturbed inputs per call of the forward function, or "auto".
        tolerance: share of the variance that may be noise; None to take all samples.
        return_partial: whether Ctrl-C ends the sampling with what there is.
        show_progress: whether progress is shown.
    """

    n_samples: int
    perturbations_per_eval: int | str = 1
    tolerance: float | None = None
    return_partial: bool = False
    show_progress: bool = False

    def __post_init__(self) -> None:
        whole_number("n_samples", self.n_samples, 1)
        batch_size(self.perturbations_per_eval)
        check_tolerance(self.tolerance)

    def rounds(self, n_levels: int) -> Iterator[list[int]]:
        """Yield the samples of each level, round by round; one round if levels take no turns."""
        n_samples = int(self.n_samples)
        takes_turns = self.tolerance is not None or (self.return_partial and n_levels > 1)
        total = min(n_samples, max(_FIRST_ROUND, 2 * n_levels)) if takes_turns else n_samples
        before = [0] * n_levels
        while True:
            now = _split_evenly(total, n_levels)
            yield [later - earlier for later, earlier in zip(now, before, strict=True)]
            if total == n_samples:
                return
            before, total = now, min(n_samples, max(total + 1, int(_GROWTH * total)))


def sample(
    perturbations: Perturbations, forward: Forward, original: Original, plan: Plan, name: str
) -> None:
    """Draw, perturb, score and add up to ``plan.n_samples`` samples."""
    batch = batch_size(plan.perturbations_per_eval if original.has_value_per_example else 1)
    with progress_bar(f"{name} attribution", plan.n_samples, plan.show_progress) as advance:
        sampler = _Sampler(perturbations, forward, original, batch, advance)
        try:
            for samples_per_level in plan.rounds(perturbations.n_levels):
                for level, n_samples in enumerate(samples_per_level):
                    sampler.sample(level, n_samples)
                if plan.tolerance is not None and noise_share(perturbations) <= plan.tolerance:
                    return
        except KeyboardInterrupt:
            if not plan.return_partial or not sampler.n_samples:
                raise
            warn_caller(
                f"interrupted after {sampler.n_samples} of {plan.n_samples} samples; the "
                "attributions are those of the samples so far."
            )


def noise_share(perturbations: Perturbations) -> float:
    """The noise's share of the variance, mean over examples and outputs; 1 if not known yet."""
    first, second = (
        torch.cat([maps.flatten(0, 1) for maps in perturbations.attributions(half)], 1)
        for half in HALVES
    )
    # Elements that are never perturbed are 0 in both halves; that must not count as agreement.
    counts = (first != 0) | (second != 0)
    # Constant outputs give NaN and are left out.
    found = split_half_reliability(
        first.where(counts, torch.nan), second.where(counts, torch.nan), perturbations.odds_exponent
    )
    return 1 - float(found.nanmean().nan_to_num(0.0))


def shaped(
    attributions: Sequence[Tensor], tensors: tuple[Tensor, ...], original: Original
) -> tuple[Tensor, ...]:
    """Attributions of ``(examples, outputs, elements)`` in the shape of outputs and inputs."""
    return tuple(
        on_device_of(
            tensor, own.to(original.dtype).reshape(*original.shape, *tensor.shape[1:]).contiguous()
        )
        for own, tensor in zip(attributions, tensors, strict=True)
    )


@contextmanager
def progress_bar(name: str, total: int, is_shown: bool) -> Iterator[Callable[[int], None]]:
    """Captum's progress bar; yields a function that advances it."""
    if not is_shown:
        yield lambda n_done: None
        return
    bar = progress(desc=name, total=total)
    try:
        bar.update(0)

        def advance(n_done: int) -> None:
            bar.update(n_done)

        yield advance
    finally:
        bar.close()


class _Sampler:
    """Evaluates perturbed inputs and adds their impacts."""

    def __init__(
        self,
        perturbations: Perturbations,
        forward: Forward,
        original: Original,
        batch: BatchSize,
        advance: Callable[[int], None],
    ) -> None:
        self._perturbations, self._forward, self._original = perturbations, forward, original
        self._batch, self._advance = batch, advance
        self.n_samples = 0

    def sample(self, level: int, n_samples: int) -> None:
        """Add ``n_samples`` samples of a level."""
        while n_samples:
            size = min(self._batch.size, n_samples)
            self._add(level, self._perturbations.draw(level, size), size)
            n_samples -= size

    def _add(self, level: int, drawn: Any, size: int) -> None:
        start = time.perf_counter()
        impacts = None
        try:
            perturbed = self._perturbations.perturb(level, drawn)
            impacts = self._original.impacts(self._forward(perturbed, size), size)
        except Exception as error:
            if not self._batch.shrinks_after(error, size):
                raise
        if impacts is None:
            # Outside the except block, because the error keeps the memory of the failed batch. The
            # same perturbations again, so that the result does not depend on memory.
            free_memory()
            half = size // 2
            self._add(level, self._perturbations.rows(drawn, slice(None, half)), half)
            self._add(level, self._perturbations.rows(drawn, slice(half, None)), size - half)
            return
        self._batch.measured(size, time.perf_counter() - start)
        self._perturbations.add(level, drawn, impacts)
        self.n_samples += size
        self._advance(size)


# Batches ---------------------------------------------------------------------------------


class BatchSize(Protocol):
    """Decides how many perturbed inputs come next, from how long the last ones took."""

    @property
    def size(self) -> int:
        """Perturbed inputs to evaluate next, at least 1."""
        ...

    def measured(self, size: int, seconds: float) -> None:
        """Take note that ``size`` perturbed inputs took ``seconds``."""
        ...

    def shrinks_after(self, error: BaseException, size: int) -> bool:
        """Whether ``size`` inputs ran out of memory, and fewer should be tried."""
        ...


class FixedBatchSize:
    """The size that the user asked for."""

    def __init__(self, size: int) -> None:
        self.size = size

    def measured(self, size: int, seconds: float) -> None:
        """Do nothing: the size is fixed."""

    def shrinks_after(self, error: BaseException, size: int) -> bool:
        """Return False: the size is fixed."""
        return False


class AutomaticBatchSize:
    """Doubles while that makes samples cheaper, and halves when memory runs out.

    Samples evaluated on the way count like any others.
    """

    def __init__(self) -> None:
        self.size = 1
        self._largest = _LARGEST
        self._seconds: list[float] = []
        self._seconds_per_sample = float("inf")
        self._is_settled = False

    def measured(self, size: int, seconds: float) -> None:
        """Go on to twice the size, or settle on half of it if that was no faster per sample."""
        if self._is_settled or size != self.size:  # fewer are left over at the end of a level
            return
        self._seconds.append(seconds)
        if len(self._seconds) < _EVALUATIONS_PER_SIZE:
            return
        seconds_per_sample = min(self._seconds) / size
        if seconds_per_sample > _WORTHWHILE * self._seconds_per_sample:
            self.size = size // 2
            self._is_settled = True
        elif 2 * size > self._largest:
            self._is_settled = True
        else:
            self.size = 2 * size
        self._seconds_per_sample = min(seconds_per_sample, self._seconds_per_sample)
        self._seconds = []

    def shrinks_after(self, error: BaseException, size: int) -> bool:
        """Halve, and settle there, if memory ran out."""
        if size == 1 or not is_out_of_memory(error):
            return False
        self.size = min(self.size, size // 2)
        self._largest, self._is_settled = self.size, True
        return True


def batch_size(perturbations_per_eval: int | str) -> BatchSize:
    """Read ``perturbations_per_eval``: a number, or "auto"."""
    if isinstance(perturbations_per_eval, str):
        if perturbations_per_eval != AUTO:
            raise ArgumentError(
                "perturbations_per_eval must be a number or 'auto', got "
                f"{perturbations_per_eval!r}."
            )
        return AutomaticBatchSize()
    return FixedBatchSize(whole_number("perturbations_per_eval", perturbations_per_eval, 1))


def free_memory() -> None:
    """Give back what the accelerator keeps for reuse."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    # By the message: the CPU's allocator and MPS have no error type for this.
    is_told = any(words in str(error).lower() for words in _OUT_OF_MEMORY)
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and is_told)


def _split_evenly(n_samples: int, n_parts: int) -> list[int]:
    """Split ``n_samples`` exactly into ``n_parts``; the remainder goes to the first ones."""
    share, remainder = divmod(n_samples, n_parts)
    return [share + (part < remainder) for part in range(n_parts)]
