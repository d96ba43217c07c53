"""Captum's infidelity and sensitivity for the tokens of a speech model."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

import captum.metrics
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.attr.captum_compat import default_perturb_func
from captum_spes.errors import function, positive_number, truth, whole_number
from captum_spes.metrics.captum_view import captum_view
from captum_spes.speech import SpeechToTextAttribution, SpeechToTextAttributionResult
from captum_spes.speech.evaluations import Replayed
from captum_spes.speech.inputs import Audio
from captum_spes.speech.randomness import seeded_draws


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
