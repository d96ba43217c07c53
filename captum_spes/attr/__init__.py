"""Attribution methods in Captum's terms; they know nothing of speech."""

from captum_spes.attr.bubble_noise import BubbleNoise
from captum_spes.attr.estimation import Estimator
from captum_spes.attr.gaussian_process import GaussianProcess
from captum_spes.attr.reliability import split_half_reliability
from captum_spes.attr.sampling import BernoulliDesign, MaskDesign
from captum_spes.attr.spes import SPES

__all__ = [
    "SPES",
    "BernoulliDesign",
    "BubbleNoise",
    "Estimator",
    "GaussianProcess",
    "MaskDesign",
    "split_half_reliability",
]
