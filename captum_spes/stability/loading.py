"""Models by name or folder: our classifiers, Hugging Face's, and speech-to-text models."""

from __future__ import annotations

from os import PathLike

import torch

from captum_spes.errors import ArgumentError
from captum_spes.speech.models import FAMILIES, load_model
from captum_spes.speech.models.loading import (
    config_of,
    is_bare,
    is_classification,
    load_classifier,
    model_name,
    on_device,
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
                    ``from_pretrained`` takes: a speech-to-text model of one of the families
                    that ``captum-spes models`` lists, or an audio classifier of waveforms
                    (wav2vec2, HuBERT, WavLM and others of ``AutoModelForAudioClassification``).
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
    writes = not (is_bare(config) or is_classification(config))
    if config["model_type"] in FAMILIES and writes:
        return TranscriptionModel(*load_model(name, device))
    model, extractor = load_classifier(name, device)
    if task is None:
        raise ArgumentError(
            f"{name} tells one of {', '.join(model.config.id2label.values())}: say which label of "
            "the manifest that is (--tasks)."
        )
    return ClassifierModel(HuggingFaceStages(model, extractor, task))
