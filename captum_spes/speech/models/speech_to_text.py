"""Speech2Text: log-mel filterbanks normalised per utterance, no prompt but a start token."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.speech.models.capabilities import SpeechInput
from captum_spes.speech.models.compatibility import Parts
from captum_spes.speech.models.filterbanks import FilterbankFeatures
from captum_spes.speech.models.huggingface import mel_bin_centers
from captum_spes.speech.models.prompted import PromptedModel

# Kaldi's filterbanks: 25 ms windows every 10 ms, the first one starting with the audio.
_FRAME_RATE = 100.0
_WINDOW_SECONDS = 0.025
_LOWEST_HZ = 20.0


class Speech2TextModel(FilterbankFeatures, PromptedModel):
    """Adapter of the Speech2Text family (recognition and translation)."""

    family = "Speech2Text"
    parts = Parts(
        model_class="Speech2TextForConditionalGeneration",
        processor_class="Speech2TextProcessor",
        extractor_names=("num_mel_bins", "do_ceptral_normalize", "normalize_means"),
        generation_ids=("eos_token_id", "decoder_start_token_id"),
        mel_bins=lambda config, own: (
            config.input_feat_per_channel * config.input_channels,
            own.num_mel_bins,
        ),
    )
    checkpoint = "facebook/s2t-small-librispeech-asr"

    def __init__(self, model: Any, processor: Any) -> None:
        super().__init__(model, processor)
        self.frame_rate = _FRAME_RATE
        self.n_mel_bins = int(self.feature_extractor.num_mel_bins)
        subsampling = 2 ** int(model.config.num_conv_layers)
        n_frames = int(model.config.max_source_positions) * subsampling
        self.max_seconds: float | None = n_frames / self.frame_rate

    # Features --------------------------------------------------------------------------

    def from_audio(self, audio: NDArray[Any]) -> SpeechInput:
        with np.errstate(divide="ignore", invalid="ignore"):
            features = self.feature_extractor(
                audio, sampling_rate=self.sampling_rate, return_tensors="pt"
            ).input_features
        # A bin that never changes, as in digital silence, is divided by its deviation of 0.
        features = torch.as_tensor(features).nan_to_num(0.0, 0.0, 0.0)
        return self.speech_input(features, len(audio) / self.sampling_rate)

    @property
    def is_mean_zero(self) -> bool:
        extractor = self.feature_extractor
        return bool(extractor.do_ceptral_normalize and extractor.normalize_means)

    def speech_input(self, features: Tensor, seconds: float) -> SpeechInput:
        features = features.to("cpu", torch.float32)
        times = torch.arange(features.shape[1]) / self.frame_rate + _WINDOW_SECONDS / 2
        return SpeechInput(
            features=features,
            spectrogram=features[0].contiguous(),
            frame_times=times,
            mel_frequencies=mel_bin_centers(
                self.n_mel_bins, _LOWEST_HZ, self.sampling_rate / 2, "kaldi"
            ),
            seconds=seconds,
        )

    # Tokens ----------------------------------------------------------------------------

    def prompt_ids(self, speech: SpeechInput, gen_args: Mapping[str, Any]) -> list[int]:
        config = self.model.generation_config
        prompt = [self.start_id]
        # Multilingual models are told the language by a forced first token.
        forced = gen_args.get("forced_bos_token_id", config.forced_bos_token_id)
        return prompt if forced is None else [*prompt, int(forced)]

    # The tokenizer drops the blank before a word that was added to it, and neither shows nor
    # decodes one.

    def _is_added_word(self, token_id: int) -> bool:
        token = self.tokenizer.added_tokens_decoder.get(token_id)
        return token is not None and not token.special

    def token_strings(self, ids: Tensor) -> list[str]:
        strings = super().token_strings(ids)
        return [
            f" {string.lstrip()}" if self._is_added_word(i) else string
            for i, string in zip(ids.tolist(), strings, strict=True)
        ]

    def text(self, ids: Tensor) -> str:
        parts: list[str] = []
        for is_added, group in groupby(ids.tolist(), self._is_added_word):
            run = torch.tensor(list(group), dtype=torch.int64)
            parts += self.token_strings(run) if is_added else [super().text(run)]
        return " ".join(part.strip() for part in parts if part.strip())

    def prompt_and_outputs(
        self, speech: SpeechInput, start: dict[str, Any], gen_args: Mapping[str, Any]
    ) -> tuple[list[int], Any]:
        return self.prompt_ids(speech, gen_args), self.generated(start, gen_args)
