"""Verdict rules made from recordings whose texts are right."""

import json
from dataclasses import replace

import numpy as np
import pytest

from captum_spes import SPES, SpeechToTextAttribution
from captum_spes.corpus import read_manifest
from captum_spes.demo import MANIFEST, load_demo
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.evaluation import calibrate
from captum_spes.evaluation.unsaid_words import UnsaidWords
from captum_spes.speech.verdicts import read_rules, shipped_rules, write_rules


@pytest.fixture(scope="module")
def explainer():
    model, processor, _ = load_demo()
    return SpeechToTextAttribution(SPES(model), processor)


@pytest.fixture(scope="module")
def utterances():
    return read_manifest(MANIFEST)


@pytest.fixture(scope="module")
def texts(explainer, utterances):
    """What is made of the first recording, by kind."""
    maker = UnsaidWords(explainer.adapter, "mean", seed=0)
    with explainer.adapter.evaluation_mode():
        found = list(maker.of_utterance(utterances[0], utterances[1], 0))
    return {text.kind: text for text in found}


class TestUnsaidWords:
    def test_six_kinds(self, texts):
        assert list(texts) == ["as it is", "cut", "silenced", "cut out", "swapped", "noise"]
        for text in texts.values():
            assert text.utterance == "test-00205"
            assert len(text.words) == len(text.said)

    def test_words_of_the_recording_as_it_is_were_said(self, texts):
        assert set(texts["as it is"].said) == {True}

    def test_the_cut_lies_in_the_middle_of_the_words(self, texts):
        """It is where the known times say that these words are."""
        cut, whole = texts["cut"], texts["as it is"]
        assert [word.word for word in cut.words] == [word.word for word in whole.words]
        words = json.loads(MANIFEST.read_text().splitlines()[0])["words"]
        half, place = len(words) // 2, cut.speech.seconds
        assert words[half - 2][1] < place < words[half + 1][2]
        assert {True, False} < set(cut.said)
        for (_, _, end), said in zip(words, cut.said, strict=True):
            if said is not None:
                assert said is (end <= place)

    def test_what_is_silenced_was_not_said(self, texts):
        words = json.loads(MANIFEST.read_text().splitlines()[0])["words"]
        silenced, speech = texts["silenced"], texts["silenced"].speech
        # Where nothing changes from frame to frame; the synthesiser begins and ends in silence.
        changes = speech.spectrogram.diff(dim=0).abs().amax(1) > 1e-4
        borders = np.flatnonzero(np.diff(np.concatenate([[True], changes.numpy(), [True]])))
        first, last = max(borders.reshape(-1, 2).tolist(), key=lambda run: run[1] - run[0])
        assert 0.4 < (last - first) / len(changes) < 0.6
        first, last = float(speech.frame_times[first]), float(speech.frame_times[last - 1])
        assert False in silenced.said
        for (_, start, end), said in zip(words, silenced.said, strict=True):
            if said is not None:
                assert said is not bool(first < (start + end) / 2 < last)

    def test_what_is_cut_out_was_not_said(self, texts):
        """Every fourth word; what is left is as much shorter as these words are long."""
        cut_out, whole = texts["cut out"], texts["as it is"]
        words = json.loads(MANIFEST.read_text().splitlines()[0])["words"]
        assert len(cut_out.words) == len(words)
        for place, said in enumerate(cut_out.said):
            assert said is not (place % 4 == 1)
        assert False in cut_out.said
        assert True in cut_out.said
        gone = sum(end - start for _, start, end in words[1::4])
        assert whole.speech.seconds - cut_out.speech.seconds == pytest.approx(gone, abs=0.4)

    def test_every_fourth_word_is_swapped(self, texts, utterances):
        own = [word.strip("?.,").casefold() for word in utterances[0].text.split()]
        swapped = texts["swapped"]
        assert len(swapped.words) == len(own)
        for word, said, right in zip(swapped.words, swapped.said, own, strict=True):
            assert said is (word.word.casefold() == right)
        places = [place for place, said in enumerate(swapped.said) if not said]
        assert np.diff(places).tolist() == [4] * (len(places) - 1)
        assert len(places) >= 3

    def test_nothing_was_said_in_noise(self, texts):
        assert len(texts["noise"].said) == len(texts["noise"].words)
        assert not any(texts["noise"].said)

    def test_the_seed_decides(self, explainer, utterances, texts):
        for seed, is_same in ((0, True), (1, False)):
            maker = UnsaidWords(explainer.adapter, "mean", seed)
            with explainer.adapter.evaluation_mode():
                noise = list(maker.of_utterance(utterances[0], utterances[1], 0))[-1]
            same = np.array_equal(noise.speech.spectrogram, texts["noise"].speech.spectrogram)
            assert same is is_same


@pytest.fixture(scope="module")
def rules(explainer, utterances):
    return calibrate(explainer, utterances, passes=(4, 1))


class TestCalibrate:
    def test_a_rule_for_each_number_of_passes(self, rules):
        assert [rule.passes for rule in rules] == [1, 4]
        for rule in rules:
            assert rule.family == "canary"
            assert rule.baselines == "mean"
            assert rule.calibrated_on == "demo/model, 8 recordings"
            assert rule.not_heard_below <= rule.heard_from
            said, unsaid = rule.n_words
            assert said > 60
            assert unsaid > 60
            # On recordings that it was not made from it errs seldom.
            assert rule.error_rates["accused"] < 0.1
            assert rule.error_rates["missed"] < 0.2
            assert set(rule.missed_by_kind) == {"cut", "silenced", "cut out", "swapped", "noise"}
            assert rule.n_parameters == 3_402_384
            # More evidence never speaks against a word, whatever these few recordings say.
            for name, weight in rule.weights.items():
                assert weight >= 0 or name.startswith("least")

    def test_the_rule_is_used(self, explainer, utterances, rules):
        first, second = utterances[:2]
        heard = explainer.check(first.audio, passes=4, rules=rules)
        assert heard.rule is rules[1]
        assert heard.misfit is None
        assert heard.share_not_heard < 0.2
        other = explainer.check(first.audio, target=second.text, passes=4, rules=rules)
        assert other.share_not_heard > 0.5

    def test_a_saved_rule_is_the_same(self, rules, tmp_path):
        write_rules(rules, tmp_path / "rules.json")
        assert read_rules(tmp_path / "rules.json") == rules

    def test_too_few_recordings(self, explainer, utterances):
        left_out = []
        broken = replace(utterances[0], id="broken", text="Zyx 汉字.")
        with pytest.raises(ArgumentError, match="at least 5 recordings that can be used, got 2"):
            calibrate(
                explainer, [broken, *utterances[1:3]], passes=[1],
                on_left_out=lambda name, error: left_out.append((name, str(error))),
            )  # fmt: skip
        assert [name for name, _ in left_out] == ["broken"]
        with pytest.raises(ArgumentError, match="vocabulary"):
            calibrate(explainer, [broken, *utterances[1:6]], passes=[1])

    def test_passes(self, explainer, utterances):
        with pytest.raises(ArgumentError, match="at most 40"):
            calibrate(explainer, utterances, passes=[41])
        with pytest.raises(ArgumentError, match="passes is empty"):
            calibrate(explainer, utterances, passes=[])
        with pytest.raises(ArgumentTypeError, match="passes must be a sequence"):
            calibrate(explainer, utterances, passes=4)
        with pytest.raises(ArgumentError, match="seed must be"):
            calibrate(explainer, utterances, seed="x")
        with pytest.raises(ArgumentTypeError, match="baselines must be"):
            calibrate(explainer, utterances, baselines=0.0)

    def test_the_language_is_handed_on(self, explainer, utterances):
        maker = UnsaidWords(explainer.adapter, "mean", 0, {"target_language": "de"})
        with explainer.adapter.evaluation_mode():
            text = next(iter(maker.of_utterance(utterances[0], utterances[1], 0)))
        assert "Schublade" in " ".join(word.word for word in text.words)


class TestFilesOfRules:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda saved: saved.update(format="another"), "format is 'another'"),
            (lambda saved: saved.update(rules=[]), "no rule"),
            (lambda saved: saved.update(rules={}), "rules must be a list"),
            (lambda saved: saved["rules"][0].pop("bias"), "a rule must have"),
            (lambda saved: saved["rules"][0].update(bias="0"), "bias must be a number"),
            (lambda saved: saved["rules"][0].update(bias=float("nan")), "bias must lie"),
            (lambda saved: saved["rules"][0]["weights"].update(mean_loss=1e99), "must lie"),
            (lambda saved: saved["rules"][0]["error_rates"].update(missed=-5), "in .0, 1., got -5"),
            (lambda saved: saved["rules"][0].update(family=None), "family must be a text"),
            (lambda saved: saved["rules"][0].update(passes=10**400), "passes must be at most 40"),
            (lambda saved: saved["rules"][0].update(heard_from=-1e5), "must not exceed"),
            (lambda saved: saved["rules"][0]["weights"].pop("confidence"), "weights must be of"),
            (lambda saved: saved["rules"][0].update(error_rates={}), "error_rates must be of"),
            (lambda saved: saved["rules"][0].update(passes=0), "passes must be"),
            (lambda saved: saved["rules"][0].update(n_words=[1]), "n_words"),
            (lambda saved: saved["rules"].append("a rule"), "a rule must be an object"),
        ],
    )
    def test_broken(self, tmp_path, change, message):
        file = tmp_path / "rules.json"
        write_rules(shipped_rules()[:1], file)
        saved = json.loads(file.read_text())
        change(saved)
        file.write_text(json.dumps(saved))
        with pytest.raises(ArgumentError, match=message) as caught:
            read_rules(file)
        assert str(file) in str(caught.value)

    def test_a_rule_is_checked_when_it_is_made(self):
        rule = shipped_rules()[0]
        for change in ({"weights": {}}, {"passes": 0}, {"bias": float("nan")}, {"n_words": (1,)}):
            with pytest.raises((ArgumentError, ArgumentTypeError)):
                replace(rule, **change)

    def test_a_rule_is_one_line(self):
        text = str(replace(shipped_rules()[0], calibrated_on="a\n0 words: all heard\x1b[31m"))
        assert "\n" not in text
        assert "\x1b" not in text

    def test_no_rules_at_all(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="no such file of verdict rules"):
            read_rules(tmp_path / "none.json")
        (tmp_path / "text.json").write_text("{")
        with pytest.raises(ArgumentError, match="holds no verdict rules: no JSON"):
            read_rules(tmp_path / "text.json")
