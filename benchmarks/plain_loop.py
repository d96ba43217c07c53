"""SPES written down from the paper in the plain way: the reference for speed and for equality.

One mask over cells per sample; probabilities of the whole vocabulary, the original ones repeated
for every sample; heat maps of (samples x tokens x time x freq), of which those of one utterance
are picked (a batch may hold several) and summed; and the encoder run again for every perturbed
sequence of previous tokens. So does the authors' own loop. The masks are those that `SPES` draws
from the same seed.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from captum_spes.attr import BernoulliDesign
from captum_spes.attr.designs import SeededMasks


class Draws(NamedTuple):
    """What is drawn: the masks of SPES with the same seed."""

    n_samples: int
    perturb_prob: float
    seed: int
    batch: int

    def sizes(self, n_samples):
        """Of batches."""
        return [min(self.batch, n_samples - i) for i in range(0, n_samples, self.batch)]


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
def plain_spectrogram_attr(adapter, speech, sequence, levels, removed, draws, score):
    """(tokens, time, freq), from masks of patches ``levels``, each (time, freq)."""
    spectrogram, removed = speech.spectrogram.to(adapter.device), removed.to(adapter.device)
    original = adapter.logits(adapter.encode(speech, spectrogram[None]), sequence).softmax(-1)
    n_patches = [int(labels.max()) + 1 for labels in levels]
    masks_of = SeededMasks(BernoulliDesign(draws.perturb_prob), n_patches, draws.seed)
    heat = torch.zeros(len(sequence.explained), *spectrogram.shape, device=adapter.device)
    counts = torch.zeros(spectrogram.shape, device=adapter.device)
    for level, labels in enumerate(levels):
        share, rest = divmod(draws.n_samples, len(levels))
        for size in draws.sizes(share + (level < rest)):
            masked = masks_of.draw(level, size)
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
def plain_token_attr(adapter, speech, sequence, draws, score):
    """(tokens, previous tokens)."""
    spectrogram = speech.spectrogram[None]
    original = adapter.logits(adapter.encode(speech, spectrogram), sequence).softmax(-1)
    n_previous = len(sequence.decoder_ids)
    masks_of = SeededMasks(BernoulliDesign(draws.perturb_prob), [n_previous], draws.seed)
    heat = torch.zeros(len(sequence.explained), n_previous, device=adapter.device)
    counts = torch.zeros(n_previous, device=adapter.device)
    for size in draws.sizes(draws.n_samples):
        is_removed = masks_of.draw(0, size).to(adapter.device)
        with adapter.keep_previous_tokens((~is_removed).float()):
            states = adapter.encode(speech, spectrogram.expand(size, -1, -1))
            logits = adapter.logits(states, sequence)
        impacts = score(original.repeat(size, 1, 1), logits.softmax(-1))
        heat += (impacts[:, :, None] * is_removed[:, None].float()).sum(0)
        counts += is_removed.float().sum(0)
    return (heat / counts.clamp(min=1)).cpu()
