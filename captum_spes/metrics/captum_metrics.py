"""Captum's infidelity and sensitivity for the tokens of a speech model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any

import captum.metrics
import numpy as np
import torch
from captum.metrics._core.sensitivity import default_perturb_func
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.attr import BubbleNoise
from captum_spes.errors import (
    ArgumentError,
    function,
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
from captum_spes.speech.evaluations import Replayed, score_of_side
from captum_spes.speech.explanation import Explanation, Prepared, Request
from captum_spes.speech.inputs import Audio, read_speech
from captum_spes.speech.methods import removes_patches
from captum_spes.speech.models import SpeechInput
from captum_spes.speech.patches import feature_masks
from captum_spes.speech.randomness import seeded_draws

_Perturbed = tuple[Tensor, Tensor]


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
            >>> torch.equal(view.explained(view.inputs)[0], result.spectrogram_attr)
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


def infidelity(
    explainer: SpeechToTextAttribution,
    result: SpeechToTextAttributionResult,
    audio: Audio,
    *,
    n_perturb_samples: int = 100,
    normalize: bool = True,
    additive: bool = True,
    perturbations_per_eval: int = 4,
    **removal: Any,
) -> NDArray[np.float64]:
    r"""
    How badly the map of each token predicts how far its score falls when random patches are
    removed, by ``captum.metrics.infidelity``: the mean squared error.

    The patches are cut anew, alike for all methods, and removed as SPES removes them.

    Source: Yeh et al., "On the (in)fidelity and sensitivity of explanations",
    https://arxiv.org/abs/1901.09392, section 2.

    Args:

        explainer (SpeechToTextAttribution): The explainer that made the explanation.
        result (SpeechToTextAttributionResult): The explanation.
        audio (path, array, ...): What was explained.
        n_perturb_samples (int, optional): Perturbed spectrograms, at least 1; all tokens share
                    them, and each costs one pass.
                    Default: 100
        normalize (bool, optional): Whether each map is first multiplied by the number that serves
                    it best, as the paper's experiments do, so that its scale does not matter. Maps
                    of different methods can be compared with it alone.
                    Default: True
        additive (bool, optional): See :func:`captum_view`. Raw maps give every cell of a patch the
                    score of the whole of it.
                    Default: True
        perturbations_per_eval (int, optional): Perturbed spectrograms per forward pass.
                    Default: 4
        **removal (Any): ``perturb_prob``, ``patches_per_second``, ``n_patches``,
                    ``multiply_by_inputs`` (False for Saliency) and ``seed``, as for
                    :meth:`CaptumView.removing`.

    Returns:
        *array* ``(K,)``: of each token, in squared units of its score (nats); smaller is better.
        Divide it by the mean square of the falls to compare tokens: a map of zeros gets that mean.

    Raises:
        ArgumentError: as :func:`captum_view`, or an argument is out of range.
        ArgumentTypeError: an argument has the wrong type.

    Examples::

        >>> values = infidelity(explainer, result, "speech.flac", n_perturb_samples=8, n_patches=12)
        >>> values.shape == (len(result.output_tokens),), bool((values >= 0).all())
        (True, True)
    """
    count = whole_number("n_perturb_samples", n_perturb_samples, 1)
    few = whole_number("perturbations_per_eval", perturbations_per_eval, 1)
    truth("normalize", normalize)
    view = captum_view(explainer, result, audio, additive=additive)
    forward = Replayed(view.forward_func)
    values = []
    for token, attributions in enumerate(view.attributions):
        forward.rewind()
        found = captum.metrics.infidelity(
            forward,
            view.removing(**removal),
            view.inputs,
            attributions[None],
            target=token,
            n_perturb_samples=count,
            max_examples_per_batch=min(few, count),
            normalize=normalize,
        )
        values.append(float(found))
    return np.array(values)


def sensitivity_max(
    explainer: SpeechToTextAttribution,
    result: SpeechToTextAttributionResult,
    audio: Audio,
    *,
    perturb_radius: float = 0.02,
    n_perturb_samples: int = 10,
    norm_ord: str | float = "fro",
    perturb_func: Callable[..., Any] = default_perturb_func,
    seed: int = 0,
) -> NDArray[np.float64]:
    r"""
    How far the map of each token moves at most when the spectrogram moves a little, by
    ``captum.metrics.sensitivity_max``.

    The output, the patches, the settings and the mask seed of the explanation are kept, so that
    what moves is due to the model; with other mask seeds it would be the noise of sampling, too
    (:func:`noise_agreement` has that beside it).

    Source: Yeh et al., https://arxiv.org/abs/1901.09392, section 3.

    Args:

        explainer (SpeechToTextAttribution): The explainer that made the explanation.
        result (SpeechToTextAttributionResult): The explanation.
        audio (path, array, ...): What was explained.
        perturb_radius (float, optional): The most that a cell moves, in units of the model's
                    features (of Whisper about -1 to 1.5, of others often standard deviations).
                    Default: 0.02, Captum's
        n_perturb_samples (int, optional): How often it is explained anew, at least 1.
                    Default: 10
        norm_ord (str or float, optional): The norm, as ``torch.norm`` takes it.
                    Default: "fro"
        perturb_func (Callable, optional): As Captum takes it: of spectrograms
                    ``(batch, time, freq)``, and the radius if it has a second argument, perturbed
                    ones. What it draws from torch's random functions is seeded.
                    Default: Captum's own, uniform within the radius
        seed (int, optional): Of the perturbations.
                    Default: 0

    Returns:
        *array* ``(K,)``: the largest distance between a map and the original one, divided by the
        norm of the latter; smaller is steadier. A constant map has 0, so it says nothing alone.

    Raises:
        ArgumentError: as :func:`captum_view`, or an argument is out of range.
        ArgumentTypeError: an argument has the wrong type.

    Examples::

        >>> values = sensitivity_max(explainer, result, "speech.flac", n_perturb_samples=2)
        >>> values.shape == (len(result.output_tokens),)
        True
    """
    count = whole_number("n_perturb_samples", n_perturb_samples, 1)
    radius, seed = positive_number("perturb_radius", perturb_radius), whole_number("seed", seed, 0)
    function("perturb_func", perturb_func)
    view = captum_view(explainer, result, audio)
    explained = Replayed(view.explained)
    values = []
    for token in range(len(view.attributions)):
        explained.rewind()

        def explain(inputs: Any, token: int = token) -> Any:
            if isinstance(inputs, tuple):  # a tuple is answered by one, as methods do
                return (explained(*inputs)[:, token],)
            return explained(inputs)[:, token]

        # One at a time: the next explanation needs the memory of the last one.
        found = captum.metrics.sensitivity_max(
            explain,
            view.inputs,
            perturb_func=_seeded(perturb_func, radius, seed),
            n_perturb_samples=count,
            norm_ord=norm_ord,
            max_examples_per_batch=1,
        )
        values.append(float(found))
    return np.array(values)


def _seeded(perturb_func: Callable[..., Any], radius: float, seed: int) -> Callable[[Tensor], Any]:
    """A perturbation whose draws begin anew; Captum passes a radius to what takes one."""
    draws = seeded_draws(seed)
    radii = (radius,) if len(signature(perturb_func).parameters) > 1 else ()

    def perturb(inputs: Tensor) -> Any:
        with draws:
            return perturb_func(inputs, *radii)

    return perturb


def _check_same(result: SpeechToTextAttributionResult, speech: SpeechInput) -> None:
    if result.spectrogram.shape != speech.spectrogram.shape or not torch.allclose(
        result.spectrogram, speech.spectrogram, atol=1e-3
    ):
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
