"""Contrastive explanations: word and foil among the tokens, in every family."""

import numpy as np
import pytest
import torch
from captum.attr import (
    FeatureAblation,
    InputXGradient,
    IntegratedGradients,
    KernelShap,
    Lime,
    Saliency,
)

from captum_spes import (
    SPES,
    CrossAttention,
    EnergyMap,
    Settings,
    SpeechClassificationAttribution,
    SpeechToTextAttribution,
    SpeechToTextAttributionResult,
)
from captum_spes.attr import MaskedDifference
from captum_spes.demo import load_ctc, load_demo, load_transducer, load_waveform_ctc
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.forward import CTC, Contrast, word_probability
from captum_spes.maps import begins_word
from captum_spes.speech.models import ReadsPreviousTokens, SharesBeginnings, adapt, can
from captum_spes.speech.outputs import Output
from captum_spes.speech.phrases import in_case_of, occurrences
from tests.speech.families import ENCODER_DECODERS, SPEECH_LLMS, make_family
from tests.speech.frame_families import (
    CLASSIFIERS,
    TRANSDUCERS,
    make_classifier,
    make_frame_family,
)

QUICK = {"n_samples": 16, "n_token_samples": 20, "patches_per_second": 40, "seed": 0}
TEXT = "the cat speech the cat"
OF_FRAMES = ["wav2vec2", "parakeet_ctc", *TRANSDUCERS]
# One of each kind, and those that read texts in a way of their own.
KINDS = ["qwen3_asr", "cohere_asr", "moonshine_streaming", "speecht5", "speech_encoder_decoder"]


def made(name, folder):
    make = make_frame_family if name in OF_FRAMES else make_family
    return make(name, folder)


@pytest.fixture(scope="module", params=[*SPEECH_LLMS, *ENCODER_DECODERS, *OF_FRAMES])
def family(request, tmp_path_factory):
    """Model and processor of each family in turn; CTC models have all in common."""
    return made(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module", params=[*KINDS, *OF_FRAMES])
def kind(request, tmp_path_factory):
    """Model and processor of each kind of family in turn."""
    return made(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def audio():
    """Noise and a tone, long enough for all letters of the texts."""
    rng = np.random.default_rng(0)
    times = np.arange(19_200) / 16_000
    tone = 0.3 * np.sin(2 * np.pi * 1000 * times) * (times > 0.6)
    return (tone + 0.01 * rng.standard_normal(len(times))).astype(np.float32)


@pytest.fixture(scope="module")
def demo():
    model, processor, examples = load_demo()
    return SpeechToTextAttribution(SPES(model), processor), examples


def explainer_of(family, method=SPES):
    return SpeechToTextAttribution(method(family[0]), family[1])


class TestEveryFamily:
    def test_one_row_of_what_comes_before(self, family, audio):
        explainer = explainer_of(family)
        result = explainer.attribute(
            audio, target=TEXT, contrast=Contrast("cat", "speech", occurrence=2), **QUICK
        )
        assert result.output_tokens == ["cat / speech"]
        assert result.spectrogram_attr.shape == (1, *result.spectrogram.shape)
        assert result.spectrogram_attr.abs().max() > 0
        assert result.text.casefold() == TEXT
        assert result.parameters["contrast"]["foil_text"].casefold() == "the cat speech the speech"
        if can(explainer.adapter, ReadsPreviousTokens):
            whole = explainer.attribute(audio, target=TEXT, **QUICK)
            before = result.previous_tokens
            assert before == whole.previous_tokens[: len(before)]
            assert result.token_attr.shape == (1, len(before))
            assert not result.token_attr.isnan().any()
            spelled = "".join(before).replace(" ", "").casefold()
            assert spelled.endswith("thecatspeechthe")
            assert not spelled.endswith("thecatspeechthecat")
        else:
            assert result.token_attr is None

    def test_beginnings_that_are_shared_change_nothing(self, family, audio):
        """Both texts read whole, one after the other, give the same states."""
        adapter = adapt(*family)
        if not can(adapter, SharesBeginnings):
            pytest.skip("it reads no text, or reads it in no time")
        speech = adapter.from_audio(audio)
        spectrograms = torch.stack([speech.spectrogram, speech.spectrogram.flip(0)])
        explainer = explainer_of(family)
        output = made_output(explainer, audio, Contrast("speech", "cat the cat"))
        with torch.no_grad(), adapter.evaluation_mode():
            states = adapter.encode(speech, spectrograms)
            shared = adapter.decode_branches(states, output.readings)
            apart = [adapter.decode(states, reading) for reading in output.readings]
        for one, other in zip(shared, apart, strict=True):
            assert one.shape == other.shape
            assert torch.allclose(one, other, rtol=1e-3, atol=1e-4)


class TestEveryKind:
    def test_probabilities_are_those_of_the_words(self, kind, audio):
        """From the logits of both whole texts, by the public function."""
        explainer, adapter = explainer_of(kind), adapt(*kind)
        speech = adapter.from_audio(audio)
        with torch.no_grad(), adapter.evaluation_mode():
            states = adapter.encode(speech, speech.spectrogram[None])
        for rule in ("chain_rule", "length_norm", "first_only", "word_boundary"):
            contrast = Contrast("speech", "cat", probability=rule)
            settings = {**QUICK, "n_samples": 20, "n_token_samples": 0}
            found = explainer.attribute(audio, target=TEXT, contrast=contrast, **settings)
            facts = found.parameters["contrast"]
            with torch.no_grad(), adapter.evaluation_mode():
                expected = [
                    probability(adapter, speech, states, text, rule)
                    for text in (TEXT, "the cat cat the cat")
                ]
            own = [facts["probability"], facts["foil_probability"]]
            assert own == pytest.approx(expected, rel=1e-3)
            assert found.probabilities.item() == pytest.approx(own[0], rel=1e-5)
            assert found.runners_up == ["cat"]
            assert found.ranks.item() == (1 if own[0] >= own[1] else 2)

    def test_at_the_beginning_of_a_text(self, kind, audio):
        """Where the first token starts with no blank, nothing is divided by the probability that
        one does: a word with its end is no likelier than without."""
        explainer = explainer_of(kind)
        speech = explainer.adapter.from_audio(audio)
        first = explainer.adapter.force(speech, TEXT, {}).explained_ids[:1]
        if begins_word(explainer.adapter.token_strings(first)[0]):
            pytest.skip("its first token starts with a blank")
        whole, alone = (
            explainer.attribute(
                audio, target=TEXT, contrast=Contrast("the cat", "cat", probability=rule),
                **{**QUICK, "n_samples": 20, "n_token_samples": 0},
            ).parameters["contrast"]
            for rule in ("word_boundary", "chain_rule")
        )  # fmt: skip
        for name in ("probability", "foil_probability"):
            assert 0 < whole[name] <= alone[name] * 1.00001

    @pytest.mark.parametrize("method", [FeatureAblation, Saliency])
    def test_other_methods(self, kind, audio, method):
        settings = {**QUICK, "n_token_samples": 0, "target": TEXT}
        found = explainer_of(kind, method).attribute(
            audio, contrast=Contrast("speech", "cat"), **settings
        )
        assert found.spectrogram_attr.shape == (1, *found.spectrogram.shape)
        assert found.spectrogram_attr.isfinite().all()
        assert found.spectrogram_attr.abs().max() > 0


def probability(adapter, speech, states, text, rule):
    """Of the third word of a text, of one token or of letters."""
    sequence = adapter.force(speech, text, {})
    ids = sequence.explained_ids
    if hasattr(adapter, "emissions"):
        logits = adapter.output_layer(adapter.emissions(states))
        return CTC(adapter.blank)(logits, logits[0], ids).exp().item()
    spelled = adapter.spelled(ids)
    starts = [place for place, (piece, _) in enumerate(spelled) if piece.startswith(" ")]
    is_marked = spelled[0][0].startswith(" ")
    third, fourth = starts[2 if is_marked else 1], starts[3 if is_marked else 2]
    first, last = spelled[third][1][0], spelled[fourth - 1][1][-1]
    logits = adapter.output_layer(adapter.decode(states, sequence))
    size = logits.shape[-1]
    names = adapter.token_strings(torch.arange(min(size, len(adapter.tokenizer))))
    begins = torch.tensor([begins_word(name) for name in names] + [True] * (size - len(names)))
    begins[[adapter.end_of_sentence, getattr(adapter, "blank", adapter.end_of_sentence)]] = True
    return word_probability(
        logits.softmax(-1), ids[None].to(logits.device), torch.tensor([first]),
        torch.tensor([last]), rule, begins,
    ).item()  # fmt: skip


def made_output(explainer, audio, contrast):
    adapter = explainer.adapter
    speech = adapter.from_audio(audio)
    sequence = adapter.force(speech, TEXT, {})
    return Output.of_contrast(adapter, contrast, speech, sequence, {})


class TestWordsInATrainedModel:
    """The bundled model, which writes English, German and Spanish."""

    TARGET = "Anna runs to the bakery at five o'clock to close her black drawer."

    @pytest.fixture
    def explain(self, demo):
        explainer, examples = demo

        def explain(contrast, method=None, **changes):
            own = explainer if method is None else method
            settings = {**QUICK, "target": self.TARGET, **changes}
            return own.attribute(examples[0].path, contrast=contrast, **settings)

        return explain

    @pytest.mark.parametrize(
        ("word", "foil", "text"),
        [
            ("five", "nine", "Anna runs to the bakery at nine o'clock to close her black drawer."),
            ("Anna", "Emma", "Emma runs to the bakery at five o'clock to close her black drawer."),
            ("anna", "emma", "Emma runs to the bakery at five o'clock to close her black drawer."),
            ("drawer", "book", "Anna runs to the bakery at five o'clock to close her black book."),
            ("her black", "a", "Anna runs to the bakery at five o'clock to close a drawer."),
            ("bakery", "old theatre in the garden",
             "Anna runs to the old theatre in the garden at five o'clock to close her black "
             "drawer."),
            (".", "?", "Anna runs to the bakery at five o'clock to close her black drawer?"),
            ("o'clock", "cars", "Anna runs to the bakery at five cars to close her black drawer."),
        ],
    )  # fmt: skip
    def test_the_foil_stands_where_the_word_did(self, explain, word, foil, text):
        result = explain(Contrast(word, foil))
        assert result.parameters["contrast"]["foil_text"] == text
        assert result.output_tokens == [f"{word} / {foil}"]
        assert [own.word for own in result.words] == [word]
        assert result.spectrogram_attr.abs().max() > 0

    def test_one_of_several(self, explain):
        first, second = (explain(Contrast("to", "from", occurrence=number)) for number in (1, 2))
        assert first.parameters["contrast"]["foil_text"].startswith("Anna runs from the")
        assert "clock from close" in second.parameters["contrast"]["foil_text"]
        assert len(first.previous_tokens) < len(second.previous_tokens)
        assert not torch.equal(first.spectrogram_attr, second.spectrogram_attr)

    def test_the_models_own_output(self, demo):
        explainer, examples = demo
        settings = {**QUICK, "contrast": Contrast("five", "nine")}
        own = explainer.attribute(examples[0].path, **settings)
        given = explainer.attribute(examples[0].path, target=self.TARGET, **settings)
        assert own.parameters["target"] == "generated"
        assert torch.equal(own.spectrogram_attr, given.spectrogram_attr)

    def test_word_and_foil_change_places(self, explain):
        """With the raw difference one map is exactly the other's negative."""
        words = ("five", "nine")
        one = explain(Contrast(*words, score="raw_difference"))
        target = self.TARGET.replace(*words)
        other = explain(Contrast(*words[::-1], score="raw_difference"), target=target)
        assert torch.equal(one.spectrogram_attr, -other.spectrogram_attr)
        assert torch.equal(one.token_attr, -other.token_attr)

    def test_the_sign(self, demo):
        """Without the audio of the word its share falls; without that of the rest it does not."""
        explainer, examples = demo
        number = next(word for word in examples[0].words if word.label == "five")
        result = explainer.attribute(
            examples[0].path, contrast=Contrast("five", "nine"), n_samples=200, seed=0,
            n_token_samples=0, patches_per_second=20, estimator=MaskedDifference(),
        )  # fmt: skip
        times = result.frame_times
        is_inside = (times >= number.start) & (times <= number.end)
        by_frame = result.spectrogram_attr[0].mean(1)
        assert by_frame[is_inside].mean() > 5 * by_frame[~is_inside].mean().abs()

    def test_a_wrong_word_has_the_opposite_sign(self, demo):
        """What was said speaks for the foil where another word is put in its place."""
        explainer, examples = demo
        result = explainer.attribute(
            examples[0].path, target=self.TARGET.replace("five", "nine"), n_samples=200, seed=0,
            contrast=Contrast("nine", "five"), n_token_samples=0, patches_per_second=20,
            estimator=MaskedDifference(),
        )  # fmt: skip
        assert result.ranks.item() == 2
        strongest = result.spectrogram_attr.flatten()[result.spectrogram_attr.abs().argmax()]
        assert strongest < 0

    def test_of_another_language(self, demo):
        explainer, examples = demo
        result = explainer.attribute(
            examples[1].path, gen_args={"target_language": "de"},
            contrast=Contrast("Die Großmutter", "Der Großvater"), **QUICK,
        )  # fmt: skip
        assert result.parameters["contrast"]["foil_text"].startswith("Der Großvater hat")

    @pytest.mark.parametrize("method", [Lime, KernelShap, InputXGradient, IntegratedGradients])
    def test_captums_methods(self, explain, method):
        model, processor, _ = load_demo()
        own = SpeechToTextAttribution(method(model), processor)
        more = {"method_args": {"n_steps": 2}} if method is IntegratedGradients else {}
        result = explain(Contrast("five", "nine"), own, **more)
        assert result.spectrogram_attr.abs().max() > 0
        assert result.token_attr.abs().max() > 0
        is_gradient = method in (InputXGradient, IntegratedGradients)
        kind = result.parameters["contrast"]["score"]
        assert kind == ("log_ratio" if is_gradient else "parity_ratio")

    def test_both_schemes(self, explain):
        result = explain(Contrast("five", "nine"), scheme="efficient", patches_per_second=60)
        assert result.settings.estimator == Settings.efficient(score="probability").estimator
        assert result.reliability().sentence >= 0

    def test_the_same_whatever_the_batch(self, explain):
        one, four = (explain(Contrast("five", "nine"), perturbations_per_eval=n) for n in (1, 4))
        assert torch.allclose(one.spectrogram_attr, four.spectrogram_attr, atol=1e-5)
        assert torch.allclose(one.token_attr, four.token_attr, atol=1e-5)

    def test_both_sides_together(self, explain):
        result = explain(Contrast("five", "nine"), perturb_jointly=True)
        assert result.spectrogram_attr.abs().max() > 0
        assert result.token_attr.abs().max() > 0

    def test_files_and_settings(self, demo, explain, tmp_path):
        explainer, examples = demo
        result = explain(Contrast("five", "nine"))
        result.save(tmp_path / "contrast.npz")
        read = SpeechToTextAttributionResult.load(tmp_path / "contrast.npz")
        assert read.settings.score == Contrast("five", "nine")
        assert read.parameters == result.parameters
        again = explainer.attribute(
            examples[0].path, target=self.TARGET, settings=read.settings, seed=read.seed
        )
        assert torch.equal(again.spectrogram_attr, result.spectrogram_attr)
        assert torch.equal(again.token_attr, result.token_attr)

    def test_a_score_by_another_name(self, explain):
        own = explain(Contrast("five", "nine"))
        other = explain(None, score=Contrast("five", "nine"))
        assert torch.equal(own.spectrogram_attr, other.spectrogram_attr)


class TestFramesAndClasses:
    def test_what_was_said_wins(self):
        """A CTC model and a transducer hold the word that was said for likelier than its foil."""
        for load in (load_ctc, load_transducer):
            model, processor, examples = load()
            explainer = SpeechToTextAttribution(SPES(model), processor)
            result = explainer.attribute(
                examples[0].path, contrast=Contrast("five", "nine"), **QUICK
            )
            assert result.ranks.item() == 1
            facts = result.parameters["contrast"]
            assert facts["probability"] > 5 * facts["foil_probability"]

    def test_a_blank_that_is_a_token_belongs_to_the_word(self):
        """As the word behind it starts with it; this model writes letters."""
        model, processor, examples = load_waveform_ctc()
        explainer = SpeechToTextAttribution(SPES(model), processor)
        result = explainer.attribute(examples[0].path, contrast=Contrast("five", "nine"), **QUICK)
        letters = explainer.adapter.token_strings(torch.tensor(result.output_ids))
        assert "".join(letters).lower() == " five"

    def test_classes(self, audio):
        model, extractor = make_classifier(next(iter(CLASSIFIERS)))
        explainer = SpeechClassificationAttribution(SPES(model), extractor)
        result = explainer.attribute(
            audio, target="yes", contrast=Contrast("yes", "no", score="raw_difference"), **QUICK
        )
        assert result.output_tokens == ["yes / no"]
        yes, no = (
            explainer.attribute(audio, target=name, score="probability", **QUICK).spectrogram_attr
            for name in ("yes", "no")
        )
        assert torch.allclose(result.spectrogram_attr, yes - no, atol=1e-6)


class TestWhatIsRefused:
    @pytest.fixture
    def refused(self, demo):
        explainer, examples = demo

        def refused(match, kind=ArgumentError, method=None, **settings):
            own = explainer if method is None else method
            with pytest.raises(kind, match=match):
                own.attribute(examples[0].path, **{**QUICK, **settings})

        return refused

    def test_a_word_that_the_output_does_not_hold(self, refused):
        refused("does not hold 'elephant'; it says: .Anna runs", contrast=Contrast("elephant", "a"))
        refused("does not hold 'bake'", contrast=Contrast("bake", "baker"))
        refused("at most 2, got 3.*it says", contrast=Contrast("to", "from", occurrence=3))

    def test_a_foil_that_is_the_word(self, refused):
        with pytest.raises(ArgumentError, match="word and foil are the same, 'a b'"):
            Contrast("a  b", " a b ")
        refused("the same to this model, 'five' and 'five'", contrast=Contrast("FIVE", "five"))

    def test_what_no_contrast_is_made_of(self):
        for arguments, match in [
            ({"foil": ""}, "foil holds nothing"),
            ({"word": " "}, "word holds nothing"),
            ({"occurrence": 0}, "occurrence"),
            ({"score": "ratio"}, "score must be one of predicted_difference"),
            ({"probability": "mean"}, "probability must be one of chain_rule"),
        ]:
            with pytest.raises(ArgumentError, match=match):
                Contrast(**{"word": "a", "foil": "b", **arguments})
        with pytest.raises(ArgumentTypeError, match="foil must be a text"):
            Contrast("a", 3)

    def test_what_takes_no_contrast(self, refused):
        contrast = Contrast("five", "nine")
        refused("contrast must be Contrast", ArgumentTypeError, contrast=("five", "nine"))
        refused("give one of them", contrast=contrast, score="kl")
        model, processor, _ = load_demo()
        for make in (EnergyMap, CrossAttention):
            own = SpeechToTextAttribution(make(model), processor)
            refused("nothing to contrast", method=own, contrast=contrast)

    def test_alone_it_knows_no_tokens(self):
        logits = torch.zeros(1, 2, 3)
        with pytest.raises(ArgumentError, match="which tokens are the word's"):
            Contrast("a", "b")(logits, logits[0], torch.tensor([0, 1]))

    def test_logarithms_of_what_can_be_negative_are_not_taken(self, demo):
        """Whether the method or the settings ask for regression."""
        explainer, examples = demo
        contrast = {"contrast": Contrast("five", "nine"), "seed": 0}
        method = SPES.efficient(explainer.attr_method.forward_func)
        few = {"n_samples": 20, "n_token_samples": 0, "patches_per_second": 40}
        result = explainer.attribute(
            examples[0].path, settings=Settings.efficient(**few), **contrast
        )
        assert not result.settings.estimator.log_impacts
        efficient = SpeechToTextAttribution(method, None, adapter=explainer.adapter)
        again = efficient.attribute(examples[0].path, **few, **contrast)
        assert torch.equal(again.spectrogram_attr, result.spectrogram_attr)
        same = efficient.attribute(examples[0].path, settings=again.settings, seed=0)
        assert torch.equal(same.spectrogram_attr, result.spectrogram_attr)


class TestPhrasesInTexts:
    @pytest.mark.parametrize(
        ("text", "phrase", "places"),
        [
            ("the cat, the Cat", "cat", [(4, 7), (13, 16)]),
            ("concat cat's catalog", "cat", [(7, 10)]),
            ("a  big\ncat", "big cat", [(3, 10)]),
            ("我喜欢猫和狗", "猫", [(3, 4)]),
            ("नमस्ते दुनिया", "नमस्त", []),
            ("3.5 and 3", "3", [(0, 1), (8, 9)]),
            ("what? (really)", "(really)", [(6, 14)]),
            ("aa aa", "a", []),
        ],
    )
    def test_whole_words(self, text, phrase, places):
        assert occurrences(text, phrase) == places

    def test_in_the_case_of_what_was_found(self):
        assert in_case_of("Doctor", "doctor", "actor") == "Actor"
        assert in_case_of("DOCTOR", "doctor", "actor") == "ACTOR"
        assert in_case_of("doctor", "Doctor", "Actor") == "actor"
        assert in_case_of("doctor", "doctor", "Actor") == "Actor"
        assert in_case_of("I", "i", "you") == "You"
