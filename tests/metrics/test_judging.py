"""The deletion score of one clip beside those of the loudest cells and of a random order."""

from dataclasses import replace

import pytest
import torch

from captum_spes import SPES, EnergyMap, SpeechToTextAttribution
from captum_spes.demo import load_demo
from captum_spes.errors import ArgumentError
from captum_spes.forward import Contrast
from captum_spes.metrics import Judgement, deletion_curve, judge
from captum_spes.report import explanation_text

pytestmark = pytest.mark.filterwarnings("ignore:.*sampling noise")


@pytest.fixture(scope="module")
def clip():
    """A bundled recording, really explained."""
    model, processor, examples = load_demo()
    explainer = SpeechToTextAttribution(SPES(model), processor)
    audio = next(e.path for e in examples if e.name == "test-00205")
    result = explainer.attribute(
        audio, scheme="efficient", n_samples=200, n_token_samples=0, seed=0
    )
    return explainer, result, audio


def test_the_map_of_the_bundled_model_beats_both_controls(clip):
    explainer, result, audio = clip
    found = judge(explainer, result, audio, step=0.1)
    assert found.metric == "wer_capped"
    assert found.explanation > found.loudest > found.random
    assert found.beats_controls
    assert "no better" not in found.text()


def test_scores_are_those_of_the_curve(clip):
    explainer, result, audio = clip
    found = judge(explainer, result, audio, step=0.25)
    curve = deletion_curve(explainer, [(audio, result.text, result)], step=0.25)
    assert found.explanation == pytest.approx(curve.auc)
    loudest = SpeechToTextAttribution(
        EnergyMap(explainer.adapter.model), None, adapter=explainer.adapter
    )
    energy = loudest.attribute(audio)
    of_energy = deletion_curve(explainer, [(audio, result.text, energy)], step=0.25)
    assert found.loudest == pytest.approx(of_energy.auc)


def test_a_map_that_marks_the_wrong_cells_is_named(clip):
    explainer, result, audio = clip
    wrong = replace(result, spectrogram_attr=-result.spectrogram_attr)
    found = judge(explainer, wrong, audio, step=0.25)
    assert found.explanation < found.loudest
    assert found.explanation <= found.random
    assert found.text().endswith("the map finds what matters no better than chance does")


def test_texts_that_the_model_does_not_write_are_forced(clip):
    explainer, result, audio = clip
    given = replace(result, parameters={**result.parameters, "target": "given"})
    found = judge(explainer, given, audio, step=0.25)
    assert found.metric == "kl"
    assert found.explanation > found.random
    assert "in nats" in found.text()


def test_the_seed_is_that_of_the_random_order(clip):
    explainer, result, audio = clip
    given = replace(result, parameters={**result.parameters, "target": "given"})
    first, same, other = (judge(explainer, given, audio, step=0.5, seed=s) for s in (0, 0, 1))
    assert first == same
    assert (first.explanation, first.loudest) == (other.explanation, other.loudest)
    assert first.random != other.random


def test_it_stands_below_the_explanation_and_is_kept_with_it(clip, tmp_path):
    _, result, _ = clip
    found = Judgement("wer_capped", 40.0, 50.0, 10.0)
    judged = replace(result, parameters={**result.parameters, "deletion": found.to_dict()})
    judged.save(tmp_path / "a.npz")
    again = type(result).load(tmp_path / "a.npz")
    lines = explanation_text(again).split("\n")
    assert lines[-2].endswith("this map 40.0, loudest cells 50.0, random 10.0")
    assert lines[-1] == "on this clip the map finds what matters no better than loudness does"
    assert "deletion (" not in explanation_text(result)


@pytest.mark.parametrize(
    ("scores", "control"),
    [((2.0, 2.0, 1.0), "loudness"), ((1.0, 2.0, 1.0), "chance"), ((1.0, 0.5, 2.0), "chance")],
)
def test_a_tie_is_no_win(scores, control):
    assert Judgement("kl", *scores).text().endswith(f"no better than {control} does")


def test_what_was_not_measured_is_not_judged():
    assert "no better" not in Judgement("kl", float("nan"), 0.5, 2.0).text()
    assert "no better" not in Judgement("kl", 3.0, 0.5, 2.0).text()


def test_scripts_without_spaces_are_judged_by_characters(clip, monkeypatch):
    """Of one word without blanks each step would be 0 or 100."""
    explainer, result, audio = clip
    found = judge(explainer, replace(result, text="今天天气很好我们去公园"), audio, step=0.5)
    assert found.metric == "cer_capped"
    assert "character error rate" in found.text()


def test_contrasts_and_other_recordings_are_refused(clip):
    explainer, result, audio = clip
    contrast = explainer.attribute(
        audio, contrast=Contrast("runs", "walks"), scheme="efficient", n_samples=20,
        n_token_samples=0, seed=0,
    )  # fmt: skip
    with pytest.raises(ArgumentError, match="a contrast explains a choice"):
        judge(explainer, contrast, audio)
    with pytest.raises(ArgumentError, match="explains another recording"):
        judge(explainer, result, torch.zeros(8000).numpy(), step=0.5)
