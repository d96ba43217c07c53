"""Scores of perturbations, as forward functions for Captum's methods."""

from captum_spes.forward.contrast import Contrast, contrastive_score
from captum_spes.forward.ctc import CTC
from captum_spes.forward.frames import OverFrames, mean_by_token
from captum_spes.forward.kl_divergence import KLDivergenceForward
from captum_spes.forward.scores import (
    KL,
    SCORES,
    Score,
    ScoreForward,
    TokenProbability,
    as_score,
    is_divergence,
    score_forward,
    score_name,
)
from captum_spes.forward.token_probability import TokenProbabilityForward
from captum_spes.forward.word_probability import word_probability

__all__ = [
    "CTC",
    "KL",
    "SCORES",
    "Contrast",
    "KLDivergenceForward",
    "OverFrames",
    "Score",
    "ScoreForward",
    "TokenProbability",
    "TokenProbabilityForward",
    "as_score",
    "contrastive_score",
    "is_divergence",
    "mean_by_token",
    "score_forward",
    "score_name",
    "word_probability",
]
