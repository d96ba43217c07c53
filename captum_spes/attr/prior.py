"""Prior: attributions that are known before sampling, for estimators that can make use of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from captum_spes.errors import ArgumentError, ArgumentTypeError

Attributions: TypeAlias = Tensor | tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class Prior:
    r"""
    Attributions that are known before sampling, of another method or of earlier samples.

    An estimator that takes a prior, :class:`captum_spes.attr.GaussianProcess`, finds out how well
    it predicts the samples and weighs it accordingly: one that predicts nothing is left out.

    Args:

        maps (Tensor or tuple[Tensor, ...]): As ``attribute`` returns attributions: the shape of
                    the inputs, with one row for each output where the forward function returns
                    several. Larger = removing the element has more impact; the unit does not
                    matter.
        halves (tuple, optional): Two more such attributions, each from one half of what ``maps``
                    was made of, so that split-half reliability speaks of the prior's noise, too.
                    Default: None, the same maps

    Examples::

        >>> from captum.attr import FeatureAblation
        >>> x = torch.randn(1, 30)
        >>> forward = KLDivergenceForward(torch.nn.Linear(30, 5), x)
        >>> ablation = FeatureAblation(forward).attribute(x)
        >>> attr = SPES.efficient(forward).attribute(
        ...     x, n_samples=100, seed=0, prior=Prior(ablation))
    """

    maps: Attributions
    halves: tuple[Attributions, Attributions] | None = None


class PriorMaps(NamedTuple):
    """The prior of one example, elements of all inputs one after the other.

    Attributes:
        whole: float32 ``(outputs, elements)``.
        halves: the same from either half.
    """

    whole: Tensor
    halves: tuple[Tensor, Tensor]


def prior_of_examples(
    prior: object, tensors: tuple[Tensor, ...], n_examples: int, n_outputs: int
) -> list[PriorMaps]:
    """Read a prior, checked against the inputs: one entry for each example."""
    given = Prior(prior) if isinstance(prior, Tensor | tuple) else prior
    if not isinstance(given, Prior):
        raise ArgumentTypeError(
            f"prior must be attributions or a Prior of them, got {type(prior).__name__}."
        )
    halves = (given.maps, given.maps) if given.halves is None else given.halves
    shape = (n_examples, n_outputs)
    whole, first, second = (_flat(maps, tensors, shape) for maps in (given.maps, *halves))
    return [PriorMaps(*own[:1], own[1:]) for own in zip(whole, first, second, strict=True)]


def _flat(maps: Attributions, tensors: tuple[Tensor, ...], shape: tuple[int, int]) -> Tensor:
    """float32 ``(examples, outputs, elements)``, on the CPU."""
    parts = maps if isinstance(maps, tuple) else (maps,)
    if len(parts) != len(tensors) or not all(isinstance(part, Tensor) for part in parts):
        raise ArgumentError(
            f"prior must hold one Tensor for each of {len(tensors)} inputs, got {len(parts)}."
        )
    flat = []
    for part, tensor in zip(parts, tensors, strict=True):
        n_elements = shape[0] * shape[1] * tensor[0].numel()
        if part.shape[-tensor.dim() + 1 :] != tensor.shape[1:] or part.numel() != n_elements:
            raise ArgumentError(
                f"prior has shape {tuple(part.shape)}; for {shape[0]} examples with {shape[1]} "
                f"outputs each it must be that of the attributions of {tuple(tensor.shape)}."
            )
        if not bool(torch.isfinite(part).all()):
            raise ArgumentError("prior holds NaN or infinity; give finite attributions.")
        flat.append(part.detach().to("cpu", torch.float32).reshape(*shape, -1))
    return torch.cat(flat, -1)
