"""What can be known of a spectrogram's map before it is sampled: gradients at perturbed inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d

from captum_spes.attr import Prior
from captum_spes.attr.loop import free_memory, is_out_of_memory, progress_bar
from captum_spes.errors import truth, warn_caller, whole_number
from captum_spes.forward.scores import is_divergence
from captum_spes.speech.sides import Run, Side, Stages

# Which token a gradient belongs to is averaged over this time to either side, in seconds.
_SMOOTHED_SECONDS = 0.16
# Backward passes through the decoder for each perturbed spectrogram, where attention tells tokens
# apart that share one.
_MOST_COMBS = 8
# A perturbed spectrogram is differentiated for every so many samples, and at least so many are.
_SAMPLES_PER_MASK, _LEAST_MASKS = 6, 20
# Smaller divergences, in nats, count as this much: their gradients are nearly all rounding.
_LEAST_IMPACT = 1e-4


@dataclass(frozen=True)
class GradientPrior:
    r"""
    A prior from the gradients of the score at perturbed spectrograms.

    At each of ``n_masks`` spectrograms with patches removed at random, as by default, the score is
    differentiated with respect to the cells and multiplied by how much each cell changes when it is
    removed: what removing a little of each cell would do, for all cells at once, where a sample
    tells what one set of patches did. One backward pass through the encoder serves a random group
    of tokens; what is whose is told by the gradients at the encoder's states, which cost backward
    passes through the decoder alone. Where the model attends, every eighth token shares one of
    these, too (in a language model that hears, all of a group do), and its attention tells them
    apart. The gradient of a divergence is divided by the divergence's root,
    so that masks that destroy a token do not outweigh all others.

    A model that hears windows of a fixed length (Whisper: 30 s) is differentiated on a window that
    ends half a second behind the speech. That is another model, nearly the same and much cheaper;
    what it says wrongly is left to the samples, which run the whole window.

    The samples decide how much it counts; see :class:`captum_spes.attr.Prior`. It is not used where
    the model cannot be differentiated, with a warning.

    Args:

        n_masks (int, optional): Perturbed spectrograms at which gradients are computed, at least
                    2, for two halves.
                    Default: None, one for every six samples and at least 20
        n_groups (int, optional): Groups into which the tokens of each are divided: backward passes
                    through the encoder for each perturbed spectrogram, at least 1. Up to as many
                    tokens are explained one by one.
                    Default: 8
        with_padding (bool, optional): Whether all padding is heard, too.
                    Default: False

    Raises:
        ArgumentError: a number is too small.

    The idea that gradients at random inputs say more than those at one: Smilkov et al.,
    "SmoothGrad", https://arxiv.org/abs/1706.03825.

    Examples::

        >>> settings = Settings.efficient(n_samples=50, prior=GradientPrior(n_masks=4))
        >>> result = explainer.attribute("speech.flac", settings=settings, seed=0)
    """

    n_masks: int | None = None
    n_groups: int = 8
    with_padding: bool = False

    def __post_init__(self) -> None:
        if self.n_masks is not None:
            whole_number("n_masks", self.n_masks, 2)
        whole_number("n_groups", self.n_groups, 1)
        truth("with_padding", self.with_padding)

    def masks_for(self, n_samples: int) -> int:
        """How many perturbed spectrograms are differentiated beside so many samples."""
        if self.n_masks is not None:
            return self.n_masks
        return max(_LEAST_MASKS, n_samples // _SAMPLES_PER_MASK)

    def of(self, side: Side, run: Run) -> Prior | None:
        """The prior of a side's maps; None where the model cannot be differentiated."""
        if side.stages is None:
            return None
        for batch in sorted({run.fixed_batch, 1}, reverse=True):
            try:
                with torch.enable_grad():
                    own = replace(run, perturbations_per_eval=batch)
                    return _Gradients(self, side, side.stages, own).prior()
            except _NoGradientError:
                reason = "the model cannot be differentiated"
                break
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                reason = "there is not enough memory to differentiate the model"
            # Outside the except block, because the error keeps the memory of the failed batch.
            free_memory()
        warn_caller(
            f"{reason}, so its map rests on the samples alone: prior=None says so, and "
            "n_samples=500 makes up for it."
        )
        return None


class _NoGradientError(Exception):
    """The model's output does not depend on its input in a way that torch can follow."""


class _Masks(NamedTuple):
    """Perturbed spectrograms and how tokens are grouped at each.

    Attributes:
        is_removed: bool ``(masks, time, freq)``.
        group: int ``(masks, combs)``: the group of each comb.
    """

    is_removed: Tensor
    group: Tensor


class _Gradients:
    """Gradients of one side's scores, summed over masks.

    Tokens that share the backward passes through the decoder are a comb: every so many-th.
    """

    def __init__(self, prior: GradientPrior, side: Side, stages: Stages, run: Run) -> None:
        if prior.with_padding or stages.encode_shortened is None:
            stages = stages._replace(encode_shortened=None)
        self._side, self._stages, self._run = side, stages, run
        self._encode = stages.encode_shortened or stages.encode
        self._change = (side.baselines - side.inputs)[0]
        with torch.no_grad():
            self._states = self._encode(side.inputs)
            hidden = stages.decode(self._states)
            self._reference = run.output_layer(hidden)[0]
            intact = self._scores_of(hidden)
        self._intact, self._n_units = intact, intact.shape[1]
        self._n_masks = prior.masks_for(side.n_samples)
        self._n_groups = min(prior.n_groups, self._n_units)
        self._n_combs, self._within_comb = self._combs()

    def prior(self) -> Prior:
        masks = self._drawn()
        shape = (2, self._n_units, *self._change.shape)
        sums = torch.zeros(shape, dtype=torch.float32, device="cpu")
        n_masks, step = self._n_masks, self._run.fixed_batch
        name = "SPES prior (spectrogram)"
        with progress_bar(name, n_masks, self._run.show_progress) as advance:
            for start in range(0, n_masks, step):
                few = slice(start, start + step)
                own = _Masks(masks.is_removed[few], masks.group[few])
                for mask, units, found in self._of_batch(own):
                    sums[(start + mask) % 2, units] += found
                advance(len(own.group))
        of_halves = [own / len(range(half, n_masks, 2)) for half, own in enumerate(sums)]
        return Prior((sums.sum(0) / n_masks)[None], (of_halves[0][None], of_halves[1][None]))

    def _drawn(self) -> _Masks:
        """Masks of random levels and random groups, from a seed of their own."""
        sequence = np.random.SeedSequence((self._run.seed, 1))
        # How tokens are grouped leaves the masks as they are.
        generator, grouping = (
            torch.Generator("cpu").manual_seed(int(own))
            for own in sequence.generate_state(2, np.uint64) >> np.uint64(1)
        )
        levels = [mask[0].cpu() for mask in self._side.feature_masks]
        removed, groups = [], []
        for _ in range(self._n_masks):
            level = int(torch.randint(len(levels), (), generator=generator, device="cpu"))
            patches = levels[level]
            count = int(patches.max()) + 1
            drawn = torch.rand(max(1, count), generator=generator, device="cpu")
            is_drawn = drawn < self._side.perturb_prob
            removed.append(is_drawn[patches.clamp(min=0)] & (patches >= 0))
            order = torch.randperm(self._n_combs, generator=grouping, device="cpu")
            groups.append(order % self._n_groups)
        device = self._change.device
        return _Masks(torch.stack(removed).to(device), torch.stack(groups).to(device))

    def _combs(self) -> tuple[int, Tensor | None]:
        """How many combs there are, and the share of each token in its own at each position."""
        n_combs = self._n_groups
        if self._stages.is_decoder_light:
            n_combs = max(n_combs, _MOST_COMBS)
        if self._stages.attention is None or self._n_units <= n_combs:
            return self._n_units, None
        looks = self._stages.attention().to(self._states.device).float()
        if len(looks) != self._n_units:  # units of a score are no tokens
            return self._n_units, None
        looks = looks[:, : self._states.shape[1]]
        looks = looks.square() + torch.finfo(looks.dtype).tiny
        for comb in range(n_combs):
            looks[comb::n_combs] /= looks[comb::n_combs].sum(0)
        return n_combs, looks

    # One batch ---------------------------------------------------------------------------

    def _of_batch(self, masks: _Masks) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Masks by number, the tokens of one of its groups, and their maps, on the CPU."""
        perturbed = torch.where(masks.is_removed, self._side.baselines, self._side.inputs)
        spectrograms = perturbed.detach().requires_grad_()
        states = self._encode(spectrograms)
        if not states.requires_grad:
            raise _NoGradientError
        at_states, shares = self._at_states(states.detach().requires_grad_(), masks.group)
        of_units = self._of_units(masks.group).cpu()
        for group, weights in enumerate(at_states):
            (gradients,) = torch.autograd.grad(
                states, spectrograms, weights.to(states), retain_graph=group < self._n_groups - 1
            )
            effects = (gradients * self._change).float().cpu()
            # One mask at a time: maps of all tokens of a batch would fill the memory.
            for mask, own in enumerate(effects):
                units = (of_units[mask] == group).nonzero()[:, 0]
                yield mask, units, shares[mask, units, :, None] * own

    def _of_units(self, of_combs: Tensor) -> Tensor:
        """``(masks, combs, ...)`` to ``(masks, units, ...)``."""
        units = torch.arange(self._n_units, device=of_combs.device)
        return of_combs[:, units % self._n_combs]

    def _at_states(self, states: Tensor, group: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of each group at the encoder's states, ``(groups, masks, ...)``, and the share
        of each token in its group's at each frame, ``(masks, units, frames)``."""
        hidden = self._stages.decode(states)
        scores = self._scores_of(hidden)
        if not scores.requires_grad:
            raise _NoGradientError
        of_comb = self._gradients_of_combs(hidden, self._scaled(scores))
        sums = states.new_zeros(self._n_groups, *states.shape)
        moved = (self._states - states).detach()
        rows = torch.arange(len(states), device=states.device)
        strengths = []
        for comb in range(self._n_combs):
            output, weights = of_comb(comb)
            (found,) = torch.autograd.grad(
                output, states, weights, retain_graph=comb < self._n_combs - 1
            )
            sums[group[:, comb], rows] += found
            # States without positions are those of one.
            own = (found * moved).reshape(len(states), *states.shape[1:-1] or (1,), -1)
            strengths.append(own.flatten(2).sum(2).abs().float())
        of_units = self._of_units(torch.stack(strengths, 1))
        if self._within_comb is not None:
            of_units = of_units * self._within_comb
        return sums, self._shares(of_units, self._of_units(group))

    def _gradients_of_combs(
        self, hidden: Tensor, scores: Tensor
    ) -> Callable[[int], tuple[Tensor, Tensor | None]]:
        """What is differentiated for each comb, and the gradient there."""
        step, is_per_token = self._n_combs, getattr(self._run.score, "is_per_token", False)
        if not is_per_token or hidden.shape[:2] != scores.shape:
            return lambda comb: (scores[:, comb::step].sum(), None)
        # Each score rests on a state of its own: the layer of all words is differentiated once.
        (at_hidden,) = torch.autograd.grad(scores.sum(), hidden, retain_graph=True)

        def of_comb(comb: int) -> tuple[Tensor, Tensor]:
            own = torch.zeros_like(at_hidden)
            own[:, comb::step] = at_hidden[:, comb::step]
            return hidden, own

        return of_comb

    def _scaled(self, scores: Tensor) -> Tensor:
        """What the perturbation cost each token, divergences by their root."""
        impacts = self._intact - scores
        if not is_divergence(self._run.score):
            return impacts
        return impacts / impacts.detach().clamp(min=_LEAST_IMPACT).sqrt()

    def _shares(self, strengths: Tensor, group: Tensor) -> Tensor:
        """``(masks, units, positions)`` to the shares of tokens in their groups, for frames."""
        n_positions, n_frames = strengths.shape[-1], len(self._change)
        covered = self._stages.covered_frames(n_positions)
        frame_rate = self._side.frame_rate or 1.0
        reach = round(_SMOOTHED_SECONDS * frame_rate * n_positions / covered)
        smooth = avg_pool1d(
            strengths, 2 * reach + 1, stride=1, padding=reach, count_include_pad=False
        )
        frames = torch.arange(n_frames, device=smooth.device)
        position = (frames * n_positions // covered).clamp(max=n_positions - 1)
        # Where no token has any, all of a group have the same.
        own = smooth[..., position] + torch.finfo(smooth.dtype).tiny
        shares = torch.zeros_like(own)
        for index in range(self._n_groups):
            of_group = own * (group == index)[..., None]
            shares += of_group / of_group.sum(1, keepdim=True).clamp(min=1e-30)
        return shares.cpu()

    # Scores ------------------------------------------------------------------------------

    def _scores_of(self, hidden: Tensor) -> Tensor:
        ids = self._run.token_ids.to(hidden.device)
        scores: Tensor = self._run.score(self._run.output_layer(hidden), self._reference, ids)
        return scores.to(hidden.device)
