"""Mask designs that make the estimator exact."""

import itertools

import torch


class AllMasks:
    """Every one of the 2^n masks once: with n_samples = 2^n the estimator has no noise."""

    def __init__(self):
        self._drawn = 0

    def sample(self, n_samples, n_features, generator):
        masks = torch.tensor(list(itertools.product([False, True], repeat=n_features)))
        start = self._drawn % len(masks)
        self._drawn += n_samples
        return masks[start : start + n_samples]


class FixedMasks:
    """The given masks, row after row."""

    def __init__(self, masks):
        self._masks = torch.as_tensor(masks).bool()
        self._drawn = 0

    def sample(self, n_samples, n_features, generator):
        rows = self._masks[self._drawn : self._drawn + n_samples, :n_features]
        self._drawn += n_samples
        return rows
