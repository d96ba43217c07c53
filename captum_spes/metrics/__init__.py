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
from captum_spes.metrics.curve_options import CurveOptions, Example
from captum_spes.metrics.curves import Curve, CurveDifference, Interval, auc
from captum_spes.metrics.deletion import deletion_masks
from captum_spes.metrics.flips import FlipExample, Flips, flip_curves
from captum_spes.metrics.gain import symmetric_gain
from captum_spes.metrics.judging import judge
from captum_spes.metrics.noise import NoiseAgreement, noise_agreement
from captum_spes.metrics.own_token import OwnTokenDeletion, own_token_deletion
from captum_spes.metrics.perturbation import deletion_curve, insertion_curve
from captum_spes.metrics.planted import PlantedEvidence, Spliced, planted_evidence, splice
from captum_spes.metrics.randomization import RandomizedWeights, randomized_weights
from captum_spes.metrics.removal import (
    REMOVALS,
    MeanValue,
    Neighbours,
    Noise,
    OtherRecording,
    Removal,
    Silence,
)
from captum_spes.metrics.scaled import OrderSearch, ScaledAreas, scaled_areas
from captum_spes.metrics.significance import RankAgreement, holm, paired_p_value, rank_agreement
from captum_spes.metrics.size import size_curve
from captum_spes.metrics.sound import SoundFaithfulness, sound_faithfulness
from captum_spes.metrics.text import corpus_score, word_error_rate
from captum_spes.metrics.word_curve import WordExample, word_deletion_curve
from captum_spes.plotting import plot_curves
from captum_spes.speech.judgement import Judgement

__all__ = [
    "REMOVALS",
    "Agreement",
    "AgreementCeiling",
    "CaptumView",
    "CueEvidence",
    "Curve",
    "CurveDifference",
    "CurveOptions",
    "Example",
    "FlipExample",
    "Flips",
    "Interval",
    "Judgement",
    "MeanValue",
    "Neighbours",
    "Noise",
    "NoiseAgreement",
    "OrderSearch",
    "OtherRecording",
    "OwnTokenDeletion",
    "PlantedEvidence",
    "RandomizedWeights",
    "RankAgreement",
    "Removal",
    "ScaledAreas",
    "Silence",
    "SoundFaithfulness",
    "SpellingCue",
    "Spliced",
    "VarianceShares",
    "WordExample",
    "agreement_ceiling",
    "auc",
    "captum_view",
    "corpus_score",
    "cue_in_audio",
    "cue_in_text",
    "deletion_curve",
    "deletion_masks",
    "flip_curves",
    "holm",
    "infidelity",
    "insertion_curve",
    "inter_seed_agreement",
    "judge",
    "noise_agreement",
    "own_token_deletion",
    "paired_p_value",
    "planted_evidence",
    "plot_curves",
    "randomized_weights",
    "rank_agreement",
    "scaled_areas",
    "sensitivity_max",
    "size_curve",
    "sound_faithfulness",
    "spelling_cues",
    "splice",
    "symmetric_gain",
    "variance_shares",
    "word_deletion_curve",
    "word_error_rate",
]
