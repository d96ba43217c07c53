"""The deletion score of an explanation as lines of text."""

from __future__ import annotations

from captum_spes.speech.judgement import Judgement
from captum_spes.speech.result import SpeechToTextAttributionResult


def deletion_lines(result: SpeechToTextAttributionResult) -> list[str]:
    """The score of the map beside those of the controls; nothing where none was measured."""
    saved = result.parameters.get("deletion")
    return [] if saved is None else Judgement.from_dict(saved).text().split("\n")
