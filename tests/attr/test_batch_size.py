"""An automatic batch size: the same attributions, nothing lost where memory ends."""

import time
from types import SimpleNamespace

import pytest
import torch

from captum_spes import SPES
from captum_spes.errors import ArgumentError

X = torch.arange(12.0).reshape(2, 6)
WEIGHT = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Time passes in the model alone, however busy the machine is."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)
    monkeypatch.setattr(Recorded, "clock", clock)


class Recorded:
    """A linear model that notes its batches, takes its time and may run out of memory."""

    clock = None

    def __init__(self, batch=2, capacity=None, seconds=lambda size: 0.0, error=None):
        self.sizes, self.batch = [], batch
        self.capacity, self.seconds = capacity, seconds
        self.error = error or torch.OutOfMemoryError("CUDA out of memory.")

    def __call__(self, x):
        size = len(x) // self.batch
        self.sizes.append(size)
        if self.capacity is not None and size > self.capacity:
            raise self.error
        self.clock.now += self.seconds(size)
        return x.double() @ WEIGHT


def attribute(forward, perturbations_per_eval="auto", **arguments):
    arguments = {"n_samples": 400, "seed": 0, **arguments}
    return SPES(forward).attribute(X, perturbations_per_eval=perturbations_per_eval, **arguments)


def test_attributions_are_those_of_any_batch_size():
    assert torch.allclose(attribute(Recorded()), attribute(Recorded(), 7), rtol=1e-12, atol=1e-12)


def test_samples_are_spent_exactly():
    forward = Recorded()
    attribute(forward, n_samples=333)
    assert sum(forward.sizes) - 1 == 333  # the first evaluation is the unperturbed input


def test_grows_where_a_batch_costs_as_much_as_a_sample():
    forward = Recorded(seconds=lambda size: 0.004)
    attribute(forward)
    assert max(forward.sizes) >= 64


def test_stays_small_where_batches_save_nothing():
    forward = Recorded(seconds=lambda size: 0.004 * size)
    attribute(forward, n_samples=60)
    assert max(forward.sizes) <= 4
    assert forward.sizes[-5:] == [1] * 5


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("MPS backend out of memory"),
        MemoryError(),
    ],
)
def test_backs_off_without_losing_a_sample(error):
    forward = Recorded(capacity=5, seconds=lambda size: 0.004, error=error)
    found = attribute(forward)
    assert torch.allclose(found, attribute(Recorded(), 7), rtol=1e-12, atol=1e-12)
    failed = [size for size in forward.sizes if size > 5]
    assert failed == [8]
    assert sum(forward.sizes) - 1 - sum(failed) == 400


def test_out_of_memory_with_one_sample_is_raised():
    class Always(Recorded):
        def __call__(self, x):
            if self.sizes:
                raise self.error
            return super().__call__(x)

    with pytest.raises(torch.OutOfMemoryError):
        attribute(Always())


def test_other_errors_are_raised_at_once():
    forward = Recorded(capacity=0, error=RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes"):
        attribute(forward)
    assert len(forward.sizes) == 1


def test_a_number_is_kept_and_its_error_raised():
    with pytest.raises(torch.OutOfMemoryError):
        attribute(Recorded(capacity=5), 8)


def test_one_value_per_batch_is_evaluated_one_by_one():
    found = attribute(lambda x: float(x.sum()), n_samples=50)
    assert torch.equal(found, attribute(lambda x: float(x.sum()), 1, n_samples=50))


@pytest.mark.parametrize("value", ["automatic", "", 0, -1, 1.5])
def test_bad_values(value):
    with pytest.raises((ArgumentError, TypeError), match="perturbations_per_eval"):
        attribute(Recorded(), value)
