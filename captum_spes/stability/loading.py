"""Models by name or folder: our classifiers, Hugging Face's, and speech-to-text models."""

from __future__ import annotations

from typing import Any

import torch

from captum_spes.errors import ArgumentError, optional_library
from captum_spes.speech.models import load_model
from captum_spes.speech.models.registry import FAMILIES, on_device
from captum_spes.stability.classification import (
    ClassifierModel,
    HuggingFaceStages,
    OurStages,
)
from captum_spes.stability.classifier import SpeechClassifier, is_classifier_folder
from captum_spes.stability.models import ExplainedModel
from captum_spes.stability.transcription import TranscriptionModel


def _check_complete(report: dict[str, Any]) -> None:
    # Missing weights would be drawn at random, other ones at each loading.
    missing = sorted(report["missing_keys"])
    if missing:
        raise ArgumentError(f"it is no classifier, its weights lack {missing[0]}")


def load_explained_model(
    name_or_folder: str, task: str | None = None, device: str | None = None
) -> ExplainedModel:
    r"""
    Load a model whose attributions can be compared with those of its siblings.

    Args:

        name_or_folder (str): A folder of :class:`SpeechClassifier`; or what ``from_pretrained``
                    takes: a speech-to-text model of a supported family (Whisper, Speech2Text,
                    Canary), or an audio classifier of waveforms (wav2vec2, HuBERT, WavLM and
                    others of ``AutoModelForAudioClassification``).
        task (str, optional): Which label of the manifest a Hugging Face classifier tells; others
                    know it.
                    Default: None
        device (str, optional): "cpu", "cuda" or "mps".
                    Default: None, the CPU

    Returns:
        *ExplainedModel*.

    Raises:
        ArgumentError: there is no such model, it cannot be loaded or is of another kind, the task
            of a Hugging Face classifier is not given, or the device is not there.
        ImportError: transformers is not installed.

    Examples::

        >>> SpeechClassifier(ClassifierConfig({"speaker": ("a", "b")})).save_pretrained("seed-0")
        >>> load_explained_model("seed-0").tasks
        ('speaker',)
    """
    if is_classifier_folder(name_or_folder):
        ours = SpeechClassifier.from_pretrained(name_or_folder)
        return ClassifierModel(OurStages(on_device(ours, device)))
    transformers = optional_library("transformers", "a speech model", "transformers")
    try:
        config = transformers.AutoConfig.from_pretrained(name_or_folder)
        # Whisper has classifiers, too.
        writes = not any("Classification" in name for name in config.architectures or ())
        if not (config.model_type in FAMILIES and writes):
            model, report = transformers.AutoModelForAudioClassification.from_pretrained(
                name_or_folder, dtype=torch.float32, output_loading_info=True
            )
            _check_complete(report)
            extractor = transformers.AutoFeatureExtractor.from_pretrained(name_or_folder)
    except Exception as error:  # damaged files raise whatever their parsers raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ArgumentError(f"cannot load the model {name_or_folder!r}: {reason}") from error
    if config.model_type in FAMILIES and writes:
        return TranscriptionModel(*load_model(name_or_folder, device))
    if task is None:
        raise ArgumentError(
            f"{name_or_folder} tells one of {', '.join(config.id2label.values())}: say which "
            "label of the manifest that is (--tasks)."
        )
    return ClassifierModel(HuggingFaceStages(on_device(model, device), extractor, task))
