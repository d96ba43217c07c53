"""SPES written down from the paper in the plain way: the reference for speed and for equality.

One mask over cells per sample; probabilities of the whole vocabulary, the original ones repeated
for every sample; heat maps of (samples x tokens x time x freq), of which those of one utterance
are picked (a batch may hold several) and summed; and the encoder run again for every perturbed
sequence of previous tokens. So does the authors' own loop. The masks are those that `SPES` draws
from the same seed.
"""

from __future__ import annotations

import torch
from captum_spes.attr.sampling import BernoulliDesign, chunk_sizes, level_seeds, split_evenly


def _kl_divergence(original, perturbed):
    return (original * (original / perturbed.clamp(min=1e-38)).log()).sum(-1)


def _probability_difference(ids):
    def score(original, perturbed):
        index = ids[None, :, None].expand(len(perturbed), -1, 1)
        return (original.gather(-1, index) - perturbed.gather(-1, index)).squeeze(-1)

    return score


def score_named(name, sequence):
    return _kl_divergence if name == "kl" else _probability_difference(sequence.explained_ids)


@torch.no_grad()
def plain_spectrogram_attr(
    adapter, speech, sequence, levels, removed, *, n_samples, perturb_prob, seed, batch, score
):
    """(tokens, time, freq), from masks of patches ``levels``, each (time, freq)."""
    spectrogram, removed = speech.spectrogram.to(adapter.device), removed.to(adapter.device)
    original = adapter.logits(adapter.encode(speech, spectrogram[None]), sequence).softmax(-1)
    design, seeds = BernoulliDesign(perturb_prob), level_seeds(seed, len(levels))
    heat = torch.zeros(len(sequence.explained), *spectrogram.shape, device=adapter.device)
    counts = torch.zeros(spectrogram.shape, device=adapter.device)
    schedule = zip(levels, split_evenly(n_samples, len(levels)), seeds, strict=True)
    for labels, samples, level_seed in schedule:
        generator = torch.Generator().manual_seed(level_seed)
        for size in chunk_sizes(samples, batch):
            masked = design.sample(size, int(labels.max()) + 1, generator)
            masks = torch.stack([(~mask[labels]).float() for mask in masked]).to(adapter.device)
            perturbed = spectrogram * masks + removed * (1 - masks)
            logits = adapter.logits(adapter.encode(speech, perturbed), sequence)
            impacts = score(original.repeat(size, 1, 1), logits.softmax(-1))
            own = torch.arange(size)  # of one utterance, of which here all samples are
            heat_of_samples = impacts[:, :, None, None] * (1 - masks)[:, None]
            heat += heat_of_samples[own].sum(0)
            counts += (1 - masks)[own].sum(0)
    return (heat / counts.clamp(min=1)).cpu()


@torch.no_grad()
def plain_token_attr(
    adapter, speech, sequence, *, n_samples, perturb_prob, seed, batch, score
):  # fmt: skip
    """(tokens, previous tokens)."""
    spectrogram = speech.spectrogram[None]
    original = adapter.logits(adapter.encode(speech, spectrogram), sequence).softmax(-1)
    design, generator = BernoulliDesign(perturb_prob), torch.Generator().manual_seed(seed)
    n_previous = len(sequence.decoder_ids)
    heat = torch.zeros(len(sequence.explained), n_previous, device=adapter.device)
    counts = torch.zeros(n_previous, device=adapter.device)
    for size in chunk_sizes(n_samples, batch):
        is_removed = design.sample(size, n_previous, generator).to(adapter.device)
        with adapter.keep_previous_tokens((~is_removed).float()):
            states = adapter.encode(speech, spectrogram.expand(size, -1, -1))
            logits = adapter.logits(states, sequence)
        impacts = score(original.repeat(size, 1, 1), logits.softmax(-1))
        heat += (impacts[:, :, None] * is_removed[:, None].float()).sum(0)
        counts += is_removed.float().sum(0)
    return (heat / counts.clamp(min=1)).cpu()
