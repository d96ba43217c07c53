"""Voxtral: Whisper's features in chunks, a tokenizer of Mistral's."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.errors import ArgumentError
from captum_spes.speech.models.compatibility import Parts
from captum_spes.speech.models.llm_mel import ChunkedMelLanguageModel
from captum_spes.speech.models.speech_llm import LANGUAGE_REQUEST


class VoxtralModel(ChunkedMelLanguageModel):
    """Adapter of Voxtral.

    Without ``instruction`` it is asked in its transcription mode, which has none.
    """

    parts = Parts(
        model_class="VoxtralForConditionalGeneration",
        processor_class="VoxtralProcessor",
        extractor_names=("chunk_length", "hop_length", "nb_max_frames", "feature_size"),
        generation_ids=("eos_token_id",),
        mel_bins=lambda config, own: (
            int(config.audio_config.num_mel_bins), int(own.feature_size),
        ),
    )  # fmt: skip
    checkpoint = "mistralai/Voxtral-Mini-3B-2507"
    request = LANGUAGE_REQUEST
    frames_per_position = 8
    mask_name = None

    def features(self, audio: NDArray[Any]) -> Mapping[str, Tensor]:
        made = self.feature_extractor(
            audio, sampling_rate=self.sampling_rate, return_tensors="pt", truncation=False,
            padding=True, pad_to_multiple_of=int(self.feature_extractor.n_samples),
        )["input_features"]  # fmt: skip
        return {"input_features": self.layout(made.transpose(1, 2))}

    def n_speech_frames(self, made: Mapping[str, Tensor], n_samples: int) -> int:
        return -(-n_samples // self.hop)

    def asked(self, audio: NDArray[np.float32], request: Mapping[str, str]) -> list[int]:
        instruction = request.get("prompt")
        if instruction is not None and "language" in request:
            raise ArgumentError(
                "Voxtral takes an instruction or a language: say the language in the instruction."
            )
        if instruction is None:
            made = self.processor.apply_transcription_request(
                [audio], model_id=self.model_id, language=request.get("language"),
                sampling_rate=self.sampling_rate, format=["wav"],
            )  # fmt: skip
        else:
            content = [
                {"type": "audio", "base64": _wav(audio, self.sampling_rate)},
                {"type": "text", "text": instruction},
            ]
            made = self.processor.apply_chat_template([{"role": "user", "content": content}])
        return [int(i) for i in made["input_ids"][0]]

    def instruction_places(self, ids: Sequence[int], request: Mapping[str, str]) -> tuple[int, ...]:
        own = list(self.tokenizer.encode(request["prompt"].strip(), add_special_tokens=False))
        starts = range(len(ids) - len(own) + 1)
        start = next(
            (start for start in starts if list(ids[start : start + len(own)]) == own), None
        )
        return () if start is None else tuple(range(start, start + len(own)))


def _wav(audio: NDArray[np.float32], rate: int) -> str:
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, audio, rate, format="wav")
    return base64.b64encode(buffer.getvalue()).decode()
