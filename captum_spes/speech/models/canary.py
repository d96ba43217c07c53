"""Canary: a Conformer encoder on features normalised per utterance, a prompt of languages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.errors import ArgumentError
from captum_spes.speech.models.capabilities import SpeechInput
from captum_spes.speech.models.compatibility import Parts
from captum_spes.speech.models.filterbanks import FilterbankModel
from captum_spes.speech.models.huggingface import mel_bin_centers


class CanaryModel(FilterbankModel):
    """Adapter of the Canary family (multilingual recognition and translation).

    ``gen_args`` take ``source_language`` (also called ``language``), ``target_language`` and
    ``punctuation`` as the processor's ``apply_transcription_request`` does; the default is
    English recognition.

    Attributes:
        prompt_arguments: names in ``gen_args`` that decide the prompt, and the processor's names
            for them; all others go to ``model.generate``.
    """

    family = "Canary"
    parts = Parts(
        model_class="CanaryForConditionalGeneration",
        processor_class="CanaryProcessor",
        extractor_names=("preemphasis", "hop_length", "feature_size"),
        generation_ids=("eos_token_id",),
        mel_bins=lambda config, own: (config.encoder_config.num_mel_bins, own.feature_size),
    )
    checkpoint = "nvidia/canary-1b-v2"
    tried_on = "the bundled model"
    requests = frozenset({"language", "source_language", "target_language", "punctuation"})

    prompt_arguments: ClassVar[Mapping[str, str]] = {
        "language": "source_language",
        "source_language": "source_language",
        "target_language": "target_language",
        "punctuation": "punctuation",
    }

    def __init__(self, model: Any, processor: Any) -> None:
        super().__init__(model, processor)
        self.processor = processor
        self.n_mel_bins = int(model.config.encoder_config.num_mel_bins)
        self.frame_rate = self.sampling_rate / self.feature_extractor.hop_length
        encoder = model.config.encoder_config
        n_frames = int(encoder.max_position_embeddings) * int(encoder.subsampling_factor)
        self.max_seconds: float | None = n_frames / self.frame_rate
        tokenizer = self.tokenizer
        # Languages, tasks and the like; not every tokenizer lists them as special tokens.
        control = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
        output = {self.end_of_sentence, tokenizer.pad_token_id, tokenizer.unk_token_id}
        self._control_ids = frozenset(control - output)

    # Features --------------------------------------------------------------------------

    def from_audio(self, audio: NDArray[Any]) -> SpeechInput:
        made = self.feature_extractor(audio, sampling_rate=self.sampling_rate, return_tensors="pt")
        # The last frame lies beyond the audio; the extractor masks it.
        n_frames = int(made["attention_mask"].sum())
        features = made["input_features"][:, :n_frames]
        return self.speech_input(features, len(audio) / self.sampling_rate)

    def without_padding(self, features: Tensor) -> Tensor:
        # Frames that the extractor masked are exactly 0, in every bin and at the end.
        is_speech = torch.nonzero(features[0].abs().sum(1))
        return features[:, : int(is_speech.max()) + 1] if len(is_speech) else features

    def speech_input(self, features: Tensor, seconds: float) -> SpeechInput:
        features = features.to("cpu", torch.float32)
        return SpeechInput(
            features=features,
            spectrogram=features[0].contiguous(),
            frame_times=torch.arange(features.shape[1]) / self.frame_rate,
            mel_frequencies=mel_bin_centers(self.n_mel_bins, 0.0, self.sampling_rate / 2, "slaney"),
            seconds=seconds,
        )

    def encoder_outputs(self, states: Tensor) -> Any:
        from transformers.models.parakeet.modeling_parakeet import ParakeetEncoderModelOutput

        return ParakeetEncoderModelOutput(last_hidden_state=states)

    # Tokens ----------------------------------------------------------------------------

    @property
    def max_target_tokens(self) -> int:
        return int(self.model.config.decoder_config.max_position_embeddings)

    def is_prompt(self, token_id: int) -> bool:
        return token_id in self._control_ids

    def request(self, gen_args: Mapping[str, Any]) -> dict[str, Any]:
        """What decides the prompt, by the processor's names."""
        return {
            name: gen_args[given]
            for given, name in self.prompt_arguments.items()
            if given in gen_args
        }

    def languages(self, gen_args: Mapping[str, Any]) -> tuple[str | None, str | None]:
        request = self.request(gen_args)
        spoken = request.get("source_language") or gen_args.get("language") or "en"
        return str(spoken), str(request.get("target_language") or spoken)

    def prompt_ids(self, speech: SpeechInput, gen_args: Mapping[str, Any]) -> list[int]:
        request = self.request(gen_args)
        # The processor makes the prompt together with features only, so it gets some silence.
        audio = np.zeros(self.sampling_rate // 10, dtype=np.float32)
        try:
            made = self.processor.apply_transcription_request(
                audio, processor_kwargs={"sampling_rate": self.sampling_rate}, **request
            )
        except (ValueError, TypeError) as error:
            raise ArgumentError(f"the model takes no request like {request}: {error}") from error
        prompt = [int(i) for i in made["decoder_input_ids"][0]]
        unknown = self.tokenizer.unk_token_id
        if unknown is not None and unknown in prompt:
            raise ArgumentError(f"the model has no token for a language of {request}.")
        return prompt

    def prompt_and_outputs(
        self, speech: SpeechInput, start: dict[str, Any], gen_args: Mapping[str, Any]
    ) -> tuple[list[int], Any]:
        prompt = self.prompt_ids(speech, gen_args)
        others = {k: v for k, v in gen_args.items() if k not in self.prompt_arguments}
        return prompt, self.generated(start, self._with_length(others), prompt)

    def _with_length(self, gen_args: dict[str, Any]) -> dict[str, Any]:
        """Let the model write to the end: transformers alone would stop after 20 tokens."""
        config = self.model.generation_config
        lengths = ("max_length", "max_new_tokens")
        if any(name in gen_args or getattr(config, name, None) is not None for name in lengths):
            return gen_args
        return {**gen_args, "max_length": self.max_target_tokens}
