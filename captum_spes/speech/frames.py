"""Scores of models that write a token in several frames."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from captum_spes.forward import CTC, OverFrames, Score
from captum_spes.speech.models import TargetSequence


def for_output(score: Score, adapter: Any, sequence: TargetSequence) -> tuple[Score, Tensor]:
    """A score of what ``decode`` returns, or of all frames, and the ids that it is given.

    Args:
        score: the user's, or a default.
        adapter: of the model.
        sequence: what was written.
    """
    if isinstance(score, CTC) and score.blank is None:
        score = replace(score, blank=adapter.blank)
    if reads_all_frames(score):
        return score, sequence.explained_ids
    if sequence.rows == tuple(range(len(sequence.explained))):
        return score, sequence.explained_ids
    return OverFrames(score, sequence.rows), sequence.row_ids


def reads_all_frames(score: object) -> bool:
    """Whether a score is given the logits of all frames, blanks among them."""
    return bool(getattr(score, "reads_all_frames", False))
