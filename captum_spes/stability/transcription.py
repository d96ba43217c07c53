"""Attributions of speech-to-text models, through the wrapper."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from captum_spes.corpus import Utterance
from captum_spes.evaluation.cost import measured_cost
from captum_spes.metrics import corpus_score
from captum_spes.metrics.text import suitable_metric
from captum_spes.speech import SpeechToTextAttribution
from captum_spes.speech.inputs import read_speech, removed_value
from captum_spes.speech.models import adapt
from captum_spes.stability.methods import StudyMethod
from captum_spes.stability.models import Attributed
from captum_spes.stability.units import View

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
        self._adapter: Any = adapt(model, processor)

    def view(self, utterance: Utterance, stage: str) -> View:
        speech = read_speech(self._adapter, utterance.audio, self._adapter.sampling_rate)
        values = speech.spectrogram
        baseline = removed_value(self._adapter, speech, None)
        start = float(speech.frame_times[0])
        return View(stage, values, baseline, self._adapter.frame_rate, values, start)

    def is_right(self, utterance: Utterance, task: str) -> float:
        """One minus the error rate, at least 0; of characters in scripts without spaces."""
        speech = read_speech(self._adapter, utterance.audio, self._adapter.sampling_rate)
        with self._adapter.evaluation_mode():
            written = self._adapter.generate(speech, {})
        text = self._adapter.text(written.explained_ids)
        metric = suitable_metric([utterance.text])
        return 1 - corpus_score([utterance.text], [text], metric) / 100

    def attribute(
        self,
        view: View,
        utterance: Utterance,
        task: str,
        method: StudyMethod,
        masks: list[Tensor],
        seed: int,
    ) -> Attributed:
        explainer = SpeechToTextAttribution(method.make(self._model), self._processor)
        # Gradients perturb nothing; a single patch spares them the segmentation.
        cut = masks or [torch.zeros(view.values.shape, dtype=torch.int64, device="cpu")]
        with measured_cost(self._model) as cost:
            result = explainer.attribute(
                utterance.audio,
                target=utterance.text,
                settings=method.settings.replace(feature_mask=cut, perturbations_per_eval=_BATCH),
                seed=seed,
            )
        # One pass told how sure the model was, which is no part of the method.
        passes = (cost.encoder_passes - 1) * method.passes_per_evaluation
        return Attributed(result.spectrogram_attr, passes)
