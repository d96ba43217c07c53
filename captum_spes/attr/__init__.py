"""Attribution methods in Captum's terms; they know nothing of speech."""

from captum_spes.attr.bubble_noise import BubbleNoise
from captum_spes.attr.sampling import BernoulliDesign, MaskDesign
from captum_spes.attr.spes import SPES

__all__ = ["SPES", "BernoulliDesign", "BubbleNoise", "MaskDesign"]
