"""Attributions of speech-to-text models, through the wrapper."""

from __future__ import annotations

from typing import Any

import torch
from captum._utils.models.linear_model import SkLearnLinearRegression
from captum.attr import Attribution, FeatureAblation, IntegratedGradients, Lime, Saliency
from torch import Tensor

from captum_spes.attr import SPES
from captum_spes.corpus import Utterance
from captum_spes.corpus.cost import measured_cost
from captum_spes.metrics import word_error_rate
from captum_spes.reliability.methods import N_STEPS, ReliabilityMethod
from captum_spes.reliability.models import Attributed
from captum_spes.reliability.units import View
from captum_spes.speech import SpeechToTextAttribution
from captum_spes.speech.inputs import read_speech, removed_value
from captum_spes.speech.models import adapt

_BATCH = 16
TASK = "transcription"


class TranscriptionModel:
    """Explains every token of the right text of a speech-to-text model.

    Gradients explain the log-probability of the token, perturbation methods how far the
    distribution over all tokens moves: the wrapper's own scores.
    """

    inputs = ("spectrogram",)
    tasks = (TASK,)

    def __init__(self, model: Any, processor: Any) -> None:
        self._model, self._processor = model, processor
        self._adapter = adapt(model, processor)

    def view(self, utterance: Utterance, stage: str) -> View:
        speech = read_speech(self._adapter, utterance.audio, self._adapter.sampling_rate)
        values = speech.spectrogram
        baseline = removed_value(self._adapter, speech, None)
        start = float(speech.frame_times[0])
        return View(stage, values, baseline, self._adapter.frame_rate, values, start)

    def is_right(self, utterance: Utterance, task: str) -> float:
        """One minus the word error rate, at least 0."""
        speech = read_speech(self._adapter, utterance.audio, self._adapter.sampling_rate)
        with self._adapter.evaluation_mode():
            written = self._adapter.generate(speech, {})
        text = self._adapter.text(written.explained_ids)
        return max(0.0, 1 - word_error_rate([utterance.text], [text]) / 100)

    def attribute(
        self,
        view: View,
        utterance: Utterance,
        task: str,
        method: ReliabilityMethod,
        masks: list[Tensor],
        seed: int,
    ) -> Attributed:
        explainer = SpeechToTextAttribution(_method(method, self._model), self._processor)
        with measured_cost(self._model) as cost:
            result = explainer.attribute(
                utterance.audio,
                target=utterance.text,
                n_samples=method.n_samples or 1,
                n_token_samples=0,
                # Gradients perturb nothing; a single patch spares them the segmentation.
                feature_mask=masks or torch.zeros(view.values.shape, dtype=torch.int64),
                seed=seed,
                scheme="efficient" if method.is_efficient else "paper",
                perturbations_per_eval=_BATCH,
                method_args=_ARGUMENTS.get(method.name),
            )
        passes = cost.encoder_passes * method.passes_per_evaluation
        return Attributed(result.spectrogram_attr, passes)


_ARGUMENTS: dict[str, dict[str, Any]] = {
    "saliency": {"abs": False},
    "integrated-gradients": {"n_steps": N_STEPS},
}


def _method(method: ReliabilityMethod, model: Any) -> Attribution:
    if method.name == "lime":
        return Lime(model, interpretable_model=SkLearnLinearRegression())
    kinds = {
        "saliency": Saliency,
        "integrated-gradients": IntegratedGradients,
        "feature-ablation": FeatureAblation,
        "feature-ablation-kl": FeatureAblation,
    }
    return kinds.get(method.name, SPES)(model)
