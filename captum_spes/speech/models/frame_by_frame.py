"""What CTC models and transducers have in common: they write as the speech goes on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from captum_spes.errors import ArgumentError
from captum_spes.speech.models.capabilities import SpeechInput, TargetSequence
from captum_spes.speech.models.huggingface import HuggingFaceAdapter, as_ids

_APOSTROPHES = ("'", "\N{RIGHT SINGLE QUOTATION MARK}")
# In how many frames what speaks for a token falls to a third, beside its run.
_REACH = 3.0


class FrameByFrameModel(HuggingFaceAdapter):
    """Base of the adapters of models that write a token, or a blank, from states of the encoder.

    They have no prompt and no end of sentence, and are asked nothing.

    Attributes:
        blank: the id of the blank.
    """

    blank: int

    def __init__(self, model: Any, processor: Any) -> None:
        super().__init__(model, processor)
        self.processor = processor

    @abstractmethod
    def states_of(self, speech: SpeechInput) -> int:
        """How many states the encoder has of the speech."""

    @property
    def end_of_sentence(self) -> int:
        """There is none: the blank, which is in no output."""
        return self.blank

    def prompt_ids(self, speech: SpeechInput, gen_args: Mapping[str, Any]) -> list[int]:
        return []

    def check_request(self, gen_args: Mapping[str, Any]) -> None:
        if gen_args:
            raise ArgumentError(
                f"a {type(self.model).__name__} takes the likeliest token of each frame and is "
                f"asked nothing: it knows no gen_args, got {', '.join(map(repr, gen_args))}."
            )

    def given_ids(self, target: str | Sequence[int] | Tensor) -> list[int]:
        """A given text, or given ids, as ids without blanks."""
        ids = (
            self._ids_of_text(target)
            if isinstance(target, str)
            else as_ids("target", target, "a text or ")
        )
        self._check_ids(ids)
        if self.blank in ids:
            raise ArgumentError(f"target ids hold the blank ({self.blank}); leave it out: {ids}.")
        return ids

    def ids_of_text(self, text: str, sequence: TargetSequence) -> Tensor:
        """See ``SpellsTexts``."""
        return torch.tensor(self.given_ids(text), dtype=torch.int64, device="cpu")

    def alignment(self, speech: SpeechInput, target: TargetSequence) -> Tensor:
        """See ``AlignsTokens``: the nearer to the frames that a token is written in, the more."""
        frames = torch.arange(self.states_of(speech), dtype=torch.float32, device="cpu")
        distances = [
            torch.maximum(run[0] - frames, frames - run[-1]).clamp_min(0) for run in target.frames
        ]
        return torch.exp(-torch.stack(distances)[None] / _REACH)

    # Text ------------------------------------------------------------------------------

    def text_ids(self, text: str) -> list[int]:
        """In the case that the vocabulary is in, where it is in one only."""
        spellings = (text, text.upper(), text.lower())
        unknown = self.tokenizer.unk_token_id
        found = [self._encoded(spelling) for spelling in spellings]
        return min(found, key=lambda ids: ids.count(unknown))

    def _encoded(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def token_strings(self, ids: Tensor) -> list[str]:
        tokens = self.tokenizer.convert_ids_to_tokens(ids.tolist())
        between = getattr(self.tokenizer, "word_delimiter_token", None)
        # Phones are written apart, and none of them spells a word.
        ahead = " " if hasattr(self.tokenizer, "phone_delimiter_token") else ""
        return [
            " " if token == between else ahead + str(token).replace("▁", " ") for token in tokens
        ]

    def is_text(self, ids: Tensor) -> list[bool]:
        special = {self.blank, *self.tokenizer.all_special_ids}
        # Some tokenizers count what stands between words among their special tokens.
        between = getattr(self.tokenizer, "word_delimiter_token_id", None)
        return [i == between or i not in special for i in ids.tolist()]

    def spelled(self, ids: Tensor) -> list[tuple[str, list[int]]]:
        """With an apostrophe that is a token of its own, within a word, put to what is before."""
        pieces: list[tuple[str, list[int]]] = []
        for text, rows in super().spelled(ids):
            before, known = pieces[-1] if pieces else (" ", [])
            if text in _APOSTROPHES and not before.endswith(" "):
                pieces[-1] = (before + text, [*known, *rows])
            else:
                pieces.append((text, rows))
        return pieces

    def text(self, ids: Tensor) -> str:
        kept = [i for i, is_text in zip(ids.tolist(), self.is_text(ids), strict=True) if is_text]
        # Equal neighbours are two letters here, no longer two frames of one.
        return str(self.tokenizer.decode(kept, group_tokens=False)).strip() if kept else ""
