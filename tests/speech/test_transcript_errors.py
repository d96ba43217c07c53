"""Errors of a transcript, and contrasts in recordings of any length."""

import warnings

import numpy as np
import pytest
import torch

from captum_spes import SPES, Settings, SpeechToTextAttribution
from captum_spes.demo import load_ctc, load_demo, load_waveform_ctc
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.forward import Contrast
from captum_spes.io.samples import read_samples
from captum_spes.speech.models import TargetSequence
from captum_spes.speech.transcript import Transcript, Window
from captum_spes.speech.transcript_errors import errors_of

QUICK = {"n_samples": 15, "n_token_samples": 8, "patches_per_second": 30, "seed": 0}
TEXT = "Anna runs to the bakery at five o'clock to close her black drawer."


class Pieces:
    """Writes pieces of text; spells nothing."""

    def __init__(self, *outputs):
        self.pieces = [piece for output in outputs for piece in output]
        self.windows, first = [], 0
        for output in outputs:
            ids = torch.arange(first, first + len(output))
            rows = tuple(range(len(output)))
            self.windows.append(Window(0.0, 1.0, TargetSequence(ids, rows, ()), rows, None, {}))
            first += len(output)

    def spelled(self, ids):
        return [(self.pieces[i], [row]) for row, i in enumerate(ids.tolist())]

    @property
    def transcript(self):
        return Transcript("".join(self.pieces).strip(), (), tuple(self.windows), 1.0)

    def errors(self, reference):
        return errors_of(self, self.transcript, reference)


def pieces_of(text):
    """Each word with the blank ahead of it."""
    return [" " + word for word in text.split()]


def found(written, reference):
    return [(e.written, e.reference) for e in Pieces(pieces_of(written)).errors(reference)]


class TestAlignment:
    @pytest.mark.parametrize(
        ("written", "reference", "errors"),
        [
            ("the cat sat", "the cat sat", []),
            ("The cat, sat.", "the CAT sat", []),
            ("it\N{RIGHT SINGLE QUOTATION MARK}s here", "it's here", []),
            ("a well-known cat", "a well known cat", []),
            ("the cat sat", "the dog sat", [("cat", "dog")]),
            ("the cat sat", "the cat", [("sat", "")]),
            ("the cat", "the cat sat", [("", "sat")]),
            ("a big cat", "one small cat", [("a", "one"), ("big", "small")]),
            ("the fif teen cats", "the fifty cats", [("fif teen", "fifty")]),
            ("at fifteen", "at five past ten", [("fifteen", "five past ten")]),
            # Of alignments of three edits that with an equal word.
            ("her black drawer", "black doors now", [("her", ""), ("drawer", "doors now")]),
            ("x y z", "a b c", [("x", "a"), ("y", "b"), ("z", "c")]),
            ("a cat a dog", "a hat a dog a", [("cat", "hat"), ("", "a")]),
            ("well , so", "well, no", [("so", "no")]),
            ("don't go", "do not go", [("don't", "do not")]),
        ],
    )
    def test_what_differs(self, written, reference, errors):
        assert found(written, reference) == errors

    def test_the_smallest_edit_distance(self):
        """Beside the table of all distances, on random texts."""
        rng = np.random.default_rng(0)
        for _ in range(60):
            written, said = (
                ["abcd"[i] for i in rng.integers(0, 4, rng.integers(1, 9))] for _ in range(2)
            )
            edits = 0
            for own, other in found(" ".join(written), " ".join(said)):
                edits += max(len(own.split()), len(other.split()))
            assert edits == distance(written, said), (written, said)

    def test_scripts_without_spaces(self):
        """However the model divided them."""
        for output in (["我们", "喜欢", "猫"], ["我", "们喜", "欢猫"]):
            (error,) = Pieces(output).errors("我们喜欢狗。")
            assert (error.written, error.reference) == ("猫", "狗")
            assert error.part.contrast == Contrast("猫", "狗")
        both = Pieces(["我们", "喜欢", "猫"]).errors("他们喜欢小猫")
        assert [(e.written, e.reference) for e in both] == [("我", "他"), ("", "小")]

    def test_which_of_several(self):
        (error,) = Pieces(pieces_of("the cat and the cat")).errors("the cat and a cat")
        assert error.part.contrast == Contrast("the", "a", occurrence=2)
        assert error.part.asked == (3,)
        assert str(error) == "the / a"

    @pytest.mark.parametrize(
        ("written", "reference", "foil"),
        [
            ("THE CAT", "the dog", "DOG"),
            ("the cat", "THE DOG", "dog"),
            ("The Cat", "the dog", "Dog"),
            ("The cat", "THE DOG", "dog"),
            ("We saw Paris", "We saw London", "London"),
            ("We saw cats", "We saw London", "London"),
            ("Cats sleep", "she says: Dogs sleep", None),
            ("Cats sleep", "dogs sleep", "Dogs"),
        ],
    )
    def test_in_the_case_that_the_model_writes(self, written, reference, foil):
        (error,) = Pieces(pieces_of(written)).errors(reference)
        if foil is not None:
            assert error.part.contrast.foil == foil

    def test_what_cannot_be_contrasted(self):
        left_out, put_in = Pieces(pieces_of("cat sat sat")).errors("the cat sat")
        assert (left_out.part, put_in.part) == (None, None)
        assert "wrote nothing" in left_out.reason
        assert str(left_out) == "left out: the"
        assert "nothing was said" in put_in.reason
        assert str(put_in) == "put in: sat"

    def test_words_of_two_windows(self):
        pieces = Pieces(pieces_of("we saw a"), pieces_of("cat run"))
        pairs = pieces.errors("we saw the dog run")
        assert [(e.written, e.part.window) for e in pairs] == [
            ("a", pieces.windows[0]), ("cat", pieces.windows[1]),
        ]  # fmt: skip
        (error,) = pieces.errors("we saw nothing run")
        assert (error.written, error.part) == ("a cat", None)
        assert "two windows" in error.reason

    def test_long_texts(self):
        """Half an hour of speech."""
        rng = np.random.default_rng(0)
        words = [f"w{i}" for i in rng.integers(0, 500, 4500)]
        said = [word if i % 100 else "x" for i, word in enumerate(words)]
        errors = Pieces(pieces_of(" ".join(words))).errors(" ".join(said))
        assert len(errors) == 45


def distance(one, other):
    """Of texts, by the textbook."""
    row = list(range(len(other) + 1))
    for i, own in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, its in enumerate(other, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (own != its))
    return row[-1]


@pytest.fixture(scope="module")
def demo():
    model, processor, examples = load_demo()
    return SpeechToTextAttribution(SPES(model), processor), examples


@pytest.mark.filterwarnings("ignore:.*sampling noise", "ignore:.*perturbed by no sample")
class TestExplanations:
    def test_one_for_each_word_in_the_place_of_another(self, demo):
        explainer, examples = demo
        told, shown, calls = [], [], []
        generate = explainer.adapter.generate
        explainer.adapter.generate = lambda *args: calls.append(args) or generate(*args)
        try:
            results = explainer.attribute_errors(
                examples[0].path,
                "emma runs to the old bakery at nine o'clock to close her black drawer",
                on_error=told.append,
                on_result=shown.append,
                **QUICK,
            )
        finally:
            del explainer.adapter.generate
        assert len(calls) == 1
        assert [own.output_tokens for own in results] == [["Anna / Emma"], ["five / nine"]]
        assert shown == results
        assert [str(error) for error in told] == ["Anna / emma", "left out: old", "five / nine"]
        assert [own.parameters["error"] for own in results] == [
            {"written": "Anna", "reference": "emma"}, {"written": "five", "reference": "nine"},
        ]  # fmt: skip
        for result in results:
            again = explainer.attribute(examples[0].path, contrast=result.settings.score, **QUICK)
            assert torch.equal(again.spectrogram_attr, result.spectrogram_attr)
            assert torch.equal(again.token_attr, result.token_attr)
            (word,) = result.words
            assert word.start < word.end

    def test_a_warning_names_what_is_not_explained(self, demo):
        explainer, examples = demo
        with pytest.warns(UserWarning, match="1 of 1 errors are not explained: put in: black"):
            none = explainer.attribute_errors(examples[0].path, TEXT.replace(" black", ""), **QUICK)
        assert none == []

    def test_no_error(self, demo):
        explainer, examples = demo
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert explainer.attribute_errors(examples[0].path, TEXT.lower(), **QUICK) == []

    def test_a_phrase_and_what_the_model_cannot_write(self, demo):
        explainer, examples = demo
        told = []
        results = explainer.attribute_errors(
            examples[0].path,
            TEXT.replace("five", "half past one").replace("drawer", "Здравствуйте"),
            on_error=told.append,
            **QUICK,
        )
        assert [own.output_tokens for own in results] == [["five / half past one"]]
        assert "cannot be written" in told[1].reason

    def test_models_without_a_decoder(self):
        for load, own in ((load_ctc, "five / nine"), (load_waveform_ctc, "FIVE / NINE")):
            model, processor, examples = load()
            explainer = SpeechToTextAttribution(SPES(model), processor)
            text = explainer.transcribe(examples[0].path).text
            results = explainer.attribute_errors(
                examples[0].path, text.lower().replace("five", "nine"), **QUICK
            )
            assert [result.output_tokens for result in results] == [[own]]

    def test_kind_and_rule_and_settings(self, demo):
        explainer, examples = demo
        like = Contrast("a", "b", score="log_ratio", probability="chain_rule")
        (result,) = explainer.attribute_errors(
            examples[0].path,
            TEXT.replace("five", "nine"),
            settings=Settings.efficient(n_samples=15, n_token_samples=0, patches_per_second=30),
            score=like,
            seed=0,
        )
        assert result.settings.score == Contrast(
            "five", "nine", score="log_ratio", probability="chain_rule"
        )
        assert result.token_attr is None

    @pytest.mark.parametrize(
        ("arguments", "error", "match"),
        [
            ({"reference": " ?! "}, ArgumentError, "reference holds no word"),
            ({"reference": 5}, ArgumentTypeError, "reference must be a text"),
            ({"score": "kl"}, ArgumentError, "errors are explained by contrasts"),
            ({"on_error": 5}, ArgumentTypeError, "on_error must be a function"),
            ({"transcript": "text"}, ArgumentTypeError, "transcript must be what transcribe"),
            ({"samples": 5}, ArgumentTypeError, "there is no setting 'samples'"),
        ],
    )
    def test_what_is_refused(self, demo, arguments, error, match):
        explainer, examples = demo
        with pytest.raises(error, match=match):
            explainer.attribute_errors(examples[0].path, **{"reference": TEXT, **arguments})


@pytest.mark.filterwarnings("ignore:.*sampling noise", "ignore:.*perturbed by no sample")
class TestLongRecordings:
    """Two recordings with pauses, twice, in windows of three and a half seconds."""

    @pytest.fixture(scope="class")
    @staticmethod
    def long(demo):
        explainer, examples = demo
        pause = np.zeros(12_000, np.float32)
        parts = [read_samples(example.path, 16_000, 16_000) for example in examples[:2]]
        audio = np.concatenate([parts[0], pause, parts[1], pause] * 2)
        return audio, explainer.transcribe(audio, chunk_seconds=3.5)

    def test_each_window_that_holds_the_word(self, demo, long):
        explainer, _ = demo
        audio, transcript = long
        held = [word for word in transcript.words if word.word == "her"]
        assert len({word.window for word in held}) > 1
        for asked in ({}, {"words": "her"}):
            results = explainer.attribute_parts(
                audio, transcript=transcript, contrast=Contrast("her", "his"), **asked, **QUICK
            )
            assert [own.output_tokens for own in results] == [["her / his"]] * len(results)
            starts = [own.parameters["window"]["start"] for own in results]
            assert starts == sorted({transcript.windows[word.window].start for word in held})
            for result, word in zip(results, held, strict=True):
                assert result.parameters["window"]["asked_words"] == [0]
                assert (result.words[0].start, result.words[0].end) == (word.start, word.end)

    def test_the_word_that_is_spoken_then(self, demo, long):
        explainer, _ = demo
        audio, transcript = long
        first, last = [w for w in transcript.words if w.word == "to" and w.window == 0]
        assert first.end < last.start
        (result,) = explainer.attribute_parts(
            audio,
            at=(last.start + 0.01, last.end - 0.01),
            transcript=transcript,
            contrast=Contrast("to"),
            **QUICK,
        )
        assert (result.words[0].start, result.words[0].end) == (last.start, last.end)
        assert result.settings.score.foil
        assert result.settings.score.occurrence == 2

    def test_a_foil_of_each_window_s_own(self, demo, long):
        explainer, _ = demo
        audio, transcript = long
        results = explainer.attribute_parts(
            audio, transcript=transcript, contrast=Contrast("the"), **QUICK
        )
        for result in results:
            window = result.parameters["window"]
            part = audio[round(window["start"] * 16_000) : round(window["end"] * 16_000)]
            again = explainer.attribute(
                part, settings=result.settings, seed=0,
                target=result.parameters["contrast"]["text"],
            )  # fmt: skip
            assert torch.equal(again.spectrogram_attr, result.spectrogram_attr)

    def test_where_the_word_is_not(self, demo, long):
        explainer, _ = demo
        audio, transcript = long
        given = {"transcript": transcript, **QUICK}
        with pytest.raises(ArgumentError, match="transcript does not hold 'zebra'; it holds"):
            explainer.attribute_parts(audio, contrast=Contrast("zebra"), **given)
        with pytest.raises(ArgumentError, match="no window that is asked for holds 'her' 9 times"):
            explainer.attribute_parts(audio, contrast=Contrast("her", occurrence=9), **given)

    def test_errors_in_their_windows(self, demo, long):
        explainer, _ = demo
        audio, transcript = long
        reference = transcript.text.replace("five", "nine")
        results = explainer.attribute_errors(audio, reference, transcript=transcript, **QUICK)
        held = [word for word in transcript.words if word.word == "five"]
        assert len(results) == len(held) > 1
        for result, word in zip(results, held, strict=True):
            assert result.output_tokens == ["five / nine"]
            window = transcript.windows[word.window]
            assert result.parameters["window"]["start"] == window.start
            assert (result.words[0].start, result.words[0].end) == (word.start, word.end)
