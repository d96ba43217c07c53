"""Canary: a Conformer encoder on features normalised per utterance, a prompt of languages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from captum_spes.errors import ArgumentError
from captum_spes.speech.models.capabilities import SpeechInput
from captum_spes.speech.models.compatibility import Parts
from captum_spes.speech.models.parakeet_features import ParakeetFeatures
from captum_spes.speech.models.prompted import PromptedModel


class CanaryModel(ParakeetFeatures, PromptedModel):
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
        tokenizer = self.tokenizer
        # Languages, tasks and the like; not every tokenizer lists them as special tokens.
        control = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
        output = {self.end_of_sentence, tokenizer.pad_token_id, tokenizer.unk_token_id}
        self._control_ids = frozenset(control - output)

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
        return prompt, self.generated(start, self.with_length(others), prompt)
