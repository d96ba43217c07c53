"""A small speech LLM: the bundled encoder, a projector, and a causal decoder that is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import ParakeetEncoder, ParakeetEncoderConfig, Qwen3Config, Qwen3ForCausalLM

AUDIO_TOKEN = "<|audio|>"
# What the model is asked, as it was asked in training. The first of each is the default.
INSTRUCTIONS = {
    "en": (
        "Transcribe the speech.",
        "Write down what is said.",
        "What does the speaker say?",
    ),
    "de": (
        "Translate the speech into German.",
        "Write in German what is said.",
        "What does the speaker say, in German?",
    ),
}
# States of the encoder for each embedding of audio.
STACKED = 2


class SpeechLLMConfig(Qwen3Config):  # type: ignore[misc]
    """A Qwen3 decoder that also knows its encoder and the placeholder of audio."""

    model_type = "captum_spes_speech_llm"

    def __init__(
        self,
        encoder_config: Mapping[str, Any] | None = None,
        audio_token_id: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.encoder_config = dict(encoder_config or {})
        self.audio_token_id = audio_token_id


class SpeechLLM(Qwen3ForCausalLM):  # type: ignore[misc]
    """A Qwen3 decoder that reads speech in the place of placeholders.

    The encoder's states are stacked by two and projected to the width of the embeddings. What
    stands in the prompt says what is asked: to transcribe, or to translate into German.
    """

    config_class = SpeechLLMConfig

    def __init__(self, config: SpeechLLMConfig) -> None:
        super().__init__(config)
        encoder = ParakeetEncoderConfig(**config.encoder_config)
        self.encoder = ParakeetEncoder(encoder)
        self.projector = nn.Sequential(
            nn.Linear(STACKED * encoder.hidden_size, config.hidden_size),
            nn.GELU(),
            nn.Linear(config.hidden_size, config.hidden_size),
        )
        self.post_init()

    def get_encoder(self, modality: str | None = None) -> Any:
        """The part that hears."""
        return self.encoder

    def project(self, states: Tensor) -> Tensor:
        """Embeddings of audio, ``(batch, positions, hidden)``, from states of the encoder."""
        padded = nn.functional.pad(states, (0, 0, 0, -states.shape[1] % STACKED))
        stacked = padded.reshape(len(states), -1, STACKED * states.shape[2])
        found: Tensor = self.projector(stacked)
        return found

    def forward(
        self,
        input_ids: Tensor | None = None,
        input_features: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """As Qwen3, with ``input_features``, ``(batch, frames, mel bins)``."""
        if inputs_embeds is None and input_ids is not None:
            inputs_embeds = self.get_input_embeddings()(input_ids)
            is_audio = input_ids == self.config.audio_token_id
            if input_features is not None and bool(is_audio.any()):
                audio = self.project(self.encoder(input_features).last_hidden_state)
                inputs_embeds = inputs_embeds.masked_scatter(
                    is_audio[..., None], audio.to(inputs_embeds.dtype)
                )
        return super().forward(inputs_embeds=inputs_embeds, **kwargs)


class SpeechLLMProcessor:
    """Makes what the model reads of audio and what is asked.

    Args:
        feature_extractor: of the bundled model.
        tokenizer: with a placeholder for audio.
    """

    def __init__(self, feature_extractor: Any, tokenizer: Any) -> None:
        self.feature_extractor, self.tokenizer = feature_extractor, tokenizer
        self.default_transcription_prompt = INSTRUCTIONS["en"][0]

    def apply_transcription_request(
        self, audio: Sequence[NDArray[np.float32]], prompt: str | None = None, **kwargs: Any
    ) -> list[str]:
        """The prompt of each recording, with one placeholder for the audio."""
        asked = self.default_transcription_prompt if prompt is None else prompt
        return [f"{AUDIO_TOKEN}{asked}{self.tokenizer.bos_token}" for _ in audio]

    def __call__(
        self, text: Sequence[str], audio: Sequence[NDArray[np.float32]], **kwargs: Any
    ) -> dict[str, Tensor]:
        """Ids and features of one recording."""
        made = self.feature_extractor(
            audio[0], sampling_rate=self.feature_extractor.sampling_rate, return_tensors="pt"
        )
        # The last frame lies beyond the audio; the extractor masks it.
        features = made["input_features"][:, : int(made["attention_mask"].sum())]
        short = self.tokenizer.encode(text[0], add_special_tokens=False)
        audio_id = self.tokenizer.convert_tokens_to_ids(AUDIO_TOKEN)
        n_audio = n_embeddings(features.shape[1])
        ids = [i for token in short for i in [token] * (n_audio if token == audio_id else 1)]
        return {"input_ids": torch.tensor([ids]), "input_features": features}


def n_embeddings(n_frames: int) -> int:
    """Of how many embeddings the audio consists: two convolutions of stride 2, then stacking."""
    for _ in range(2):
        n_frames = (n_frames - 1) // 2 + 1
    return -(-n_frames // STACKED)
