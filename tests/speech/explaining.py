"""A quick explanation of a small model."""

from scipy.stats import spearmanr

from captum_spes import SPES, SpeechToTextAttribution

QUICK = {
    "n_samples": 60,
    "n_token_samples": 60,
    "patches_per_second": 40,
    "target": "the cat",
    "seed": 0,
}


def explain(model, audio, method=SPES, **kwargs):
    network, processor = model
    explainer = SpeechToTextAttribution(method(network), processor)
    return explainer.attribute(audio, **{**QUICK, **kwargs})


def rank_correlations(first, second):
    """Of each token's map."""
    pairs = zip(first.spectrogram_attr, second.spectrogram_attr, strict=True)
    return [spearmanr(a.flatten(), b.flatten()).statistic for a, b in pairs]
