"""Many utterances: manifests, methods by name, and their comparison."""

from captum_spes.corpus.comparison import Comparison, Settings, compare_methods
from captum_spes.corpus.manifest import Utterance, read_manifest
from captum_spes.corpus.methods import METHODS, NamedMethod, named_methods

__all__ = [
    "METHODS",
    "Comparison",
    "NamedMethod",
    "Settings",
    "Utterance",
    "compare_methods",
    "named_methods",
    "read_manifest",
]
