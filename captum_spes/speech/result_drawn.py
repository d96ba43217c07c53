"""What pictures of an explanation have in common: spoken words, and why maps are not to be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from captum_spes.plotting import SpokenWord
from captum_spes.speech.noise import doubt, is_mostly_noise, rests_on_audio
from captum_spes.text import visible

if TYPE_CHECKING:
    from captum_spes.maps import Maps
    from captum_spes.speech.contrast_maps import ContrastMaps
    from captum_spes.speech.phrase_maps import PhraseMaps
    from captum_spes.speech.reliability import Reliability
    from captum_spes.speech.result import SpeechToTextAttributionResult, Word
    from captum_spes.speech.settings import Settings


class DrawnResult:
    """What of :class:`SpeechToTextAttributionResult` its pictures read."""

    if TYPE_CHECKING:
        output_tokens: list[str]
        previous_tokens: list[str]
        instruction_tokens: list[str]
        spectrogram: Tensor
        spectrogram_attr: Tensor
        token_attr: Tensor | None
        instruction_attr: Tensor | None
        frame_times: Tensor
        mel_frequencies: Tensor
        words: list[Word]
        text: str
        method: str
        parameters: dict[str, Any]
        settings: Settings

        def _normalized(self, tokens: slice) -> Maps: ...
        def sentence_attr(self, *, normalized: bool = True) -> Maps: ...
        def phrase_attr(self, *, normalized: bool = True) -> PhraseMaps: ...
        def reliability(self) -> Reliability: ...
        def contrast_attr(self) -> ContrastMaps: ...
        def _contrast(self) -> dict[str, Any]: ...

    def _spoken(self, explained: Sequence[int]) -> list[SpokenWord]:
        """The words whose times are known; those with one of the explained tokens are marked."""
        tokens = set(explained)
        return [
            SpokenWord(word.word, word.start, word.end, not tokens.isdisjoint(word.token_indices))
            for word in self.words
            if word.start is not None and word.end is not None
        ]

    def _doubt(self, of: str, row: int, tokens: Sequence[int] = ()) -> str:
        """Why one of the maps of tokens, of words or of the sentence is not to be read; empty where
        it is, or where that is not known. A sentence names no tokens: some rest on the audio."""
        is_noise = False
        if "reliability" in self.parameters:
            shares = torch.as_tensor(getattr(self.reliability(), of)).reshape(-1)
            is_noise = is_mostly_noise(float(shares[row]))
        result = cast("SpeechToTextAttributionResult", self)
        return doubt(not tokens or rests_on_audio(result, tokens), is_noise)


def shown_token(token: str) -> str:
    """A token as a label: a space that starts a word must be seen."""
    return visible(token.replace(" ", "␣")) if token.strip() else repr(token)
