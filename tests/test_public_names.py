"""The names that users import, and the house's rule that imports run downwards."""

import ast
from pathlib import Path

import captum_spes

ROOT = Path(captum_spes.__file__).parent
# From the ground up; a module may import only what stands before its own layer.
LAYERS = [
    "errors",
    "attr",
    "masks",
    "forward",
    "maps",
    "speech",
    "alignment",
    "metrics",
    "analysis",
    "corpus",
    "demo",
    "reliability",
    "report",
    "cli",
]
GROUND = {"errors"}
UNDER_SPEECH = ["attr", "masks", "forward", "maps"]


def test_public_names():
    assert set(captum_spes.__all__) == {
        "SPES", "BubbleNoise", "CrossAttention", "EnergyMap", "KLDivergenceForward",
        "RandomMap", "SpeechToTextAttribution",
        "SpeechToTextAttributionResult", "TokenProbabilityForward", "Word",
        "describe_levels", "grid_feature_mask", "slic_feature_mask", "span_feature_mask",
        "window_feature_mask",
    }  # fmt: skip
    for name in captum_spes.__all__:
        assert getattr(captum_spes, name).__doc__


def imported_layers(file):
    for node in ast.walk(ast.parse(file.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "captum_spes" and len(parts) > 1:
                yield parts[1]


def test_imports_run_downwards():
    for file in ROOT.rglob("*.py"):
        layer = file.relative_to(ROOT).parts[0].removesuffix(".py")
        if layer == "__init__":
            continue
        for imported in imported_layers(file):
            if imported == layer:
                continue
            assert LAYERS.index(imported) < LAYERS.index(layer), (file, imported)
            if layer in UNDER_SPEECH:
                assert imported in GROUND, (file, imported)
