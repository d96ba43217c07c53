"""What pictures of an explanation have in common: its spoken words, and which maps are noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from captum_spes.plotting import SpokenWord
from captum_spes.speech.noise import is_mostly_noise
from captum_spes.text import visible

if TYPE_CHECKING:
    from captum_spes.maps import Maps
    from captum_spes.speech.contrast_maps import ContrastMaps
    from captum_spes.speech.phrase_maps import PhraseMaps
    from captum_spes.speech.reliability import Reliability
    from captum_spes.speech.result import Word
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

    def _noise(self, of: str, n_maps: int) -> list[bool]:
        """Whether each map is mostly sampling noise; where that is not known, it is not."""
        if "reliability" not in self.parameters:
            return [False] * n_maps
        shares = torch.as_tensor(getattr(self.reliability(), of)).reshape(-1)
        return [is_mostly_noise(share) for share in shares.tolist()]


def shown_token(token: str) -> str:
    """A token as a label: a space that starts a word must be seen."""
    return visible(token.replace(" ", "␣")) if token.strip() else repr(token)
