"""Granite Speech: a Conformer encoder, a window of queries, a language model with an adapter."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.errors import ArgumentError
from captum_spes.speech.models.compatibility import Parts, plain
from captum_spes.speech.models.llm_mel import MelLanguageModel

_STACKED = 2


class GraniteSpeechModel(MelLanguageModel):
    """Adapter of Granite Speech.

    The language model has an adapter (LoRA) for audio, which the model's own ``generate`` switches
    off where it is given no features. It is on for every pass of an explanation, and afterwards as
    it was.
    """

    parts = Parts(
        model_class="GraniteSpeechForConditionalGeneration",
        processor_class="GraniteSpeechProcessor",
        extractor_names=("melspec_kwargs", "projector_window_size"),
        generation_ids=("eos_token_id",),
        mel_bins=lambda config, own: (
            int(config.encoder_config.input_dim) // _STACKED,
            int(own.melspec_kwargs["n_mels"]),
        ),
    )
    checkpoint = "ibm-granite/granite-speech-3.3-2b"
    instruction = "can you transcribe the speech into a written format?"
    frames_per_position = 10
    mel_scale = "htk"
    # That of its processor is one of embeddings, all of which belong to the one length there is.
    mask_name = None

    def __init__(self, model: Any, processor: Any) -> None:
        super().__init__(model, processor)
        if getattr(model.config, "has_lora_adapter", False) and not _adapter_layers(model):
            raise ArgumentError(
                "the model is to have an adapter for audio (has_lora_adapter), and none is loaded: "
                "install peft and load the model anew."
            )

    @property
    def n_bins(self) -> int:
        return int(self.feature_extractor.melspec_kwargs["n_mels"])

    def hop_length(self) -> int:
        return int(self.feature_extractor.melspec_kwargs["hop_length"])

    def request_text(self, audio: NDArray[np.float32], request: Mapping[str, Any]) -> str:
        # Its templates take a text that holds the placeholder, and drop other parts.
        content = self.processor.audio_token + request.get("prompt", self.instruction)
        source = (
            self.tokenizer if getattr(self.tokenizer, "chat_template", None) else self.processor
        )
        messages = [{"role": "user", "content": content}]
        return str(source.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

    def processed(self, text: str, audio: NDArray[np.float32]) -> Mapping[str, Tensor]:
        made: Mapping[str, Tensor] = self.processor([text], [torch.from_numpy(audio)])
        return made

    # Features: two frames of a mel spectrogram, one behind the other.

    def picture(self, features: Tensor) -> Tensor:
        return features[0].reshape(-1, self.n_bins)

    def layout(self, pictures: Tensor) -> Tensor:
        return pictures.reshape(len(pictures), -1, self.width)

    @property
    def width(self) -> int:
        return _STACKED * self.n_bins

    # The adapter

    @property
    def generation(self) -> Callable[..., Any]:
        from transformers import GenerationMixin

        own = plain(self.model)

        def generate(**arguments: Any) -> Any:
            if "inputs_embeds" in arguments:  # its own would switch the adapter off
                return GenerationMixin.generate(own, **arguments)
            return self.model.generate(**arguments)

        return generate

    @contextmanager
    def evaluation_mode(self) -> Iterator[None]:
        with super().evaluation_mode(), _adapters_on(self.model):
            yield


class GraniteSpeechPlusModel(GraniteSpeechModel):
    """Adapter of Granite Speech Plus."""

    parts = replace(
        GraniteSpeechModel.parts, model_class="GraniteSpeechPlusForConditionalGeneration"
    )
    checkpoint = "ibm-granite/granite-speech-4.1-2b-plus"


# How many explanations run on a model, and which of its adapters were off before the first.
_OFF: WeakKeyDictionary[Any, tuple[int, list[Any]]] = WeakKeyDictionary()
_LOCK = threading.Lock()


@contextmanager
def _adapters_on(model: Any) -> Iterator[None]:
    """Switch on what is off of the adapters of a model; the last of several explanations that run
    at once switches it off again."""
    with _LOCK:
        users, off = _OFF.get(model, (0, _layers_off(model)))
        for layer in off:
            layer.enable_adapters(True)
        _OFF[model] = (users + 1, off)
    try:
        yield
    finally:
        with _LOCK:
            users, off = _OFF.pop(model)
            if users > 1:
                _OFF[model] = (users - 1, off)
            else:
                for layer in off:
                    layer.enable_adapters(False)


def _layers_off(model: Any) -> list[Any]:
    return [layer for layer in _adapter_layers(model) if layer.disable_adapters]


def _adapter_layers(model: Any) -> list[Any]:
    try:
        from peft.tuners.tuners_utils import BaseTunerLayer
    except ImportError:  # then it has none
        return []
    return [layer for layer in model.modules() if isinstance(layer, BaseTunerLayer)]
