"""The names that users import, and the house's rule that imports run downwards."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import captum_spes

ROOT = Path(captum_spes.__file__).parent
# From the ground up; a module may import only what stands before its own layer.
LAYERS = [
    "text",
    "errors",
    "io",
    "pages",
    "plotting",
    "attr",
    "masks",
    "forward",
    "maps",
    "speech",
    "alignment",
    "metrics",
    "analysis",
    "corpus",
    "evaluation",
    "demo",
    "stability",
    "reliability",
    "report",
    "benchmark",
    "cli",
]
GROUND = {"errors", "text"}
# What anybody can use who explains no speech: they import nothing but the ground.
ON_THE_GROUND = ["io", "pages", "plotting", "attr", "masks", "forward", "maps"]
# What version 0.1 had, of which much has another place now.
FORMER = {
    "corpus": [
        "METHODS", "Comparison", "NamedMethod", "Settings", "Utterance", "compare_methods",
        "named_methods", "read_manifest",
    ],
    "reliability": [
        "Attributed", "ClassifierConfig", "Condition", "ConditionAgreement", "ExplainedModel",
        "ReliabilityMethod", "ReliabilityStudy", "SpeechClassifier", "UnitPair",
        "View", "condition_agreements", "load_explained_model", "paired_difference",
        "parse_method", "parse_units", "reliability_table", "run_study",
    ],
    "report": [
        "TokenSummary", "comparison_rows", "comparison_table", "explanation_text", "plot_cost",
        "plot_reliability", "summarize_tokens", "write_analysis", "write_comparison",
        "write_explanation", "write_reliability",
    ],
    "metrics": [
        "Agreement", "AgreementCeiling", "Curve", "Example", "Interval", "VarianceShares",
        "agreement_ceiling", "auc", "corpus_score", "deletion_curve", "deletion_masks",
        "insertion_curve", "inter_seed_agreement", "plot_curves", "size_curve",
        "variance_shares", "word_error_rate",
    ],
    "attr": [
        "SPES", "BernoulliDesign", "BubbleNoise", "Estimator", "GaussianProcess", "MaskDesign",
        "split_half_reliability",
    ],
    "analysis": [
        "EVIDENCE", "AlignedResults", "Findings", "Profiles", "plot_hallucination_check",
        "plot_positions", "plot_profiles", "plot_time", "plot_token_evidence",
    ],
}  # fmt: skip


def test_public_names():
    assert set(captum_spes.__all__) == {
        "SPES", "AudioMaskInput", "BubbleNoise", "CrossAttention", "EnergyMap", "EvidenceReport",
        "KLDivergenceForward", "LLMAttribution", "RandomMap", "Settings",
        "SpeechClassificationAttribution", "SpeechToTextAttribution",
        "SpeechToTextAttributionResult", "TokenProbabilityForward",
        "Word", "WordEvidence",
        "describe_levels", "grid_feature_mask", "slic_feature_mask", "span_feature_mask",
        "window_feature_mask",
    }  # fmt: skip
    for name in captum_spes.__all__:
        assert getattr(captum_spes, name).__doc__


def imported_names(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            # `from captum_spes import corpus` imports a layer, too.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def imported_layers(file):
    for name in imported_names(file):
        parts = name.split(".")
        if parts[0] == "captum_spes" and len(parts) > 1 and parts[1] in LAYERS:
            yield parts[1]


def test_every_module_has_a_layer():
    found = {file.relative_to(ROOT).parts[0].removesuffix(".py") for file in ROOT.rglob("*.py")}
    assert found - {"__init__"} == set(LAYERS)


def test_imports_run_downwards():
    for file in ROOT.rglob("*.py"):
        layer = file.relative_to(ROOT).parts[0].removesuffix(".py")
        if layer == "__init__":
            continue
        for imported in imported_layers(file):
            if imported == layer:
                continue
            assert LAYERS.index(imported) < LAYERS.index(layer), (file, imported)
            if layer in ON_THE_GROUND:
                assert imported in GROUND, (file, imported)


def test_nothing_imports_what_is_not_in_the_wheel():
    for file in ROOT.rglob("*.py"):
        packages = {name.partition(".")[0] for name in imported_names(file)}
        assert not packages & {"recipes", "tests", "benchmarks"}, file


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("package", FORMER)
def test_former_names_are_still_there(package):
    module = importlib.import_module(f"captum_spes.{package}")
    for name in FORMER[package]:
        assert getattr(module, name) is not None


MOVED = [
    ("from captum_spes.reliability import ReliabilityStudy", "captum_spes.stability"),
    ("from captum_spes.reliability.units import View", "captum_spes.stability"),
    ("from captum_spes.corpus import compare_methods", "captum_spes.evaluation"),
    ("from captum_spes.corpus import named_methods", "captum_spes.speech"),
    ("from captum_spes.corpus import Settings", "EvaluationSettings"),
    ("from captum_spes.report import write_reliability", "write_stability"),
]


# As in a process that has not imported the former package: it tells of itself once.
FORGOTTEN = (
    "import sys; former = [n for n in sys.modules if n.startswith('captum_spes.reliability')]; "
    "[sys.modules.pop(name) for name in former]"
)


def test_former_names_say_where_they_went():
    """Each line is told by its number; in a process of its own, with nothing imported before."""
    program = "\n".join(f"{line}\n{FORGOTTEN}" for line, _ in MOVED)
    warned = _python("-W", "default::DeprecationWarning", program)
    assert warned.returncode == 0, warned.stderr
    told = {1 + 2 * index: [] for index in range(len(MOVED))}
    for text in warned.stderr.splitlines():
        if "DeprecationWarning" in text and "captum_spes" in text:
            found = re.match(r"<string>:(\d+):", text)  # the user's line, not ours
            assert found, text
            told[int(found.group(1))].append(text)
    for (line, now), texts in zip(MOVED, told.values(), strict=True):
        assert texts, line
        assert all(now in text for text in texts), texts


def test_names_of_today_do_not_warn():
    layers = [layer for layer in LAYERS if layer != "reliability"]
    lines = "\n".join(f"import captum_spes.{layer}" for layer in layers)
    # Whoever imports the package's own names must not be told of names that it uses itself.
    done = _python(
        "-W", "error::DeprecationWarning:captum_spes", f"{lines}\nimport captum_spes.cli"
    )
    assert done.returncode == 0, done.stderr
    assert "captum_spes" not in done.stderr


def _python(*arguments):
    *options, code = arguments
    return subprocess.run(
        [sys.executable, *options, "-c", code], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("package", ["corpus", "report"])
def test_other_names_are_attribute_errors(package):
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        importlib.import_module(f"captum_spes.{package}").nothing  # noqa: B018
