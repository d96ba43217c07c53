"""Is the map of one clip better than no map? Its deletion score beside those of controls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from captum_spes.errors import ArgumentError, instance_of, whole_number
from captum_spes.metrics.curves import auc
from captum_spes.metrics.deletion import percentages_of, perturbed
from captum_spes.metrics.hearing import Hearing, adapter_of, check_kept, explained_sequence
from captum_spes.metrics.measured_curve import text_curve
from captum_spes.metrics.text import suitable_metric
from captum_spes.speech import SpeechToTextAttribution, SpeechToTextAttributionResult
from captum_spes.speech.ambient import ordinary_torch
from captum_spes.speech.inputs import read_speech
from captum_spes.speech.judgement import OF_TOKENS, Judgement
from captum_spes.speech.models import SpeechModel, writes_text

if TYPE_CHECKING:
    from captum_spes.speech.inputs import Audio


def judge(
    explainer_or_model: SpeechToTextAttribution | SpeechModel,
    result: SpeechToTextAttributionResult,
    audio: Audio,
    *,
    step: float = 0.05,
    seed: int = 0,
    batch_size: int | None = None,
) -> Judgement:
    r"""
    Measure one explanation by deletion, beside the loudest cells and a random order.

    The most salient cells of the sentence's map are removed, 5 % more at each step, and the model
    writes anew; the reference is the text that was explained. Where the model would not write that
    text by itself (a given target, a window of a long recording, a class) its tokens are forced and
    their divergence is measured. One clip tells little of a method: ``captum_spes.evaluation``
    compares methods on many.

    Args:

        explainer_or_model (SpeechToTextAttribution or SpeechModel): The explainer, or its adapter.
        result (SpeechToTextAttributionResult): The explanation.
        audio (path, array, ...): What was explained; of a window its samples.
        step (float, optional): Share of the cells per step; it must divide 1.
                    Default: 0.05
        seed (int, optional): Of the random order.
                    Default: 0
        batch_size (int, optional): Steps per forward pass.
                    Default: None, all at once

    Returns:
        *Judgement*

    Raises:
        ArgumentError: the explanation is a contrast, which has a map for a choice and not for a
            text, or is of another recording.

    Examples::

        >>> judge(explainer, result, "speech.flac", step=0.25).metric
        'kl'
    """
    instance_of("result", result, SpeechToTextAttributionResult, "an explanation")
    percentages, seed = percentages_of(step), whole_number("seed", seed, 0)
    if "contrast" in result.parameters:
        raise ArgumentError(
            "deletion judges explanations of what was written: a contrast explains a choice."
        )
    adapter = adapter_of(explainer_or_model)
    check_kept(result.settings.gen_args)
    with ordinary_torch(adapter.device):
        speech = read_speech(adapter, audio, adapter.sampling_rate)
        generator = torch.Generator("cpu").manual_seed(seed)
        shape = speech.spectrogram.shape
        maps = [
            result.sentence_attr().spectrogram_attr,
            speech.spectrogram,
            torch.rand(*shape, generator=generator, device="cpu"),
        ]
        metric = suitable_metric([result.text]) if _writes(adapter, result) else OF_TOKENS

        def area(saliency: Tensor) -> float:
            steps = perturbed(speech, saliency, result.removed, percentages)
            return _area(Hearing(adapter, speech, steps, batch_size), result, metric, percentages)

        return Judgement(metric, *map(area, maps))


def _writes(adapter: Any, result: SpeechToTextAttributionResult) -> bool:
    """Whether the model writes the explained text by itself, given the whole of the audio."""
    is_own = result.parameters.get("target") != "given" and "window" not in result.parameters
    return is_own and writes_text(adapter) and bool(result.text.split())


def _area(
    hearing: Hearing, result: SpeechToTextAttributionResult, metric: str, percentages: list[int]
) -> float:
    if metric == OF_TOKENS:
        losses = hearing.graded(explained_sequence(result))[OF_TOKENS]
        return auc(percentages, np.asarray(losses).mean(1).tolist())
    texts = hearing.transcripts(result.settings.gen_args, result.seed)
    return text_curve("deletion", metric, percentages, [result.text], [texts]).auc
