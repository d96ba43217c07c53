"""Encoder-decoders that write after a prompt of tokens."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from captum_spes.errors import ArgumentError
from captum_spes.speech.models.capabilities import SpeechInput, TargetSequence
from captum_spes.speech.models.encoder_decoder import HuggingFaceSpeechModel


class PromptedModel(HuggingFaceSpeechModel):
    """Base of the adapters of encoder-decoders that generate after a prompt, one window at a time,
    with a SentencePiece-like tokenizer."""

    @abstractmethod
    def prompt_and_outputs(
        self, speech: SpeechInput, start: dict[str, Any], gen_args: Mapping[str, Any]
    ) -> tuple[list[int], Any]:
        """Generate a batch: the prompt of all rows, and what the model returned."""

    def generate(self, speech: SpeechInput, gen_args: Mapping[str, Any]) -> TargetSequence:
        prompt, output = self.prompt_and_outputs(speech, self.heard(speech.features), gen_args)
        return self._sequence(prompt, self._after_prompt(output, prompt)[0])

    def transcribe(
        self, speech: SpeechInput, states: Tensor, gen_args: Mapping[str, Any]
    ) -> list[str]:
        prompt, output = self.prompt_and_outputs(speech, self.encoded(states), gen_args)
        outputs = self._after_prompt(output, prompt)
        return [self.text(torch.tensor(ids, dtype=torch.int64)) for ids in outputs]

    def _after_prompt(self, output: Any, prompt: list[int]) -> list[list[int]]:
        """What generated sequences hold after their prompt, up to the end of sentence."""
        sequences = output if isinstance(output, Tensor) else output.sequences
        rows = []
        for row in sequences:
            ids = [int(i) for i in row]
            if ids[: len(prompt)] != prompt:
                raise ArgumentError(
                    f"the model's output {ids} does not start with its prompt {prompt}; check "
                    "model.generation_config and gen_args."
                )
            ids, end = ids[len(prompt) :], self.end_of_sentence
            rows.append(ids[: ids.index(end) + 1] if end in ids else ids)
        return rows

    def token_strings(self, ids: Tensor) -> list[str]:
        tokens = self.tokenizer.convert_ids_to_tokens(ids.tolist())
        return [str(token).replace("▁", " ") for token in tokens]

    def with_length(self, gen_args: Mapping[str, Any]) -> Mapping[str, Any]:
        """Let the model write to the end: transformers alone would stop after 20 tokens."""
        config = self.model.generation_config
        lengths = ("max_length", "max_new_tokens")
        if any(name in gen_args or getattr(config, name, None) is not None for name in lengths):
            return gen_args
        return {**gen_args, "max_length": self.max_target_tokens}
