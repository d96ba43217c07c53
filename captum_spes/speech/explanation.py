"""How one explanation is made: from audio and settings to maps and a result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, NamedTuple

import torch
from captum.attr import Attribution
from torch import Tensor

from captum_spes.errors import ArgumentError
from captum_spes.forward import KL, Contrast, Score, TokenProbability, score_name
from captum_spes.io.provenance import versions
from captum_spes.maps import Maps, group_words
from captum_spes.masks import describe_levels
from captum_spes.speech.alternatives import Alternative, with_likeliest_foil
from captum_spes.speech.ambient import check_differentiable
from captum_spes.speech.certainty import Certainty
from captum_spes.speech.frames import reads_all_frames
from captum_spes.speech.inputs import Audio, read_speech, removed_value
from captum_spes.speech.methods import runner_of
from captum_spes.speech.models import (
    Attends,
    Generates,
    HearsShortWindows,
    ReadsPreviousTokens,
    SpeechInput,
    TargetSequence,
    WritesInFrames,
    can,
    require,
)
from captum_spes.speech.outputs import Output, WordAndFoil
from captum_spes.speech.patches import feature_masks
from captum_spes.speech.randomness import seeded_draws
from captum_spes.speech.reliability import sampling_quality, warn_if_noise
from captum_spes.speech.result import SpeechToTextAttributionResult, Word
from captum_spes.speech.running import attribute_jointly, attribute_side
from captum_spes.speech.settings import Settings
from captum_spes.speech.sides import Run, Side, SideMaps, Stages
from captum_spes.speech.utterance_methods import SpeechAttribution


@dataclass(frozen=True)
class Request:
    """What is explained, and how it is shown.

    Attributes:
        audio: as ``SpeechToTextAttribution.attribute`` takes it.
        sampling_rate: of samples given as an array.
        target: a text or ids; None for what the model writes; a sequence that it wrote already.
        seed: of every random choice.
        show_progress: whether to draw progress bars.
        return_partial: whether Ctrl-C ends the sampling and keeps the samples so far.
        origin: where the recording is, as ``captum_spes.io.samples.origin_of`` says it.
    """

    audio: Audio
    sampling_rate: int
    target: str | Sequence[int] | Tensor | TargetSequence | None
    seed: int
    show_progress: bool
    return_partial: bool
    origin: dict[str, Any] | None = None


@dataclass(frozen=True, eq=False)
class Task:
    """The inputs from which all sides are explained.

    Attributes:
        speech: the utterance.
        output: what is explained of what the model writes.
        encoded: computes the encoder states of the intact utterance.
        removed: ``(time, freq)``, the values that removed cells get.
        masks: the patches of each level, ``(1, time, freq)``.
    """

    speech: SpeechInput
    output: Output
    encoded: Callable[[], Tensor]
    removed: Tensor
    masks: list[Tensor]

    @property
    def sequence(self) -> TargetSequence:
        """What the model reads and writes."""
        return self.output.sequence

    @cached_property
    def states(self) -> Tensor:
        """Encoder states of the intact utterance."""
        return self.encoded()


class Sides(NamedTuple):
    """The maps of everything that can be removed.

    Attributes:
        spectrogram: of the audio.
        tokens: of the previous tokens, NaN where one is not before the explained token; None if
            they were not asked for.
        instruction: of the instruction; None for a model that reads none.
    """

    spectrogram: SideMaps
    tokens: SideMaps | None = None
    instruction: SideMaps | None = None


class Prepared(NamedTuple):
    """What is known before anything is removed.

    Attributes:
        task: the inputs from which all sides are explained.
        run: what all sides have in common.
        certainty: how sure the model is; None for controls, which ask it nothing.
        pair: a contrast's word and foil; None without a contrast.
    """

    task: Task
    run: Run
    certainty: Certainty | None
    pair: WordAndFoil | None


class Explanation:
    """Explains one utterance with one method.

    Args:
        method: the user's method, as it was given.
        adapter: the model's adapter; what it can do depends on the model's family.
        request: what is explained.
        settings: how it is explained.
    """

    def __init__(
        self, method: Attribution, adapter: Any, request: Request, settings: Settings
    ) -> None:
        self.method, self.adapter = method, adapter
        self.request, self.settings = request, settings
        # Of which a foil was taken, where none was given.
        self._alternatives: list[Alternative] = []

    def result(self) -> SpeechToTextAttributionResult:
        """Read the audio, let the model write, explain all sides."""
        prepared = self.prepared()
        return self.result_of(prepared, self._sides(prepared.task, prepared.run))

    def prepared(self) -> Prepared:
        """Read the audio and let the model write."""
        self._check_abilities()
        task, run = self._task_and_run()
        pair = self._word_and_foil(task, run)
        certainty = self._certainty(task, run) if pair is None else Certainty.of_contrast(*pair)
        return Prepared(task, run, certainty, pair)

    @property
    def _is_generated(self) -> bool:
        return self.request.target is None or isinstance(self.request.target, TargetSequence)

    # Inputs ----------------------------------------------------------------------------

    def _check_abilities(self) -> None:
        """Raise, before the model runs, where it cannot do what is needed."""
        if self.request.target is None:
            require(self.adapter, Generates, "an explanation without target")
        if self.settings.perturb_jointly and not can(self.adapter, ReadsPreviousTokens):
            raise ArgumentError(
                "perturb_jointly=True removes parts of the audio and previous tokens together, and "
                f"{type(self.adapter).__name__} reads no previous tokens: leave it out."
            )
        if isinstance(self.settings.score, Contrast) and isinstance(self.method, SpeechAttribution):
            raise ArgumentError(
                f"{self.method.get_name()} scores no output, so there is nothing to contrast: take "
                "a method that perturbs or differentiates."
            )
        if reads_all_frames(self.settings.score):
            require(self.adapter, WritesInFrames, f"score={score_name(self.settings.score)!r}")
        if isinstance(self.method, SpeechAttribution):
            for capability in self.method.needs:
                require(self.adapter, capability, self.method.get_name())
        runner = runner_of(self.method)
        if runner is not None and runner.differentiates:
            check_differentiable(self.method.forward_func, self.method.get_name())

    def _task_and_run(self) -> tuple[Task, Run]:
        adapter, settings, request = self.adapter, self.settings, self.request
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
        output = self._output(speech, self._target(speech))
        run = self._run(output)
        return Task(speech, output, partial(self._states, speech, run), removed, masks), run

    def _target(self, speech: SpeechInput) -> TargetSequence:
        if isinstance(self.request.target, TargetSequence):
            return self.request.target
        # Generation may sample (do_sample, temperature).
        with seeded_draws(self.request.seed):
            found: TargetSequence
            if self.request.target is None:
                found = self.adapter.generate(speech, self.settings.gen_args)
            else:
                found = self.adapter.force(speech, self.request.target, self.settings.gen_args)
        return found

    def _output(self, speech: SpeechInput, sequence: TargetSequence) -> Output:
        runner, score = runner_of(self.method), self.settings.score
        differentiates = runner is not None and runner.differentiates
        if isinstance(score, Contrast):
            if score.foil is None:
                score = self._with_foil(score, speech, sequence)
            # The difference of two probabilities has no gradient where one of them is 1.
            own = replace(score, score="log_ratio") if differentiates else score
            return Output.of_contrast(self.adapter, own, speech, sequence, self.settings.gen_args)
        default: Score = TokenProbability(log=True) if differentiates else KL()
        return Output.of(self.adapter, default if score is None else score, sequence)

    def _with_foil(
        self, contrast: Contrast, speech: SpeechInput, sequence: TargetSequence
    ) -> Contrast:
        """A contrast with the likeliest other word as its foil, which the settings name from now
        on: with them the explanation can be made again."""
        with torch.no_grad():
            states = self.adapter.encode(speech, speech.spectrogram[None])
        found, self._alternatives = with_likeliest_foil(
            self.adapter, speech, states, sequence, contrast, self.settings.gen_args
        )
        self.settings = self.settings.replace(score=found)
        return found

    def _run(self, output: Output) -> Run:
        settings = self.settings
        return Run(
            token_ids=output.token_ids,
            score=output.score,
            seed=self.request.seed,
            device=self.adapter.device,
            output_layer=self.adapter.output_layer,
            perturbations_per_eval=settings.perturbations_per_eval,
            dtype=settings.dtype,
            return_partial=self.request.return_partial,
            show_progress=self.request.show_progress,
        )

    # Maps ------------------------------------------------------------------------------

    def _states(self, speech: SpeechInput, run: Run) -> Tensor:
        with torch.no_grad():
            states: Tensor = run.in_precision(self.adapter.encode)(speech, speech.spectrogram[None])
        return states

    def _certainty(self, task: Task, run: Run) -> Certainty | None:
        """None for controls, which ask the model nothing."""
        method = self.method
        if isinstance(method, SpeechAttribution) and not method.needs:
            return None
        with torch.no_grad():
            hidden = run.in_precision(self.adapter.decode)(task.states, task.sequence)
        return Certainty.of(self.adapter, hidden, task.sequence)

    def _word_and_foil(self, task: Task, run: Run) -> WordAndFoil | None:
        output = task.output
        if output.contrasted is None:
            return None
        with torch.no_grad():
            hidden = run.in_precision(output.decode)(self.adapter, task.states)
            return output.word_and_foil(self.adapter.output_layer(hidden))

    def _sides(self, task: Task, run: Run) -> Sides:
        """The maps, undefined where a previous token is not before the explained one."""
        sides = self._maps(task, run)
        tokens = sides.tokens
        if tokens is None:
            return sides
        is_previous = task.sequence.valid_previous_tokens()
        if len(tokens.maps) != len(is_previous):  # a score's units rest on all that any token reads
            is_previous = is_previous.any(0, keepdim=True).expand(len(tokens.maps), -1)
        return sides._replace(tokens=tokens.masked(~is_previous))

    def _maps(self, task: Task, run: Run) -> Sides:
        method, settings, sequence = self.method, self.settings, task.sequence
        has_tokens = bool(settings.n_token_samples and sequence.previous_positions)
        has_instruction = bool(
            settings.n_token_samples and sequence.instruction and not settings.perturb_jointly
        )
        if isinstance(method, SpeechAttribution):
            maps = method.maps(self.adapter, task.speech, task.sequence, run.seed)
            return _of_maps(maps if has_tokens else Maps(maps.spectrogram_attr, None))
        runner = runner_of(method)
        assert runner is not None
        spectrogram_side = self.spectrogram_side(task)
        if not (has_tokens or has_instruction):
            return Sides(attribute_side(method, runner, spectrogram_side, run))
        require(
            self.adapter,
            ReadsPreviousTokens,
            "removing previous tokens (n_token_samples=0 leaves them out)",
        )
        token_sides = {}
        if has_tokens:
            token_sides["tokens"] = self._token_side(task, run, "previous tokens", sequence)
        if has_instruction:  # it is before every token
            own = replace(sequence, previous=sequence.instruction)
            side = self._token_side(task, run, "instruction", own)
            token_sides["instruction"] = replace(side, n_before=None)
        if settings.perturb_jointly and has_tokens:
            hidden_func = partial(self._joint_hidden, task)
            return _of_maps(
                attribute_jointly(method, spectrogram_side, token_sides["tokens"], hidden_func, run)
            )
        sides = Sides(attribute_side(method, runner, spectrogram_side, run))
        try:
            for name, side in token_sides.items():
                sides = sides._replace(**{name: attribute_side(method, runner, side, run)})
        except KeyboardInterrupt:
            if not run.return_partial:
                raise
        return sides

    def spectrogram_side(self, task: Task) -> Side:
        """What is perturbed of the spectrogram, and what the model makes of it."""
        settings = self.settings
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
            prior=settings.prior,
            gradients_with_padding=settings.gradients_with_padding,
            stages=self._stages(task),
        )

    def _stages(self, task: Task) -> Stages:
        adapter, speech = self.adapter, task.speech

        def covered_frames(n_positions: int) -> int:
            own = getattr(adapter, "covered_frames", None)
            return len(speech.spectrogram) if own is None else int(own(speech, n_positions))

        def attention() -> Tensor:
            weights: Tensor = adapter.attention(speech, task.sequence).cross.mean(0)
            return weights

        is_short = can(adapter, HearsShortWindows)
        return Stages(
            encode=partial(adapter.encode, speech),
            decode=partial(task.output.decode, adapter),
            covered_frames=covered_frames,
            attention=attention if can(adapter, Attends) else None,
            is_decoder_light=not getattr(adapter, "is_language_model", False),
            encode_shortened=partial(adapter.encode_shortened, speech) if is_short else None,
        )

    def _token_side(self, task: Task, run: Run, name: str, sequence: TargetSequence) -> Side:
        """One number per previous token: 1 keeps its embedding, the baseline 0 removes it."""
        settings = self.settings
        with torch.no_grad():
            prepared = run.in_precision(self.adapter.prepared)(task.states, sequence)
        keep = torch.ones(1, len(sequence.previous_positions), dtype=torch.float32, device="cpu")
        return Side(
            name=name,
            inputs=keep,
            baselines=torch.zeros_like(keep),
            feature_masks=[torch.arange(keep.shape[1], device="cpu")[None]],
            hidden_func=partial(self._token_hidden, task, sequence, prepared),
            n_samples=settings.n_token_samples,
            perturb_prob=settings.token_perturb_prob,
            n_before=sequence.n_before,
            method_args=dict(settings.method_args.get("tokens", {})),
        )

    # Forward passes --------------------------------------------------------------------

    def _spectrogram_hidden(self, task: Task, spectrograms: Tensor) -> Tensor:
        return task.output.decode(self.adapter, self.adapter.encode(task.speech, spectrograms))

    def _token_hidden(
        self, task: Task, sequence: TargetSequence, prepared: Any, keep: Tensor
    ) -> Tensor:
        states = task.states.expand(len(keep), *task.states.shape[1:])

        def decode(reading: TargetSequence) -> Tensor:
            hidden: Tensor = self.adapter.decode_prepared(states, reading, prepared)
            return hidden

        return task.output.decode_kept(self.adapter, keep, sequence.previous_positions, decode)

    def _joint_hidden(self, task: Task, spectrograms: Tensor, keep: Tensor) -> Tensor:
        states = self.adapter.encode(task.speech, spectrograms)

        def decode(reading: TargetSequence) -> Tensor:
            hidden: Tensor = self.adapter.decode(states, reading)
            return hidden

        positions = task.sequence.previous_positions
        return task.output.decode_kept(self.adapter, keep, positions, decode)

    # The result ------------------------------------------------------------------------

    def result_of(self, prepared: Prepared, sides: Sides) -> SpeechToTextAttributionResult:
        """The result that holds these maps."""
        task, _, certainty, pair = prepared
        adapter, speech, sequence = self.adapter, task.speech, task.sequence
        contrasted = task.output.contrasted
        facts: dict[str, Any] = {}
        if contrasted is not None:
            assert pair is not None
            facts["contrast"] = {**contrasted.described(), **pair.described()}
            if self._alternatives:
                facts["contrast"]["alternatives"] = [list(own) for own in self._alternatives]
        output_tokens, words = self.units(prepared, len(sides.spectrogram.maps))
        return SpeechToTextAttributionResult(
            output_tokens=output_tokens,
            previous_tokens=adapter.token_strings(sequence.previous_ids),
            spectrogram=speech.spectrogram,
            removed=task.removed.contiguous(),
            feature_masks=torch.cat(task.masks).cpu(),
            spectrogram_attr=sides.spectrogram.maps,
            token_attr=None if sides.tokens is None else sides.tokens.maps,
            frame_times=speech.frame_times,
            mel_frequencies=speech.mel_frequencies,
            words=words,
            text=adapter.text(sequence.explained_ids) if contrasted is None else contrasted.text,
            output_ids=sequence.explained_ids.tolist(),
            previous_ids=sequence.previous_ids.tolist(),
            seconds=speech.seconds,
            seed=self.request.seed,
            method=self.method.get_name(),
            model_id=adapter.model_id,
            parameters={**self.settings.described(), **self._facts(task, sides, words), **facts},
            **({} if certainty is None else certainty._asdict()),
            settings=self.settings,
            instruction_tokens=adapter.token_strings(sequence.ids[list(sequence.instruction)]),
            instruction_attr=None if sides.instruction is None else sides.instruction.maps,
        )

    def units(self, prepared: Prepared, count: int) -> tuple[list[str], list[Word]]:
        """What each of ``count`` units is called, and the words that they spell."""
        task, run = prepared.task, prepared.run
        ids, contrasted = task.sequence.explained_ids, task.output.contrasted
        tokens = self.adapter.token_strings(ids)
        if contrasted is not None:
            return _labels(run.score, tokens, count), [Word(contrasted.contrast.word, (0,))]
        if count != len(tokens):  # a score with units of its own
            return _labels(run.score, tokens, count), []
        return tokens, _words(self.adapter.spelled(ids))

    def _facts(self, task: Task, sides: Sides, words: list[Word]) -> dict[str, Any]:
        """What was found while explaining, in JSON's types."""
        levels = describe_levels(task.masks)
        rows = [list(word.token_indices) for word in words]
        is_perturbed = (torch.cat(task.masks) >= 0).any(0).cpu()
        quality = sampling_quality(*sides, is_perturbed, rows)
        if quality:
            sentence = quality["reliability"]["sentence"]
            odds_exponent = sides.spectrogram.odds_exponent
            warn_if_noise(sentence, quality["n_samples_evaluated"], odds_exponent)
        return {
            "target": "generated" if self._is_generated else "given",
            "sequence": task.sequence.to_dict(),
            "patches_per_level": list(levels.n_patches),
            "distinct_levels": levels.n_distinct,
            **quality,
            **({} if self.request.origin is None else {"audio": dict(self.request.origin)}),
            "versions": versions(),
        }


def _of_maps(maps: Maps) -> Sides:
    spectrogram_attr, token_attr = maps
    return Sides(SideMaps(spectrogram_attr), None if token_attr is None else SideMaps(token_attr))


def _labels(score: Score, tokens: list[str], count: int) -> list[str]:
    """Names of the units of a score that are not the tokens."""
    labels = getattr(score, "labels", None)
    names = (
        [f"unit {number}" for number in range(1, count + 1)] if labels is None else labels(tokens)
    )
    if len(names) != count:
        raise ArgumentError(
            f"the score's labels name {len(names)} units, but it returns {count}: give one label "
            "per unit."
        )
    return list(names)


def _words(spelled: list[tuple[str, list[int]]]) -> list[Word]:
    return [
        Word(word, tuple(row for piece in pieces for row in spelled[piece][1]))
        for word, pieces in group_words([text for text, _ in spelled])
    ]
