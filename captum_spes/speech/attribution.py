"""Explaining what a speech-to-text model writes, token by token."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, partial
from typing import Any, Final

import torch
from captum.attr import Attribution
from torch import Tensor

from captum_spes.attr import SPES, Estimator, GaussianProcess, MaskDesign, MaskedMean
from captum_spes.attr.designs import resolve_seed
from captum_spes.attr.segmentation import FeatureMaskLevels
from captum_spes.errors import ArgumentError
from captum_spes.forward import KL, Score, TokenProbability
from captum_spes.io.provenance import versions
from captum_spes.maps import Maps, group_words
from captum_spes.masks import describe_levels
from captum_spes.speech.ambient import check_differentiable, ordinary_torch
from captum_spes.speech.certainty import Certainty
from captum_spes.speech.inputs import Audio, read_speech, removed_value
from captum_spes.speech.methods import check_settings, runner_of
from captum_spes.speech.models import (
    AdapterFactory,
    Generates,
    ReadsPreviousTokens,
    SpeechInput,
    SpeechModel,
    TargetSequence,
    adapt,
    require,
)
from captum_spes.speech.patches import feature_masks
from captum_spes.speech.randomness import seeded_draws
from captum_spes.speech.reliability import sampling_quality, warn_if_noise
from captum_spes.speech.result import SpeechToTextAttributionResult, Word
from captum_spes.speech.running import attribute_jointly, attribute_side
from captum_spes.speech.settings import Settings
from captum_spes.speech.sides import Run, Side, SideMaps
from captum_spes.speech.utterance_methods import SpeechAttribution

SCHEMES = {"paper": Settings.paper, "efficient": Settings.efficient}


class Unset(enum.Enum):
    """Stands for a keyword that was not given: the settings decide."""

    UNSET = "from settings"

    def __repr__(self) -> str:
        return "<from settings>"


UNSET: Final = Unset.UNSET
_NAMES = [field.name for field in fields(Settings)]


class SpeechToTextAttribution:
    r"""
    Explains every token that a speech-to-text model writes: which time-frequency patterns
    of the spectrogram and which previous tokens it rested on.

    The counterpart of ``captum.attr.LLMAttribution`` for encoder-decoder speech models.
    The spectrogram and the previous tokens are perturbed separately (arXiv 2411.01710,
    section 4.1), all tokens are scored in one teacher-forced pass, and the encoder runs
    once for all perturbations of previous tokens.

    It keeps no state: one explainer can be used from several threads. The model comes
    back as it was (mode, hooks, dtype, gradients), also after an error.
    """

    def __init__(
        self,
        attr_method: Attribution,
        processor: Any,
        *,
        adapter: AdapterFactory | SpeechModel | None = None,
    ) -> None:
        r"""
        Args:

            attr_method (Attribution): A Captum method made with the model: ``SPES(model)``,
                        or ``Saliency``, ``InputXGradient``, ``IntegratedGradients``,
                        ``GradientShap``, ``DeepLift``, ``FeatureAblation``, ``Occlusion``,
                        ``ShapleyValueSampling``, ``KernelShap``, ``Lime``,
                        ``BubbleNoise``, ``CrossAttention``, ``EnergyMap``, ``RandomMap``, or
                        another perturbation or gradient method of inputs. The model is of a
                        supported Hugging Face family (Whisper, Speech2Text, Canary), on any
                        device, in any dtype, or of one that ``adapter`` knows.
            processor (Processor): The model's processor (feature extractor and
                        tokenizer).
            adapter (Callable or SpeechModel, optional): What methods ask the model through, for a
                        family of one's own: a class, or any function of model and processor, that
                        implements the protocols of :mod:`captum_spes.speech.models`; or an object
                        that does.
                        Default: None, that of the model's family

        Raises:
            ArgumentTypeError: the method, the model's family or the processor is not
                supported, or the adapter lacks what every explanation needs.

        Examples::

            >>> model = WhisperForConditionalGeneration.from_pretrained("openai/whisper-tiny")
            >>> processor = WhisperProcessor.from_pretrained("openai/whisper-tiny")
            >>> explainer = SpeechToTextAttribution(SPES(model), processor)
        """
        runner_of(attr_method)
        self.attr_method = attr_method
        # The adapter's type is what its family can beside what every one can.
        self.adapter: Any = adapt(attr_method.forward_func, processor, adapter)

    def attribute(  # noqa: PLR0913
        self,
        audio: Audio,
        sampling_rate: int = 16_000,
        target: str | Sequence[int] | Tensor | None = None,
        gen_args: Mapping[str, Any] | Unset | None = UNSET,
        n_samples: int | Unset = UNSET,
        n_token_samples: int | Unset = UNSET,
        perturb_prob: float | Unset = UNSET,
        token_perturb_prob: float | Unset = UNSET,
        patches_per_second: float | Sequence[float] | Unset = UNSET,
        max_seconds: float | Unset | None = UNSET,
        seed: int | None = None,
        show_progress: bool = False,
        *,
        settings: Settings | None = None,
        scheme: str | None = None,
        return_partial: bool = False,
        perturbations_per_eval: int | str | Unset = UNSET,
        dtype: torch.dtype | Unset | None = UNSET,
        tolerance: float | Unset | None = UNSET,
        baselines: str | float | Tensor | Unset | None = UNSET,
        feature_mask: str | FeatureMaskLevels | Unset = UNSET,
        n_patches: int | Sequence[int] | Unset | None = UNSET,
        score: str | Score | Unset | None = UNSET,
        estimator: Estimator | Unset = UNSET,
        design: MaskDesign | Unset | None = UNSET,
        perturb_jointly: bool | Unset = UNSET,
        method_args: Mapping[str, Any] | Unset | None = UNSET,
    ) -> SpeechToTextAttributionResult:
        r"""
        Args:

            audio (path, array or Tensor): A file (any rate, channels are averaged), the
                        samples of one channel, or the model's input features
                        (``(1, 80, 3000)`` for Whisper, ``(1, frames, mel bins)``
                        for Speech2Text and Canary), also as the processor returns them.
            sampling_rate (int, optional): Of samples given as an array, in Hz; it must be
                        the model's. Files bring their own.
                        Default: 16000
            target (str, sequence of int or Tensor, optional): The output to explain: a
                        text, or token ids without prompt. The end of sentence is added if
                        it is missing.
                        Default: None, what the model generates
            seed (int, optional): Of every random choice.
                        Default: None, drawn from torch's global generator; the result
                        tells which
            show_progress (bool, optional): Displays progress bars.
                        Default: False
            settings (Settings, optional): How the explanation is made.
                        Default: None, :meth:`Settings.paper`, or for ``SPES.efficient(model)``
                        :meth:`Settings.efficient`
            scheme (str, optional): "paper" or "efficient", a shorthand for these two settings.
                        Default: None
            return_partial (bool, optional): Whether Ctrl-C ends the sampling of the side
                        that is being perturbed and the explanation is that of the samples so
                        far, with a warning; pressed before the first sample of previous
                        tokens, without them.
                        Default: False, it raises KeyboardInterrupt
            gen_args, n_samples, n_token_samples, perturb_prob, token_perturb_prob,
            patches_per_second, max_seconds, perturbations_per_eval, dtype, tolerance, baselines,
            feature_mask, n_patches, score, estimator, design, perturb_jointly, method_args
            (optional): Each takes the place of that value of the settings; see
                        :class:`captum_spes.Settings`, which says what they mean.
                        Default: that of ``settings``

        Returns:
            *SpeechToTextAttributionResult*: raw maps on the CPU, tokens, words, times,
            frequencies and everything needed to run it again.

        Raises:
            ArgumentError: the audio is unusable (NaN, silence, too short, too long, more
                than one channel, wrong rate), the target is empty, untokenisable or too
                long, or an argument is out of range.
            ArgumentTypeError: an argument has the wrong type, or the model cannot do what is
                asked.
            FileNotFoundError: there is no such audio file.

        Examples::

            >>> result = explainer.attribute(
            ...     "speech.flac", patches_per_second=(60, 120), n_samples=200, n_token_samples=100,
            ...     seed=0,
            ... )
            >>> again = explainer.attribute("speech.flac", settings=result.settings, seed=0)
            >>> torch.equal(again.spectrogram_attr, result.spectrogram_attr)
            True
            >>> result.plot_spectrogram_attr(0).savefig("first_token.png")
        """
        # By name, so that the settings are written down once more in the signature alone.
        given = locals()
        changes = {name: given[name] for name in _NAMES if given[name] is not UNSET}
        settings = self._settings(settings, scheme, changes)
        request = _Request(
            audio, sampling_rate, target, resolve_seed(seed), show_progress, return_partial
        )
        with ordinary_torch(self.adapter.device), self.adapter.evaluation_mode():
            return self._explained(request, settings)

    def attribute_future(self, *args: Any, **kwargs: Any) -> None:
        r"""
        This method is not implemented for SpeechToTextAttribution.
        """
        raise NotImplementedError("attribute_future is not implemented for SpeechToTextAttribution")

    def _settings(
        self, settings: Settings | None, scheme: str | None, changes: dict[str, Any]
    ) -> Settings:
        """What was asked for, in whatever way, checked against the method."""
        own = self.attr_method.estimator if isinstance(self.attr_method, SPES) else MaskedMean()
        has_own = own != MaskedMean()
        if scheme is not None and scheme not in SCHEMES:
            raise ArgumentError(f"scheme must be one of {tuple(SCHEMES)}, got {scheme!r}.")
        if scheme is not None and settings is not None:
            raise ArgumentError("scheme and settings both say how to explain: give one of them.")
        if settings is None:
            if has_own:
                changes.setdefault("estimator", own)
            is_efficient = isinstance(own, GaussianProcess)
            make = SCHEMES["efficient" if scheme is None and is_efficient else scheme or "paper"]
            settings = make(**changes)
        else:
            settings = settings.replace(**changes)
        if has_own and settings.estimator != own:
            raise ArgumentError(
                f"the method was made with {own!r} and the settings say {settings.estimator!r}: "
                "give one of them."
            )
        check_settings(self.attr_method, settings)
        return settings

    def _explained(self, request: _Request, settings: Settings) -> SpeechToTextAttributionResult:
        adapter, method = self.adapter, self.attr_method
        speech = read_speech(adapter, request.audio, request.sampling_rate)
        removed = removed_value(adapter, speech, settings.baselines)
        masks = feature_masks(
            speech.spectrogram,
            settings.feature_mask,
            frame_rate=adapter.frame_rate,
            patches_per_second=settings.patches_per_second,
            max_seconds=settings.max_seconds,
            n_patches=settings.n_patches,
        )
        self._check_abilities(request)
        sequence = self._target(speech, request, settings)
        run = self._run(sequence, request, settings)
        task = _Task(speech, sequence, partial(self._states, speech, run), removed, masks)
        certainty = self._certainty(task, run)
        sides = self._sides(task, run, settings)
        output_tokens = adapter.token_strings(sequence.explained_ids)
        words = _words(adapter.spelled(sequence.explained_ids))
        if len(sides[0].maps) != len(output_tokens):  # a score with units of its own
            output_tokens, words = _labels(run.score, output_tokens, len(sides[0].maps)), []
        rows = [list(word.token_indices) for word in words]
        found = sampling_quality(*sides, (torch.cat(masks) >= 0).any(0).cpu(), rows)
        if found.get("reliability"):
            warn_if_noise(found["reliability"]["sentence"], found["n_samples_evaluated"])
        levels = describe_levels(masks)
        facts = {
            "target": "generated" if request.target is None else "given",
            "sequence": sequence.to_dict(),
            "patches_per_level": list(levels.n_patches),
            "distinct_levels": levels.n_distinct,
            **found,
            "versions": versions(),
        }
        return SpeechToTextAttributionResult(
            output_tokens=output_tokens,
            previous_tokens=adapter.token_strings(sequence.previous_ids),
            spectrogram=speech.spectrogram,
            removed=removed.contiguous(),
            feature_masks=torch.cat(masks).cpu(),
            spectrogram_attr=sides[0].maps,
            token_attr=None if sides[1] is None else sides[1].maps,
            frame_times=speech.frame_times,
            mel_frequencies=speech.mel_frequencies,
            words=words,
            text=adapter.text(sequence.explained_ids),
            output_ids=sequence.explained_ids.tolist(),
            previous_ids=sequence.previous_ids.tolist(),
            seconds=speech.seconds,
            seed=request.seed,
            method=method.get_name(),
            model_id=adapter.model_id,
            parameters={**settings.described(), **facts},
            **({} if certainty is None else certainty._asdict()),
            settings=settings,
        )

    # Inputs ----------------------------------------------------------------------------

    def _check_abilities(self, request: _Request) -> None:
        """Find out before the model runs what it cannot do."""
        if request.target is None:
            require(self.adapter, Generates, "an explanation without target")
        if isinstance(self.attr_method, SpeechAttribution):
            for capability in self.attr_method.needs:
                require(self.adapter, capability, self.attr_method.get_name())
        runner = runner_of(self.attr_method)
        if runner is not None and runner.differentiates:
            check_differentiable(self.attr_method.forward_func, self.attr_method.get_name())

    def _target(self, speech: SpeechInput, request: _Request, settings: Settings) -> TargetSequence:
        # Generation may sample (do_sample, temperature).
        with seeded_draws(request.seed):
            found: TargetSequence
            if request.target is None:
                found = self.adapter.generate(speech, settings.gen_args)
            else:
                found = self.adapter.force(speech, request.target, settings.gen_args)
        return found

    def _run(self, sequence: TargetSequence, request: _Request, settings: Settings) -> Run:
        runner = runner_of(self.attr_method)
        differentiates = runner is not None and runner.differentiates
        default: Score = TokenProbability(log=True) if differentiates else KL()
        return Run(
            token_ids=sequence.explained_ids,
            score=default if settings.score is None else settings.score,
            seed=request.seed,
            device=self.adapter.device,
            output_layer=self.adapter.output_layer,
            perturbations_per_eval=settings.perturbations_per_eval,
            dtype=settings.dtype,
            return_partial=request.return_partial,
            show_progress=request.show_progress,
        )

    def _states(self, speech: SpeechInput, run: Run) -> Tensor:
        with torch.no_grad():
            states: Tensor = run.in_precision(self.adapter.encode)(speech, speech.spectrogram[None])
        return states

    def _certainty(self, task: _Task, run: Run) -> Certainty | None:
        """None for controls, which ask the model nothing."""
        method = self.attr_method
        if isinstance(method, SpeechAttribution) and not method.needs:
            return None
        with torch.no_grad():
            hidden = run.in_precision(self.adapter.decode)(task.states, task.sequence)
        return Certainty.of(self.adapter, hidden, task.sequence)

    # Maps ------------------------------------------------------------------------------

    def _sides(self, task: _Task, run: Run, settings: Settings) -> tuple[SideMaps, SideMaps | None]:
        """Maps of the spectrogram and, with NaN where a token is not before the explained one, of
        the previous tokens."""
        spectrogram, tokens = self._maps(task, run, settings)
        if tokens is None:
            return spectrogram, None
        is_previous = task.sequence.valid_previous_tokens()
        if len(tokens.maps) != len(is_previous):  # units of a score rest on all that any token read
            is_previous = is_previous.any(0, keepdim=True).expand(len(tokens.maps), -1)
        return spectrogram, tokens.masked(~is_previous)

    def _maps(self, task: _Task, run: Run, settings: Settings) -> tuple[SideMaps, SideMaps | None]:
        method = self.attr_method
        has_tokens = bool(settings.n_token_samples and task.sequence.previous_positions)
        if isinstance(method, SpeechAttribution):
            maps = method.maps(self.adapter, task.speech, task.sequence, run.seed)
            return _of_maps(maps if has_tokens else Maps(maps.spectrogram_attr, None))
        runner = runner_of(method)
        assert runner is not None
        spectrogram_side = self._spectrogram_side(task, settings)
        if not has_tokens:
            return attribute_side(method, runner, spectrogram_side, run), None
        require(
            self.adapter,
            ReadsPreviousTokens,
            "removing previous tokens (n_token_samples=0 leaves them out)",
        )
        token_side = self._token_side(task, settings, run)
        if settings.perturb_jointly:
            hidden_func = partial(self._joint_hidden, task)
            return _of_maps(
                attribute_jointly(method, spectrogram_side, token_side, hidden_func, run)
            )
        spectrogram = attribute_side(method, runner, spectrogram_side, run)
        try:
            return spectrogram, attribute_side(method, runner, token_side, run)
        except KeyboardInterrupt:
            if not run.return_partial:
                raise
            return spectrogram, None

    def _spectrogram_side(self, task: _Task, settings: Settings) -> Side:
        return Side(
            name="spectrogram",
            inputs=task.speech.spectrogram[None],
            baselines=task.removed[None],
            feature_masks=task.masks,
            hidden_func=partial(self._spectrogram_hidden, task),
            n_samples=settings.n_samples,
            perturb_prob=settings.perturb_prob,
            design=settings.design,
            estimator=settings.estimator,
            tolerance=settings.tolerance,
            frame_rate=self.adapter.frame_rate,
            method_args=dict(settings.method_args.get("spectrogram", {})),
        )

    def _token_side(self, task: _Task, settings: Settings, run: Run) -> Side:
        """Which embeddings of previous tokens are kept, 1 each, against none kept."""
        with torch.no_grad():
            prepared = run.in_precision(self.adapter.prepared)(task.states, task.sequence)
        keep = torch.ones(
            1, len(task.sequence.previous_positions), dtype=torch.float32, device="cpu"
        )
        return Side(
            name="previous tokens",
            inputs=keep,
            baselines=torch.zeros_like(keep),
            feature_masks=[torch.arange(keep.shape[1], device="cpu")[None]],
            hidden_func=partial(self._token_hidden, task, prepared),
            n_samples=settings.n_token_samples,
            perturb_prob=settings.token_perturb_prob,
            n_before=task.sequence.n_before,
            method_args=dict(settings.method_args.get("tokens", {})),
        )

    # Forward passes --------------------------------------------------------------------

    def _spectrogram_hidden(self, task: _Task, spectrograms: Tensor) -> Tensor:
        hidden: Tensor = self.adapter.decode(
            self.adapter.encode(task.speech, spectrograms), task.sequence
        )
        return hidden

    def _token_hidden(self, task: _Task, prepared: Any, keep: Tensor) -> Tensor:
        states = task.states.expand(len(keep), *task.states.shape[1:])
        with self.adapter.keep_previous_tokens(task.spread(keep)):
            hidden: Tensor = self.adapter.decode_prepared(states, task.sequence, prepared)
            return hidden

    def _joint_hidden(self, task: _Task, spectrograms: Tensor, keep: Tensor) -> Tensor:
        with self.adapter.keep_previous_tokens(task.spread(keep)):
            return self._spectrogram_hidden(task, spectrograms)


@dataclass(frozen=True)
class _Request:
    """What is explained, and how it is shown."""

    audio: Audio
    sampling_rate: int
    target: str | Sequence[int] | Tensor | None
    seed: int
    show_progress: bool
    return_partial: bool


@dataclass(frozen=True, eq=False)
class _Task:
    """What both sides are explained from.

    Attributes:
        speech: the utterance.
        sequence: what the model reads and writes.
        encoded: makes the states of the intact utterance.
        removed: ``(time, freq)``, what removed cells become.
        masks: the patches of each level, ``(1, time, freq)``.
    """

    speech: SpeechInput
    sequence: TargetSequence
    encoded: Callable[[], Tensor]
    removed: Tensor
    masks: list[Tensor]

    @cached_property
    def states(self) -> Tensor:
        """Of the intact utterance."""
        return self.encoded()

    def spread(self, keep: Tensor) -> Tensor:
        """From the previous tokens to all ids that the decoder reads; the others are kept."""
        positions = self.sequence.previous_positions
        length = len(self.sequence.ids) - 1
        if len(positions) == length:
            return keep
        spread = keep.new_ones(len(keep), length)
        spread[:, list(positions)] = keep
        return spread


def _of_maps(maps: Maps) -> tuple[SideMaps, SideMaps | None]:
    spectrogram_attr, token_attr = maps
    return SideMaps(spectrogram_attr), None if token_attr is None else SideMaps(token_attr)


def _labels(score: Score, tokens: list[str], count: int) -> list[str]:
    """Names of the units of a score that are not the tokens."""
    labels = getattr(score, "labels", None)
    names = (
        [f"unit {number}" for number in range(1, count + 1)] if labels is None else labels(tokens)
    )
    if len(names) != count:
        raise ArgumentError(f"the score names {len(names)} units and scores {count}.")
    return list(names)


def _words(spelled: list[tuple[str, list[int]]]) -> list[Word]:
    return [
        Word(word, tuple(row for piece in pieces for row in spelled[piece][1]))
        for word, pieces in group_words([text for text, _ in spelled])
    ]


def _show_defaults() -> None:
    """Let help and editors show the paper's values in the place of "from settings"."""
    attribute: Any = SpeechToTextAttribution.attribute
    signature, paper = inspect.signature(attribute), Settings.paper()
    shown = [
        parameter.replace(default=getattr(paper, name) or None)
        if parameter.default is UNSET
        else parameter
        for name, parameter in signature.parameters.items()
    ]
    attribute.__signature__ = signature.replace(parameters=shown)


_show_defaults()
