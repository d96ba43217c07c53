"""What a model makes of the sound of an explanation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.errors import ArgumentError, ArgumentTypeError, function
from captum_spes.io.sound import Sound
from captum_spes.metrics.hearing import Hearing, adapter_of, check_kept, explained_sequence
from captum_spes.metrics.text import corpus_score, suitable_metric
from captum_spes.speech import SpeechToTextAttribution, SpeechToTextAttributionResult
from captum_spes.speech.ambient import ordinary_torch
from captum_spes.speech.heard import Heard, heard_sounds
from captum_spes.speech.inputs import read_speech
from captum_spes.speech.listening import listened, recording_of, salient_cells
from captum_spes.speech.models import SpeechModel, writes_text


@dataclass(frozen=True, eq=False)
class SoundFaithfulness:
    """How far the sound of an explanation is to the model what the explanation marks.

    Attributes:
        text: what was explained.
        written: what the model writes when it hears the sound; None where it writes nothing of its
            own.
        error_rate: of ``written`` against ``text``, percent.
        metric: "wer", or "cer" in scripts without spaces.
        divergences: ``(K,)``: of each explained token, in nats: how far the model's expectation
            moves where it hears the sound and not the recording, given the tokens before.
        correlation: of the features of the sound with those of the recording, over the cells that
            are in the sound.
        difference: the root mean square of how far they differ there, divided by the standard
            deviation of the recording's features over all cells.
        outside: the same of the cells that are not in the sound, which are silent in it as far as
            transforms can part them: about 0 where they are heard all the same, as those between
            cells that are scattered.
        share: of the cells that are in the sound.
        what: whose map it is: "the sentence", or a word or token in quotes.
        keep: share of the cells of that map that were marked.
        complement: whether all but them is heard.
    """

    text: str
    written: str | None
    error_rate: float
    metric: str
    divergences: NDArray[np.float64]
    correlation: float
    difference: float
    outside: float
    share: float
    what: str = "the sentence"
    keep: float = 1.0
    complement: bool = False

    @property
    def divergence(self) -> float:
        """The mean over the tokens, in nats."""
        return float(self.divergences.mean())

    def added_to(self, result: SpeechToTextAttributionResult) -> SpeechToTextAttributionResult:
        r"""
        An explanation that knows it: a line of its page, and saved with it.

        Args:

            result (SpeechToTextAttributionResult): The explanation whose sound was heard.

        Returns:
            *SpeechToTextAttributionResult*: a new one, with one more entry of
            ``parameters["heard"]``, or another one where the same was heard before; the given one
            stays as it is. The error rate is kept where the model wrote the text by itself.

        Examples::

            >>> heard = sound_faithfulness(explainer, result, audio="speech.flac")
            >>> told = heard.added_to(result)
            >>> told.parameters["heard"][0]["keep"]
            0.2
        """
        # Of a text that the model did not write, errors say nothing of the sound.
        is_own = result.parameters.get("target") != "given" and "contrast" not in result.parameters
        has_rate = is_own and not np.isnan(self.error_rate)
        rate = float(self.error_rate) if has_rate else None
        own = Heard(
            self.what, self.keep, self.complement, self.written, self.metric, rate, self.divergence
        )
        asked = own[:3]
        others = [heard for heard in heard_sounds(result.parameters) if heard[:3] != asked]
        heard = [one._asdict() for one in (*others, own)]
        return replace(result, parameters={**result.parameters, "heard": heard})

    def __str__(self) -> str:
        written = (
            "the model writes nothing of its own"
            if self.written is None
            else f"the model writes: {self.written}\n{self.metric} against what was explained: "
            f"{self.error_rate:.1f} %"
        )
        return (
            f"{written}\ndivergence of the explained tokens: {self.divergence:.3f} nats per token\n"
            f"features in the {self.share:.0%} of the cells that are heard: correlation "
            f"{self.correlation:.3f}, difference {self.difference:.3f} standard deviations"
            + ("" if np.isnan(self.outside) else f"; in the others {self.outside:.3f}")
        )


def sound_faithfulness(
    explainer_or_model: SpeechToTextAttribution | SpeechModel,
    result: SpeechToTextAttributionResult,
    token: int | None = None,
    keep: float = 0.2,
    *,
    text_normalizer: Callable[[str], str] | None = None,
    **options: Any,
) -> SoundFaithfulness:
    r"""
    Let the model hear what ``result.listen`` gives, and compare it with what was explained.

    A sound is no masked spectrogram: transforms overlap, mel bins do, and what is left out is
    silent, where explanations put the removed value. This says how much of the explanation is left
    in it.

    Args:

        explainer_or_model (SpeechToTextAttribution or SpeechModel): An explainer, or an adapter
                    (``explainer.adapter``), of the model that was explained.
        result (SpeechToTextAttributionResult): The explanation.
        token (int, optional): Default: None, the sentence
        keep (float, optional): Default: 0.2
        text_normalizer (Callable, optional): Applied to both texts before they are compared, for
                    example transformers' ``BasicTextNormalizer()``.
                    Default: None, texts as they are
        **options (Any): ``word``, ``occurrence``, ``complement``, ``audio`` and ``sampling_rate``,
                    as for ``result.listen``.

    Returns:
        *SoundFaithfulness*; print it for a summary.

    Raises:
        ArgumentError: as ``result.listen``; or the model makes other features of the recording than
            those that were explained.
        ArgumentTypeError: an argument is unknown or has the wrong type.
        ImportError: editdistance is not installed.

    Examples::

        >>> heard = sound_faithfulness(explainer, result, keep=0.4, audio="speech.flac")
        >>> len(heard.divergences) == len(result.output_tokens)
        True
        >>> whole = sound_faithfulness(explainer, result, keep=1.0, audio="speech.flac")
        >>> bool(whole.divergence < 1e-6), whole.difference < 1e-3
        (True, True)
    """
    adapter = adapter_of(explainer_or_model)
    if not isinstance(result, SpeechToTextAttributionResult):
        raise ArgumentTypeError(f"result must be an explanation, got {type(result).__name__}.")
    if text_normalizer is not None:
        function("text_normalizer", text_normalizer)
    given = _Options.of(options)
    gen_args = result.settings.gen_args
    check_kept(gen_args)
    cells = salient_cells(result, token, keep, given.word, given.occurrence)
    sound = listened(result, cells, given.complement, given.audio, given.sampling_rate)
    recording = Sound(
        *recording_of(result.parameters, result.seconds, given.audio, given.sampling_rate)
    )
    with ordinary_torch(adapter.device), torch.no_grad(), adapter.evaluation_mode():
        intact, heard = (_speech(adapter, own) for own in (recording, sound))
        if intact.spectrogram.shape != result.spectrogram.shape:
            raise ArgumentError(
                f"the model makes features of shape {tuple(intact.spectrogram.shape)} of the "
                f"recording, and those that were explained are {tuple(result.spectrogram.shape)}: "
                "give the model that was explained."
            )
        states = adapter.encode(heard, heard.spectrogram[None])
        hearing = Hearing.of_states(adapter, intact, [states])
        divergences = hearing.graded(explained_sequence(result))["kl"][0]
        is_written = writes_text(adapter)
        written = hearing.transcripts(gen_args, result.seed)[0].strip() if is_written else None
    in_sound = cells ^ given.complement
    correlation, difference = _closeness(intact.spectrogram, heard.spectrogram, in_sound)
    _, outside = _closeness(intact.spectrogram, heard.spectrogram, ~in_sound)
    metric, error_rate = _errors(result.text, written, text_normalizer or str)
    return SoundFaithfulness(
        result.text,
        written,
        error_rate,
        metric,
        divergences,
        correlation,
        difference,
        outside,
        float(in_sound.float().mean()),
        _named(result, token, given),
        float(keep),
        given.complement,
    )


@dataclass(frozen=True)
class _Options:
    """What ``result.listen`` takes by name."""

    word: str | int | None = None
    occurrence: int = 1
    complement: bool = False
    audio: Any = None
    sampling_rate: int = 16_000

    @classmethod
    def of(cls, options: dict[str, Any]) -> _Options:
        try:
            return cls(**options)
        except TypeError as error:
            known = ", ".join(cls.__dataclass_fields__)
            raise ArgumentTypeError(
                f"sound_faithfulness takes {known} besides, got {', '.join(options)}."
            ) from error


def _named(result: SpeechToTextAttributionResult, token: int | None, given: _Options) -> str:
    if "contrast" in result.parameters:
        contrast = result.parameters["contrast"]
        return f"“{contrast['word']}” or “{contrast['foil']}”"
    if token is not None:
        return f"“{result.output_tokens[token].strip()}”"
    if given.word is None:
        return "the sentence"
    text = given.word if isinstance(given.word, str) else result.words[given.word].word
    return f"“{text.strip()}”"


def _speech(adapter: Any, sound: Sound) -> Any:
    return read_speech(adapter, (sound.sampling_rate, sound.samples), adapter.sampling_rate)


def _closeness(intact: Tensor, heard: Tensor, cells: Tensor) -> tuple[float, float]:
    """Correlation of features over cells, and their relative difference."""
    n_frames = min(len(intact), len(heard))
    first, second = (features[:n_frames].double() for features in (intact, heard))
    chosen = cells[:n_frames]
    if not chosen.any():
        return float("nan"), float("nan")
    one, other = first[chosen], second[chosen]
    scale = float(intact.double().std(correction=0))
    difference = float((one - other).square().mean().sqrt())
    parts = torch.stack([one, other]) - torch.stack([one.mean(), other.mean()])[:, None]
    sizes = parts.square().sum(1).sqrt()
    is_constant = bool((sizes <= 1e-9 * (1 + one.abs().max())).any())
    correlation = float("nan") if is_constant else float((parts[0] @ parts[1]) / sizes.prod())
    return correlation, difference / scale if scale > 0 else float("nan")


def _errors(text: str, written: str | None, normalize: Callable[[str], str]) -> tuple[str, float]:
    metric = suitable_metric([text]).removesuffix("_capped")
    reference = normalize(text)
    if written is None or not reference.split():
        return metric, float("nan")
    return metric, corpus_score([reference], [normalize(written)], metric)
