"""Values as JSON holds them, and back."""

from __future__ import annotations

import base64
import dataclasses
import math
import pickle
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from captum_spes.attr.designs import BernoulliDesign
from captum_spes.attr.estimators import MaskedDifference, MaskedMean
from captum_spes.attr.gaussian_process import GaussianProcess
from captum_spes.errors import ArgumentError
from captum_spes.forward.contrast import Contrast
from captum_spes.forward.scores import KL, SCORES, TokenProbability
from captum_spes.speech.priors import GradientPrior

# Objects that are made again from their arguments; a file never names code to run.
_KINDS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        BernoulliDesign, Contrast, GaussianProcess, GradientPrior, KL, MaskedDifference, MaskedMean,
        TokenProbability,
    )
}  # fmt: skip
# Short tensors stay readable.
_READABLE = 64


@dataclass(frozen=True)
class Unsaved:
    """A user's own estimator, design, score or argument, of which a file keeps only the name.

    Attributes:
        name: module and class.
        text: its ``repr``, shortened.
    """

    name: str
    text: str = ""

    def _refuse(self, *args: Any, **kwargs: Any) -> Any:
        raise ArgumentError(f"only the name of {self.name} was saved; give the object again.")

    estimate = sample = of = __call__ = _refuse


def encoded(value: Any) -> Any:
    """Return a value in JSON's types; :func:`decoded` gives it back."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(np.ascontiguousarray(value))
    if isinstance(value, Tensor):
        return {"tensor": _of_tensor(value.detach().cpu().contiguous())}
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value):
            return {"items": {key: encoded(own) for key, own in value.items()}}
        return {"pairs": [[encoded(key), encoded(own)] for key, own in value.items()]}
    if isinstance(value, tuple):
        return [encoded(own) for own in value]
    if isinstance(value, list):
        return {"list": [encoded(own) for own in value]}
    if isinstance(value, Unsaved):
        return {"unsaved": value.name, "text": value.text}
    kind = type(value)
    if _KINDS.get(kind.__name__) is kind:
        arguments = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {"object": kind.__name__, "arguments": encoded(arguments)}
    named = value if hasattr(value, "__qualname__") else kind
    return {"unsaved": f"{named.__module__}.{named.__qualname__}", "text": repr(value)[:200]}


def decoded(value: Any) -> Any:
    """Return what :func:`encoded` was given: ``generate`` tells lists from tuples."""
    if isinstance(value, list):
        return tuple(decoded(own) for own in value)
    if not isinstance(value, Mapping):
        return value
    if set(value) == {"list"} and isinstance(value["list"], list):
        return [decoded(own) for own in value["list"]]
    if set(value) == {"pairs"}:
        try:
            return {decoded(key): decoded(own) for key, own in value["pairs"]}
        except (TypeError, ValueError) as error:
            raise ArgumentError(f"damaged pairs in saved settings: {error}.") from error
    if "items" in value and isinstance(value["items"], Mapping):
        return {key: decoded(own) for key, own in value["items"].items()}
    if "tensor" in value:
        return _to_tensor(value["tensor"])
    if set(value) == {"dtype"}:
        return _dtype_of(value["dtype"])
    if "object" in value:
        if value["object"] not in _KINDS:
            raise ArgumentError(f"unknown object {value['object']!r} in saved settings.")
        return _KINDS[value["object"]](**decoded(value.get("arguments", {"items": {}})))
    if "unsaved" in value:
        return Unsaved(str(value["unsaved"]), str(value.get("text", "")))
    return {key: decoded(own) for key, own in value.items()}


def described(value: Any) -> Any:
    """Return a value in JSON's types for people to read: objects by their name."""
    if isinstance(value, Mapping):
        return {str(key): described(own) for key, own in value.items()}
    if isinstance(value, Tensor):
        is_ids = value.dim() == 1 and not value.is_floating_point() and not value.is_complex()
        return value.tolist() if is_ids else f"Tensor of shape {tuple(value.shape)}"
    if isinstance(value, list | tuple):
        return [described(own) for own in value]
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    if value is None or isinstance(value, str | bool | int | float):
        return value
    for name, score in SCORES.items():
        if type(value) is type(score) and value == score:
            return name
    return value.name if isinstance(value, Unsaved) else repr(value)


def first_unsaved(value: Any) -> Unsaved | None:
    """The first value inside that is known by name only."""
    if isinstance(value, Unsaved):
        return value
    inside = value.values() if isinstance(value, Mapping) else value
    if not isinstance(value, Mapping | list | tuple):
        return None
    return next((found for own in inside if (found := first_unsaved(own)) is not None), None)


def portable(value: Any) -> Any:
    """A value that can be pickled: itself, or what a file would keep of it."""
    try:
        pickle.dumps(value)
    except Exception:  # what cannot be pickled raises whatever it likes
        return decoded(encoded(value))
    return value


def equal(one: Any, other: Any) -> bool:
    """Whether two values are the same, those of tensors included."""
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        if not (isinstance(one, Tensor) and isinstance(other, Tensor)):
            return False
        same = one.dtype == other.dtype and one.shape == other.shape
        return same and torch.equal(one.cpu(), other.cpu())
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(np.asarray(one), np.asarray(other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(equal(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


def _of_tensor(tensor: Tensor) -> dict[str, Any]:
    name = str(tensor.dtype).removeprefix("torch.")
    found: dict[str, Any] = {"dtype": name, "shape": list(tensor.shape)}
    if tensor.numel() <= _READABLE:
        return {**found, "values": tensor.flatten().tolist()}
    packed = zlib.compress(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return {**found, "zlib": base64.b64encode(packed).decode("ascii")}


def _to_tensor(found: Mapping[str, Any]) -> Tensor:
    dtype, shape = _dtype_of(found["dtype"]), tuple(found["shape"])
    if "values" in found:
        tensor = torch.tensor(found["values"], dtype=dtype, device="cpu")
    else:
        # No more than is declared: a few bytes can unpack to gigabytes.
        declared = max(1, math.prod(shape) * dtype.itemsize)
        content = zlib.decompressobj().decompress(base64.b64decode(found["zlib"]), declared)
        tensor = torch.frombuffer(bytearray(content), dtype=dtype)
    return tensor.reshape(shape)


def _dtype_of(name: Any) -> torch.dtype:
    dtype = getattr(torch, str(name), None)
    if not isinstance(dtype, torch.dtype):
        raise ArgumentError(f"unknown dtype {name!r} in saved settings.")
    return dtype
