"""Explaining what a speech-to-text model writes, token by token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from captum.attr import Attribution
from torch import Tensor

from captum_spes.attr import SPES, GaussianProcess
from captum_spes.attr.batch_size import batch_size
from captum_spes.attr.estimation import check_estimator
from captum_spes.attr.reliability import check_tolerance
from captum_spes.attr.sampling import BernoulliDesign, MaskDesign, resolve_seed
from captum_spes.attr.segmentation import FeatureMaskLevels
from captum_spes.errors import ArgumentError, ArgumentTypeError, whole_number
from captum_spes.maps import Maps, group_words
from captum_spes.masks import describe_levels
from captum_spes.masks.scales import (
    EFFICIENT_PATCHES_PER_SECOND,
    PAPER_MAX_SECONDS,
    PAPER_PATCHES_PER_SECOND,
)
from captum_spes.speech.controls import SpeechAttribution
from captum_spes.speech.inputs import Audio, read_speech, removed_value
from captum_spes.speech.methods import attribute_jointly, attribute_side, check_method
from captum_spes.speech.models import SpeechInput, SpeechModel, TargetSequence, adapt
from captum_spes.speech.parameters import plain, versions
from captum_spes.speech.patches import feature_masks
from captum_spes.speech.randomness import seeded_global_generators
from captum_spes.speech.reliability import sampling_quality, warn_if_noise
from captum_spes.speech.result import SpeechToTextAttributionResult, Word
from captum_spes.speech.scores import SCORES
from captum_spes.speech.sides import Run, Side, SideMaps

SCHEMES = ("paper", "efficient")


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

    def __init__(self, attr_method: Attribution, processor: Any) -> None:
        r"""
        Args:

            attr_method (Attribution): A Captum method made with the model: ``SPES(model)``,
                        or ``Saliency``, ``InputXGradient``, ``IntegratedGradients``,
                        ``GradientShap``, ``FeatureAblation``, ``Occlusion``,
                        ``ShapleyValueSampling``, ``KernelShap``, ``Lime``,
                        ``BubbleNoise``, ``CrossAttention``, ``EnergyMap`` or
                        ``RandomMap``. The model is of a supported Hugging Face family
                        (Whisper, Speech2Text, Canary), on any device, in any dtype.
            processor (Processor): The model's processor (feature extractor and
                        tokenizer).

        Raises:
            ArgumentTypeError: the method, the model's family or the processor is not
                supported.

        Examples::

            >>> model = WhisperForConditionalGeneration.from_pretrained("openai/whisper-tiny")
            >>> processor = WhisperProcessor.from_pretrained("openai/whisper-tiny")
            >>> explainer = SpeechToTextAttribution(SPES(model), processor)
        """
        check_method(attr_method)
        self.attr_method = attr_method
        self.adapter: SpeechModel = adapt(attr_method.forward_func, processor)

    def attribute(
        self,
        audio: Audio,
        sampling_rate: int = 16_000,
        target: str | Sequence[int] | Tensor | None = None,
        gen_args: Mapping[str, Any] | None = None,
        n_samples: int = 20_000,
        n_token_samples: int = 2_000,
        perturb_prob: float = 0.5,
        token_perturb_prob: float = 0.4,
        patches_per_second: float | Sequence[float] = PAPER_PATCHES_PER_SECOND,
        max_seconds: float | None = PAPER_MAX_SECONDS,
        seed: int | None = None,
        show_progress: bool = False,
        *,
        perturbations_per_eval: int | str = 4,
        scheme: str = "paper",
        dtype: torch.dtype | None = None,
        tolerance: float | None = None,
        return_partial: bool = False,
        baselines: str | float | Tensor | None = None,
        feature_mask: str | FeatureMaskLevels = None,
        n_patches: int | Sequence[int] | None = None,
        score: str | None = None,
        design: MaskDesign | None = None,
        perturb_jointly: bool = False,
        method_args: Mapping[str, Any] | None = None,
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
            gen_args (dict, optional): Arguments of ``model.generate``, for example
                        ``{"num_beams": 5}`` or ``{"language": "de"}``. Language and task
                        (of Canary ``source_language`` and ``target_language``) also hold
                        for a given target.
                        Default: None
            n_samples (int, optional): Perturbed spectrograms that the model sees, for
                        SPES, BubbleNoise, KernelShap and Lime (all tokens together) and,
                        divided by the number of features, permutations of
                        ShapleyValueSampling.
                        Other methods do not sample; their own settings go into
                        ``method_args``.
                        Default: 20000, the paper's
            n_token_samples (int, optional): The same for previous tokens; 0 leaves them
                        out.
                        Default: 2000, the paper's
            perturb_prob (float, optional): Probability that SPES perturbs a patch, in
                        (0, 1).
                        Default: 0.5
            token_perturb_prob (float, optional): Probability that SPES perturbs a
                        previous token, in (0, 1).
                        Default: 0.4
            patches_per_second (float or sequence of float, optional): Size of the
                        patches, one value per segmentation level; see
                        :func:`captum_spes.slic_feature_mask`. Other methods that remove
                        patches use the first level.
                        Default: (400, 500, 600), the paper's
            max_seconds (float, optional): Duration from which the number of patches no
                        longer grows.
                        Default: 7.5
            seed (int, optional): Of every random choice.
                        Default: None, drawn from torch's global generator; the result
                        tells which
            show_progress (bool, optional): Displays progress bars.
                        Default: False
            perturbations_per_eval (int or "auto", optional): Perturbed inputs per forward
                        pass. It changes speed and memory, not the result. "auto" finds
                        the fastest that fits in memory while it samples, for SPES (others
                        then take 4).
                        Default: 4
            scheme (str, optional): How SPES cuts the spectrogram and reads the samples:
                        "paper", the mean of Eq. 3 over patches of ``patches_per_second``; or
                        "efficient", for some hundred to a few thousand ``n_samples``:
                        patches of 16 sizes (unless given otherwise), and regression by
                        :class:`captum_spes.attr.GaussianProcess`. Previous tokens are read
                        by Eq. 3 in both.
                        Default: "paper"
            dtype (torch.dtype, optional): Precision of encoder and decoder, for example
                        ``torch.bfloat16``, which halves the time on many processors; the
                        output layer and the scores stay in the model's own. Its weights are
                        not touched (``torch.autocast``).
                        Default: None, the model's own
            tolerance (float, optional): Stop SPES when at most this share of the variance of
                        the tokens' spectrogram maps is sampling noise (see
                        :meth:`captum_spes.SPES.attribute`), in (0, 1); ``n_samples`` is then
                        the most that is spent.
                        Default: None, all of ``n_samples``
            return_partial (bool, optional): Whether Ctrl-C ends SPES's sampling of the side
                        that is being perturbed and the explanation is that of the samples so
                        far, with a warning; pressed before the first sample of previous
                        tokens, without them.
                        Default: False, it raises KeyboardInterrupt
            baselines (str, float or Tensor, optional): The value of removed cells:
                        "mean" (of each mel bin over the speech), "silence", a number, or
                        a Tensor broadcastable to ``(time, freq)``.
                        Default: None, 0 for features normalised per utterance and
                        "mean" for Whisper
            feature_mask (str, Tensor or list of Tensor, optional): "slic"; "grid",
                        rectangles in the same numbers; "cells", every cell on its own
                        (the paper's feature-wise baseline, with ``perturb_prob=0.7`` and
                        ``token_perturb_prob=0.1``); or own patches, ``(time, freq)``, one
                        Tensor per level, labels below 0 being never perturbed.
                        Default: None, "slic"
            n_patches (int or sequence of int, optional): A fixed number of patches
                        whatever the duration.
                        Default: None
            score (str, optional): "kl", "probability" or "log_probability".
                        Default: None, the KL divergence for perturbation methods and the
                        log-probability for gradient methods
            design (MaskDesign, optional): Masks of SPES for the spectrogram.
                        Default: None, independent Bernoulli masks
            perturb_jointly (bool, optional): Whether SPES perturbs spectrogram and previous
                        tokens in the same ``n_samples`` samples (the paper's comparison,
                        Table 4) instead of each on its own; ``n_token_samples`` then only
                        says, by 0, that previous tokens are left alone.
                        Default: False
            method_args (dict, optional): Further arguments of the method's own
                        ``attribute``, for example ``{"n_steps": 20}``; they win over those
                        above.
                        Default: None

        Returns:
            *SpeechToTextAttributionResult*: raw maps on the CPU, tokens, words, times,
            frequencies and everything needed to run it again.

        Raises:
            ArgumentError: the audio is unusable (NaN, silence, too short, too long, more
                than one channel, wrong rate), the target is empty, untokenisable or too
                long, or an argument is out of range.
            ArgumentTypeError: an argument has the wrong type.
            FileNotFoundError: there is no such audio file.

        Examples::

            >>> result = explainer.attribute(
            ...     "speech.flac", patches_per_second=(60, 120), n_samples=200, n_token_samples=100,
            ...     seed=0,
            ... )
            >>> result.plot_spectrogram_attr(0).savefig("first_token.png")
        """
        n_samples = whole_number("n_samples", n_samples, 1)
        n_token_samples = whole_number("n_token_samples", n_token_samples, 0)
        batch_size(perturbations_per_eval)
        _check_probabilities_and_score(perturb_prob, token_perturb_prob, score)
        self._check_sampling(tolerance, dtype, perturb_jointly)
        estimator = self._estimator(scheme, n_samples, perturb_jointly, score)
        # The default itself: whoever writes the paper's sizes down gets them.
        if estimator is not None and patches_per_second is PAPER_PATCHES_PER_SECOND:
            patches_per_second = EFFICIENT_PATCHES_PER_SECOND
        if method_args and isinstance(self.attr_method, SpeechAttribution):
            raise ArgumentError(f"{self.attr_method.get_name()} takes no method_args.")
        if perturb_jointly and not isinstance(self.attr_method, SPES):
            raise ArgumentError(
                "perturb_jointly=True is for SPES, which samples both sides; got "
                f"{self.attr_method.get_name()}."
            )
        seed = resolve_seed(seed)
        gen_args, method_args = dict(gen_args or {}), dict(method_args or {})
        speech = read_speech(self.adapter, audio, sampling_rate)
        removed = removed_value(self.adapter, speech, baselines)
        masks = feature_masks(
            speech.spectrogram,
            feature_mask,
            frame_rate=self.adapter.frame_rate,
            patches_per_second=patches_per_second,
            max_seconds=max_seconds,
            n_patches=n_patches,
        )
        levels = describe_levels(masks)
        with self.adapter.evaluation_mode():
            sequence = self._target(speech, target, gen_args, seed)
            run = Run(
                token_ids=sequence.explained_ids,
                seed=seed,
                device=self.adapter.device,
                output_layer=self.adapter.output_layer,
                perturbations_per_eval=perturbations_per_eval,
                dtype=dtype,
                return_partial=return_partial,
                show_progress=show_progress,
                score=score,
                method_args=method_args,
            )
            spectrogram_side = Side(
                name="spectrogram",
                inputs=speech.spectrogram[None],
                baselines=removed[None],
                feature_masks=masks,
                hidden_func=partial(self._spectrogram_hidden, speech, sequence),
                n_samples=n_samples,
                perturb_prob=perturb_prob,
                design=design,
                estimator=estimator,
                tolerance=tolerance,
                frame_rate=self.adapter.frame_rate,
            )
            token_samples = n_token_samples, token_perturb_prob
            sides = self._sides(
                speech, sequence, spectrogram_side, token_samples, run, perturb_jointly
            )
        sides = _without_later_tokens(sides, sequence.valid_previous_tokens())
        found = sampling_quality(*sides, (torch.cat(masks) >= 0).any(0).cpu())
        if found.get("reliability"):
            warn_if_noise(found["reliability"]["sentence"], found["n_samples_evaluated"])
        output_tokens = self.adapter.token_strings(sequence.explained_ids)
        return SpeechToTextAttributionResult(
            output_tokens=output_tokens,
            previous_tokens=self.adapter.token_strings(sequence.decoder_ids),
            spectrogram=speech.spectrogram,
            removed=removed.contiguous(),
            feature_masks=torch.cat(masks).cpu(),
            spectrogram_attr=sides[0].maps,
            token_attr=None if sides[1] is None else sides[1].maps,
            frame_times=speech.frame_times,
            mel_frequencies=speech.mel_frequencies,
            words=_words(self.adapter.spelled(sequence.explained_ids)),
            text=self.adapter.text(sequence.explained_ids),
            output_ids=sequence.explained_ids.tolist(),
            previous_ids=sequence.decoder_ids.tolist(),
            seconds=speech.seconds,
            seed=seed,
            method=self.attr_method.get_name(),
            model_id=self.adapter.model_id,
            parameters=plain(
                {
                    "scheme": scheme,
                    "n_samples": n_samples,
                    "n_token_samples": n_token_samples,
                    "perturb_prob": perturb_prob,
                    "token_perturb_prob": token_perturb_prob,
                    "patches_per_second": patches_per_second,
                    "max_seconds": max_seconds,
                    "n_patches": n_patches,
                    "feature_mask": _name_of(feature_mask),
                    "baselines": "given" if isinstance(baselines, Tensor) else baselines,
                    "score": score,
                    "design": None if design is None else type(design).__name__,
                    "perturb_jointly": perturb_jointly,
                    "perturbations_per_eval": perturbations_per_eval,
                    "dtype": None if dtype is None else str(dtype).removeprefix("torch."),
                    "tolerance": tolerance,
                    "method_args": method_args,
                    "gen_args": gen_args,
                    "target": "generated" if target is None else "given",
                    "patches_per_level": levels.n_patches,
                    "distinct_levels": levels.n_distinct,
                    **found,
                    "versions": versions(),
                }
            ),
        )

    def attribute_future(self, *args: Any, **kwargs: Any) -> None:
        r"""
        This method is not implemented for SpeechToTextAttribution.
        """
        raise NotImplementedError("attribute_future is not implemented for SpeechToTextAttribution")

    def _check_sampling(
        self, tolerance: float | None, dtype: torch.dtype | None, perturb_jointly: bool
    ) -> None:
        check_tolerance(tolerance)
        if tolerance is not None and (perturb_jointly or not isinstance(self.attr_method, SPES)):
            raise ArgumentError(
                "tolerance is for SPES with both sides perturbed separately, got "
                f"{self.attr_method.get_name()}."
            )
        if dtype is not None and not isinstance(dtype, torch.dtype):
            raise ArgumentTypeError(
                f"dtype must be a torch.dtype such as torch.bfloat16, got {dtype!r}."
            )

    def _estimator(
        self, scheme: str, n_samples: int, perturb_jointly: bool, score: str | None
    ) -> GaussianProcess | None:
        """How SPES reads the samples of the spectrogram; None for the paper's mean."""
        if scheme not in SCHEMES:
            raise ArgumentError(f"scheme must be one of {SCHEMES}, got {scheme!r}.")
        if scheme == "paper":
            return None
        if not isinstance(self.attr_method, SPES) or perturb_jointly:
            raise ArgumentError(
                f"scheme={scheme!r} is for SPES with both sides perturbed separately, got "
                f"{self.attr_method.get_name()}"
                f"{' with perturb_jointly=True' if perturb_jointly else ''}."
            )
        # Only divergences are never negative.
        estimator = GaussianProcess(log_impacts=score in (None, "kl"))
        check_estimator(estimator, n_samples)
        return estimator

    # Inputs ----------------------------------------------------------------------------

    def _target(
        self,
        speech: SpeechInput,
        target: str | Sequence[int] | Tensor | None,
        gen_args: Mapping[str, Any],
        seed: int,
    ) -> TargetSequence:
        # Generation may sample (do_sample, temperature).
        with seeded_global_generators(seed, self.adapter.device):
            if target is None:
                return self.adapter.generate(speech, gen_args)
            return self.adapter.force(speech, target, gen_args)

    # Maps ------------------------------------------------------------------------------

    def _sides(
        self,
        speech: SpeechInput,
        sequence: TargetSequence,
        spectrogram_side: Side,
        token_samples: tuple[int, float],
        run: Run,
        perturb_jointly: bool,
    ) -> tuple[SideMaps, SideMaps | None]:
        method = self.attr_method
        if isinstance(method, SpeechAttribution):
            maps = method.maps(self.adapter, speech, sequence, run.seed)
            return _of_maps(maps if token_samples[0] else Maps(maps.spectrogram_attr, None))
        if not token_samples[0]:
            return attribute_side(method, spectrogram_side, run), None
        token_side = self._token_side(speech, sequence, *token_samples, run)
        if perturb_jointly:
            hidden_func = partial(self._joint_hidden, speech, sequence)
            return _of_maps(
                attribute_jointly(method, spectrogram_side, token_side, hidden_func, run)
            )
        spectrogram = attribute_side(method, spectrogram_side, run)
        try:
            return spectrogram, attribute_side(method, token_side, run)
        except KeyboardInterrupt:
            if not run.return_partial:
                raise
            return spectrogram, None

    # Forward passes --------------------------------------------------------------------

    def _spectrogram_hidden(
        self, speech: SpeechInput, sequence: TargetSequence, spectrograms: Tensor
    ) -> Tensor:
        return self.adapter.decode(self.adapter.encode(speech, spectrograms), sequence)

    def _token_hidden(
        self, states: Tensor, cross_attention: Any, sequence: TargetSequence, keep: Tensor
    ) -> Tensor:
        states = states.expand(len(keep), *states.shape[1:])
        with self.adapter.keep_previous_tokens(keep):
            return self.adapter.decode(states, sequence, cross_attention)

    def _joint_hidden(
        self, speech: SpeechInput, sequence: TargetSequence, spectrograms: Tensor, keep: Tensor
    ) -> Tensor:
        with self.adapter.keep_previous_tokens(keep):
            return self._spectrogram_hidden(speech, sequence, spectrograms)

    def _token_side(
        self,
        speech: SpeechInput,
        sequence: TargetSequence,
        n_samples: int,
        perturb_prob: float,
        run: Run,
    ) -> Side:
        """Which embeddings of previous tokens are kept, 1 each, against none kept."""
        with torch.no_grad():
            states = run.in_precision(self.adapter.encode)(speech, speech.spectrogram[None])
            cross_attention = run.in_precision(self.adapter.cross_attention)(states, sequence)
        keep = torch.ones(1, len(sequence.decoder_ids))
        return Side(
            name="previous tokens",
            inputs=keep,
            baselines=torch.zeros_like(keep),
            feature_masks=[torch.arange(keep.shape[1])[None]],
            hidden_func=partial(self._token_hidden, states, cross_attention, sequence),
            n_samples=n_samples,
            perturb_prob=perturb_prob,
            n_before=sequence.explained,
        )


def _check_probabilities_and_score(
    perturb_prob: float, token_perturb_prob: float, score: str | None
) -> None:
    """Check before the model runs, so that a typo costs no transcription."""
    BernoulliDesign(perturb_prob)
    BernoulliDesign(token_perturb_prob)
    if score is not None and score not in SCORES:
        raise ArgumentError(f"score must be one of {SCORES}, got {score!r}.")


def _of_maps(maps: Maps) -> tuple[SideMaps, SideMaps | None]:
    spectrogram_attr, token_attr = maps
    return SideMaps(spectrogram_attr), None if token_attr is None else SideMaps(token_attr)


def _without_later_tokens(
    sides: tuple[SideMaps, SideMaps | None], is_previous: Tensor
) -> tuple[SideMaps, SideMaps | None]:
    """NaN where a token is not before the explained one."""
    spectrogram, tokens = sides
    return spectrogram, tokens and tokens.masked(~is_previous)


def _name_of(feature_mask: str | FeatureMaskLevels) -> str:
    if feature_mask is None:
        return "slic"
    return feature_mask if isinstance(feature_mask, str) else "given"


def _words(spelled: list[tuple[str, list[int]]]) -> list[Word]:
    return [
        Word(word, tuple(row for piece in pieces for row in spelled[piece][1]))
        for word, pieces in group_words([text for text, _ in spelled])
    ]
