"""Seeds for code that takes none, while the generators of the process stay as they are."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from captum.attr import Attribution, GradientAttribution, GradientShap
from torch import Generator, Tensor
from torch.overrides import TorchFunctionMode

P = ParamSpec("P")
R = TypeVar("R")

# The only way to know whether a mode can be left: it must be the innermost.
_innermost_mode: Callable[[], Any] = torch.overrides._get_current_function_mode

# Functions that draw and take a generator. A method and a function of the same name both count.
_DRAWING: frozenset[Callable[..., Any]] = frozenset(
    {
        *(torch.rand, torch.randn, torch.randint, torch.randperm, torch.normal),
        *(torch.bernoulli, torch.multinomial, torch.poisson, torch.binomial),
        *(Tensor.bernoulli, Tensor.multinomial),
        *(Tensor.uniform_, Tensor.normal_, Tensor.random_, Tensor.bernoulli_),
        *(Tensor.exponential_, Tensor.cauchy_, Tensor.geometric_, Tensor.log_normal_),
        # What torch.distributions draws from.
        *(torch._standard_gamma, torch._sample_dirichlet),
        # Of functions written in Python only the outer call is seen; others of torch.nn.init call
        # the methods above.
        *(torch.nn.init.uniform_, torch.nn.init.normal_, torch.nn.init.kaiming_uniform_),
    }
)
# Functions that draw into a new tensor and in most versions take no generator, and the methods
# that fill such a tensor.
_FILLING: dict[Callable[..., Any], Callable[..., Tensor]] = {
    torch.rand_like: Tensor.uniform_,
    torch.randn_like: Tensor.normal_,
    torch.randint_like: Tensor.random_,
}


class SeededDraws(TorchFunctionMode):
    """What :func:`seeded_draws` returns: one generator for each device that is drawn on."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed
        self._generators: dict[torch.device, Generator] = {}

    @property
    def has_drawn(self) -> bool:
        """Whether anything was drawn, so that another seed can give something else."""
        return bool(self._generators)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in _DRAWING and not _has_generator(args, kwargs):
            return func(*args, **{**kwargs, "generator": self._generator(_device(args, kwargs))})
        if func in _FILLING and not _has_generator(args, kwargs):
            return self._filled(_FILLING[func], *args, **kwargs)
        return func(*args, **kwargs)

    def _filled(
        self,
        fill: Callable[..., Tensor],
        like: Tensor,
        *bounds: int,
        low: int | None = None,
        high: int | None = None,
        requires_grad: bool = False,
        **options: Any,
    ) -> Tensor:
        empty = torch.empty_like(like, **options)
        bounds = (*bounds, *(bound for bound in (low, high) if bound is not None))
        # A single bound is the upper one.
        filled = fill(empty, *bounds, generator=self._generator(empty.device))
        return filled.requires_grad_(requires_grad)

    def _generator(self, device: torch.device) -> Generator | None:
        if device.type == "meta":  # which holds no numbers
            return None
        if device not in self._generators:
            self._generators[device] = Generator(device).manual_seed(self._seed)
        return self._generators[device]


def seeded_draws(seed: int) -> SeededDraws:
    """Let torch's random functions draw by a seed inside the context, in this thread alone.

    Some of Captum's methods, and sampling in text generation, take no seed and draw from torch's
    global generators. Inside this context every random function that was given no generator gets
    one of the context's own, seeded on each device as the global ones would have been, so that
    the numbers are those after ``torch.manual_seed(seed)``. No global state is read or
    changed: other threads, and what follows, get the numbers they would have got.

    Not covered is what takes no generator at all: dropout (models are explained in evaluation
    mode), NumPy's functions and Python's.

    Args:

        seed (int): In [0, 2**63).

    Returns:
        *SeededDraws*: a context manager. Contexts can be nested; the innermost one counts.

    Examples::

        >>> with seeded_draws(0):
        ...     drawn = torch.rand(3)
        >>> torch.equal(drawn, torch.rand(3, generator=torch.Generator().manual_seed(0)))
        True
    """
    return SeededDraws(seed)


def undisturbed(forward_func: Callable[P, R]) -> Callable[P, R]:
    """Return a forward function that suspends :func:`seeded_draws` while it runs.

    Looking at every call of torch costs 1 to 2 microseconds, which a small model feels, and a
    model in evaluation mode draws nothing. Inside, random functions are torch's own again.
    Outside the context it is the function itself.

    Args:

        forward_func (Callable): The forward function.

    Returns:
        *Callable* with the same arguments and the same result.
    """

    def forward(*args: P.args, **kwargs: P.kwargs) -> R:
        mode = _innermost_mode()
        is_left = isinstance(mode, SeededDraws)
        if not is_left:  # also below another mode, which only costs time
            return forward_func(*args, **kwargs)
        mode.__exit__(None, None, None)
        try:
            return forward_func(*args, **kwargs)
        finally:
            mode.__enter__()

    return forward


def _has_generator(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return kwargs.get("generator") is not None or any(isinstance(a, Generator) for a in args)


def _device(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.device:
    """Where a random function draws, as a device with its index."""
    device = kwargs.get("device")
    if device is None:
        for value in (*args, *kwargs.values()):
            if isinstance(value, Tensor):
                return value.device
    # The default device, where none is named.
    return torch.empty(0, device=device).device


# NumPy ----------------------------------------------------------------------------------
# NumPy has no generator per thread: seeding the global one and restoring it would make other
# threads draw the same numbers again. So methods that draw from it get a seed of their own.


def without_numpy_draws(method: Attribution, seed: int) -> Any:
    """Return a Captum method that leaves NumPy's global generator alone, with the results that
    it has after ``numpy.random.seed(seed)``.

    Of Captum's methods GradientShap draws from it, and so does Lime if its linear model is one of
    scikit-learn's with a random state. Other methods come back as they are.

    Args:

        method (Attribution): A copy of the user's own; the linear model of a Lime is changed.
        seed (int): In [0, 2**63).

    Returns:
        *Attribution*: the method, or another in its place.
    """
    if type(method) is GradientShap:
        return SeededGradientShap(method, seed)
    linear_model = getattr(method, "interpretable_model", None)
    name = getattr(linear_model, "sklearn_module", None)
    if linear_model is not None and isinstance(name, str):
        module, _, kind = f"sklearn.{name}".rpartition(".")
        if (
            "random_state"
            in inspect.signature(getattr(importlib.import_module(module), kind)).parameters
        ):
            linear_model.construct_kwargs.setdefault("random_state", _numpy_seed(seed))
    return method


class SeededGradientShap(GradientAttribution):
    """Captum's GradientShap, whose baselines and steps come from generators of its own.

    Captum draws them in the middle of functions, so its four steps are repeated here. The
    attributions are those of Captum after seeding all global generators.

    Args:

        method (GradientShap): The method whose forward function and settings are used.
        seed (int): In [0, 2**63).
    """

    def __init__(self, method: GradientShap, seed: int) -> None:
        super().__init__(method.forward_func)
        self.gradient_func = method.gradient_func
        self._multiplies_by_inputs = method.multiplies_by_inputs
        self._seed = seed

    @classmethod
    def get_name(cls) -> str:
        """The name of Captum's own."""
        return str(GradientShap.get_name())

    def attribute(
        self,
        inputs: Tensor,
        baselines: Tensor,
        n_samples: int = 5,
        stdevs: float = 0.0,
        target: int | None = None,
    ) -> Tensor:
        """Attribute as ``GradientShap`` does, to one Tensor."""
        # The older interface: only that one gives the numbers of np.random.seed.
        numbers = np.random.RandomState(_numpy_seed(self._seed))
        generator = Generator(inputs.device).manual_seed(self._seed)
        count = n_samples * len(inputs)
        removed = baselines[numbers.choice(len(baselines), count).tolist()]
        repeated = inputs.repeat_interleave(n_samples, dim=0)
        spread = torch.full(repeated.shape, stdevs, dtype=torch.float32, device=inputs.device)
        noisy = repeated + torch.normal(0, spread, generator=generator)
        drawn = numbers.uniform(0.0, 1.0, count)
        steps = torch.tensor(drawn, device=inputs.device, dtype=inputs.dtype)
        steps = steps.reshape(-1, *(1,) * (inputs.dim() - 1))
        points = (steps * noisy + (1.0 - steps) * removed).detach().requires_grad_()
        gradients: Tensor = self.gradient_func(self.forward_func, (points,), target)[0]
        if self._multiplies_by_inputs:
            gradients = (noisy - removed) * gradients
        sums = gradients.reshape(len(inputs), n_samples, *inputs.shape[1:]).sum(1)
        return (sums * 1 / n_samples).detach()


def _numpy_seed(seed: int) -> int:
    return seed % 2**32  # the seeds that NumPy takes
