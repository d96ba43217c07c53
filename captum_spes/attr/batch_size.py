"""How many perturbed inputs the forward function gets at a time."""

from __future__ import annotations

from typing import Protocol

import torch

from captum_spes.errors import ArgumentError, whole_number

AUTO = "auto"
# A larger batch must save at least a tenth of the time of each sample.
_WORTHWHILE = 0.9
# The first evaluation of a size also pays for caches and memory; the faster of two counts.
_EVALUATIONS_PER_SIZE = 2
_LARGEST = 1024
_OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")


class BatchSize(Protocol):
    """Says how many perturbed inputs come next, and hears how it went."""

    @property
    def size(self) -> int:
        """Perturbed inputs to evaluate next, at least 1."""
        ...

    def measured(self, size: int, seconds: float) -> None:
        """Hear that ``size`` perturbed inputs took ``seconds``."""
        ...

    def shrinks_after(self, error: BaseException, size: int) -> bool:
        """Whether ``size`` inputs failed for want of memory, and fewer should be tried."""
        ...


class FixedBatchSize:
    """What the user asked for, whatever happens."""

    def __init__(self, size: int) -> None:
        self.size = size

    def measured(self, size: int, seconds: float) -> None:
        pass

    def shrinks_after(self, error: BaseException, size: int) -> bool:
        return False


class AutomaticBatchSize:
    """Doubles while that makes samples cheaper, and halves where memory ends.

    What was evaluated on the way counts like any other sample.
    """

    def __init__(self) -> None:
        self.size = 1
        self._largest = _LARGEST
        self._seconds: list[float] = []
        self._seconds_per_sample = float("inf")
        self._is_settled = False

    def measured(self, size: int, seconds: float) -> None:
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
        if size == 1 or not _is_out_of_memory(error):
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


def _is_out_of_memory(error: BaseException) -> bool:
    # By its words: the CPU's allocator, and MPS, raise errors of no type of their own.
    is_told = any(words in str(error).lower() for words in _OUT_OF_MEMORY)
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and is_told)
