"""Keeping a caller's torch settings (autocast, default dtype and device) out of a computation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from captum_spes.errors import ArgumentError

# Autocast is known for these devices in all versions.
_AUTOCAST_DEVICES = ("cpu", "cuda", "mps", "xpu")


@contextmanager
def ordinary_torch(device: torch.device) -> Iterator[None]:
    """Inside the context, run as in a fresh process: no autocast, no inference mode, tensors on the
    CPU and in float32 unless said otherwise.

    Only the calling thread is affected. The default dtype, which belongs to the whole process, is
    not changed: where it is not float32, functions that would fall back on it are given float32.

    Args:

        device (torch.device): Where the model runs; autocast is off there and on the CPU.

    Examples::

        >>> with torch.autocast("cpu"), ordinary_torch(torch.device("cpu")):
        ...     product = torch.ones(2, 2) @ torch.ones(2, 2)
        >>> product.dtype
        torch.float32
    """
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        for kind in sorted({"cpu", device.type}.intersection(_AUTOCAST_DEVICES)):
            if _is_autocast(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        # A new tensor tells, in whatever way the default device was set.
        is_elsewhere = torch.empty(0).device.type != "cpu"
        if is_elsewhere:
            stack.enter_context(torch.device("cpu"))
        if is_elsewhere or torch.get_default_dtype() != torch.float32:
            stack.enter_context(_OrdinaryDefaults())
        yield


def check_differentiable(model: Any, name: str) -> None:
    """Raise where a model's weights allow no gradients.

    Args:

        model (Module): The model that a method differentiates.
        name (str): The method's name, for the message.

    Raises:
        ArgumentError: the weights were made in inference mode.
    """
    parameters: Iterable[Tensor] = getattr(model, "parameters", tuple)()
    if any(parameter.is_inference() for parameter in parameters):
        raise ArgumentError(
            f"{name} needs gradients, and the model's weights were made inside "
            "torch.inference_mode(), which allows none: load the model outside of it, or take a "
            "method that perturbs, such as SPES."
        )


def _is_autocast(kind: str) -> bool:
    try:
        return torch.is_autocast_enabled(kind)
    except TypeError:  # torch 2.3 has a function for each of two devices
        on_cpu: bool = torch.is_autocast_cpu_enabled()
        return on_cpu if kind == "cpu" else kind == "cuda" and torch.is_autocast_enabled()


# Defaults -------------------------------------------------------------------------------

_Function = Callable[..., Any]


def _methods(*names: str) -> set[_Function]:
    """Functions and methods of tensors of these names, as far as this version has them."""
    found = (getattr(owner, name, None) for owner in (torch, Tensor) for name in names)
    return {function for function in found if function is not None}


# Always in the default dtype, unless another is given.
_FLOATING = {
    *_methods("zeros", "ones", "empty", "empty_permuted", "empty_strided", "eye", "scalar_tensor"),
    *_methods("linspace", "logspace", "rand", "randn", "hann_window", "hamming_window"),
    *_methods("blackman_window", "bartlett_window", "kaiser_window"),
    *(torch.fft.fftfreq, torch.fft.rfftfreq),
}
# In the default dtype where they are given Python's floating point numbers.
_OF_NUMBERS = _methods("arange", "range", "full")
_OF_DATA = _methods("tensor", "as_tensor", "asarray")
# Integers are compared with a floating point number in the default dtype.
_COMPARING = _methods("lt", "le", "gt", "ge", "eq", "ne", "__eq__", "__ne__")
# These return the dtype that they are asked for.
_CONVERTING = _methods("to", "type", "double", "float", "half", "bfloat16")


class _OrdinaryDefaults(TorchFunctionMode):
    """Gives float32, and the device of the data, to functions that would take the defaults."""

    def __torch_function__(
        self,
        func: _Function,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in _OF_DATA:
            return _of_data(func, args, kwargs)
        if _says_dtype(args, kwargs) or func in _CONVERTING:
            return func(*args, **kwargs)
        if func in _FLOATING or (func is torch.normal and not _tensors(args, kwargs)):
            return func(*args, **{**kwargs, "dtype": torch.float32})
        if func in _OF_NUMBERS:
            # Not asked of floats, as a default of half precision may not hold them.
            if not any(isinstance(own, float) for own in (*args, *kwargs.values())):
                found = func(*args, **kwargs)
                if not _is_default(found):
                    return found
            return func(*args, **{**kwargs, "dtype": torch.float32})
        return _promoted(func, args, kwargs)


def _of_data(func: _Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    data = args[0] if args else kwargs.get("data", kwargs.get("obj"))
    if isinstance(data, Tensor):
        # A default device would move it.
        if kwargs.get("device") is None:
            kwargs = {**kwargs, "device": data.device}
    elif not _says_dtype(args[1:], kwargs) and _is_of_floats(data):
        kwargs = {**kwargs, "dtype": torch.float32}
    return func(*args, **kwargs)


def _promoted(func: _Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a function that may turn integers into floating point numbers."""
    tensors = _tensors(args, kwargs)
    if not tensors or any(t.is_floating_point() or t.is_complex() for t in tensors):
        return func(*args, **kwargs)

    def called(convert: Callable[[Any], Any]) -> Any:
        named = {name: convert(value) for name, value in kwargs.items()}
        return func(*(convert(value) for value in args), **named)

    if any(isinstance(value, float) for value in (*args, *kwargs.values())):
        if func in (torch.where, Tensor.where):
            device = tensors[0].device
            return called(
                lambda value: (
                    torch.tensor(value, dtype=torch.float32, device=device)
                    if isinstance(value, float)
                    else value
                )
            )
        if func in _COMPARING:
            return called(_as_floating)
    found = func(*args, **kwargs)
    return called(_as_floating) if isinstance(found, Tensor) and _is_default(found) else found


def _tensors(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    return [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]


def _as_floating(value: Any) -> Any:
    return value.to(torch.float32) if isinstance(value, Tensor) else value


def _says_dtype(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    is_said = kwargs.get("dtype") is not None or kwargs.get("out") is not None
    return is_said or any(isinstance(value, torch.dtype) for value in args)


def _is_default(found: Tensor) -> bool:
    return found.dtype == torch.get_default_dtype()


def _is_of_floats(data: Any) -> bool:
    """Whether data hold Python's own numbers alone, at least one of them floating point."""
    leaves = list(_leaves(data))
    # NumPy's numbers bring a dtype of their own; some are subclasses of Python's.
    is_plain = all(isinstance(leaf, int | float) for leaf in leaves) and not any(
        isinstance(leaf, np.generic) for leaf in leaves
    )
    # Empty data are made floating point, too.
    return is_plain and (not leaves or any(isinstance(leaf, float) for leaf in leaves))


def _leaves(data: Any) -> Iterator[Any]:
    if isinstance(data, list | tuple):
        for entry in data:
            yield from _leaves(entry)
    else:
        yield data
