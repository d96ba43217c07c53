"""Measures of explanations."""

from captum_spes.metrics.agreement import Agreement, inter_seed_agreement
from captum_spes.metrics.captum_metrics import infidelity, sensitivity_max
from captum_spes.metrics.captum_view import CaptumView, captum_view
from captum_spes.metrics.ceiling import (
    AgreementCeiling,
    VarianceShares,
    agreement_ceiling,
    variance_shares,
)
from captum_spes.metrics.cues import (
    CueEvidence,
    SpellingCue,
    cue_in_audio,
    cue_in_text,
    spelling_cues,
)
from captum_spes.metrics.curves import Curve, Interval, auc
from captum_spes.metrics.deletion import deletion_masks
from captum_spes.metrics.flips import FlipExample, Flips, flip_curves
from captum_spes.metrics.judging import judge
from captum_spes.metrics.noise import NoiseAgreement, noise_agreement
from captum_spes.metrics.perturbation import (
    CurveOptions,
    Example,
    deletion_curve,
    insertion_curve,
)
from captum_spes.metrics.planted import (
    PlantedEvidence,
    Spliced,
    planted_evidence,
    splice,
)
from captum_spes.metrics.randomization import RandomizedWeights, randomized_weights
from captum_spes.metrics.size import size_curve
from captum_spes.metrics.sound import SoundFaithfulness, sound_faithfulness
from captum_spes.metrics.text import corpus_score, word_error_rate
from captum_spes.plotting import plot_curves
from captum_spes.speech.judgement import Judgement

__all__ = [
    "Agreement",
    "AgreementCeiling",
    "CaptumView",
    "CueEvidence",
    "Curve",
    "CurveOptions",
    "Example",
    "FlipExample",
    "Flips",
    "Interval",
    "Judgement",
    "NoiseAgreement",
    "PlantedEvidence",
    "RandomizedWeights",
    "SoundFaithfulness",
    "SpellingCue",
    "Spliced",
    "VarianceShares",
    "agreement_ceiling",
    "auc",
    "captum_view",
    "corpus_score",
    "cue_in_audio",
    "cue_in_text",
    "deletion_curve",
    "deletion_masks",
    "flip_curves",
    "infidelity",
    "insertion_curve",
    "inter_seed_agreement",
    "judge",
    "noise_agreement",
    "planted_evidence",
    "plot_curves",
    "randomized_weights",
    "sensitivity_max",
    "size_curve",
    "sound_faithfulness",
    "spelling_cues",
    "splice",
    "variance_shares",
    "word_error_rate",
]
