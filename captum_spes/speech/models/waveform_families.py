"""Encoder-decoders that read samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from captum_spes.speech.models.capabilities import SpeechInput, TargetSequence
from captum_spes.speech.models.compatibility import Parts
from captum_spes.speech.models.prompted import PromptedModel
from captum_spes.speech.models.waveform import WaveformFeatures

# Frames of samples for each state of Moonshine Streaming: two convolutions of stride 2.
_STREAMING_STRIDE = 4


class WaveformModel(WaveformFeatures, PromptedModel):
    """Base of these adapters: no prompt but a start token."""

    def prompt_ids(self, speech: SpeechInput, gen_args: Mapping[str, Any]) -> list[int]:
        config = self.model.generation_config
        # Multilingual models are told the language by a forced first token.
        forced = gen_args.get("forced_bos_token_id", getattr(config, "forced_bos_token_id", None))
        return [self.start_id] if forced is None else [self.start_id, int(forced)]

    def prompt_and_outputs(
        self, speech: SpeechInput, start: dict[str, Any], gen_args: Mapping[str, Any]
    ) -> tuple[list[int], Any]:
        prompt = self.prompt_ids(speech, gen_args)
        return prompt, self.generated(start, self.with_length(gen_args), prompt)


class MoonshineModel(WaveformModel):
    """Adapter of Moonshine."""

    parts = Parts(
        model_class="MoonshineForConditionalGeneration",
        processor_class="Wav2Vec2Processor",
        extractor_names=("do_normalize", "padding_value"),
        generation_ids=("eos_token_id", "decoder_start_token_id"),
        mel_bins=None,
    )
    checkpoint = "UsefulSensors/moonshine-tiny"

    @property
    def max_target_tokens(self) -> int:
        return int(self.model.config.max_position_embeddings)

    def encoder_outputs(self, states: Tensor) -> Any:
        from transformers.models.moonshine.modeling_moonshine import MoonshineEncoderModelOutput

        return MoonshineEncoderModelOutput(last_hidden_state=states)


class MoonshineStreamingModel(MoonshineModel):
    """Adapter of Moonshine Streaming.

    Its encoder looks only as far as its windows reach where it is given a mask, and all around
    where it is given none, without a word: it always gets one. Its decoder adds positions to the
    states that it is given, in place: it gets a copy.
    """

    parts = Parts(
        model_class="MoonshineStreamingForConditionalGeneration",
        processor_class="MoonshineStreamingProcessor",
        extractor_names=("do_normalize", "padding_value"),
        generation_ids=("eos_token_id", "decoder_start_token_id"),
        mel_bins=None,
    )
    checkpoint = "UsefulSensors/moonshine-streaming-tiny"

    def __init__(self, model: Any, processor: Any) -> None:
        super().__init__(model, processor)
        n_states = int(model.config.max_position_embeddings)
        self.max_seconds = n_states * _STREAMING_STRIDE * self._frame / self.sampling_rate

    @property
    def _frame(self) -> int:
        """Samples of which the model hears nothing where there are fewer."""
        return int(self.model.get_encoder().embedder.frame_len)

    def model_features(self, speech: SpeechInput, spectrograms: Tensor) -> Tensor:
        return self._whole(super().model_features(speech, spectrograms))

    def _whole(self, samples: Tensor) -> Tensor:
        return samples[:, : samples.shape[1] // self._frame * self._frame]

    def encode(self, speech: SpeechInput, spectrograms: Tensor) -> Tensor:
        features = self.model_features(speech, spectrograms)
        features = features.to(self.model.device, self.model.dtype)
        mask = torch.ones_like(features, dtype=torch.int64)
        states = self.model.get_encoder()(features, attention_mask=mask).last_hidden_state
        assert isinstance(states, Tensor)
        return states

    def heard(self, features: Tensor) -> dict[str, Any]:
        whole = self._whole(features)
        mask = torch.ones(whole.shape, dtype=torch.int64, device=self.model.device)
        return {**super().heard(whole), "attention_mask": mask}

    def encoder_outputs(self, states: Tensor) -> Any:
        return super().encoder_outputs(states.clone())

    def _read(
        self, states: Tensor, target: TargetSequence, start: int = 0, cache: Any = None
    ) -> Tensor:
        return super()._read(states.clone(), target, start, cache)


class SpeechT5Model(WaveformModel):
    """Adapter of SpeechT5, speech to text."""

    parts = Parts(
        model_class="SpeechT5ForSpeechToText",
        processor_class="SpeechT5Processor",
        extractor_names=("do_normalize", "num_mel_bins", "fmin"),
        generation_ids=("eos_token_id", "decoder_start_token_id"),
        mel_bins=None,
    )
    checkpoint = "microsoft/speecht5_asr"
    ids_argument = "input_values"

    @property
    def max_target_tokens(self) -> int:
        return int(self.model.config.max_text_positions)


class SpeechEncoderDecoder(WaveformModel):
    """Adapter of any encoder of samples with any causal decoder.

    Decoders differ in what stands between their last states and their logits: states of the
    explained tokens are their logits here.
    """

    parts = Parts(
        model_class="SpeechEncoderDecoderModel",
        processor_class="Wav2Vec2Processor",
        extractor_names=("do_normalize", "padding_value"),
        generation_ids=("eos_token_id", "decoder_start_token_id"),
        mel_bins=None,
    )
    checkpoint = "facebook/wav2vec2-xls-r-300m-en-to-15"

    @property
    def max_target_tokens(self) -> int:
        return int(getattr(self.model.config.decoder, "max_position_embeddings", 512))

    def decode(self, states: Tensor, target: TargetSequence) -> Tensor:
        """See ``ScoresTokens``."""
        ids = target.decoder_ids.to(self.model.device).expand(len(states), -1)
        logits = self.model(
            encoder_outputs=self.encoder_outputs(states), decoder_input_ids=ids, use_cache=False
        ).logits
        return self.explained_states(logits, target)

    def decode_branches(self, states: Tensor, targets: Sequence[TargetSequence]) -> list[Tensor]:
        """See ``SharesBeginnings``: decoders differ in what they keep of a beginning."""
        return [self.decode(states, target) for target in targets]

    def prepared(self, states: Tensor, target: TargetSequence) -> Any:
        """See ``ReadsPreviousTokens``: nothing is."""

    def decode_prepared(self, states: Tensor, target: TargetSequence, prepared: Any) -> Tensor:
        """See ``ReadsPreviousTokens``."""
        return self.decode(states, target)

    def output_layer(self, hidden: Tensor) -> Tensor:
        return hidden.float()
