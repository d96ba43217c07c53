"""What a result remembers of how it was made."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from torch import Tensor


def plain(value: Any) -> Any:
    """Return a value as JSON holds it, so that saving loses nothing."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, Tensor):
        return f"Tensor of shape {tuple(value.shape)}"
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return value if value is None or isinstance(value, str | int | float | bool) else repr(value)


def versions() -> dict[str, str]:
    found = {}
    for package in ("captum-spes", "captum", "torch", "transformers", "scikit-image"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
