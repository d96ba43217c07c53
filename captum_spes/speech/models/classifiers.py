"""Audio classifiers: the class that a model tells is its whole output, one token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.speech.models.capabilities import (
    SpeechInput,
    TargetSequence,
    Transcribes,
    can,
)
from captum_spes.speech.models.compatibility import plain
from captum_spes.speech.models.filterbanks import FilterbankFeatures
from captum_spes.speech.models.huggingface import HuggingFaceAdapter, as_ids, mel_bin_centers
from captum_spes.speech.models.stacked_features import StackedFeatures
from captum_spes.speech.models.waveform import WaveformFeatures

# Kaldi's filterbanks: windows of 25 ms every 10 ms, the first one beginning with the audio.
_AST_HOP, _AST_HALF_WINDOW, _AST_LOWEST_HZ = 160, 0.0125, 20.0


class ClassifierModel(HuggingFaceAdapter):
    """Base of the adapters of audio classifiers.

    States are logits already, of one position: the whole recording.

    Args:
        model: an ``...ForSequenceClassification`` or ``...ForAudioClassification``.
        extractor: its feature extractor, or a processor that holds one.
    """

    input_name = "input_values"

    def __init__(self, model: Any, extractor: Any) -> None:
        self.labels = _Labels(self.names_of(model))
        own = getattr(extractor, "feature_extractor", extractor)
        super().__init__(model, SimpleNamespace(feature_extractor=own, tokenizer=self.labels))

    def names_of(self, model: Any) -> list[str]:
        """Names of the classes that a model tells, by their number."""
        names = model.config.id2label
        return [str(names[number]) for number in sorted(names)]

    @property
    def classes(self) -> list[str]:
        """Names of the classes, by their number."""
        return self.labels.names

    # Forward passes --------------------------------------------------------------------

    def encode(self, speech: SpeechInput, spectrograms: Tensor) -> Tensor:
        features = self.model_features(speech, spectrograms.to(self.device))
        heard = self.model(**{self.input_name: features.to(self.device, self.model.dtype)})
        logits: Tensor = heard.logits
        return logits[:, None]

    def decode(self, states: Tensor, target: TargetSequence) -> Tensor:
        """See ``ScoresTokens``."""
        return states

    def output_layer(self, hidden: Tensor) -> Tensor:
        return hidden.float()

    # Targets ---------------------------------------------------------------------------

    @property
    def end_of_sentence(self) -> int:
        """There is none."""
        return -1

    def prompt_ids(self, speech: SpeechInput, gen_args: Mapping[str, Any]) -> list[int]:
        return []

    def generate(self, speech: SpeechInput, gen_args: Mapping[str, Any]) -> TargetSequence:
        """The likeliest class."""
        self.check_request(gen_args)
        with torch.no_grad(), self.evaluation_mode():
            logits = self.encode(speech, speech.spectrogram[None])
        return _class(int(logits.argmax()))

    def force(
        self, speech: SpeechInput, target: str | Sequence[int] | Tensor, gen_args: Mapping[str, Any]
    ) -> TargetSequence:
        """A class by its name or its number."""
        self.check_request(gen_args)
        if isinstance(target, str):
            return _class(self.labels.number_of(target))
        (number, *others) = as_ids("target", target, "the name of a class or ")
        if others or not 0 <= number < len(self.classes):
            raise ArgumentError(
                f"target must be the number of one of {len(self.classes)} classes, got {target!r}."
            )
        return _class(number)

    def ids_of_text(self, text: str, sequence: TargetSequence) -> Tensor:
        """See ``SpellsTexts``."""
        return _class(self.labels.number_of(text)).ids

    def check_request(self, gen_args: Mapping[str, Any]) -> None:
        if gen_args:
            raise ArgumentError(
                f"a {type(self.model).__name__} tells a class and is asked nothing: it knows no "
                f"gen_args, got {', '.join(map(repr, gen_args))}."
            )

    def transcribe(
        self, speech: SpeechInput, states: Tensor, gen_args: Mapping[str, Any]
    ) -> list[str]:
        self.check_request(gen_args)
        return [self.classes[number] for number in states[:, 0].argmax(-1).tolist()]

    # Text ------------------------------------------------------------------------------

    def token_strings(self, ids: Tensor) -> list[str]:
        return [self.classes[number] for number in ids.tolist()]

    def spelled(self, ids: Tensor) -> list[tuple[str, list[int]]]:
        return [(label, [row]) for row, label in enumerate(self.token_strings(ids))]

    def text(self, ids: Tensor) -> str:
        return " ".join(self.token_strings(ids))


def _class(number: int) -> TargetSequence:
    return TargetSequence(torch.tensor([number], device="cpu"), (0,), ())


class _Labels:
    """Classes in the place of a tokenizer.

    Args:
        names: of the classes, by their number.
    """

    all_special_ids: tuple[int, ...] = ()
    unk_token_id = None

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)

    def number_of(self, name: str) -> int:
        """That of a class; its case does not matter where that leaves one."""
        exact = [i for i, own in enumerate(self.names) if own == name]
        alike = [i for i, own in enumerate(self.names) if own.casefold() == name.casefold()]
        found = exact or alike
        if len(found) != 1:
            raise ArgumentError(
                f"the model knows no class {name!r}; it tells one of: {', '.join(self.names)}."
            )
        return found[0]


class WaveformClassifier(WaveformFeatures, ClassifierModel):
    """Adapter of classifiers of samples: wav2vec 2.0, HuBERT, WavLM and their kin."""


class StackedClassifier(StackedFeatures, ClassifierModel):
    """Adapter of classifiers of the form of wav2vec2-BERT."""

    input_name = "input_features"


class ASTClassifier(FilterbankFeatures, ClassifierModel):
    """Adapter of the Audio Spectrogram Transformer.

    Its features have one length: the rest of it, which is the same for every recording, is never
    perturbed.
    """

    family = "AST"

    def __init__(self, model: Any, extractor: Any) -> None:
        super().__init__(model, extractor)
        self.n_mel_bins = int(self.feature_extractor.num_mel_bins)
        self.frame_rate = self.sampling_rate / _AST_HOP
        self._length = int(self.feature_extractor.max_length)
        self.max_seconds: float | None = self._length / self.frame_rate

    @property
    def is_mean_zero(self) -> bool:
        return False

    @property
    def _padding(self) -> float:
        own = self.feature_extractor
        return float(-own.mean / (2 * own.std)) if own.do_normalize else 0.0

    def from_audio(self, audio: NDArray[Any]) -> SpeechInput:
        made = self.feature_extractor(audio, sampling_rate=self.sampling_rate, return_tensors="pt")
        window = round(2 * _AST_HALF_WINDOW * self.sampling_rate)
        n_frames = 1 + max(0, len(audio) - window) // _AST_HOP
        return self._speech(made["input_values"], n_frames, len(audio) / self.sampling_rate)

    def from_features(self, features: Tensor) -> SpeechInput:
        features = self.checked_features(features, self.n_mel_bins)
        is_speech = torch.nonzero((features[0] - self._padding).abs().amax(1) > 1e-5)
        n_frames = int(is_speech.max()) + 1 if len(is_speech) else features.shape[1]
        return self._speech(features, n_frames, n_frames / self.frame_rate)

    def speech_input(self, features: Tensor, seconds: float) -> SpeechInput:
        return self._speech(features, features.shape[1], seconds)

    def _speech(self, features: Tensor, n_frames: int, seconds: float) -> SpeechInput:
        features = features.to("cpu", torch.float32)
        spectrogram = features[0, :n_frames].contiguous()
        return SpeechInput(
            features=features,
            spectrogram=spectrogram,
            frame_times=torch.arange(len(spectrogram)) / self.frame_rate + _AST_HALF_WINDOW,
            mel_frequencies=mel_bin_centers(
                self.n_mel_bins, _AST_LOWEST_HZ, self.sampling_rate / 2, "kaldi"
            ),
            seconds=seconds,
        )

    def model_features(self, speech: SpeechInput, spectrograms: Tensor) -> Tensor:
        missing = self._length - spectrograms.shape[1]
        return torch.nn.functional.pad(spectrograms, (0, 0, 0, missing), value=self._padding)


# config.model_type -> adapter of its classifiers.
CLASSIFIERS: dict[str, type[ClassifierModel]] = {
    **dict.fromkeys(
        ("wav2vec2", "hubert", "wavlm", "wav2vec2-conformer", "data2vec-audio", "sew", "sew-d",
         "unispeech", "unispeech-sat"),
        WaveformClassifier,
    ),
    "wav2vec2-bert": StackedClassifier,
    "audio-spectrogram-transformer": ASTClassifier,
}  # fmt: skip


def is_classifier(model: Any) -> bool:
    """Whether a model of Hugging Face's tells a class."""
    return "Classification" in type(plain(model)).__name__


def adapt_classifier(model: Any, extractor: Any) -> Any:
    """The adapter of an audio classifier."""
    family = model.config.model_type
    if family not in CLASSIFIERS:
        raise ArgumentTypeError(
            f"cannot explain a {type(model).__name__} (model_type {family!r}); classifiers of "
            f"these families can be explained: {', '.join(CLASSIFIERS)}."
        )
    own = getattr(extractor, "feature_extractor", extractor)
    if not hasattr(own, "sampling_rate"):
        raise ArgumentTypeError(
            f"a {type(model).__name__} needs its feature extractor, for example "
            f"AutoFeatureExtractor.from_pretrained(...), got {type(extractor).__name__}."
        )
    return CLASSIFIERS[family](model, extractor)


def writes_text(adapter: object) -> bool:
    """Whether a model writes by itself what is said; one that tells a class writes nothing."""
    return can(adapter, Transcribes) and not isinstance(adapter, ClassifierModel)
