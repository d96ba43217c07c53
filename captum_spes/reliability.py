"""The former name of :mod:`captum_spes.stability`: its names import with a warning."""

import sys
from importlib import import_module
from pkgutil import iter_modules
from typing import Any
from warnings import warn

_STABILITY = "captum_spes.stability"
_RENAMED = {
    "ReliabilityMethod": "StudyMethod",
    "ReliabilityStudy": "StabilityStudy",
    "reliability_table": "stability_table",
}

warn(
    f"{__name__} is {_STABILITY} now: reliability is the sampling noise of one explanation, "
    "stability the agreement across training seeds.",
    DeprecationWarning,
    stacklevel=2,
)
_stability = import_module(_STABILITY)
# Modules, too: `from captum_spes.reliability.units import View` goes on working.
__path__: list[str] = []
for _module in iter_modules(_stability.__path__):
    sys.modules[f"{__name__}.{_module.name}"] = import_module(f"{_STABILITY}.{_module.name}")


def __getattr__(name: str) -> Any:
    return getattr(_stability, _RENAMED.get(name, name))
