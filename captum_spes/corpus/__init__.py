"""Many utterances: manifests, and stores of explanations."""

from importlib import import_module
from typing import Any
from warnings import warn

from captum_spes.corpus.cluster import RayWorkers
from captum_spes.corpus.conditions import RecordingCondition, write_condition
from captum_spes.corpus.dataset import utterances_of
from captum_spes.corpus.manifest import Utterance, read_manifest
from captum_spes.corpus.official import read_official, write_official
from captum_spes.corpus.runner import CorpusRun, explain_corpus
from captum_spes.corpus.store import ExplanationStore
from captum_spes.corpus.workers import LocalWorkers, ThisProcess, Workers
from captum_spes.io.spoiling import (
    active_level,
    add_noise,
    change_rate,
    reverberate,
    telephone_band,
)

__all__ = [
    "CorpusRun",
    "ExplanationStore",
    "LocalWorkers",
    "RayWorkers",
    "RecordingCondition",
    "ThisProcess",
    "Utterance",
    "Workers",
    "active_level",
    "add_noise",
    "change_rate",
    "explain_corpus",
    "read_manifest",
    "read_official",
    "reverberate",
    "telephone_band",
    "utterances_of",
    "write_condition",
    "write_official",
]

# Where names went that were here in version 0.1, and what they are called there.
_MOVED = {
    "METHODS": ("captum_spes.speech", "METHODS"),
    "NamedMethod": ("captum_spes.speech", "Method"),
    "named_methods": ("captum_spes.speech", "named_methods"),
    "Comparison": ("captum_spes.evaluation", "Comparison"),
    "Settings": ("captum_spes.evaluation", "EvaluationSettings"),
    "compare_methods": ("captum_spes.evaluation", "compare_methods"),
}


def __getattr__(name: str) -> Any:
    if name not in _MOVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, new = _MOVED[name]
    warn(f"captum_spes.corpus.{name} is {module}.{new} now.", DeprecationWarning, stacklevel=2)
    return getattr(import_module(module), new)
