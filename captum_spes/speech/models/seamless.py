"""SeamlessM4T: kaldi filterbanks, two frames stacked, the target language as first token."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from captum_spes.errors import ArgumentError
from captum_spes.speech.models.capabilities import SpeechInput
from captum_spes.speech.models.compatibility import Parts, plain, token_ids
from captum_spes.speech.models.prompted import PromptedModel
from captum_spes.speech.models.stacked_features import StackedFeatures

_LANGUAGE_ARGUMENTS = ("tgt_lang", "target_language")
_ENGLISH = "eng"


class SeamlessM4TModel(StackedFeatures, PromptedModel):
    """Adapter of SeamlessM4T, speech to text.

    ``gen_args`` take ``tgt_lang`` (also called ``target_language``), the language that is written,
    as the model names it; the default is "eng".
    """

    family = "SeamlessM4T"
    parts = Parts(
        model_class="SeamlessM4TForSpeechToText",
        processor_class="SeamlessM4TProcessor",
        extractor_names=("num_mel_bins", "stride"),
        generation_ids=("eos_token_id", "decoder_start_token_id"),
        other_parts=("text_encoder.", "t2u_model.", "vocoder."),
        mel_bins=lambda config, own: (
            int(config.feature_projection_input_dim) // int(own.stride), int(own.num_mel_bins),
        ),
    )  # fmt: skip
    checkpoint = "facebook/hf-seamless-m4t-medium"
    requests = frozenset(_LANGUAGE_ARGUMENTS)

    # An adaptor between encoder and decoder has positions of its own.
    encoder_attention = None  # type: ignore[assignment]

    # Tokens ----------------------------------------------------------------------------

    @property
    def max_target_tokens(self) -> int:
        return int(self.model.config.max_position_embeddings)

    @property
    def _languages(self) -> dict[str, int]:
        found = getattr(self.model.generation_config, "text_decoder_lang_to_code_id", None)
        if not found:
            raise ArgumentError(
                "model.generation_config has no text_decoder_lang_to_code_id, the tokens of the "
                "languages: load the model with its generation_config.json."
            )
        return {str(name): int(token) for name, token in found.items()}

    def is_prompt(self, token_id: int) -> bool:
        return token_id in self._languages.values()

    def languages(self, gen_args: Mapping[str, Any]) -> tuple[str | None, str | None]:
        # It is not told what is spoken, and writes English where nothing is said.
        return _ENGLISH, _target_language(gen_args)

    def prompt_ids(self, speech: SpeechInput, gen_args: Mapping[str, Any]) -> list[int]:
        language = _target_language(gen_args)
        if language not in self._languages:
            raise ArgumentError(
                f"the model writes no {language!r}; languages: {', '.join(self._languages)}."
            )
        start = token_ids(self.model, "decoder_start_token_id")[0]
        return [start, self._languages[language]]

    def prompt_and_outputs(
        self, speech: SpeechInput, start: dict[str, Any], gen_args: Mapping[str, Any]
    ) -> tuple[list[int], Any]:
        prompt = self.prompt_ids(speech, gen_args)
        others = {k: v for k, v in gen_args.items() if k not in _LANGUAGE_ARGUMENTS}
        return prompt, self.generated(start, others, prompt)

    @property
    def generation(self) -> Callable[..., Any]:
        from transformers import GenerationMixin

        # Its own needs features, and takes the language only from its name.
        own = plain(self.model)
        return lambda **arguments: GenerationMixin.generate(own, **arguments)


class SeamlessM4Tv2Model(SeamlessM4TModel):
    """Adapter of SeamlessM4T version 2, speech to text."""

    parts = replace(SeamlessM4TModel.parts, model_class="SeamlessM4Tv2ForSpeechToText")
    checkpoint = "facebook/seamless-m4t-v2-large"


def _target_language(gen_args: Mapping[str, Any]) -> str:
    given = [gen_args[name] for name in _LANGUAGE_ARGUMENTS if gen_args.get(name) is not None]
    return str(given[0] if given else _ENGLISH).replace("__", "")
