"""Phi-4 multimodal: mel frames, audio and images put into the embeddings of one model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.speech.models.capabilities import TargetSequence
from captum_spes.speech.models.compatibility import Parts, token_ids
from captum_spes.speech.models.llm_mel import MelLanguageModel, chat
from captum_spes.speech.models.prefix import SharedPrefix


class Phi4MultimodalModel(MelLanguageModel):
    """Adapter of Phi-4 multimodal, audio alone.

    Which of its adapters (LoRA) is on, that of speech or that of images, is the user's choice:
    ``model.set_adapter("speech")``.
    """

    parts = Parts(
        model_class="Phi4MultimodalForCausalLM",
        processor_class="Phi4MultimodalProcessor",
        extractor_names=("audio_compression_rate", "audio_downsample_rate", "hop_length"),
        generation_ids=("eos_token_id",),
        mel_bins=lambda config, own: (int(config.audio_config.input_size), int(own.feature_size)),
    )
    checkpoint = "microsoft/Phi-4-multimodal-instruct"
    instruction = "Transcribe the audio clip into text."
    frames_per_position = 8
    mel_scale = "kaldi"
    mask_name = None
    features_name = "audio_input_features"
    dynamic_range = None
    # What its extractor is made with, and keeps only filters of; windows begin with the audio.
    band = (0.0, 7690.0)
    first_frame = 0.0125

    @property
    def audio_id(self) -> int:
        return int(self.model.config.audio_config.audio_token_id)

    def request_text(self, audio: NDArray[np.float32], request: Mapping[str, Any]) -> str:
        return chat(self.processor, request.get("prompt", self.instruction))

    def samples_of(self, n_frames: int) -> int:
        return (n_frames - 1) * self.hop + int(self.feature_extractor.win_length)

    @property
    def end_of_sentence(self) -> int:
        # The end of a turn, not that of a text.
        end = self.tokenizer.convert_tokens_to_ids("<|end|>")
        ends = token_ids(self.model, "eos_token_id")
        return int(end) if end in ends else super().end_of_sentence

    def prepared(self, states: Tensor, target: TargetSequence) -> SharedPrefix | None:
        # Beyond this length other rotations hold for all positions, those of the prefix too.
        longest = int(self.model.config.original_max_position_embeddings)
        return None if len(target.ids) > longest else super().prepared(states, target)

    def front_end_inputs(self, features: Tensor, n_frames: int) -> dict[str, Tensor]:
        # One length needs no mask, but the number of embeddings.
        first = -(-n_frames // int(self.feature_extractor.audio_compression_rate))
        size = -(-first // int(self.feature_extractor.audio_downsample_rate))
        return {
            self.features_name: features,
            "audio_embed_sizes": torch.tensor([size] * len(features)),
        }

    def _handed_over(self, ids: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        # Front end and language model are one module.
        front_end = self.language_model.embed_tokens_extend
        embeddings = self.model.get_input_embeddings()(ids)
        found: Tensor = front_end(ids, embeddings, **inputs)
        return found
