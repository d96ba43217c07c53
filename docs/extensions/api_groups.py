"""Which public names stand on which page of the API reference."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """A page: its file, title and introduction, single names, and packages shown whole."""

    file: str
    title: str
    about: str
    names: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()


GROUPS = (
    Group(
        "explain",
        "Explain a recording",
        "The explainer, its settings, and what it returns.",
        names=(
            "captum_spes.SpeechToTextAttribution",
            "captum_spes.SpeechToTextAttributionResult",
            "captum_spes.Settings",
            "captum_spes.SpeechClassificationAttribution",
            "captum_spes.Word",
            "captum_spes.speech.Alternative",
            "captum_spes.speech.TranscriptError",
            "captum_spes.speech.GradientPrior",
            "captum_spes.speech.SpeechGame",
            "captum_spes.speech.parts.Part",
            "captum_spes.speech.plain.Unsaved",
        ),
    ),
    Group(
        "check",
        "Check a transcript",
        "Which words the model heard, and the rules by which that is decided.",
        names=(
            "captum_spes.EvidenceReport",
            "captum_spes.WordEvidence",
            "captum_spes.speech.VerdictRule",
            "captum_spes.speech.read_rules",
            "captum_spes.speech.shipped_rules",
            "captum_spes.speech.write_rules",
            "captum_spes.evaluation.calibrate",
        ),
    ),
    Group(
        "methods",
        "Methods",
        "What takes the place of SPES, the controls among them, and the list that names them.",
        names=(
            "captum_spes.speech.methods.Passes",
            "captum_spes.speech.methods.Extent",
            "captum_spes.speech.running.Runner",
        ),
        packages=("captum_spes.speech",),
    ),
    Group(
        "attr",
        "SPES for any model",
        "The method in Captum's terms, its estimators, and the parts to build another one.",
        names=(
            "captum_spes.attr.segmentation.Segmentation",
            "captum_spes.attr.prior.PriorMaps",
        ),
        packages=("captum_spes.attr",),
    ),
    Group(
        "masks",
        "Cut an input into patches",
        "Feature masks: which cells are removed together.",
        packages=("captum_spes.masks",),
    ),
    Group(
        "scores",
        "Scores and contrasts",
        "What is asked of the output when something is removed.",
        packages=("captum_spes.forward",),
    ),
    Group(
        "maps",
        "Work with maps",
        "Normalise, aggregate to words and bands, read off the strongest places.",
        packages=("captum_spes.maps",),
    ),
    Group(
        "metrics",
        "Judge maps",
        "Deletion and its kin, sanity checks, agreement, significance.",
        packages=("captum_spes.metrics",),
    ),
    Group(
        "compare",
        "Compare methods",
        "Methods compared on a corpus, and the standing benchmark.",
        packages=("captum_spes.evaluation", "captum_spes.benchmark"),
    ),
    Group(
        "words",
        "Words and sounds",
        "Times of words and phones, and statements about maps, each with a test.",
        packages=("captum_spes.alignment", "captum_spes.analysis"),
    ),
    Group(
        "corpus",
        "Many recordings",
        "Manifests, stores of explanations, and the workers that fill them.",
        packages=("captum_spes.corpus",),
    ),
    Group(
        "stability",
        "Training seeds",
        "Whether models that were trained alike are explained alike.",
        names=("captum_spes.stability.attributions.ModelAttributions",),
        packages=("captum_spes.stability",),
    ),
    Group(
        "report",
        "Tables, figures and pages",
        "Explanations and comparisons for people and for other tools.",
        packages=("captum_spes.report", "captum_spes.plotting", "captum_spes.pages"),
    ),
    Group(
        "models",
        "Models and families",
        "Loading a model, what methods ask of one, and the bundled models.",
        packages=("captum_spes.speech.models", "captum_spes.demo"),
    ),
    Group(
        "files",
        "Files and errors",
        "Audio, sound, and the errors that bad input ends with.",
        names=(
            "captum_spes.io.audio.load_audio",
            "captum_spes.io.audio.Excerpt",
            "captum_spes.io.sound.Sound",
            "captum_spes.errors.ArgumentError",
            "captum_spes.errors.ArgumentTypeError",
        ),
    ),
)
