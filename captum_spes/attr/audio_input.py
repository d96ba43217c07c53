"""A spectrogram's patches as features of a language model's prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import PIL.Image
import torch
from captum.attr import ImageMaskInput
from torch import Tensor

from captum_spes.errors import ArgumentError, ArgumentTypeError


class AudioMaskInput(ImageMaskInput):
    r"""
    The patches of a spectrogram as interpretable features, as ``captum.attr.ImageMaskInput`` takes
    the segments of a picture: with it ``captum.attr.LLMAttribution`` explains what a speech LLM
    writes by what it heard.

    It is one of Captum's ``ImageMaskInput``, whose picture is the spectrogram, time from left to
    right and low frequencies at the bottom. So ``result.plot_image_heatmap`` draws maps on it, and
    ``plot_mask_overlay`` the patches.
    """

    def __init__(
        self,
        spectrogram: Tensor,
        mask: Tensor | None = None,
        mask_list: Sequence[Tensor] | None = None,
        baseline: float | Tensor | str = "mean",
        processor_fn: Callable[[Tensor], Any] = lambda spectrogram: spectrogram,
    ) -> None:
        r"""
        Args:

            spectrogram (Tensor): ``(time, freq)``, as the model is given it.
            mask (Tensor, optional): Which patch each cell is in, integers of the same shape, such
                        as a level of :func:`captum_spes.slic_feature_mask`. Cells with labels below
                        0, of padding for example, are never removed.
                        Default: None, the whole spectrogram is one feature
            mask_list (sequence of Tensor, optional): Truth values of the same shape, one Tensor per
                        feature, where features may overlap; ``mask`` is not used then.
                        Default: None
            baseline (float, Tensor or "mean", optional): What removed cells become: a number, a
                        Tensor that can be broadcast to ``(time, freq)``, or the mean of each
                        frequency over the frames that can be removed.
                        Default: "mean"
            processor_fn (Callable, optional): Makes what the model reads, such as a dictionary
                        with ``input_ids`` and features, of a spectrogram.
                        Default: the spectrogram itself

        Raises:
            ArgumentTypeError: a spectrogram or mask is no Tensor, or a mask holds no integers.
            ArgumentError: shapes do not go together, a feature has no cells, or there is none.

        Examples::

            >>> from captum_spes.demo import load_speech_llm
            >>> llm, processor, examples = load_speech_llm()
            >>> samples = examples[0].audio
            >>> prompt = processor.apply_transcription_request([samples])
            >>> read = processor(text=prompt, audio=[samples])
            >>> heard = read["input_features"][0]  # (time, freq)
            >>> recording = AudioMaskInput(
            ...     heard,
            ...     slic_feature_mask(heard, patches_per_second=4)[0],
            ...     processor_fn=lambda cells: {**read, "input_features": cells[None]},
            ... )
            >>> explainer = captum.attr.LLMAttribution(FeatureAblation(llm), processor.tokenizer)
            >>> result = explainer.attribute(
            ...     recording, target=examples[0].text, forward_in_tokens=False,
            ...     use_cached_outputs=False,
            ... )
            >>> maps = recording.format_spectrogram_attr(result.token_attr)  # (tokens, time, freq)
            >>> maps.shape[1:] == heard.shape
            True
        """
        shape = _checked_shape(spectrogram)
        masks = _masks(mask, mask_list, shape)
        self.spectrogram = spectrogram.detach()
        super().__init__(
            _picture(self.spectrogram),
            mask_list=[_as_picture(own) for own in masks],
            processor_fn=lambda image: None,  # Captum would process the picture
        )
        self._is_of_feature = torch.stack(masks)
        self.spectrogram_baseline = _baseline(baseline, self.spectrogram, self._is_of_feature)
        self.values = [f"patch_{number}" for number in range(len(masks))]
        self.processor_fn = processor_fn  # type: ignore[assignment]
        self.original_model_inputs = processor_fn(self.spectrogram)

    def to_model_input(self, perturbed_tensor: Tensor | None = None) -> Any:
        r"""
        What the model reads when some patches are removed.

        Args:

            perturbed_tensor (Tensor, optional): ``(1, features)``, 0 where a patch is removed.
                        Default: None, nothing is removed

        Returns:
            what ``processor_fn`` makes of it.
        """
        if perturbed_tensor is None:
            return self.original_model_inputs
        is_absent = (perturbed_tensor[0] == 0).to(self._is_of_feature.device)
        is_removed = self._is_of_feature[is_absent].any(0).to(self.spectrogram.device)
        cells = torch.where(is_removed, self.spectrogram_baseline, self.spectrogram)
        return self.processor_fn(cells)  # type: ignore[arg-type]

    def format_spectrogram_attr(self, itp_attr: Tensor) -> Tensor:
        r"""
        Attributions of the cells.

        Args:

            itp_attr (Tensor): ``(..., features)``, such as ``seq_attr`` and ``token_attr`` of
                        Captum's result.

        Returns:
            *Tensor*: ``(..., time, freq)``: of each cell the sum over the patches that it is in, 0
            for cells in none.
        """
        masks = self._is_of_feature.to(itp_attr)
        return torch.einsum("...n,ntf->...tf", itp_attr, masks)


def _checked_shape(spectrogram: Tensor) -> torch.Size:
    if not isinstance(spectrogram, Tensor):
        raise ArgumentTypeError(
            f"spectrogram must be a Tensor (time, freq), got {type(spectrogram).__name__}."
        )
    if spectrogram.dim() != 2 or not spectrogram.numel():
        raise ArgumentError(
            f"spectrogram must have the shape (time, freq), got {tuple(spectrogram.shape)}: take "
            "one example, features[0], and turn it with .T where frequencies come first."
        )
    return spectrogram.shape


def _masks(
    mask: Tensor | None, mask_list: Sequence[Tensor] | None, shape: torch.Size
) -> list[Tensor]:
    """One bool Tensor per feature."""
    if mask_list is None:
        given = [torch.zeros(shape, dtype=torch.long) if mask is None else mask]
    else:
        given = list(mask_list)
    for own in given:
        if not isinstance(own, Tensor):
            raise ArgumentTypeError(f"masks must be Tensors, got {type(own).__name__}.")
        if own.shape != shape:
            raise ArgumentError(
                f"a mask must have the spectrogram's shape, {tuple(shape)}, got {tuple(own.shape)}."
            )
    if mask_list is not None:
        found = [own.detach().cpu().bool() for own in given]
    else:
        labels = given[0].detach().cpu()
        if labels.is_floating_point() or labels.is_complex():
            raise ArgumentTypeError(f"mask must hold integers, got {labels.dtype}.")
        labels = labels.long()
        found = [labels == label for label in labels.unique().tolist() if label >= 0]
    if not found or not all(bool(own.any()) for own in found):
        raise ArgumentError("each feature needs at least one cell, and there must be a feature.")
    return found


def _baseline(baseline: Any, spectrogram: Tensor, is_of_feature: Tensor) -> Tensor:
    if isinstance(baseline, str):
        if baseline != "mean":
            raise ArgumentError(f'baseline must be a number, a Tensor or "mean", got {baseline!r}.')
        is_heard = is_of_feature.any(0).any(1).to(spectrogram.device)
        return spectrogram[is_heard].mean(0)
    value = torch.as_tensor(baseline).to(spectrogram)
    try:
        torch.broadcast_to(value, spectrogram.shape)
    except RuntimeError:
        raise ArgumentError(
            f"baseline must broadcast to {tuple(spectrogram.shape)}, got {tuple(value.shape)}."
        ) from None
    return value


def _as_picture(cells: Tensor) -> Tensor:
    """``(time, freq)`` as rows of a picture, low frequencies last."""
    return cells.T.flip(0).contiguous()


def _picture(spectrogram: Tensor) -> PIL.Image.Image:
    values = _as_picture(spectrogram).float().cpu().numpy()
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    scaled = np.nan_to_num((values - low) / max(high - low, np.finfo(np.float32).tiny), nan=0.0)
    grey = np.round(255 * scaled.clip(0, 1)).astype(np.uint8)
    # Captum's plots take the mean over colours.
    return PIL.Image.fromarray(np.repeat(grey[..., None], 3, axis=2))
