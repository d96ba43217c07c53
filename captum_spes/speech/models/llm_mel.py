"""Speech LLMs whose features are mel spectrograms, padded and possibly cut in chunks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.errors import ArgumentError
from captum_spes.speech.models.capabilities import SpeechInput
from captum_spes.speech.models.huggingface import check_features, is_plane, mel_bin_centers
from captum_spes.speech.models.speech_llm import SpeechLanguageModel


class MelLanguageModel(SpeechLanguageModel):
    """Base of the adapters of speech LLMs that read mel spectrograms.

    A family says how its features become a picture, ``(frames, mel bins)`` with the padding at the
    end, and the other way round.

    Attributes:
        mel_scale: "slaney" or "htk" or "kaldi".
        band: lowest and highest frequency, in Hz.
        first_frame: the middle of the first frame, in seconds.
        mask_name: what the model calls the mask of its padding; None where it takes none.
        features_name: what the processor calls the features.
        dynamic_range: of the features, by which silence is below the loudest cell; None where
            silence is each mel bin's minimum.
    """

    mel_scale: ClassVar[str] = "slaney"
    band: ClassVar[tuple[float, float]] = (0.0, 8000.0)
    first_frame: ClassVar[float] = 0.0
    mask_name: ClassVar[str | None] = "input_features_mask"
    features_name: ClassVar[str] = "input_features"
    dynamic_range: ClassVar[float | None] = 2.0

    def __init__(self, model: Any, processor: Any) -> None:
        super().__init__(model, processor)
        self.hop = self.hop_length()
        self.frame_rate = self.sampling_rate / self.hop
        self.max_seconds: float | None = self.longest()

    # What a family says of itself ------------------------------------------------------

    @property
    def n_bins(self) -> int:
        """Mel bins of the picture."""
        return int(self.feature_extractor.feature_size)

    @property
    def width(self) -> int:
        """Numbers of a frame of the features: more than the mel bins where frames are stacked."""
        return self.n_bins

    def picture(self, features: Tensor) -> Tensor:
        """Lay features of one recording out as ``(frames, mel bins)``, padding included."""
        return features[0]

    def layout(self, pictures: Tensor) -> Tensor:
        """The other way round, for ``(batch, frames, mel bins)``."""
        return pictures

    def hop_length(self) -> int:
        """Samples from frame to frame."""
        return int(self.feature_extractor.hop_length)

    def longest(self) -> float | None:
        """Seconds that the model takes at once."""
        return None

    def n_speech_frames(self, made: Mapping[str, Tensor], n_samples: int) -> int:
        """Frames of the picture that are speech."""
        if self.mask_name is not None:
            return int(made[self.mask_name].sum())
        return len(self.picture(made[self.features_name]))

    # Features --------------------------------------------------------------------------

    def from_audio(self, audio: NDArray[Any]) -> SpeechInput:
        made = self.features(audio)
        features = made[self.features_name]
        n_frames = self.n_speech_frames(made, len(audio))
        return self._speech_input(features, n_frames, len(audio) / self.sampling_rate)

    def features(self, audio: NDArray[Any]) -> Mapping[str, Tensor]:
        """What the processor makes of audio."""
        return self.processed(self.request_text(audio, {}), audio)

    def _speech_input(self, features: Tensor, n_frames: int, seconds: float) -> SpeechInput:
        features = features.to("cpu", torch.float32)
        picture = self.picture(features)[:n_frames]
        return SpeechInput(
            features=features,
            spectrogram=picture.contiguous(),
            frame_times=torch.arange(len(picture)) / self.frame_rate + self.first_frame,
            mel_frequencies=mel_bin_centers(self.n_bins, *self.band, self.mel_scale),
            seconds=seconds,
        )

    def is_features(self, value: Any) -> bool:
        shape = tuple(getattr(value, "shape", ()))
        return self._is_layout(shape) or is_plane(shape)

    def _is_layout(self, shape: tuple[int, ...]) -> bool:
        return len(shape) == 3 and shape[0] == 1 and shape[-1] == self.width

    def from_features(self, features: Tensor) -> SpeechInput:
        expected = f"as its processor makes them, with {self.n_bins} mel bins"
        features = check_features(features, expected, self._is_layout(tuple(features.shape)))
        n_frames = self.without_padding(self.picture(features))
        seconds = self.samples_of(n_frames) / self.sampling_rate
        return self._speech_input(features, n_frames, seconds)

    def without_padding(self, picture: Tensor) -> int:
        """Frames of a picture that are speech; most families pad nothing."""
        return len(picture)

    def samples_of(self, n_frames: int) -> int:
        """Of how many samples so many frames are made."""
        return n_frames * self.hop

    def removed_value(self, speech: SpeechInput, name: str | None) -> Tensor:
        spectrogram = speech.spectrogram
        if name in (None, "mean"):
            return spectrogram.mean(0, keepdim=True)
        if name == "silence" and self.dynamic_range is not None:
            return (spectrogram.max() - self.dynamic_range).reshape(1, 1)
        if name == "silence":
            return spectrogram.amin(0, keepdim=True)
        raise ArgumentError(
            f"unknown baseline {name!r} for {type(self.model).__name__}: 'mean' (each mel bin's "
            "mean over the speech) or 'silence', or give a number or Tensor."
        )

    def model_features(self, speech: SpeechInput, spectrograms: Tensor) -> Tensor:
        padding = self.picture(speech.features)[spectrograms.shape[1] :].to(spectrograms.device)
        padding = padding.expand(len(spectrograms), -1, -1)
        return self.layout(torch.cat([spectrograms, padding], 1))

    def front_end_inputs(self, features: Tensor, n_frames: int) -> dict[str, Tensor]:
        inputs = {self.features_name: features}
        if self.mask_name is not None:
            inputs[self.mask_name] = self.mask(features, n_frames)
        return inputs

    def mask(self, features: Tensor, n_frames: int) -> Tensor:
        """1 for frames of speech, in the form of the model's own."""
        raise NotImplementedError


class ChunkedMelLanguageModel(MelLanguageModel):
    """Base of those with Whisper's features, ``(chunks, mel bins, frames)``, a chunk of some
    seconds each."""

    def _is_layout(self, shape: tuple[int, ...]) -> bool:
        return len(shape) == 3 and shape[-2] == self.n_bins

    @property
    def _n_frames_of_chunk(self) -> int:
        return int(self.feature_extractor.nb_max_frames)

    def picture(self, features: Tensor) -> Tensor:
        return features.transpose(1, 2).flatten(0, 1)

    def layout(self, pictures: Tensor) -> Tensor:
        chunks = pictures.reshape(-1, self._n_frames_of_chunk, self.n_bins)
        return chunks.transpose(1, 2).contiguous()

    def without_padding(self, picture: Tensor) -> int:
        # Padding is digital silence: every cell has the chunk's lowest value. A chunk of silence
        # alone is no padding.
        before = len(picture) - self._n_frames_of_chunk
        last = picture[before:]
        is_speech = (last > last.min() + 1e-4).any(1)
        return before + int(torch.nonzero(is_speech).max()) + 1 if is_speech.any() else len(picture)

    def removed_value(self, speech: SpeechInput, name: str | None) -> Tensor:
        if name != "silence" or self.dynamic_range is None:
            return super().removed_value(speech, name)
        # Each chunk is clipped below its own loudest cell.
        chunks = speech.spectrogram.split(self._n_frames_of_chunk)
        floors = [(chunk.max() - self.dynamic_range).expand(len(chunk), 1) for chunk in chunks]
        return torch.cat(floors)

    def mask(self, features: Tensor, n_frames: int) -> Tensor:
        frames = self._n_frames_of_chunk
        chunks = max(1, -(-n_frames // frames))
        mask = (torch.arange(chunks * frames) < n_frames).long().reshape(chunks, frames)
        return mask.repeat(len(features) // chunks, 1)


def chat(processor: Any, instruction: str | None) -> str:
    """The chat that a processor's template makes of audio and what is asked of it."""
    content = [{"type": "audio"}, {"type": "text", "text": instruction}]
    messages = [{"role": "user", "content": content}]
    return str(processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
