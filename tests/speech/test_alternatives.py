"""What else a model could have written in the place of a word, and contrasts that take it."""

import itertools
import math

import numpy as np
import pytest
import torch

from captum_spes import SPES, Settings, SpeechClassificationAttribution, SpeechToTextAttribution
from captum_spes.demo import load_ctc, load_demo, load_speech_llm, load_transducer
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.forward import CTC, Contrast
from captum_spes.maps import begins_word
from captum_spes.speech.alternatives import prefix_beam
from tests.speech.families import ENCODER_DECODERS, make_family
from tests.speech.frame_families import (
    CLASSIFIERS,
    TRANSDUCERS,
    make_classifier,
    make_frame_family,
)

# What is looked at are texts and probabilities, which no sample changes.
QUICK = {"n_samples": 4, "n_token_samples": 2, "patches_per_second": 20, "seed": 0}
pytestmark = pytest.mark.filterwarnings("ignore:.*perturbed by no sample")
TEXT = "the cat speech the cat"
OF_FRAMES = ["wav2vec2", "parakeet_ctc", *TRANSDUCERS]


@pytest.fixture(scope="module")
def demo():
    model, processor, examples = load_demo()
    return SpeechToTextAttribution(SPES(model), processor), examples[0].path


@pytest.fixture(scope="module")
def speech_llm():
    model, processor, examples = load_speech_llm()
    return SpeechToTextAttribution(SPES(model), processor), examples[0].path


@pytest.fixture(scope="module")
def ctc():
    model, processor, examples = load_ctc()
    return SpeechToTextAttribution(SPES(model), processor), examples[0].path


@pytest.fixture(
    scope="module", params=["qwen3_asr", "granite_speech", *ENCODER_DECODERS, *OF_FRAMES]
)
def family(request, tmp_path_factory):
    """Name, and model and processor, of families in turn; others have all that is looked at here
    in common with one of them."""
    make = make_frame_family if request.param in OF_FRAMES else make_family
    return request.param, make(request.param, tmp_path_factory.mktemp(request.param))


def explainer_of(model):
    return SpeechToTextAttribution(SPES(model[0]), model[1])


class TestTheSearch:
    """Beside all words of up to three tokens, one by one."""

    @pytest.fixture
    def all_words(self, tiny_canary, audio):
        explainer = explainer_of(tiny_canary)
        adapter = explainer.adapter
        speech = adapter.from_audio(audio)
        whole = adapter.force(speech, "the cat", {})
        with torch.no_grad(), adapter.evaluation_mode():
            states = adapter.encode(speech, speech.spectrogram[None])
            names = adapter.token_strings(torch.arange(len(adapter.tokenizer)))
            begins = torch.tensor([begins_word(name) for name in names])
            begins[adapter.end_of_sentence] = True
            (first,) = (i for i, name in enumerate(names) if name == " the")
            assert first in whole.ids

            def following(tokens):
                ids = [*adapter.prompt_ids(speech, {}), first, *tokens]
                sequence = adapter.force(speech, [first, *tokens], {})
                row = adapter.output_layer(adapter.decode(states, sequence))[0, len(tokens) + 1]
                assert sequence.ids.tolist()[:-1] == ids
                return row.log_softmax(-1)

            found, opened = {}, [((), 0.0)]
            start = following(())[begins].logsumexp(0)
            for _ in range(3):
                longer = []
                for tokens, score in opened:
                    row = following(tokens)
                    text = adapter.text(torch.tensor(tokens, dtype=torch.int64))
                    if tokens and adapter.tokenizer.encode(text, add_special_tokens=False) == list(
                        tokens
                    ):
                        found[text] = score + row[begins].logsumexp(0) - start
                    goes_on = [
                        i
                        for i, name in enumerate(names)
                        if adapter.is_text(torch.tensor([i]))[0]
                        and begins[i] == (not tokens)
                        and (name.strip() or tokens)
                    ]
                    longer += [((*tokens, i), score + row[i]) for i in goes_on]
                opened = sorted(longer, key=lambda own: -own[1])[:40]
        words = {word: math.exp(score) for word, score in found.items() if word.isalpha()}
        words.pop("cat", None)
        return sorted(words.items(), key=lambda own: -own[1])

    def test_the_likeliest_words(self, tiny_canary, audio, all_words):
        found = explainer_of(tiny_canary).alternatives(audio, "cat", 4, target="the cat")
        assert len(found) == 4
        assert [other.word for other in found] == [word for word, _ in all_words[:4]]
        for other, (_, probability) in zip(found, all_words, strict=False):
            assert other.probability == pytest.approx(probability, rel=1e-4)

    def test_outputs_of_a_ctc_model_are_all_its_paths(self):
        """Four frames, two letters and a blank: 81 paths."""
        generator = torch.Generator().manual_seed(0)
        scores = torch.randn(4, 3, generator=generator).log_softmax(-1)
        expected = {}
        for path in itertools.product(range(3), repeat=4):
            tokens = tuple(token for token, _ in itertools.groupby(path) if token != 2)
            share = math.exp(sum(float(scores[t, i]) for t, i in enumerate(path)))
            expected[tokens] = expected.get(tokens, 0.0) + share
        found = dict(prefix_beam(scores, 2, 100, 3))
        assert found.keys() == expected.keys()
        for tokens, score in found.items():
            assert math.exp(score) == pytest.approx(expected[tokens], rel=1e-5)


class TestEveryFamily:
    def test_words_are_whole_and_others(self, family, audio):
        name, model = family
        explainer, long = explainer_of(model), np.tile(audio, 2)
        if name in TRANSDUCERS:
            with pytest.raises(ArgumentError, match=r"transducer.*give a foil.*'speech'"):
                explainer.alternatives(long, "speech", target=TEXT)
            return
        found = explainer.alternatives(long, "speech", 3, target=TEXT)
        shares = [other.probability for other in found]
        assert len(found) <= 3
        assert shares == sorted(shares, reverse=True)
        assert all(0 <= share <= 1 for share in shares)
        for other in found:
            assert len(other.word.split()) == 1
            assert other.word.casefold() != "speech"
            assert any(character.isalnum() for character in other.word)
        assert found == explainer.alternatives(long, "speech", 3, target=TEXT)


class TestTrainedModels:
    @pytest.mark.parametrize("model", ["demo", "speech_llm", "ctc"])
    def test_another_number_for_a_number(self, request, model):
        explainer, path = request.getfixturevalue(model)
        found = explainer.alternatives(path, "five", 5)
        assert {"nine", "four"} <= {other.word for other in found}
        assert all(other.probability < 0.1 for other in found)

    @pytest.mark.parametrize("model", ["demo", "speech_llm"])
    @pytest.mark.parametrize("word", ["Anna", "runs", "bakery", "drawer"])
    def test_as_a_contrast_scores_them(self, request, model, word):
        explainer, path = request.getfixturevalue(model)
        for other in explainer.alternatives(path, word, 2):
            result = explainer.attribute(path, contrast=Contrast(word, other.word), **QUICK)
            facts = result.parameters["contrast"]
            assert facts["foil_probability"] == pytest.approx(other.probability, rel=1e-3)

    @pytest.mark.parametrize("rule", ["chain_rule", "first_only"])
    def test_by_another_rule(self, demo, rule):
        explainer, path = demo
        (other,) = explainer.alternatives(path, "bakery", 1, probability=rule)
        contrast = Contrast("bakery", other.word, probability=rule)
        facts = explainer.attribute(path, contrast=contrast, **QUICK).parameters["contrast"]
        assert facts["foil_probability"] == pytest.approx(other.probability, rel=1e-3)

    def test_shares_of_a_ctc_model(self, ctc):
        """Of whole outputs, as ``CTC`` scores them."""
        explainer, path = ctc
        adapter = explainer.adapter
        found = explainer.alternatives(path, "drawer", 100)
        assert found[0].word == "door"
        sequence = adapter.generate(speech := adapter.from_audio(read(path)), {})
        logits = adapter.output_layer(adapter.encode(speech, speech.spectrogram[None]))
        text = adapter.text(sequence.ids)
        words = ["drawer", *(other.word for other in found)]
        texts = [text.replace("drawer", word) for word in words]
        scores = torch.stack(
            [
                CTC(adapter.blank)(logits, logits[0], torch.tensor(adapter.text_ids(own)))[0, 0]
                for own in texts
            ]
        )
        shares = scores.softmax(0)[1:]
        assert torch.allclose(
            shares, torch.tensor([other.probability for other in found]), rtol=1e-3, atol=1e-9
        )

    def test_it_is_another_word_whatever_its_case(self, demo):
        """ "The" and "the" are different tokens here, and a blank alone is one, too."""
        explainer, path = demo
        for word in ("THE", "the", "o'clock"):
            found = explainer.alternatives(path, word, 20)
            plain = [other.word.casefold().strip("'.") for other in found]
            assert word.casefold() not in plain
            assert len(set(plain)) == len(plain)
        assert all(other.word.strip(".,?!'") for other in explainer.alternatives(path, ".", 5))

    def test_a_phrase_is_as_many_words(self, demo):
        explainer, path = demo
        found = explainer.alternatives(path, "her black", 3)
        assert found
        assert all(len(other.word.split()) == 2 for other in found)

    def test_one_of_several(self, demo):
        explainer, path = demo
        first = explainer.alternatives(path, "to", 3)
        second = explainer.alternatives(path, "to", 3, occurrence=2)
        assert first != second
        with pytest.raises(ArgumentError, match="at most 2, got 3"):
            explainer.alternatives(path, "to", occurrence=3)

    def test_more_are_the_same_and_others_behind_them(self, demo):
        explainer, path = demo
        few, many = (explainer.alternatives(path, "five", n) for n in (3, 12))
        assert many[:3] == few
        assert len(many) == 12

    def test_the_encoder_runs_once_and_the_model_stays_as_it_was(self, demo):
        explainer, path = demo
        model, adapter = explainer.attr_method.forward_func, explainer.adapter
        before = {name: value.clone() for name, value in model.state_dict().items()}
        passes = []
        handle = adapter.model.get_encoder().register_forward_hook(
            lambda *args: passes.append(len(args[2][0]))
        )
        model.train()
        try:
            explainer.alternatives(path, "five", target="Anna runs at five")
            assert model.training
        finally:
            handle.remove()
            model.eval()
        assert passes == [1]
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert not any(module._forward_hooks for module in model.modules())
        assert all(parameter.grad is None for parameter in model.parameters())

    def test_of_what_is_sampled_the_same_seed_gives_the_same(self, demo):
        explainer, path = demo
        drawn = {"gen_args": {"do_sample": True, "temperature": 0.3}, "seed": 3}
        word = explainer.attribute(path, **{**QUICK, **drawn}).words[0].word
        one, other = (explainer.alternatives(path, word, 3, **drawn) for _ in range(2))
        assert one == other

    def test_a_translation(self, demo):
        explainer, path = demo
        german = {"target_language": "de"}
        text = explainer.attribute(path, gen_args=german, **QUICK).text
        found = explainer.alternatives(path, text.split()[0], 3, gen_args=german)
        assert found


class TestScriptsWithoutSpaces:
    SENTENCES = ("我们喜欢猫和狗", "他们喜欢鱼", "你喜欢狗和鱼吗", "我喜欢猫")

    @pytest.fixture
    def explainer(self, tiny_canary):
        from recipes.bundled.model import make_processor, train_tokenizer

        tokenizer = train_tokenizer(list(self.SENTENCES), vocabulary=40)
        model, _ = tiny_canary
        if len(tokenizer) > model.config.vocab_size:
            pytest.skip("the small model has too few tokens")
        return SpeechToTextAttribution(SPES(model), make_processor(tokenizer))

    @pytest.mark.parametrize("word", ["猫", "喜欢", "狗", "我"])
    def test_as_many_characters(self, explainer, audio, word):
        found = explainer.alternatives(audio, word, 4, target="我喜欢猫和狗")
        assert found
        for other in found:
            assert len(other.word) == len(word)
            assert other.word != word
            result = explainer.attribute(
                audio, target="我喜欢猫和狗", contrast=Contrast(word, other.word), **QUICK
            )
            facts = result.parameters["contrast"]
            assert facts["foil_probability"] == pytest.approx(other.probability, rel=1e-3)
            assert facts["foil_text"] == "我喜欢猫和狗".replace(word, other.word)


class TestContrastsWithoutAFoil:
    @pytest.mark.parametrize("model", ["demo", "speech_llm", "ctc"])
    def test_the_likeliest_is_taken_and_named(self, request, model):
        explainer, path = request.getfixturevalue(model)
        result = explainer.attribute(path, contrast=Contrast("five"), **QUICK)
        expected = explainer.alternatives(path, "five", 5)
        assert result.output_tokens == [f"five / {expected[0].word}"]
        assert result.settings.score == Contrast("five", expected[0].word)
        kept = result.parameters["contrast"]["alternatives"]
        assert [word for word, _ in kept] == [other.word for other in expected]
        assert [p for _, p in kept] == pytest.approx([o.probability for o in expected], rel=1e-3)
        again = explainer.attribute(path, settings=result.settings, seed=0)
        assert torch.equal(again.spectrogram_attr, result.spectrogram_attr)
        assert "alternatives" not in again.parameters["contrast"]

    def test_in_the_case_of_the_output(self, demo):
        explainer, path = demo
        result = explainer.attribute(path, contrast=Contrast("anna"), **QUICK)
        assert result.output_tokens == ["Anna / Emma"]

    def test_in_a_file(self, demo, tmp_path):
        explainer, path = demo
        result = explainer.attribute(path, contrast=Contrast("five"), **QUICK)
        result.save(tmp_path / "five.npz")
        loaded = type(result).load(tmp_path / "five.npz")
        assert loaded.settings == result.settings
        facts = loaded.parameters["contrast"]["alternatives"]
        assert [tuple(own) for own in facts] == [
            tuple(own) for own in result.parameters["contrast"]["alternatives"]
        ]
        assert Settings.from_dict(Settings(score=Contrast("a")).to_dict()).score == Contrast("a")

    def test_where_nothing_else_is_known(self, audio):
        model, extractor = make_classifier(next(iter(CLASSIFIERS)))
        explainer = SpeechClassificationAttribution(SPES(model), extractor)
        found = explainer.alternatives(audio, "yes", 9, target="yes")
        assert {other.word for other in found} == {"no", "Maybe", "maybe"}
        result = explainer.attribute(audio, target="yes", contrast=Contrast("yes"), **QUICK)
        assert result.output_tokens == [f"yes / {found[0].word}"]
        facts = result.parameters["contrast"]
        assert facts["foil_probability"] == pytest.approx(found[0].probability, rel=1e-4)

    def test_a_transducer_needs_one(self):
        model, processor, examples = load_transducer()
        explainer = SpeechToTextAttribution(SPES(model), processor)
        with pytest.raises(ArgumentError, match="give a foil"):
            explainer.attribute(examples[0].path, contrast=Contrast("five"), **QUICK)


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("arguments", "error", "match"),
        [
            ({"word": "elephant"}, ArgumentError, "does not hold 'elephant'; it says"),
            ({"word": " "}, ArgumentError, "word holds nothing"),
            ({"word": 5}, ArgumentTypeError, "word must be a text"),
            ({"word": "five", "n": 0}, ArgumentError, "n must be an int of at least 1"),
            ({"word": "five", "occurrence": 0}, ArgumentError, "occurrence must be"),
            ({"word": "five", "probability": "mean"}, ArgumentError, "probability must be one of"),
            ({"word": "five", "gen_args": 5}, ArgumentTypeError, "gen_args"),
        ],
    )
    def test_arguments(self, demo, arguments, error, match):
        explainer, path = demo
        with pytest.raises(error, match=match):
            explainer.alternatives(path, **arguments)

    def test_a_recording_that_is_not_there(self, demo):
        with pytest.raises(FileNotFoundError):
            demo[0].alternatives("nothing.wav", "five")


def read(path):
    from captum_spes.io.samples import read_samples

    return read_samples(path, 16_000, 16_000)
