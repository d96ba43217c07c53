"""Which adapter serves which model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import torch

from captum_spes.errors import ArgumentError, ArgumentTypeError, optional_library
from captum_spes.speech.models.canary import CanaryModel
from captum_spes.speech.models.capabilities import HearsAudio, ScoresTokens, SpeechModel, require
from captum_spes.speech.models.speech_to_text import Speech2TextModel
from captum_spes.speech.models.whisper import WhisperModel

# Makes an adapter from a model and its processor.
AdapterFactory: TypeAlias = Callable[[Any, Any], SpeechModel]

# config.model_type of Hugging Face -> adapter.
FAMILIES: dict[str, AdapterFactory] = {
    "whisper": WhisperModel,
    "speech_to_text": Speech2TextModel,
    "canary": CanaryModel,
}


def adapt(
    model: Any, processor: Any, adapter: AdapterFactory | SpeechModel | None = None
) -> SpeechModel:
    r"""
    Return the adapter through which methods use a model.

    Args:

        model (PreTrainedModel or Any): The model.
        processor (Processor or Any): Its processor.
        adapter (Callable or SpeechModel, optional): For a family that the package does not know: an
                    adapter, or a class or function that makes one from model and processor.
                    Default: None, the one in ``FAMILIES`` for the model's ``config.model_type``

    Returns:
        *SpeechModel*

    Raises:
        ArgumentTypeError: the model's family is not supported, or the adapter cannot hear audio or
            score tokens.

    Examples::

        >>> adapt(model, processor).sampling_rate
        16000
    """
    if adapter is None:
        family = getattr(getattr(model, "config", None), "model_type", None)
        if family not in FAMILIES:
            raise ArgumentTypeError(
                f"cannot explain a model of type {type(model).__name__}"
                + (f" (model_type {family!r})" if family else "")
                + f"; supported families: {', '.join(FAMILIES)}. For another family give adapter=."
            )
        adapter = FAMILIES[family]
    is_factory = isinstance(adapter, type) or not hasattr(adapter, "encode")
    if is_factory and not callable(adapter):
        raise ArgumentTypeError(
            "adapter must be a class or function of (model, processor), or an adapter, got "
            f"{adapter!r}."
        )
    found: Any = adapter(model, processor) if is_factory else adapter  # type: ignore[operator]
    for capability in (HearsAudio, ScoresTokens):
        require(found, capability, "an explanation")
    made: SpeechModel = found
    return made


def load_model(
    name_or_folder: str | Path, device: str | None = None, dtype: torch.dtype = torch.float32
) -> tuple[Any, Any]:
    r"""
    Load a speech-to-text model and its processor by hub name or from a folder.

    Args:

        name_or_folder (str or Path): What ``from_pretrained`` takes.
        device (str, optional): "cpu", "cuda" or "mps".
                    Default: None, the CPU
        dtype (torch.dtype, optional): Precision of the weights.
                    Default: torch.float32

    Returns:
        *tuple* of the model, in evaluation mode, and its processor.

    Raises:
        ArgumentError: there is no such model, its family is not supported, or there is no
            such device.
        ImportError: transformers is not installed.

    Examples::

        >>> model, processor = load_model("openai/whisper-tiny.en")
    """
    transformers = _transformers()
    name = str(name_or_folder)
    if _looks_like_folder(name) and not Path(name).is_dir():
        raise ArgumentError(f"no such model folder: {name}")
    try:
        config = transformers.AutoConfig.from_pretrained(name)
        if config.model_type not in FAMILIES:
            raise ArgumentError(
                f"model {name} is of family {config.model_type!r}; supported: "
                f"{', '.join(FAMILIES)}."
            )
        processor = transformers.AutoProcessor.from_pretrained(name)
        model = transformers.AutoModelForSpeechSeq2Seq.from_pretrained(name, dtype=dtype)
    except (ArgumentError, MemoryError):
        raise
    except Exception as error:  # damaged files raise whatever their parsers raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ArgumentError(f"cannot load the model {name!r}: {reason}") from error
    return on_device(model, device).eval(), processor


def _looks_like_folder(name: str) -> bool:
    """Whether a name cannot be a hub name, so that the hub need not be asked."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1 or name.endswith("/")


def on_device(model: Any, device: str | None) -> Any:
    """Move a model, or raise where there is no such device."""
    if device is None:
        return model
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:
        raise ArgumentError(f"device {device!r} cannot be used: {error}") from error


def _transformers() -> Any:
    return optional_library("transformers", "a speech model", "transformers")
