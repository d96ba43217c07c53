"""Models by name or folder: our classifiers, Hugging Face's, and speech-to-text models."""

from __future__ import annotations

from os import PathLike

import torch

from captum_spes.errors import ArgumentError, optional_library
from captum_spes.speech.models import FAMILIES, load_model
from captum_spes.speech.models.loading import (
    NO_CODE,
    NO_PICKLE,
    check_complete,
    config_of,
    model_name,
    on_device,
    told,
    usable_device,
)
from captum_spes.stability.classification import (
    ClassifierModel,
    HuggingFaceStages,
    OurStages,
)
from captum_spes.stability.classifier import SpeechClassifier, is_classifier_folder
from captum_spes.stability.models import ExplainedModel
from captum_spes.stability.transcription import TranscriptionModel


def load_explained_model(
    name_or_folder: str | PathLike[str],
    task: str | None = None,
    device: str | torch.device | None = None,
) -> ExplainedModel:
    r"""
    Load a model whose attributions can be compared with those of its siblings.

    Args:

        name_or_folder (str or Path): A folder of :class:`SpeechClassifier`; or what
                    ``from_pretrained`` takes: a speech-to-text model of a supported family
                    (Whisper, Speech2Text, Canary), or an audio classifier of waveforms (wav2vec2,
                    HuBERT, WavLM and others of ``AutoModelForAudioClassification``).
        task (str, optional): Which label of the manifest a Hugging Face classifier tells; others
                    know it.
                    Default: None
        device (str or torch.device, optional): Any that torch knows, such as "cpu", "cuda:1" or
                    "mps".
                    Default: None, the CPU

    Returns:
        *ExplainedModel*.

    Raises:
        ArgumentError: there is no such model, it cannot be loaded or is of another kind, some of
            its weights are missing, the task of a Hugging Face classifier is not given, or the
            device is not there.
        ImportError: transformers is not installed.

    Examples::

        >>> SpeechClassifier(ClassifierConfig({"speaker": ("a", "b")})).save_pretrained("seed-0")
        >>> load_explained_model("seed-0").tasks
        ('speaker',)
    """
    device = usable_device(device)
    name = model_name(name_or_folder)
    if is_classifier_folder(name):
        return ClassifierModel(OurStages(on_device(SpeechClassifier.from_pretrained(name), device)))
    config = config_of(name)
    # Whisper has classifiers, too.
    writes = not any("Classification" in str(own) for own in config.get("architectures") or ())
    if config["model_type"] in FAMILIES and writes:
        return TranscriptionModel(*load_model(name, device))
    transformers = optional_library("transformers", "a speech model", "transformers")
    family = config["model_type"]
    if family not in transformers.CONFIG_MAPPING:
        raise ArgumentError(
            f"cannot load the model {name!r}: transformers knows no family {family!r}, and code "
            "that a model brings does not run."
        )
    with told(name, "its weights"):
        model, report = transformers.AutoModelForAudioClassification.from_pretrained(
            name, dtype=torch.float32, **NO_CODE, **NO_PICKLE
        )
    check_complete(name, report, "classifier")
    with told(name, "its feature extractor"):
        extractor = transformers.AutoFeatureExtractor.from_pretrained(name, **NO_CODE)
    if task is None:
        raise ArgumentError(
            f"{name} tells one of {', '.join(model.config.id2label.values())}: say which label of "
            "the manifest that is (--tasks)."
        )
    return ClassifierModel(HuggingFaceStages(on_device(model, device), extractor, task))
