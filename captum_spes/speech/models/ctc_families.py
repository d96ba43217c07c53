"""CTC models on mel spectrograms."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.speech.models.capabilities import SpeechInput
from captum_spes.speech.models.compatibility import Parts
from captum_spes.speech.models.ctc import CTCModel
from captum_spes.speech.models.filterbanks import FilterbankFeatures
from captum_spes.speech.models.huggingface import mel_bin_centers
from captum_spes.speech.models.parakeet_features import ParakeetFeatures
from captum_spes.speech.models.stacked_features import StackedFeatures

_LOADER = "AutoModelForCTC"
_CALLED = ("ctc_head", "encoder")
# LASR's filters reach over these frequencies.
_LASR_HZ = (125.0, 7500.0)


class ParakeetCTCModel(ParakeetFeatures, CTCModel):
    """Adapter of Parakeet with CTC."""

    family = "Parakeet"
    parts = Parts(
        model_class="ParakeetForCTC",
        processor_class="ParakeetProcessor",
        extractor_names=("preemphasis", "hop_length", "feature_size"),
        generation_ids=(),
        mel_bins=lambda config, own: (config.encoder_config.num_mel_bins, own.feature_size),
        called=_CALLED,
        loader=_LOADER,
    )
    checkpoint = "nvidia/parakeet-ctc-1.1b"


class LasrCTCModel(FilterbankFeatures, CTCModel):
    """Adapter of LASR with CTC."""

    family = "LASR"
    parts = Parts(
        model_class="LasrForCTC",
        processor_class="LasrProcessor",
        extractor_names=("win_length", "n_fft", "feature_size"),
        generation_ids=(),
        mel_bins=lambda config, own: (config.encoder_config.num_mel_bins, own.feature_size),
        called=_CALLED,
        loader=_LOADER,
    )
    checkpoint = "google/medasr"
    max_seconds: float | None = None

    def __init__(self, model: Any, processor: Any) -> None:
        super().__init__(model, processor)
        self.n_mel_bins = int(self.feature_extractor.feature_size)
        self.frame_rate = self.sampling_rate / self.feature_extractor.hop_length

    @property
    def is_mean_zero(self) -> bool:
        return False

    def from_audio(self, audio: NDArray[Any]) -> SpeechInput:
        made = self.feature_extractor(audio, sampling_rate=self.sampling_rate, return_tensors="pt")
        return self.speech_input(made["input_features"], len(audio) / self.sampling_rate)

    def speech_input(self, features: Tensor, seconds: float) -> SpeechInput:
        features = features.to("cpu", torch.float32)
        half_window = self.feature_extractor.win_length / self.sampling_rate / 2
        return SpeechInput(
            features=features,
            spectrogram=features[0].contiguous(),
            # Windows begin with the audio.
            frame_times=torch.arange(features.shape[1]) / self.frame_rate + half_window,
            mel_frequencies=mel_bin_centers(self.n_mel_bins, *_LASR_HZ, "kaldi"),
            seconds=seconds,
        )


class Wav2Vec2BertModel(StackedFeatures, CTCModel):
    """Adapter of wav2vec2-BERT with CTC."""

    family = "wav2vec2-BERT"
    parts = Parts(
        model_class="Wav2Vec2BertForCTC",
        processor_class="Wav2Vec2BertProcessor",
        extractor_names=("num_mel_bins", "stride"),
        generation_ids=(),
        mel_bins=lambda config, own: (
            int(config.feature_projection_input_dim) // int(own.stride),
            int(own.num_mel_bins),
        ),
        called=("lm_head", "base_model"),
        loader=_LOADER,
    )
    checkpoint = "hf-audio/wav2vec2-bert-CV16-en"
    encoder_name = "base_model"
    head_name = "lm_head"


class GraniteSpeech5CTCModel(FilterbankFeatures, CTCModel):
    """Adapter of Granite Speech 5 with CTC.

    Its features hold each frame together with its slope in time, two frames one behind the other.
    What is perturbed are the frames; slopes follow from them.
    """

    family = "Granite Speech 5"
    parts = Parts(
        model_class="GraniteSpeech5ForCTC",
        processor_class="GraniteSpeech5Processor",
        extractor_names=("delta_win_length", "logmel_floor_db", "num_mel_bins"),
        generation_ids=(),
        mel_bins=lambda config, own: (config.encoder_config.num_mel_bins, own.num_mel_bins),
        called=_CALLED,
        loader=_LOADER,
    )
    checkpoint = "ibm-granite/granite-speech-5.0-470m-turboctc"
    max_seconds: float | None = None

    def __init__(self, model: Any, processor: Any) -> None:
        super().__init__(model, processor)
        self.n_mel_bins = int(self.feature_extractor.num_mel_bins)
        self.frame_rate = self.sampling_rate / self.feature_extractor.hop_length

    @property
    def is_mean_zero(self) -> bool:
        return False

    @property
    def _width(self) -> int:
        own = self.feature_extractor
        return int(own.delta_expansion * own.frame_stacking * self.n_mel_bins)

    def from_audio(self, audio: NDArray[Any]) -> SpeechInput:
        made = self.feature_extractor(audio, sampling_rate=self.sampling_rate, return_tensors="pt")
        return self.speech_input(made["input_features"], len(audio) / self.sampling_rate)

    def _is_layout(self, shape: tuple[int, ...]) -> bool:
        is_batch_of_one = len(shape) == 3 and shape[0] == 1
        return (is_batch_of_one or len(shape) == 2) and shape[-1] == self._width

    def from_features(self, features: Tensor) -> SpeechInput:
        features = self.checked_features(features, self._width)
        frames = features.shape[1] * int(self.feature_extractor.frame_stacking)
        return self.speech_input(features, frames / self.frame_rate)

    def speech_input(self, features: Tensor, seconds: float) -> SpeechInput:
        features = features.to("cpu", torch.float32)
        frames = features.reshape(-1, self.feature_extractor.delta_expansion * self.n_mel_bins)
        spectrogram = frames[:, : self.n_mel_bins].contiguous()
        return SpeechInput(
            features=features,
            spectrogram=spectrogram,
            frame_times=torch.arange(len(spectrogram)) / self.frame_rate,
            mel_frequencies=mel_bin_centers(self.n_mel_bins, 0.0, self.sampling_rate / 2, "htk"),
            seconds=seconds,
        )

    def model_features(self, speech: SpeechInput, spectrograms: Tensor) -> Tensor:
        slopes = _slopes(spectrograms, int(self.feature_extractor.delta_win_length))
        both = torch.cat([spectrograms, slopes], -1)
        return both.reshape(len(spectrograms), -1, self._width)

    def n_frames(self, features: Tensor) -> int:
        return int(features.shape[1]) * int(self.feature_extractor.frame_stacking)


def _slopes(frames: Tensor, window: int) -> Tensor:
    """Of ``(batch, time, freq)`` in time, by least squares over a window; ends are repeated."""
    reach = (window - 1) // 2
    padded = torch.nn.functional.pad(
        frames.transpose(1, 2), (reach, reach), mode="replicate"
    ).transpose(1, 2)
    n_frames = frames.shape[1]
    found = torch.zeros_like(frames)
    for step in range(-reach, reach + 1):
        found = found + step * padded[:, reach + step : reach + step + n_frames]
    return found / (2 * sum(step**2 for step in range(1, reach + 1)))
