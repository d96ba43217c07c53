"""Attribution methods in Captum's terms; they know nothing of speech."""

from captum_spes.attr.audio_input import AudioMaskInput
from captum_spes.attr.bubble_noise import BubbleNoise
from captum_spes.attr.designs import BernoulliDesign, MaskDesign
from captum_spes.attr.estimators import (
    Estimator,
    Features,
    MaskedDifference,
    MaskedMean,
    RunningEstimate,
    Samples,
)
from captum_spes.attr.gaussian_process import GaussianProcess
from captum_spes.attr.llm_attribution import LLMAttribution
from captum_spes.attr.noise_tunnel import NoiseTunnel
from captum_spes.attr.prior import Prior
from captum_spes.attr.reliability import split_half_reliability
from captum_spes.attr.spes import SPES

__all__ = [
    "SPES",
    "AudioMaskInput",
    "BernoulliDesign",
    "BubbleNoise",
    "Estimator",
    "Features",
    "GaussianProcess",
    "LLMAttribution",
    "MaskDesign",
    "MaskedDifference",
    "MaskedMean",
    "NoiseTunnel",
    "Prior",
    "RunningEstimate",
    "Samples",
    "split_half_reliability",
]
