"""What a perturbation is scored by; each works with any Captum method."""

from captum_spes.forward.kl_divergence import KLDivergenceForward
from captum_spes.forward.token_probability import TokenProbabilityForward

__all__ = ["KLDivergenceForward", "TokenProbabilityForward"]
