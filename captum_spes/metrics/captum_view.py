"""An explanation as Captum's metrics take one: inputs, forward function, attributions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from captum_spes.attr import BubbleNoise
from captum_spes.errors import (
    ArgumentError,
    instance_of,
    open_share,
    positive_number,
    truth,
    whole_number,
)
from captum_spes.metrics.perturbation import explained_sequence
from captum_spes.speech import SpeechToTextAttribution, SpeechToTextAttributionResult
from captum_spes.speech.ambient import ordinary_torch
from captum_spes.speech.contrast_maps import contrast_maps
from captum_spes.speech.evaluations import score_of_side
from captum_spes.speech.explanation import Explanation, Prepared, Request
from captum_spes.speech.inputs import Audio, read_speech
from captum_spes.speech.methods import removes_patches
from captum_spes.speech.models import SpeechInput
from captum_spes.speech.patches import feature_masks

_Perturbed = tuple[Tensor, Tensor]
# Of the standard deviation of a spectrogram: the same recording in another format differs by less.
_SAME_WITHIN = 0.1


@dataclass(frozen=True, eq=False)
class CaptumView:
    r"""
    An explanation as Captum's metrics, and others that follow its conventions, take one.

    Made by :func:`captum_view`. The example is what :func:`infidelity` does.

    Attributes:
        inputs: ``(1, time, freq)``: the spectrogram.
        baselines: ``(1, time, freq)``: what removed cells become.
        attributions: ``(K, time, freq)``: the maps of the K tokens, ``additive`` ones unless raw
            ones were asked for. Of a token ``attributions[token][None]`` has the shape of
            ``inputs``.

    Examples::

        >>> import captum.metrics
        >>> view = captum_view(explainer, result, "speech.flac")
        >>> token = 1
        >>> value = captum.metrics.infidelity(
        ...     view.forward_func, view.removing(n_patches=12, seed=0), view.inputs,
        ...     view.attributions[token][None], target=token, normalize=True,
        ... )
        >>> value.shape
        torch.Size([1])
    """

    inputs: Tensor
    baselines: Tensor
    attributions: Tensor
    _explanation: Explanation
    _prepared: Prepared

    def forward_func(self, inputs: Tensor) -> Tensor:
        r"""
        The scores of spectrograms: what was explained, as Captum's forward functions return it.

        Args:

            inputs (Tensor): ``(batch, time, freq)``.

        Returns:
            *Tensor* ``(batch, K)``: of each token; choose one with Captum's ``target``. It is the
            score of the explanation: of SPES the negative divergence from the intact output, of
            gradient methods the log-probability.

        Examples::

            >>> view = captum_view(explainer, result, "speech.flac")
            >>> view.forward_func(view.inputs).shape == (1, len(result.output_tokens))
            True
        """
        adapter = self._explanation.adapter
        with torch.no_grad(), ordinary_torch(adapter.device), adapter.evaluation_mode():
            side = self._explanation.spectrogram_side(self._prepared.task)
            scores: Tensor = score_of_side(side, self._prepared.run)(inputs)
        return scores

    def removing(
        self,
        *,
        perturb_prob: float = 0.5,
        patches_per_second: float = 60.0,
        n_patches: int | None = None,
        multiply_by_inputs: bool = True,
        seed: int = 0,
    ) -> Callable[[Tensor], _Perturbed]:
        r"""
        A ``perturb_func`` for Captum's infidelity that removes random patches.

        Args:

            perturb_prob (float, optional): Probability that a patch is removed, in (0, 1).
                        Default: 0.5
            patches_per_second (float, optional): Size of the patches (SLIC's, as for
                        :func:`captum_spes.slic_feature_mask`), above 0.
                        Default: 60
            n_patches (int, optional): Their number whatever the duration, at least 1.
                        Default: None
            multiply_by_inputs (bool, optional): Whether attributions are contributions, as those of
                        all methods but plain gradients are; as Captum's
                        ``infidelity_perturb_func_decorator`` has it. False for Saliency.
                        Default: True
            seed (int, optional): Of the draws. Each function that is made begins anew.
                        Default: 0

        Returns:
            *Callable*: of ``(batch, time, freq)`` the perturbations, 1 where a cell is removed (or,
            for gradients, by how much it falls), and the perturbed spectrograms.

        Raises:
            ArgumentError: an argument is out of range.

        Examples::

            >>> view = captum_view(explainer, result, "speech.flac")
            >>> is_removed, perturbed = view.removing(n_patches=12)(view.inputs)
            >>> torch.equal(perturbed[is_removed == 0], view.inputs[is_removed == 0])
            True
        """
        probability = open_share("perturb_prob", perturb_prob)
        truth("multiply_by_inputs", multiply_by_inputs)
        count = None if n_patches is None else [whole_number("n_patches", n_patches, 1)]
        (labels,) = feature_masks(
            self.inputs[0],
            "slic",
            frame_rate=self._explanation.adapter.frame_rate,
            patches_per_second=[positive_number("patches_per_second", patches_per_second)],
            max_seconds=None,
            n_patches=count,
        )
        n_labels = int(labels.max()) + 1
        generator = torch.Generator("cpu").manual_seed(whole_number("seed", seed, 0))
        baselines = self.baselines

        def remove(inputs: Tensor) -> _Perturbed:
            drawn = torch.rand(len(inputs), n_labels, generator=generator, device="cpu")
            is_removed = ((drawn < probability)[:, labels[0]] & (labels >= 0)).to(inputs.device)
            amount = 1.0 if multiply_by_inputs else inputs - baselines.to(inputs)
            return is_removed * amount, torch.where(is_removed, baselines.to(inputs), inputs)

        return remove

    def explained(self, inputs: Tensor) -> Tensor:
        r"""
        Explain spectrograms as the explanation was made: the same output is forced, with the same
        settings, patches and seed, so that what differs is due to the inputs.

        Args:

            inputs (Tensor): ``(batch, time, freq)``.

        Returns:
            *Tensor* ``(batch, K, time, freq)``: raw maps.

        Examples::

            >>> view = captum_view(explainer, result, "speech.flac")
            >>> view.explained(view.inputs).shape[1:] == result.spectrogram_attr.shape
            True
        """
        return torch.stack([self._explained(spectrogram) for spectrogram in inputs])

    def _explained(self, spectrogram: Tensor) -> Tensor:
        explanation, speech = self._explanation, self._prepared.task.speech
        adapter = explanation.adapter
        audio: Any = replace(speech, spectrogram=spectrogram)
        request = replace(explanation.request, audio=audio)
        with ordinary_torch(adapter.device), adapter.evaluation_mode():
            own = Explanation(explanation.method, adapter, request, explanation.settings)
            return own.result().spectrogram_attr


def captum_view(
    explainer: SpeechToTextAttribution,
    result: SpeechToTextAttributionResult,
    audio: Audio,
    *,
    additive: bool = True,
) -> CaptumView:
    r"""
    Show Captum's metrics an explanation: inputs, forward function and attributions of one shape.

    Args:

        explainer (SpeechToTextAttribution): The explainer that made the explanation.
        result (SpeechToTextAttributionResult): The explanation.
        audio (path, array, ...): What was explained.
        additive (bool, optional): Whether maps are turned into contributions of cells, which add up
                    over what is removed, as infidelity expects: the score of a patch is divided
                    among its cells, and what a mean over samples (Eq. 3) gives a patch without any
                    effect is taken off, as for :meth:`SpeechToTextAttributionResult.contrast_attr`.
                    Where levels of patches were pooled the division is by the mean size of a cell's
                    patches, an approximation.
                    Default: True

    Returns:
        *CaptumView*

    Raises:
        ArgumentError: another method made the explanation, or it is of another recording.
        ArgumentTypeError: an argument has the wrong type.

    Examples::

        >>> view = captum_view(explainer, result, "speech.flac")
        >>> view.inputs.shape[1:] == view.attributions.shape[1:]
        True
    """
    instance_of("explainer", explainer, SpeechToTextAttribution, "a SpeechToTextAttribution")
    instance_of("result", result, SpeechToTextAttributionResult, "an explanation")
    truth("additive", additive)
    method, adapter = explainer.attr_method, explainer.adapter
    if method.get_name() != result.method:
        raise ArgumentError(
            f"the explanation was made by {result.method}, and the explainer's method is "
            f"{method.get_name()}: give the explainer that made it."
        )
    with ordinary_torch(adapter.device), adapter.evaluation_mode():
        speech = read_speech(adapter, audio, adapter.sampling_rate)
        _check_same(result, speech)
        # The same patches also where noise would cut others.
        settings = result.settings.replace(feature_mask=list(result.feature_masks))
        target: Any = explained_sequence(result)
        own: Any = speech
        request = Request(own, adapter.sampling_rate, target, result.seed, False, False)
        explanation = Explanation(method, adapter, request, settings)
        prepared = explanation.prepared()
    maps = result.spectrogram_attr
    return CaptumView(
        speech.spectrogram[None],
        prepared.task.removed[None],
        _additive(result) if additive else maps,
        explanation,
        prepared,
    )


def _check_same(result: SpeechToTextAttributionResult, speech: SpeechInput) -> None:
    one, other = result.spectrogram.double(), speech.spectrogram.double()
    if one.shape != other.shape or (one - other).std() > _SAME_WITHIN * one.std():
        raise ArgumentError(
            f"the audio has a spectrogram of shape {tuple(speech.spectrogram.shape)}, and it is "
            f"not the one that was explained, {tuple(result.spectrogram.shape)}: give the same "
            "recording, of a window its samples."
        )


def _additive(result: SpeechToTextAttributionResult) -> Tensor:
    """``(K, time, freq)``: what each cell contributes."""
    masks = result.feature_masks
    centred = [
        contrast_maps(
            result.method, result.settings, masks, saliency, [None, None]
        ).spectrogram_attr
        for saliency in result.spectrogram_attr
    ]
    maps = torch.stack(centred)
    # Bubbles are drawn anew for each sample, and no patches.
    if result.method == BubbleNoise.get_name() or not removes_patches(result.method):
        return maps
    shares = torch.stack([_shares(mask) for mask in masks]).mean(0)
    return maps * shares


def _shares(mask: Tensor) -> Tensor:
    """``(time, freq)``: 1 divided by the number of cells of the patch; 0 outside of patches."""
    labels, places, counts = mask.unique(return_inverse=True, return_counts=True)
    shares = torch.where(labels >= 0, 1.0 / counts, 0.0)
    return shares[places]
