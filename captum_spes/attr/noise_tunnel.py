"""Captum's NoiseTunnel, which also takes several levels of feature masks."""

from __future__ import annotations

from typing import Any

from captum.attr import Attribution
from captum.attr import NoiseTunnel as _CaptumNoiseTunnel
from captum.log import log_usage
from torch import Tensor

from captum_spes.attr.segmentation import FeatureMask


class NoiseTunnel(_CaptumNoiseTunnel):
    r"""
    ``captum.attr.NoiseTunnel`` that also takes a list of feature masks: the levels of SPES.

    Adds noise to the inputs several times and averages the attributions. With a fixed ``seed`` all
    noisy copies get the same masks: averaging over the noise does not average over the masks.

    Args:

        attribution_method (Attribution): The method, :class:`captum_spes.SPES` for example.

    Examples::

        >>> spes = SPES(torch.nn.Linear(4, 2).eval())
        >>> levels = [torch.tensor([[0, 0, 1, 1]]), torch.tensor([[0, 1, 2, 3]])]
        >>> attr = NoiseTunnel(spes).attribute(
        ...     torch.ones(1, 4), nt_samples=3, stdevs=0.1, target=0, feature_mask=levels,
        ...     n_samples=40, seed=0,
        ... )
        >>> attr.shape
        torch.Size([1, 4])
    """

    @log_usage()
    def attribute(self, inputs: Tensor | tuple[Tensor, ...], *args: Any, **kwargs: Any) -> Any:
        r"""
        Args:

            inputs (Tensor or tuple[Tensor, ...]): Input for which attributions are computed.
            *args (Any): Arguments of ``captum.attr.NoiseTunnel.attribute``.
            **kwargs (Any): Arguments of ``captum.attr.NoiseTunnel.attribute`` and of the
                        method's ``attribute``. ``feature_mask`` may be a list with one entry
                        per level.

        Returns:
            *Tensor* or *tuple[Tensor, ...]* of **attributions**, shaped like the inputs.
        """
        levels = kwargs.get("feature_mask")
        if not isinstance(levels, list):
            return super().attribute(inputs, *args, **kwargs)
        kwargs.pop("feature_mask")
        # Captum would take the list for one mask, so the method brings its levels itself.
        method = _InLevels(self.attribution_method, levels)
        return _CaptumNoiseTunnel(method).attribute(inputs, *args, **kwargs)


class _InLevels(Attribution):
    """A method that brings its segmentation levels."""

    def __init__(self, method: Attribution, levels: list[FeatureMask]) -> None:
        super().__init__(method.forward_func)
        self._method, self._levels = method, levels

    @property
    def multiplies_by_inputs(self) -> bool:
        return self._method.multiplies_by_inputs

    @log_usage()  # NoiseTunnel calls what this decorator wraps
    def attribute(self, inputs: Tensor | tuple[Tensor, ...], **kwargs: Any) -> Any:
        first = inputs[0] if isinstance(inputs, tuple) else inputs
        levels = [_for_copies(level, len(first)) for level in self._levels]
        return self._method.attribute(inputs, feature_mask=levels, **kwargs)


def _for_copies(level: FeatureMask, batch: int) -> FeatureMask:
    """Repeat masks that differ by example, as the noisy copies of an example follow each other."""
    if isinstance(level, tuple):
        return tuple(_repeated(mask, batch) for mask in level)
    return _repeated(level, batch)


def _repeated(mask: Tensor, batch: int) -> Tensor:
    is_shared = mask.dim() == 0 or len(mask) == 1 or batch % len(mask)
    return mask if is_shared else mask.repeat_interleave(batch // len(mask), dim=0)
