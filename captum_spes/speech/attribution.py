"""Explaining what a speech-to-text model writes, token by token."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Final

import torch
from captum.attr import Attribution
from torch import Tensor

from captum_spes.attr import SPES, Estimator, GaussianProcess, MaskDesign, MaskedMean
from captum_spes.attr.designs import resolve_seed
from captum_spes.attr.segmentation import FeatureMaskLevels
from captum_spes.errors import (
    ArgumentError,
    ArgumentTypeError,
    function,
    instance_of,
    several,
    truth,
    warn_caller,
    whole_number,
)
from captum_spes.forward import Contrast, Score
from captum_spes.io.samples import origin_of, read_samples
from captum_spes.speech.alternatives import Alternative, alternatives_of
from captum_spes.speech.ambient import ordinary_torch
from captum_spes.speech.checking import Checker, report_of, windows_to_check
from captum_spes.speech.evidence import EvidenceReport, WordEvidence
from captum_spes.speech.explanation import Explanation, Request
from captum_spes.speech.games import CoalitionScores, SpeechGame, one_level
from captum_spes.speech.inputs import Audio, check_removed_value, read_speech
from captum_spes.speech.methods import check_settings, runner_of
from captum_spes.speech.models import AdapterFactory, Generates, SpeechModel, adapt, require
from captum_spes.speech.parts import Part, Time, asked_parts, contrasted_parts, explain_parts
from captum_spes.speech.randomness import seeded_draws
from captum_spes.speech.removals import checked_passes
from captum_spes.speech.result import SpeechToTextAttributionResult
from captum_spes.speech.settings import Settings
from captum_spes.speech.sides import SidePrior
from captum_spes.speech.transcript import Transcript
from captum_spes.speech.transcript_errors import TranscriptError, errors_of
from captum_spes.speech.verdicts import VerdictRule, choose_rule, shipped_rules
from captum_spes.speech.windows import transcribe

# Seconds by which the same recording differs between formats.
_MOST_DIFFERENCE = 0.1
# Errors that a warning names.
_SHOWN_ERRORS = 5
# Patches per second of a game, of whose players estimators of Shapley values take few hundred.
_PLAYERS_PER_SECOND = 60
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

    The counterpart of ``captum.attr.LLMAttribution`` for speech-to-text models.
    The spectrogram, the previous tokens and, for a speech LLM, its instruction are perturbed
    separately (arXiv 2411.01710, section 4.1), all tokens are scored in one teacher-forced
    pass, and the encoder runs once for all perturbations of tokens.

    It keeps no state: one explainer can be used from several threads. The model is left
    as it was (mode, hooks, dtype, gradients), also after an error.
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
                        another perturbation or gradient method that attributes to inputs. The
                        model, on any device and in any dtype, is of one of the families
                        that ``captum-spes models`` lists, or of one that ``adapter`` knows.
            processor (Processor): The model's processor (feature extractor and
                        tokenizer).
            adapter (Callable or SpeechModel, optional): For a model of another family: an object
                        that implements the protocols of :mod:`captum_spes.speech.models`, or a
                        class or function that makes one from model and processor.
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
        # Any: what an adapter can do beyond the basics depends on the model's family.
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
        contrast: Contrast | None = None,
        estimator: Estimator | Unset = UNSET,
        prior: SidePrior | Unset | None = UNSET,
        gradients_with_padding: bool | Unset = UNSET,
        design: MaskDesign | Unset | None = UNSET,
        perturb_jointly: bool | Unset = UNSET,
        method_args: Mapping[str, Any] | Unset | None = UNSET,
    ) -> SpeechToTextAttributionResult:
        r"""
        Args:

            audio (path, file, array, Tensor, ...): A recording of any format and rate (a path, an
                        open file, bytes, or an :class:`captum_spes.io.audio.Excerpt`), whose
                        channels are averaged; the samples of one channel, also with their rate as
                        a pair or a dictionary with "array" and "sampling_rate"; or the model's
                        input features
                        (``(1, 80, 3000)`` for Whisper, ``(1, frames, mel bins)``
                        for Speech2Text and Canary), also as the processor returns them.
            sampling_rate (int, optional): Rate of samples given as an array, in Hz; it must
                        be the model's. Files bring their own.
                        Default: 16000
            target (str, sequence of int or Tensor, optional): The output to explain: a
                        text, or token ids without prompt. The end of sentence is added if
                        it is missing.
                        Default: None, what the model generates
            seed (int, optional): Seed of every random choice.
                        Default: None, drawn from torch's global generator and kept in the
                        result
            show_progress (bool, optional): Displays progress bars.
                        Default: False
            settings (Settings, optional): How the explanation is made.
                        Default: None, :meth:`Settings.paper`, or for ``SPES.efficient(model)``
                        :meth:`Settings.efficient`
            scheme (str, optional): "paper" or "efficient", a shorthand for these two settings.
                        Default: None
            contrast (Contrast, optional): Explain one word beside what could stand in its place,
                        ``Contrast("doctor", "actor")``: ``score`` by a shorter name. The result
                        has one row; positive is what moves the model to the foil when it is
                        removed. Of previous tokens those before the word can be removed.
                        Default: None
            return_partial (bool, optional): Whether Ctrl-C ends the sampling of the side
                        that is being perturbed and the samples so far are explained from,
                        with a warning; pressed before the first sample of previous tokens,
                        it leaves these out.
                        Default: False, Ctrl-C raises KeyboardInterrupt
            gen_args, n_samples, ..., method_args (optional): Each of the remaining arguments
                        replaces the value of its name in the settings; see
                        :class:`captum_spes.Settings` for what they mean.
                        Default: the value in ``settings``

        Returns:
            *SpeechToTextAttributionResult*: raw maps on the CPU, tokens, words, times,
            frequencies and everything needed to run it again.

        Raises:
            ArgumentError: the audio is unusable (NaN, too short, too long, more than one
                channel, wrong rate, wrong scale), the target is empty, untokenisable or too
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
        # By name, so that only the signature repeats the settings.
        given = locals()
        changes = {name: given[name] for name in _NAMES if given[name] is not UNSET}
        changes |= _of_contrast(contrast, changes)
        settings = self._settings(settings, scheme, changes)
        request = Request(
            audio, sampling_rate, target, resolve_seed(seed), show_progress, return_partial,
            origin_of(audio),
        )  # fmt: skip
        with ordinary_torch(self.adapter.device), self.adapter.evaluation_mode():
            return Explanation(self.attr_method, self.adapter, request, settings).result()

    def game(
        self,
        audio: Audio,
        sampling_rate: int = 16_000,
        target: str | Sequence[int] | Tensor | None = None,
        *,
        settings: Settings | None = None,
        seed: int | None = None,
        show_progress: bool = False,
        **changes: Any,
    ) -> SpeechGame:
        r"""
        The recording as a cooperative game whose players are the patches of the spectrogram: what
        estimators of others, such as those of the library shapiq, explain the model with.

        The model writes now; what estimators ask for is evaluated as they ask for it.

        Args:

            audio, sampling_rate, target: As for :meth:`attribute`.
            settings (Settings, optional): Of these the patches of the first level, the removed
                        values, the score, the batch size, the precision and ``gen_args`` count.
                        Default: None, those of :meth:`attribute` with 60 patches per second
            seed (int, optional): Of the draws that ``gen_args`` may ask for.
                        Default: None, drawn from torch's global generator
            show_progress (bool, optional): Displays progress bars of evaluations.
                        Default: False
            **changes (Any): Values to change in the settings, and ``scheme`` and ``contrast``, as
                        for :meth:`attribute`.

        Returns:
            *SpeechGame*: a function of coalitions, with :meth:`SpeechGame.map` and
            :meth:`SpeechGame.result` to turn values of patches into maps and results.

        Raises:
            ArgumentError, ArgumentTypeError, FileNotFoundError: as for :meth:`attribute`.

        Examples::

            >>> game = explainer.game("speech.flac", n_patches=12, seed=0)
            >>> everything, nothing = game(np.array([[1], [0]]).repeat(game.n_players, axis=1))
            >>> bool(everything >= nothing)
            True
        """
        scheme = changes.pop("scheme", None)
        changes |= _of_contrast(changes.pop("contrast", None), changes)
        if settings is None and scheme is None:
            changes.setdefault("patches_per_second", _PLAYERS_PER_SECOND)
        chosen = one_level(self._settings(settings, scheme, changes))
        drawn = resolve_seed(seed)
        request = Request(
            audio, sampling_rate, target, drawn, show_progress, False, origin_of(audio)
        )
        explanation = Explanation(self.attr_method, self.adapter, request, chosen)
        scores = CoalitionScores(explanation)
        return SpeechGame(scores, tuple(range(len(scores.output_tokens))))

    def alternatives(  # noqa: PLR0913
        self,
        audio: Audio,
        word: str,
        n: int = 5,
        *,
        sampling_rate: int = 16_000,
        target: str | Sequence[int] | Tensor | None = None,
        occurrence: int = 1,
        gen_args: Mapping[str, Any] | None = None,
        probability: str = "word_boundary",
        seed: int | None = None,
    ) -> list[Alternative]:
        r"""
        What else the model could have written in the place of a word: what to contrast it with.

        The encoder runs once. A decoder is asked for the likeliest tokens in the place, and for
        those that follow them, until another word begins; what comes before the word stays as it
        is. A CTC model is searched in the frames from the end of the token before the word to the
        start of the token after it.

        Args:

            audio, sampling_rate, target: As for :meth:`attribute`.
            word (str): A word or phrase that the output holds. Case does not matter.
            n (int, optional): How many alternatives.
                        Default: 5
            occurrence (int, optional): Which one, where the output holds the word several times.
                        Default: 1
            gen_args (dict, optional): Arguments of ``model.generate``.
                        Default: None, the model's own
            probability (str, optional): What the probability of a word of several tokens is; see
                        :class:`captum_spes.forward.Contrast`.
                        Default: "word_boundary"
            seed (int, optional): Of the draws that ``gen_args`` may ask for; nothing else is drawn.
                        Default: None, drawn from torch's global generator

        Returns:
            *list* of :class:`Alternative`, ``word`` and ``probability``, the likeliest first; fewer
            where the model knows no more. Each is as many words as the one that stands there, in
            scripts without spaces as many characters; the word itself, in another case or spelled
            with other blanks or marks, is left out, and so is punctuation alone. The probability is
            that by which a contrast scores the foil. Of a CTC model it is a share: with p the
            probability of the whole output over all paths, with the word or with a candidate in its
            place, p of this one divided by the sum of p over the word and all candidates that were
            found, up to 32 (``n``, if that is more). Of a classifier they are the other classes.

        Raises:
            ArgumentError: the output does not hold the word, the model is a transducer, or what
                :meth:`attribute` raises.
            ArgumentTypeError: an argument has the wrong type.
            FileNotFoundError: there is no such audio file.

        Examples::

            >>> found = explainer.alternatives("speech.flac", "cat", n=3, target="the cat")
            >>> len(found) <= 3 and all(other.word.lower() != "cat" for other in found)
            True
            >>> contrast = Contrast("cat", found[0].word)
        """
        asked = Contrast(word, occurrence=occurrence, probability=probability)
        count = whole_number("n", n, 1)
        own = Settings(gen_args={} if gen_args is None else gen_args).gen_args
        if target is None:
            require(self.adapter, Generates, "alternatives without target")
        with (
            torch.no_grad(),
            ordinary_torch(self.adapter.device),
            self.adapter.evaluation_mode(),
            seeded_draws(resolve_seed(seed)),
        ):
            speech = read_speech(self.adapter, audio, sampling_rate)
            if target is None:
                sequence = self.adapter.generate(speech, own)
            else:
                sequence = self.adapter.force(speech, target, own)
            states = self.adapter.encode(speech, speech.spectrogram[None])
            return alternatives_of(self.adapter, speech, states, sequence, asked, own, count)

    def transcribe(
        self,
        audio: Audio,
        sampling_rate: int = 16_000,
        gen_args: Mapping[str, Any] | None = None,
        *,
        chunk_seconds: float | None = None,
        seed: int | None = None,
        show_progress: bool = False,
    ) -> Transcript:
        r"""
        Let the model write what it hears in a recording of any length.

        A recording that the model takes whole is written at once, as ``attribute`` has it written.
        A longer one is written as the model's own long-form decoding does: for Whisper window after
        window, each from where the last segment before it ended, with the previous text as prompt
        (``condition_on_prev_tokens``) and further attempts (``temperature``,
        ``compression_ratio_threshold``, ``logprob_threshold``, ``no_speech_threshold``) where
        ``gen_args`` or the model's generation config ask for them. Other models write chunks that
        overlap.

        Args:

            audio, sampling_rate: As for :meth:`attribute`, but no features.
            gen_args (dict, optional): Arguments of ``model.generate``, also those of its long-form
                        decoding.
                        Default: None, the model's own
            chunk_seconds (float, optional): Length of the chunks, in seconds, above 0.1 and at most
                        what the model takes; a sixth of it overlaps with the chunk on either side.
                        Also models with a long-form decoding of their own are then given chunks.
                        Default: None, 30 for models that need chunks
            seed (int, optional): Of the draws that ``gen_args`` may ask for.
                        Default: None, drawn from torch's global generator
            show_progress (bool, optional): Displays a progress bar.
                        Default: False

        Returns:
            *Transcript*: text, segments and words with times in the recording, and the windows that
            they were written from.

        Raises:
            ArgumentError: the audio is unusable, or the model cannot generate with ``gen_args``.
            ArgumentTypeError: the model writes no text of its own.
            FileNotFoundError: there is no such audio file.

        Examples::

            >>> transcript = explainer.transcribe("speech.flac")
            >>> transcript.text == explainer.attribute("speech.flac", n_samples=10, seed=0).text
            True
        """
        require(self.adapter, Generates, "a transcript")
        samples = read_samples(audio, sampling_rate, self.adapter.sampling_rate)
        own = Settings(gen_args={} if gen_args is None else gen_args).gen_args
        return self._transcribed(samples, own, chunk_seconds, seed, show_progress)

    def attribute_parts(  # noqa: PLR0913
        self,
        audio: Audio,
        sampling_rate: int = 16_000,
        *,
        words: str | Sequence[str] | None = None,
        at: Time | Sequence[Time] | None = None,
        transcript: Transcript | None = None,
        settings: Settings | None = None,
        seed: int | None = None,
        show_progress: bool = False,
        return_partial: bool = False,
        on_result: Callable[[SpeechToTextAttributionResult], object] | None = None,
        **changes: Any,
    ) -> list[SpeechToTextAttributionResult]:
        r"""
        Explain parts of a recording of any length, each in the very window that the model wrote it
        from, with the prompt that it read. Windows without anything asked for cost nothing.

        Args:

            audio, sampling_rate: As for :meth:`transcribe`.
            words (str or sequence of str, optional): Words or phrases of the transcript, of which
                        every occurrence is meant; case and punctuation do not matter.
                        Default: None
            at (float, tuple or sequence of them, optional): A time in seconds, or a pair of first
                        and last one: words that are spoken there.
                        Default: None; with ``words`` None, too, everything
            transcript (Transcript, optional): What :meth:`transcribe` returned for this audio.
                        Default: None, transcribed now, with ``gen_args`` of the settings
            settings (Settings, optional): As for :meth:`attribute`.
                        Default: None
            seed (int, optional): Of every random choice, the same for each window.
                        Default: None, drawn from torch's global generator
            show_progress (bool, optional): Displays progress bars.
                        Default: False
            return_partial (bool, optional): Whether Ctrl-C ends the explanation of the window
                        that is being perturbed with the samples so far, and those after it are
                        left out.
                        Default: False, Ctrl-C raises KeyboardInterrupt
            on_result (Callable, optional): Called with each result as soon as it is there, to save
                        it for example.
                        Default: None
            **changes (Any): Values to change in the settings, and ``scheme`` and ``contrast``, as
                        for :meth:`attribute`. A contrast is explained once in each window that
                        holds its word; with ``words`` and ``at`` None, too, in all of them. Its
                        ``occurrence`` counts in each window, among the words asked for there.

        Returns:
            *list* of :class:`SpeechToTextAttributionResult`, one for each window that holds what is
            asked for, in order. ``frame_times`` and words have times in the recording;
            ``parameters["window"]`` tells ``start`` and ``end`` of the window, which of the tokens
            are in the transcript, and which of ``words`` were asked for. The samples from ``start``
            to ``end`` with ``settings`` and ``seed`` of a result give it again.

        Raises:
            ArgumentError: the transcript does not hold what is asked for, or what :meth:`attribute`
                raises.
            ArgumentTypeError: an argument has the wrong type.
            FileNotFoundError: there is no such audio file.

        Examples::

            >>> word = explainer.transcribe("speech.flac").words[0].word
            >>> (part,) = explainer.attribute_parts("speech.flac", words=word, n_samples=50, seed=0)
            >>> [part.words[i].word for i in part.parameters["window"]["asked_words"]][0] == word
            True
        """
        scheme = changes.pop("scheme", None)
        changes |= _of_contrast(changes.pop("contrast", None), changes)
        chosen = self._settings(settings, scheme, changes)
        samples = read_samples(audio, sampling_rate, self.adapter.sampling_rate)
        drawn = resolve_seed(seed)
        if on_result is not None and not callable(on_result):
            raise ArgumentTypeError(f"on_result must be a function, got {on_result!r}.")
        rate = self.adapter.sampling_rate
        origin = origin_of(audio)
        request = Request(samples, rate, None, drawn, show_progress, return_partial, origin)
        transcript = self._transcript_of(request, transcript, chosen, "an explanation of parts")
        contrast = chosen.score if isinstance(chosen.score, Contrast) else None
        if contrast is not None and words is None and at is None:
            words = contrast.word
        parts = asked_parts(transcript, words, at)
        if contrast is not None:
            parts = contrasted_parts(self.adapter, parts, contrast)
        return self._explained(parts, request, chosen, on_result)

    def attribute_errors(  # noqa: PLR0913
        self,
        audio: Audio,
        reference: str,
        sampling_rate: int = 16_000,
        *,
        transcript: Transcript | None = None,
        settings: Settings | None = None,
        seed: int | None = None,
        show_progress: bool = False,
        return_partial: bool = False,
        on_error: Callable[[TranscriptError], object] | None = None,
        on_result: Callable[[SpeechToTextAttributionResult], object] | None = None,
        **changes: Any,
    ) -> list[SpeechToTextAttributionResult]:
        r"""
        Explain what a model got wrong: why it wrote this word and not the one that was said.

        The recording, of any length, is transcribed once. Transcript and reference are aligned by
        their edit distance; case and punctuation do not matter, and in scripts without spaces
        characters are compared. Numbers must be written the same way in both. Each word that stands
        in the place of another gets an explanation of its own, with what was written as the word of
        a :class:`captum_spes.forward.Contrast` and what was said as its foil. Errors that touch are
        explained one by one where as many words were written as said, and else as one phrase beside
        another. Of what was left out, or written and never said, there is nothing to contrast:
        :meth:`check` tells which words the model did not hear.

        Args:

            audio, sampling_rate: As for :meth:`transcribe`.
            reference (str): What was said.
            transcript, settings, seed, show_progress, return_partial, on_result: As for
                        :meth:`attribute_parts`.
            on_error (Callable, optional): Called with each :class:`TranscriptError` in turn, before
                        it is explained; where its ``reason`` is not empty it cannot be.
                        Default: None, a warning names what cannot be explained
            **changes (Any): Values to change in the settings, and ``scheme``, as for
                        :meth:`attribute`. ``score`` can be a contrast, whose kind and rule are
                        taken; word and foil are those of the errors.

        Returns:
            *list* of :class:`SpeechToTextAttributionResult`, one for each error that is explained,
            in order; empty where there is none. ``parameters["error"]`` holds what was
            ``written`` and the ``reference``; times are those of the recording.

        Raises:
            ArgumentError: the reference holds no word, the score is no contrast, or what
                :meth:`attribute_parts` raises.
            ArgumentTypeError: an argument has the wrong type.
            FileNotFoundError: there is no such audio file.

        Examples::

            >>> written = explainer.transcribe("speech.flac").text
            >>> explainer.attribute_errors("speech.flac", written, n_samples=50, seed=0)
            []
        """
        scheme = changes.pop("scheme", None)
        like = changes.pop("score", None)
        if like is not None and not isinstance(like, Contrast):
            raise ArgumentError(
                f"errors are explained by contrasts, and score={like!r} is none: leave it out."
            )
        like = Contrast("word", "foil") if like is None else like
        chosen = self._settings(settings, scheme, {**changes, "score": like})
        samples = read_samples(audio, sampling_rate, self.adapter.sampling_rate)
        for name, called in {"on_error": on_error, "on_result": on_result}.items():
            if called is not None:
                function(name, called)
        rate = self.adapter.sampling_rate
        drawn = resolve_seed(seed)
        origin = origin_of(audio)
        request = Request(samples, rate, None, drawn, show_progress, return_partial, origin)
        transcript = self._transcript_of(request, transcript, chosen, "an explanation of errors")
        errors = errors_of(self.adapter, transcript, reference, like)
        if on_error is None:
            _warn_of_unexplained(errors)
        results: list[SpeechToTextAttributionResult] = []
        for error in errors:
            if on_error is not None:
                on_error(error)
            if error.part is None:
                continue
            facts = {"written": error.written, "reference": error.reference}
            try:
                (result,) = self._explained([error.part], request, chosen, None)
            except KeyboardInterrupt:
                if return_partial and results:
                    break
                raise
            result.parameters["error"] = facts
            results.append(result)
            if on_result is not None:
                on_result(result)
            if return_partial and _was_stopped(result):
                break
        return results

    def _transcript_of(
        self, request: Request, given: Transcript | None, settings: Settings, purpose: str
    ) -> Transcript:
        """What the model writes from checked samples, or what it wrote before."""
        if given is not None and not isinstance(given, Transcript):
            raise ArgumentTypeError(
                f"transcript must be what transcribe returned, got {type(given).__name__}."
            )
        samples: Any = request.audio
        if given is None:
            require(self.adapter, Generates, purpose)
            own, progress = dict(settings.gen_args), request.show_progress
            return self._transcribed(samples, own, None, request.seed, progress)
        seconds = len(samples) / self.adapter.sampling_rate
        if abs(seconds - given.seconds) > _MOST_DIFFERENCE:
            raise ArgumentError(
                f"the transcript is of another recording: it lasts {given.seconds:.2f} s, and "
                f"the audio {seconds:.2f} s."
            )
        return given

    def _explained(
        self,
        parts: Sequence[Part],
        whole: Request,
        settings: Settings,
        on_result: Callable[[SpeechToTextAttributionResult], object] | None,
    ) -> list[SpeechToTextAttributionResult]:
        """Explanations of parts of the checked samples of a request."""
        samples: Any = whole.audio

        def explain(audio: Any, part: Part) -> SpeechToTextAttributionResult:
            request = replace(whole, audio=audio, target=part.window.sequence)
            own = settings.replace(gen_args=part.window.gen_args)
            if part.contrast is not None:
                own = own.replace(score=part.contrast)
            with ordinary_torch(self.adapter.device), self.adapter.evaluation_mode():
                return Explanation(self.attr_method, self.adapter, request, own).result()

        results: list[SpeechToTextAttributionResult] = []
        explained = explain_parts(
            parts, samples, self.adapter.sampling_rate, explain, whole.show_progress
        )
        try:
            for result in explained:
                results.append(result)
                if on_result is not None:
                    on_result(result)
                if whole.return_partial and _was_stopped(result):
                    break
        except KeyboardInterrupt:
            if not (whole.return_partial and results):
                raise
        return results

    def _transcribed(
        self,
        samples: Any,
        gen_args: Mapping[str, Any],
        chunk_seconds: float | None,
        seed: int | None,
        show_progress: bool,
    ) -> Transcript:
        with (
            ordinary_torch(self.adapter.device),
            self.adapter.evaluation_mode(),
            seeded_draws(resolve_seed(seed)),
        ):
            return transcribe(self.adapter, samples, gen_args, chunk_seconds, show_progress)

    def check(  # noqa: PLR0913
        self,
        audio: Audio,
        sampling_rate: int = 16_000,
        target: str | Sequence[int] | Tensor | None = None,
        passes: int = 12,
        gen_args: Mapping[str, Any] | None = None,
        *,
        baselines: str = "mean",
        rules: Sequence[VerdictRule] | None = None,
        chunk_seconds: float | None = None,
        perturbations_per_eval: int = 4,
        seed: int | None = None,
        show_progress: bool = False,
        on_words: Callable[[list[WordEvidence]], object] | None = None,
    ) -> EvidenceReport:
        r"""
        Find out which words the model heard, and which it made up.

        Stretches of the recording are removed, in batches, and the model's expectations at each
        word compared: everything, windows of a third, and everything but such a window. A word
        that was heard is lost with its part of the audio; a word that was made up stays as likely,
        or was unlikely before. A rule calibrated on other recordings
        (:func:`captum_spes.evaluation.calibrate`) turns this, and how likely the model holds the
        word, into a verdict.

        Args:

            audio, sampling_rate: As for :meth:`attribute`; recordings of any length.
            target (str, sequence of int or Tensor, optional): A text, or token ids, to check
                        instead of the model's own, for a recording that the model takes at once.
                        Default: None, what the model writes
            passes (int, optional): Perturbed inputs per window, from 1 to 40; the intact one comes
                        on top. One tells whether a text stands without the audio; more tell the
                        times of words better. ``docs/results/heard_words.md`` says what each buys.
                        Default: 12
            gen_args, chunk_seconds: As for :meth:`transcribe`.
            baselines (str, optional): The removed value, "mean" or "silence".
                        Default: "mean"
            rules (sequence of VerdictRule, optional): Of them the one is taken that fits the
                        model's family, the removed value and the number of passes best.
                        Default: None, those that come with the package
            perturbations_per_eval (int, optional): Perturbed inputs in a batch.
                        Default: 4
            seed (int, optional): Of the draws that ``gen_args`` may ask for; nothing else is drawn.
                        Default: None, drawn from torch's global generator
            show_progress (bool, optional): Displays a progress bar.
                        Default: False
            on_words (Callable, optional): Called with the :class:`WordEvidence` of each window as
                        soon as they are there.
                        Default: None

        Returns:
            *EvidenceReport*: for each word its evidence, its probability, the verdict, and the time
            of the audio that speaks for it. A warning says where the rule was calibrated for
            something else.

        Raises:
            ArgumentError: the audio or the target is unusable, or an argument is out of range.
            ArgumentTypeError: an argument has the wrong type, or the model writes no text of its
                own and there is no target.
            FileNotFoundError: there is no such audio file.

        Examples::

            >>> report = explainer.check("speech.flac")
            >>> report.words[0].verdict in ("heard", "not heard", "cannot tell")
            True
            >>> report.save("speech.srt")
        """
        checker = self._checker(passes, baselines, rules, perturbations_per_eval)
        truth("show_progress", show_progress)
        if on_words is not None:
            function("on_words", on_words)
        if target is None:
            require(self.adapter, Generates, "a check without target")
        own = Settings(gen_args={} if gen_args is None else gen_args).gen_args
        with (
            ordinary_torch(self.adapter.device),
            self.adapter.evaluation_mode(),
            seeded_draws(resolve_seed(seed)),
        ):
            windows, seconds = windows_to_check(
                self.adapter, (audio, sampling_rate), target, own, chunk_seconds
            )
            return report_of(checker, windows, seconds, on_words, show_progress)

    def _checker(
        self,
        passes: int,
        baselines: str,
        rules: Sequence[VerdictRule] | None,
        perturbations_per_eval: int,
    ) -> Checker:
        """The arguments of a check, each of them looked at."""
        count = checked_passes(passes)
        instance_of("baselines", baselines, str, "the name of a removed value")
        check_removed_value(self.adapter, baselines)
        few = whole_number("perturbations_per_eval", perturbations_per_eval, 1)
        known = shipped_rules() if rules is None else several("rules", rules, "a sequence of rules")
        for rule in known:
            instance_of("rules", rule, VerdictRule, "a sequence of VerdictRule")
        rule, misfit = choose_rule(known, self.adapter, baselines, count)
        if misfit is not None:
            warn_caller(f"the verdicts' rule was not calibrated for this check: {misfit}.")
        return Checker(self.adapter, count, baselines, rule, misfit, few)

    def attribute_future(self, *args: Any, **kwargs: Any) -> None:
        r"""
        This method is not implemented for SpeechToTextAttribution.
        """
        raise NotImplementedError("attribute_future is not implemented for SpeechToTextAttribution")

    def _settings(
        self, settings: Settings | None, scheme: str | None, changes: dict[str, Any]
    ) -> Settings:
        """The settings, however they were given, checked against the method."""
        own = self.attr_method.estimator if isinstance(self.attr_method, SPES) else MaskedMean()
        has_own = own != MaskedMean()
        if scheme is not None and scheme not in SCHEMES:
            raise ArgumentError(f"scheme must be one of {tuple(SCHEMES)}, got {scheme!r}.")
        if scheme is not None and settings is not None:
            raise ArgumentError("scheme and settings both say how to explain: give one of them.")
        if settings is not None and not isinstance(settings, Settings):
            raise ArgumentTypeError(
                f"settings must be Settings, got {type(settings).__name__}; Settings.from_dict "
                "reads a dictionary."
            )
        score = changes.get("score", getattr(settings, "score", None))
        if isinstance(score, Contrast):  # its impacts can be negative
            own = without_logarithms(own)
            if settings is not None:
                changes.setdefault("estimator", without_logarithms(settings.estimator))
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
                f"the method was made with {own!r}, but the settings say {settings.estimator!r}: "
                "give only one estimator."
            )
        check_settings(self.attr_method, settings)
        return settings


def without_logarithms(estimator: Estimator) -> Estimator:
    """An estimator that also takes impacts below zero."""
    if isinstance(estimator, GaussianProcess):
        return replace(estimator, log_impacts=False)
    return estimator


def _of_contrast(contrast: object, changes: Mapping[str, Any]) -> dict[str, Any]:
    """A contrast as the score that it is."""
    if contrast is None:
        return {}
    if not isinstance(contrast, Contrast):
        raise ArgumentTypeError(f"contrast must be Contrast(word, foil), got {contrast!r}.")
    if changes.get("score") is not None:
        raise ArgumentError("contrast and score both say what is measured: give one of them.")
    return {"score": contrast}


def _warn_of_unexplained(errors: Sequence[TranscriptError]) -> None:
    left = [error for error in errors if error.reason]
    if left:
        shown = "; ".join(f"{error} ({error.reason})" for error in left[:_SHOWN_ERRORS])
        more = f"; and {len(left) - _SHOWN_ERRORS} more" if len(left) > _SHOWN_ERRORS else ""
        warn_caller(f"{len(left)} of {len(errors)} errors are not explained: {shown}{more}.")


def _was_stopped(result: SpeechToTextAttributionResult) -> bool:
    """Whether Ctrl-C ended the sampling."""
    evaluated = result.parameters.get("n_samples_evaluated")
    is_all = evaluated is None or evaluated >= result.settings.n_samples
    return not is_all and result.settings.tolerance is None


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
