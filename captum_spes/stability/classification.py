"""Attributions of audio classifiers: ours, and those of Hugging Face."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from captum_spes.corpus import Utterance
from captum_spes.errors import ArgumentError
from captum_spes.io.audio import check_audio, load_audio
from captum_spes.speech.evaluations import Counted
from captum_spes.speech.models.waveform import Transform
from captum_spes.speech.running import attribute_side
from captum_spes.speech.sides import Run, Side
from captum_spes.stability.classifier import SpeechClassifier
from captum_spes.stability.methods import StudyMethod
from captum_spes.stability.models import Attributed, class_of
from captum_spes.stability.units import View

_BATCH = 16
# Of the short-time Fourier transform that a waveform model's spectrogram is in the study: windows,
# and transforms, of 25 ms every 20 ms.
_HOP_SECONDS, _TRANSFORM_SECONDS = 0.02, 0.025


class Representation(NamedTuple):
    """An utterance at one stage.

    Attributes:
        values: ``(1, time, ...)``.
        frame_rate: entries per second.
        start: seconds, the middle of the first.
        spectrogram: ``(time, freq)``, the same for all models; None where there is no frequency.
    """

    values: Tensor
    frame_rate: float
    start: float
    spectrogram: Tensor | None = None


class Stages(Protocol):
    """A classifier that can be entered at several stages."""

    @property
    def sampling_rate(self) -> int: ...

    @property
    def inputs(self) -> tuple[str, ...]: ...

    @property
    def classes(self) -> Mapping[str, Sequence[str]]: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def network(self) -> torch.nn.Module: ...

    def represent(self, waveform: Tensor, stage: str) -> Representation:
        """``(samples,)``, on the CPU, as the values of a stage."""
        ...

    def logits(self, values: Tensor, stage: str, task: str) -> Tensor:
        """``(batch, time, ...)`` to ``(batch, classes)``."""
        ...


class ClassifierModel:
    """Explains what a classifier says.

    Gradients, ablation and Lime explain the logit of the right class, as the study did; SPES and
    "feature-ablation-kl" how far the distribution over all classes moves.
    """

    def __init__(self, stages: Stages) -> None:
        self._stages = stages
        self.inputs = stages.inputs
        self.tasks = tuple(stages.classes)

    def view(self, utterance: Utterance, stage: str) -> View:
        samples = load_audio(utterance.file, self._stages.sampling_rate)
        check_audio(samples, self._stages.sampling_rate, None)
        waveform = torch.from_numpy(samples)
        with torch.no_grad():
            found = self._stages.represent(waveform, stage)
            # The study's baseline: what the model makes of silence.
            silence = self._stages.represent(torch.zeros_like(waveform), stage)
        return View(
            input=stage,
            values=found.values[0].cpu(),
            baseline=silence.values[0].cpu(),
            frame_rate=found.frame_rate,
            spectrogram=None if found.spectrogram is None else found.spectrogram.cpu(),
            start=found.start,
        )

    def is_right(self, utterance: Utterance, task: str) -> float:
        """1 where the model finds the class, otherwise 0."""
        view = self.view(utterance, "waveform")
        with torch.no_grad():
            waveform = view.values[None].to(self._stages.device)
            logits = self._stages.logits(waveform, "waveform", task)
        return float(int(logits.argmax()) == self._target(utterance, task))

    def attribute(
        self,
        view: View,
        utterance: Utterance,
        task: str,
        method: StudyMethod,
        masks: list[Tensor],
        seed: int,
    ) -> Attributed:
        counted = Counted(lambda values: self._stages.logits(values, view.input, task)[:, None])
        settings, runner = method.settings, method.entry.runner
        assert runner is not None
        # Gradients perturb nothing, for which a single patch will do.
        cut = masks or [torch.zeros(view.values.shape, dtype=torch.int64, device="cpu")]
        side = Side(
            name=view.input,
            inputs=view.values[None],
            baselines=view.baseline[None],
            feature_masks=[mask[None] for mask in cut],
            hidden_func=counted,
            n_samples=settings.n_samples,
            perturb_prob=settings.perturb_prob,
            estimator=settings.estimator,
            frame_rate=view.frame_rate,
            method_args=dict(settings.method_args.get("spectrogram", {})),
        )
        run = Run(
            token_ids=torch.tensor([self._target(utterance, task)]),
            score=method.score_of_class(),
            seed=seed,
            device=self._stages.device,
            output_layer=lambda logits: logits,
            perturbations_per_eval=_BATCH,
        )
        asked = _Asked(self._stages.network, counted)
        maps = attribute_side(method.make(asked), runner, side, run).maps
        return Attributed(maps, counted.n_evaluated * method.passes_per_evaluation)

    def _target(self, utterance: Utterance, task: str) -> int:
        name, classes = class_of(utterance, task), self._stages.classes[task]
        if name not in classes:
            raise ArgumentError(
                f"{utterance.id} has the {task} {name!r}, which the model does not know: "
                f"{', '.join(classes)}. (Of a model of Hugging Face, id2label in its config.json "
                "names them.)"
            )
        return list(classes).index(name)


class _Asked(torch.nn.Module):
    """A forward function beside the network that it runs: methods that give rules to layers look
    for these."""

    def __init__(self, network: torch.nn.Module, forward_func: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network = network
        self._forward_func = forward_func
        self.training = network.training

    def forward(self, values: Tensor) -> Tensor:
        return self._forward_func(values)


class OurStages:
    """The stages of :class:`SpeechClassifier`."""

    inputs = ("waveform", "spectrogram", "encoder")

    def __init__(self, model: SpeechClassifier) -> None:
        self.network = self._model = model.eval()
        self.sampling_rate = model.config.sampling_rate
        self.classes = model.config.classes
        self.device = model.mean.device

    def represent(self, waveform: Tensor, stage: str) -> Representation:
        waveform = waveform.to(self.device)
        if stage == "waveform":
            return _samples(waveform[None], self.sampling_rate)
        model = self._model
        # Frames are centred: the first one on the first sample.
        spectrogram = model.spectrogram(waveform[None])
        if stage == "spectrogram":
            energies = spectrogram[0] * model.deviation + model.mean
            return Representation(spectrogram, model.frame_rate, 0.0, energies)
        return Representation(model.encoder_input(spectrogram), model.frame_rate / 2, 0.0)

    def logits(self, values: Tensor, stage: str, task: str) -> Tensor:
        if stage == "waveform":
            values = self._model.spectrogram(values)
        if stage != "encoder":
            values = self._model.encoder_input(values)
        return self._model.classify(values)[task]


class HuggingFaceStages:
    """The stages of a classifier of waveforms: wav2vec2, HuBERT, WavLM, UniSpeech and others.

    The spectrogram is the complex short-time Fourier transform, ``(time, freq, 2)``, which the
    model takes through its inverse; the encoder input is the output of the convolutions.
    """

    inputs = ("waveform", "spectrogram", "encoder")

    def __init__(self, model: Any, extractor: Any, task: str) -> None:
        self.network = self._model = model.eval()
        self._extractor = extractor
        self._convolutions: Any = getattr(model.base_model, "feature_extractor", None)
        if self._convolutions is None:
            raise ArgumentError(
                f"{type(model).__name__} does not take waveforms as wav2vec2 does; supported are "
                "audio classifiers whose encoder has a feature_extractor of convolutions."
            )
        self.sampling_rate = int(extractor.sampling_rate)
        self._transform = Transform.of(self.sampling_rate, _HOP_SECONDS, _TRANSFORM_SECONDS)
        self.device = model.device
        names = model.config.id2label
        self.classes = {task: [names[number] for number in sorted(names)]}

    def represent(self, waveform: Tensor, stage: str) -> Representation:
        samples = self._extractor(
            waveform.numpy(), sampling_rate=self.sampling_rate, return_tensors="pt"
        )["input_values"].to(self.device)
        if stage == "waveform":
            return _samples(samples, self.sampling_rate)
        if stage == "spectrogram":
            spectra = torch.view_as_real(self._transform.forward(samples))
            energies = torch.log(spectra.pow(2).sum(-1) + 1e-6)
            return Representation(
                spectra, self.sampling_rate / self._transform.hop, 0.0, energies[0]
            )
        states = self._convolutions(samples).transpose(1, 2)
        frame_rate = states.shape[1] * self.sampling_rate / samples.shape[1]
        return Representation(states, frame_rate, 0.5 / frame_rate)

    def logits(self, values: Tensor, stage: str, task: str) -> Tensor:
        if stage == "encoder":
            return self._from_convolutions(values)
        if stage == "spectrogram":
            n_samples = (values.shape[1] - 1) * self._transform.hop
            spectra = torch.view_as_complex(values.contiguous())
            values = self._transform.backward(spectra, n_samples)
        logits: Tensor = self._model(values).logits
        return logits

    def _from_convolutions(self, states: Tensor) -> Tensor:
        # What the convolutions make of these samples is replaced.
        handle = self._convolutions.register_forward_hook(
            lambda module, args, output: states.transpose(1, 2)
        )
        # Long enough for the convolutions to have an output at all.
        samples = states.new_zeros(len(states), 2 * self._transform.length)
        try:
            logits: Tensor = self._model(samples).logits
            return logits
        finally:
            handle.remove()


def _samples(waveform: Tensor, sampling_rate: int) -> Representation:
    return Representation(waveform, float(sampling_rate), 0.5 / sampling_rate)
