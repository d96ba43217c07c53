"""The sides of an explanation, as methods get them: spectrogram, previous tokens, instruction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from captum_spes.attr import Estimator, MaskDesign, MaskedMean, Prior
from captum_spes.forward.scores import Score

# Perturbed inputs per forward pass for methods that cannot find the fastest number.
_BATCH = 4


@dataclass(frozen=True)
class Run:
    """What all sides of an explanation have in common.

    Attributes:
        token_ids: ``(tokens,)``: the explained ids.
        score: what is measured on the output.
        seed: of every random choice.
        device: where the model runs.
        output_layer: ``(..., hidden)`` to ``(..., vocab)``.
        perturbations_per_eval: perturbed inputs per forward, or "auto".
        dtype: precision of encoder and decoder; None for the model's own.
        return_partial: whether Ctrl-C ends the sampling and keeps the samples so far.
        show_progress: whether to draw progress bars.
    """

    token_ids: Tensor
    score: Score
    seed: int
    device: torch.device
    output_layer: Callable[[Tensor], Tensor]
    perturbations_per_eval: int | str = _BATCH
    dtype: torch.dtype | None = None
    return_partial: bool = False
    show_progress: bool = False

    @property
    def fixed_batch(self) -> int:
        """For methods of Captum's, which find no batch size of their own."""
        size = self.perturbations_per_eval
        return _BATCH if isinstance(size, str) else size

    def in_precision(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """A function of encoder or decoder that computes in ``dtype``."""
        if self.dtype is None:
            return forward

        def computed(*args: Any) -> Any:
            with torch.autocast(self.device.type, dtype=self.dtype):
                return forward(*args)

        return computed


@dataclass(frozen=True)
class SideMaps:
    """What explaining one side gives.

    Attributes:
        maps: ``(units, *features)``.
        halves: the maps of each half of the samples; None for methods that do not give them.
        n_samples: perturbed inputs that were evaluated; None likewise.
        odds_exponent: see :func:`captum_spes.attr.split_half_reliability`.
    """

    maps: Tensor
    halves: tuple[Tensor, Tensor] | None = None
    n_samples: int | None = None
    odds_exponent: float = 1.0

    def masked(self, is_undefined: Tensor) -> SideMaps:
        """NaN where ``is_undefined``."""
        maps, *halves = (
            m.masked_fill(is_undefined, torch.nan) for m in (self.maps, *(self.halves or ()))
        )
        return replace(self, maps=maps, halves=(halves[0], halves[1]) if halves else None)


class Stages(NamedTuple):
    """A spectrogram's way through the model, in two steps.

    Attributes:
        encode: ``(batch, time, freq)`` to states, ``(batch, positions, ...)``.
        decode: states to ``(batch, tokens, hidden)``.
        covered_frames: how many frames so many positions stand for, padding included.
        attention: where in the states each token looks, ``(tokens, positions)``; None for a model
            that does not attend.
        is_decoder_light: whether most of a pass is the encoder's.
        encode_shortened: nearly the same as ``encode``, without most of the padding; None for a
            model that hears none.
    """

    encode: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor], Tensor]
    covered_frames: Callable[[int], int]
    attention: Callable[[], Tensor] | None = None
    is_decoder_light: bool = True
    encode_shortened: Callable[[Tensor], Tensor] | None = None


class SidePrior(Protocol):
    """Anything that knows something of a side's maps before it is sampled."""

    def of(self, side: Side, run: Run) -> Prior | None:
        """The prior of the maps; None where there is none."""
        ...


@dataclass(frozen=True)
class Side:
    """The spectrogram or the previous tokens: what is perturbed and what the model makes of it.

    Attributes:
        name: shown in progress bars.
        inputs: ``(1, *features)``.
        baselines: the removed value, of the same shape.
        feature_masks: one mask per segmentation level, ``(1, *features)``.
        hidden_func: ``(batch, *features)`` to ``(batch, tokens, hidden)``.
        n_samples: forward evaluations for sampling methods.
        perturb_prob: probability that SPES perturbs a feature.
        design: masks of SPES.
        estimator: of SPES.
        tolerance: of SPES.
        frame_rate: frames per second of a spectrogram; None for previous tokens.
        n_before: of previous tokens: how many are before each explained token, each time more; None
            where all of them are before every one.
        method_args: further arguments of the method's own ``attribute``.
        prior: of SPES.
        gradients_with_padding: whether all that the model hears is differentiated, also where most
            of it is padding.
        stages: of a spectrogram; None for previous tokens.
    """

    name: str
    inputs: Tensor
    baselines: Tensor
    feature_masks: list[Tensor]
    hidden_func: Callable[[Tensor], Tensor]
    n_samples: int
    perturb_prob: float
    design: MaskDesign | None = None
    estimator: Estimator = field(default_factory=MaskedMean)
    tolerance: float | None = None
    frame_rate: float | None = None
    n_before: tuple[int, ...] | None = None
    method_args: dict[str, Any] = field(default_factory=dict)
    prior: SidePrior | None = None
    gradients_with_padding: bool = True
    stages: Stages | None = None

    def to(self, device: torch.device) -> Side:
        """Move it to where the model runs; inputs are copied."""
        return replace(
            self,
            inputs=self.inputs.to(device, copy=True),
            baselines=self.baselines.contiguous().to(device),
            feature_masks=[mask.to(device) for mask in self.feature_masks],
        )
