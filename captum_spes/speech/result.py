"""The explanation of one transcription."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.errors import (
    ArgumentError,
    instance_of,
    several,
    texts,
    truth,
    warn_caller,
)
from captum_spes.io.samples import Recording
from captum_spes.io.sound import Sound
from captum_spes.maps import Maps, paired_min_max, sentence_mean, span_mean, standardize
from captum_spes.speech.certainty import Certainty
from captum_spes.speech.contrast_maps import ContrastMaps, contrast_maps, has_sign
from captum_spes.speech.evidence import EvidenceReport
from captum_spes.speech.listening import listened, salient_cells
from captum_spes.speech.phrase_maps import PhraseMaps, phrase_tokens, previous_columns
from captum_spes.speech.reliability import Reliability
from captum_spes.speech.result_file import (
    ARRAYS,
    InMemory,
    Source,
    read_fields,
    read_result,
    saved_text,
    write_result,
)
from captum_spes.speech.result_plots import ResultPlots
from captum_spes.speech.settings import Settings
from captum_spes.speech.word_certainty import word_certainty

if TYPE_CHECKING:
    from xarray import Dataset


@dataclass(frozen=True)
class Word:
    """A word of the output.

    Attributes:
        word: its text.
        token_indices: the rows of ``output_tokens`` that spell it.
        start: seconds, or None where it was not aligned.
        end: seconds, or None where it was not aligned.
    """

    word: str
    token_indices: tuple[int, ...]
    start: float | None = None
    end: float | None = None


@dataclass(frozen=True, eq=False)
class SpeechToTextAttributionResult(ResultPlots):
    r"""
    What every token of a transcription rested on.

    K is the number of explained tokens, J of previous tokens, I of tokens of the instruction.

    Attributes:
        output_tokens: the K explained tokens, end of sentence included if the model wrote
            it; a leading space starts a word.
        previous_tokens: the J tokens that the decoder read, prompt included; for a speech LLM the
            text so far alone.
        spectrogram: ``(time, freq)``: what was perturbed, without padding.
        removed: ``(time, freq)``: what removed cells were replaced by.
        feature_masks: ``(levels, time, freq)``: the patches, int64 labels.
        spectrogram_attr: ``(K, time, freq)``: raw attributions, not normalised.
        token_attr: ``(K, J)``: raw attributions of previous tokens, NaN where a token is
            not before the explained one; None if they were not asked for.
        frame_times: ``(time,)``: seconds, the middle of each frame.
        mel_frequencies: ``(freq,)``: Hz, the middle of each mel bin.
        words: the words that the tokens spell.
        text: the transcription.
        output_ids: the K vocabulary ids.
        previous_ids: the J vocabulary ids.
        seconds: duration of the speech.
        seed: the seed of all masks.
        method: name of the attribution method.
        model_id: name or folder of the model.
        parameters: the settings in words and numbers, and what the run found (patches per
            level, for example).
        probabilities: ``(K,)``: of each token, given the intact speech and the tokens before it.
            None, like the next two, in files of earlier versions and for controls, which ask the
            model nothing.
        ranks: ``(K,)``: of each token among all, 1 for the likeliest.
        runners_up: the likeliest other token of each.
        settings: what it was made with; with the same audio, target and seed they give it again.
        instruction_tokens: the I tokens of the instruction that a speech LLM was given.
        instruction_attr: ``(K, I)``: raw attributions of the instruction; None for a model that
            reads none, without samples of tokens, where sides are perturbed jointly, and for
            methods that cannot give it.
    """

    output_tokens: list[str]
    previous_tokens: list[str]
    spectrogram: Tensor
    removed: Tensor
    feature_masks: Tensor
    spectrogram_attr: Tensor
    token_attr: Tensor | None
    frame_times: Tensor
    mel_frequencies: Tensor
    words: list[Word]
    text: str
    output_ids: list[int]
    previous_ids: list[int]
    seconds: float
    seed: int
    method: str
    model_id: str
    parameters: dict[str, Any] = field(default_factory=dict)
    probabilities: Tensor | None = None
    ranks: Tensor | None = None
    runners_up: list[str] | None = None
    settings: Settings = field(default_factory=Settings)
    instruction_tokens: list[str] = field(default_factory=list)
    instruction_attr: Tensor | None = None

    def __repr__(self) -> str:
        tokens, frames, bins = self.spectrogram_attr.shape
        return (
            f"SpeechToTextAttributionResult(method={self.method!r}, text={self.text!r}, "
            f"{tokens} tokens, {frames} frames, {bins} mel bins, {self.seconds:.1f} s, "
            f"seed={self.seed})"
        )

    def _repr_html_(self) -> str:
        """The transcript and the sentence's map, for notebooks."""
        from captum_spes.speech.notebook import notebook_of

        return notebook_of(self)

    # Maps ------------------------------------------------------------------------------

    def normalized(self) -> Maps:
        r"""
        Standardise each map of each token, then scale both maps of a token to [0, 1]
        together (arXiv 2411.01710, section 4.3).

        Returns:
            *Maps* ``(spectrogram_attr, token_attr)`` of the shapes of the raw maps. A
            token whose maps are constant gets 0.

        Examples::

            >>> spectrogram_attr, token_attr = result.normalized()
        """
        return self._normalized(slice(None))

    def _normalized(self, tokens: slice) -> Maps:
        rows = None if self.token_attr is None else self.token_attr[tokens]
        return paired_min_max(*standardize(self.spectrogram_attr[tokens], rows))

    def sentence_attr(self, *, normalized: bool = True) -> Maps:
        r"""
        Average the maps over all tokens.

        Args:

            normalized (bool, optional): Whether to normalise the maps of each token
                        first, so that every token counts the same; without it (the
                        paper's comparison, Table 3) tokens that any perturbation hurts
                        outweigh the others.
                        Default: True

        Returns:
            *Maps* ``(spectrogram_attr, token_attr)`` of shapes ``(time, freq)`` and
            ``(J,)``.

        Examples::

            >>> saliency_map = result.sentence_attr().spectrogram_attr
        """
        truth("normalized", normalized)
        maps = self.normalized() if normalized else Maps(self.spectrogram_attr, self.token_attr)
        return sentence_mean(*maps)

    def word_attr(self) -> Maps:
        r"""
        Average the normalised maps over the tokens of each word.

        Returns:
            *Maps* ``(spectrogram_attr, token_attr)`` of shapes ``(W, time, freq)`` and
            ``(W, J)``, one row per entry of ``words``.

        Examples::

            >>> maps_of_first_word = result.word_attr().spectrogram_attr[0]
        """
        return span_mean(*self.normalized(), [word.token_indices for word in self.words])

    def phrase_attr(
        self,
        words: str | Sequence[str] | None = None,
        previous: str = "words",
        *,
        normalized: bool = True,
    ) -> PhraseMaps:
        r"""
        Average the maps over the tokens of each phrase, and the columns of previous tokens over
        the words that they spell (arXiv 2411.01710, section 8.1).

        Args:

            words (str or sequence of str, optional): Words or phrases of the output. Case and
                        punctuation do not matter, and every occurrence has a row of its own.
                        Default: None, each of ``words``, punctuation included
            previous (str, optional): What the columns are: "words", of which tokens of the prompt
                        and special tokens are none and stay columns of their own, or "tokens".
                        Default: "words"
            normalized (bool, optional): Whether to normalise the maps of each token first.
                        Default: True

        Returns:
            *PhraseMaps*: ``spectrogram_attr`` ``(P, time, freq)``; ``token_attr`` ``(P, columns)``,
            NaN where a column is not before the phrase, or None; ``phrases`` and
            ``token_indices`` of the rows; ``previous``, what the columns are.

        Raises:
            ArgumentError: the output does not hold a phrase, or ``previous`` is something else.
            ArgumentTypeError: ``words`` are no texts.

        Examples::

            >>> maps = result.phrase_attr("The cat")
            >>> maps.phrases, maps.token_indices
            (['The cat'], [(0, 1, 2, 3, 4, 5, 6, 7)])
            >>> result.phrase_attr().previous
            ['<|startoftranscript|>', '<|notimestamps|>', 'the', 'cat']
        """
        truth("normalized", normalized)
        if previous not in ("words", "tokens"):
            raise ArgumentError(f"previous must be 'words' or 'tokens', got {previous!r}.")
        spelled = [(word.word, word.token_indices) for word in self.words]
        rows = spelled if words is None else phrase_tokens(words, spelled)
        by_word = spelled if previous == "words" else []
        columns = previous_columns(self.previous_tokens, self.previous_rows(), by_word)
        maps = self.normalized() if normalized else Maps(self.spectrogram_attr, self.token_attr)
        token_indices = [tokens for _, tokens in rows]
        return PhraseMaps(
            *span_mean(*maps, token_indices, [places for _, places in columns]),
            phrases=[phrase for phrase, _ in rows],
            token_indices=token_indices,
            previous=[label for label, _ in columns],
        )

    def contrast_attr(self) -> ContrastMaps:
        r"""
        What speaks for the word of a contrast, and what for its foil.

        These are the raw attributions, without the average that scores such as those of SPES also
        give to what has no part in the choice (``docs/concepts.md``): the sign tells the side.

        Returns:
            *ContrastMaps*: ``spectrogram_attr`` ``(time, freq)``, ``token_attr`` ``(J,)`` and
            ``instruction_attr`` ``(I,)``, the last two None where they were not explained.
            Positive: removing it moves the model from the word to the foil; negative: from the
            foil to the word.

        Raises:
            ArgumentError: the result is no contrast.

        Examples::

            >>> from captum_spes.forward import Contrast
            >>> result = explainer.attribute(
            ...     "speech.flac", target="the cat", contrast=Contrast("cat", "the"),
            ...     scheme="efficient", n_samples=50, n_token_samples=50, seed=0,
            ... )
            >>> result.contrast_attr().token_attr.shape == (len(result.previous_tokens),)
            True
        """
        self._contrast()
        if not has_sign(self.method, self.settings):
            warn_caller(
                f"{self.method} gives magnitudes without a sign, so nothing speaks for the foil: "
                'explain with method_args={"spectrogram": {"abs": False}}, and "tokens" likewise.'
            )
        rows = [
            None if side is None else side[0] for side in (self.token_attr, self.instruction_attr)
        ]
        return contrast_maps(
            self.method, self.settings, self.feature_masks, self.spectrogram_attr[0], rows
        )

    def _contrast(self) -> dict[str, Any]:
        """Word, foil and score."""
        found: dict[str, Any] | None = self.parameters.get("contrast")
        if found is None:
            raise ArgumentError(
                "the result is no contrast: explain with contrast=Contrast(word, foil)."
            )
        return found

    def previous_rows(self) -> list[int | None]:
        r"""
        Which of the explained tokens each previous token is.

        Returns:
            *list*: of each of ``previous_tokens`` the index into ``output_tokens``; None for the
            prompt, and for others that were not explained, such as timestamps.

        Examples::

            >>> result.previous_rows()[:4]  # two of the prompt first
            [None, None, 0, 1]
        """
        sequence = self.parameters.get("sequence")
        if sequence is None:  # a file of an earlier version
            n_previous = len(self.previous_tokens)
            first = n_previous - len(self.output_tokens) + 1
            return [place - first if place >= first else None for place in range(n_previous)]
        row_at = {place: row for row, place in enumerate(sequence["explained"])}
        previous = sequence["previous"]
        places = range(len(sequence["ids"]) - 1) if previous is None else previous
        return [row_at.get(place) for place in places]

    def speech_share(self) -> Tensor:
        r"""
        How much of each token rests on the audio against the previous tokens.

        For SPES the mean magnitude of one side's raw attributions is the impact to expect
        when a part of that side is removed. The share is that of the spectrogram divided by
        the sum of both. It compares the two perturbations as they were made, with their own
        probabilities; it is not a fraction of the decision.

        Returns:
            *Tensor* of shape ``(K,)`` in [0, 1]; 0.5 where neither side has any impact, 1 where no
            token is before it.

        Raises:
            ArgumentError: the result has no attributions of previous tokens.

        Examples::

            >>> result.speech_share().shape == (len(result.output_tokens),)
            True
        """
        if self.token_attr is None:
            raise ArgumentError("speech_share needs token_attr; explain previous tokens too.")
        return self._shares([self.spectrogram_attr, self.token_attr])[:, 0]

    def side_shares(self) -> Tensor:
        r"""
        How much of each token rests on the audio, on the text so far and on the instruction.

        As :meth:`speech_share`, for the three sides that a speech LLM has.

        Returns:
            *Tensor* of shape ``(K, 3)``: audio, previous tokens, instruction. Rows sum to 1; a side
            that was not explained has 0.

        Examples::

            >>> result.side_shares().sum(1).allclose(torch.ones(len(result.output_tokens)))
            True
        """
        return self._shares([self.spectrogram_attr, self.token_attr, self.instruction_attr])

    def _shares(self, sides: list[Tensor | None]) -> Tensor:
        """Mean magnitudes of the maps of each side, divided by their sum, ``(K, sides)``."""
        n_tokens = len(self.spectrogram_attr)
        nothing = torch.zeros(n_tokens, dtype=torch.float64, device="cpu")
        means = [
            nothing
            if maps is None
            else torch.nanmean(maps.double().abs().flatten(1), dim=1).nan_to_num(0.0)
            for maps in sides
        ]
        impacts = torch.stack(means, 1)
        total = impacts.sum(1, keepdim=True)
        even = torch.tensor([maps is not None for maps in sides], dtype=torch.float64, device="cpu")
        shares = torch.where(total > 0, impacts / total.where(total > 0, 1.0), even / even.sum())
        return shares.float()

    def reliability(self) -> Reliability:
        r"""
        How much of the maps is sampling noise, from the samples that made them.

        Returns:
            *Reliability*: split-half reliability in [0, 1] of the maps of each token, each word
            and the sentence, of each token's rows of previous tokens and of the instruction, and
            the standard error of the raw attributions.

        Raises:
            ArgumentError: the method does not sample, or does not report its noise.

        Examples::

            >>> 0 <= result.reliability().sentence <= 1
            True
        """
        found = self.parameters.get("reliability")
        if found is None:
            raise ArgumentError(
                f"{self.method} does not say how much of its maps is noise; SPES does, unless "
                "it perturbs jointly."
            )
        # Earlier versions called the maps of tokens "spectrogram", and rows of previous tokens
        # "tokens".
        is_old = "spectrogram" in found
        of_tokens = found["spectrogram" if is_old else "tokens"]
        previous = found["tokens" if is_old else "previous_tokens"]
        instruction = found.get("instruction")  # earlier versions have none
        return Reliability(
            tokens=_vector(of_tokens),
            words=_vector(found.get("words", [float("nan")] * len(self.words))),
            previous_tokens=None if previous is None else _vector(previous),
            sentence=found["sentence"],
            standard_error=_vector(found["standard_error"]),
            n_samples=self.parameters["n_samples_evaluated"],
            n_token_samples=self.parameters["n_token_samples_evaluated"],
            instruction=None if instruction is None else _vector(instruction),
            n_instruction_samples=self.parameters.get("n_instruction_samples_evaluated"),
        )

    @property
    def certainty(self) -> Certainty | None:
        """``probabilities``, ``ranks`` and ``runners_up`` in one; None where they were not kept."""
        if self.probabilities is None or self.ranks is None or self.runners_up is None:
            return None
        return Certainty(self.probabilities, self.ranks, self.runners_up)

    def word_certainty(self) -> Certainty:
        r"""
        How sure the model was of each word, from how sure it was of the word's tokens.

        Returns:
            *Certainty*, one row per entry of ``words``. ``probabilities`` ``(W,)``: of the word
            given the speech and all that is before it, the product over its tokens. ``ranks``
            ``(W,)``: the worst rank of any of its tokens; with 1 the model would have written the
            word. ``runners_up``: the word up to its least sure token, followed by the likeliest
            other token there. That is the token with the worst rank, and among several the one
            with the lowest probability. Of models that write frame by frame each token counts
            where it is likeliest.

        Raises:
            ArgumentError: the result has no probabilities: controls ask the model nothing, and
                earlier versions did not keep all of it.

        Examples::

            >>> probabilities, ranks, runners_up = result.word_certainty()
            >>> len(probabilities) == len(ranks) == len(runners_up) == len(result.words)
            True
        """
        if self.certainty is None:
            raise ArgumentError(
                "the result does not say how sure the model was: controls ask it nothing, and "
                "earlier versions kept no runners-up."
            )
        words = [word.token_indices for word in self.words]
        return word_certainty(self.certainty, self.output_tokens, words)

    # Sound -----------------------------------------------------------------------------

    def listen(
        self,
        token: int | None = None,
        keep: float = 0.2,
        *,
        word: str | int | None = None,
        occurrence: int = 1,
        complement: bool = False,
        audio: Recording | None = None,
        sampling_rate: int = 16_000,
    ) -> Sound:
        r"""
        The recording with only the most salient parts of its time-frequency plane.

        It is filtered at the rate that it was recorded with, one channel; what is kept keeps its
        level and its phase, all else is silent. Frequencies above those that the model hears are
        silent, too, and part of the complement. What is heard in it is what the map marks, not
        what the model hears: ``captum_spes.metrics.sound_faithfulness`` plays it to the model.

        Args:

            token (int, optional): Index into ``output_tokens``, negative from the end.
                        Default: None, the sentence
            keep (float, optional): Share of the cells that is kept, above 0; 1 gives the recording
                        back.
                        Default: 0.2
            word (str or int, optional): In the place of a token a word or phrase of the output,
                        case and punctuation do not matter; or the index of one of ``words``.
                        Default: None
            occurrence (int, optional): Which one, where the output holds the word several times.
                        Default: 1
            complement (bool, optional): Whether to return what is left out instead. Both add up to
                        the recording.
                        Default: False
            audio (path, file, array, Tensor, ...): What was explained, in any form that
                        ``attribute`` takes but features; of a part of a long recording
                        (``attribute_parts``) the whole.
                        Default: None, the file that was explained, if it is still what it was
            sampling_rate (int, optional): Of samples that come without one, in Hz.
                        Default: 16000

        Returns:
            *Sound*, a pair ``(samples, sampling_rate)``: float32 of shape ``(n,)``, as many as the
            recording has, or the window of it that was explained. Notebooks play it; ``save``
            writes it to a file. Of a contrast the parts that speak most for the word are kept.

        Raises:
            ArgumentError: the recording is neither known nor given, has changed or is another one;
                the output does not hold the word; or an argument is out of range.
            ArgumentTypeError: an argument has the wrong type.
            FileNotFoundError: there is no such audio file.

        Examples::

            >>> result = explainer.attribute("speech.flac", target="the cat", n_samples=50, seed=0)
            >>> sound = result.listen(word="cat", keep=0.3)
            >>> sound.save("cat.wav")
            >>> samples, sampling_rate = sound
            >>> rest, _ = result.listen(word="cat", keep=0.3, complement=True)
            >>> len(samples) == len(rest), sampling_rate
            (True, 16000)
        """
        cells = salient_cells(self, token, keep, word, occurrence)
        return listened(self, cells, complement, audio, sampling_rate)

    # Pages -----------------------------------------------------------------------------

    def save_html(
        self,
        path: str | os.PathLike[str],
        *,
        audio: Recording | None = None,
        sampling_rate: int = 16_000,
        checked: EvidenceReport | None = None,
        title: str | None = None,
    ) -> None:
        r"""
        Write a page that a colleague can open who has nothing installed: point at a word, or choose
        it with the arrow keys, and see its map, what it rests on before it, and hear it.

        The page is one file, loads nothing, and needs a browser only.

        Args:

            path (str or path): The file, by habit ending in ``.html``.
            audio (path, array, ...): The recording, as ``attribute`` takes it.
                        Default: None, the file that was explained, where the result knows it;
                        otherwise the page has no sound
            sampling_rate (int, optional): Rate of samples given as an array, in Hz.
                        Default: 16000
            checked (EvidenceReport, optional): What ``explainer.check`` found of the recording;
                        words that were not heard are marked.
                        Default: None
            title (str, optional): Of the page, and its heading.
                        Default: None, the text, headed by method, model and recording

        Raises:
            ArgumentError: ``audio`` is another recording, the file that was explained is no
                longer there or has changed, or ``checked`` is of another text.
            ImportError: there is a recording, and soundfile is not installed.
            OSError: the file cannot be written.

        Examples::

            >>> result.save_html("explanation.html")
        """
        self.save_html_many(
            [self], path, audio=audio, sampling_rate=sampling_rate, checked=checked, title=title
        )

    @staticmethod
    def save_html_many(
        results: Sequence[SpeechToTextAttributionResult],
        path: str | os.PathLike[str],
        *,
        names: Sequence[str] | None = None,
        audio: Recording | None = None,
        sampling_rate: int = 16_000,
        checked: EvidenceReport | None = None,
        title: str | None = None,
    ) -> None:
        r"""
        Write a page that compares explanations of one recording: two methods, seeds or models.

        Args:

            results (sequence of SpeechToTextAttributionResult): The words of the first are what is
                        chosen from; of the others the same word is shown where they have it.
            path (str or path): As for :meth:`save_html`, like ``audio``, ``sampling_rate``,
                        ``checked`` (of the first explanation) and ``title``.
            names (sequence of str, optional): What each is called.
                        Default: None, its method and seed

        Raises:
            ArgumentError: there is no result, they are of several recordings, or ``names`` are not
                as many.
            ImportError: as for :meth:`save_html`.
            OSError: the file cannot be written.

        Examples::

            >>> SpeechToTextAttributionResult.save_html_many([result, result], "two.html")
        """
        from captum_spes.io.files import write_whole
        from captum_spes.speech.page import name_of, page_of

        given = several("results", results, "a sequence of results")
        for result in given:
            instance_of("results", result, SpeechToTextAttributionResult, "results")
        if not given:
            raise ArgumentError("a page needs at least one result.")
        called = [name_of(result) for result in given] if names is None else texts("names", names)
        if len(called) != len(given):
            raise ArgumentError(f"names must be {len(given)}, one for each result: {called}.")
        if title is not None:
            instance_of("title", title, str, "a text or None")
        if checked is not None:
            instance_of("checked", checked, EvidenceReport, "what explainer.check returned")
        instance_of("path", path, (str, os.PathLike), "a path")
        write_whole(Path(path), page_of(given, called, title, audio, sampling_rate, checked))

    # Files -----------------------------------------------------------------------------

    def to_xarray(self, of: str = "tokens") -> Dataset:
        r"""
        The maps as arrays with named axes, for xarray and the tools that build on it.

        Args:

            of (str, optional): "tokens", or "words": means over the tokens of each word.
                        Default: "tokens"

        Returns:
            *xarray.Dataset* with the variables, all raw and copied,

            - ``spectrogram_attr`` ``(token, time, frequency)``; ``token_attr``
              ``(token, previous_token)``, NaN where a token is not before the explained one (of
              words: not before its first token); ``instruction_attr``
              ``(token, instruction_token)``;
            - ``reliability``, ``probability``, ``rank``, ``runner_up`` ``(token,)``;
            - ``spectrogram``, ``removed`` ``(time, frequency)`` and ``feature_masks``
              ``(level, time, frequency)``;

            and the coordinates ``time`` in seconds, ``frequency`` in Hz (the middles of frames and
            mel bins), and ``token_text``, ``previous_token_text``, ``instruction_token_text``. Of
            words the first axis is ``word``, with ``word_text``, ``word_start`` and ``word_end``.
            What the result does not have is left out. Text, method, model, seed, settings and
            words stand in ``attrs``, as texts, so that ``to_netcdf`` and ``to_zarr`` can write it;
            ``settings``, ``parameters``, ``words`` and ``versions`` are JSON.

        Raises:
            ArgumentError: ``of`` is neither, or the output has no words.
            ImportError: xarray is not installed.

        Examples::

            >>> maps = result.to_xarray()
            >>> strongest = maps["spectrogram_attr"].sel(time=slice(0.2, 0.4)).max("time")
            >>> strongest.dims
            ('token', 'frequency')
        """
        from captum_spes.speech.dataset import dataset_of

        return dataset_of(self, of)

    def save(self, path: str | os.PathLike[str]) -> None:
        r"""
        Write everything to one file: NumPy's npz with a JSON text inside, no pickle.

        The file appears complete or not at all, also where the disk fills or the process
        is killed.

        Args:

            path (str or path): The file, by habit ending in ``.npz``; no suffix is added.

        Raises:
            OSError: the file cannot be written.

        Examples::

            >>> result.save("explanation.npz")
        """
        instance_of("path", path, (str, os.PathLike), "a path")
        write_result(Path(path), *self._saved())

    def _saved(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The arrays, and all else in JSON's types."""
        arrays = {name: value for name in ARRAYS if (value := getattr(self, name)) is not None}
        texts = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ARRAYS}
        texts["words"] = [asdict(word) for word in self.words]
        texts["settings"] = self.settings.to_dict()
        return arrays, texts

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SpeechToTextAttributionResult:
        r"""
        Read what :meth:`save` wrote.

        Args:

            path (str or path): The file.

        Returns:
            *SpeechToTextAttributionResult* equal to the one saved, bit by bit.

        Raises:
            FileNotFoundError: there is no such file.
            ArgumentError: the file is no saved explanation, is damaged, or its parts do not belong
                together; the message names the part.

        Examples::

            >>> result = SpeechToTextAttributionResult.load("explanation.npz")
        """
        return cls._restored(read_result(path))

    def _stored(self) -> tuple[dict[str, NDArray[Any]], str]:
        """The arrays, and all else as one text, as files hold them."""
        arrays, texts = self._saved()
        return {name: own.detach().cpu().numpy() for name, own in arrays.items()}, saved_text(texts)

    @classmethod
    def _from_stored(
        cls, arrays: Mapping[str, NDArray[Any]], text: str
    ) -> SpeechToTextAttributionResult:
        """What :meth:`_stored` returned."""
        return cls._from_source(InMemory(arrays, text))

    @classmethod
    def _from_source(cls, source: Source) -> SpeechToTextAttributionResult:
        """What was stored."""
        return cls._restored(read_fields(source))

    @classmethod
    def _restored(cls, found: dict[str, Any]) -> SpeechToTextAttributionResult:
        return cls(**{**found, "words": [Word(**word) for word in found["words"]]})


def _vector(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device="cpu")
