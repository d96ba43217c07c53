"""Audio classifiers: the class that a model tells, explained like a token."""

import numpy as np
import pytest
import torch
from captum.attr import FeatureAblation, IntegratedGradients, KernelShap, Saliency

from captum_spes import (
    SPES,
    BubbleNoise,
    SpeechClassificationAttribution,
    SpeechToTextAttributionResult,
)
from captum_spes.cli import main
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.metrics import deletion_curve, judge, sound_faithfulness
from captum_spes.speech.models import load_model
from captum_spes.stability import ClassifierConfig, SpeechClassifier
from tests.speech.frame_families import CLASSIFIERS, make_classifier

QUICK = {"n_samples": 40, "patches_per_second": 40, "seed": 0}


@pytest.fixture(scope="module", params=CLASSIFIERS)
def classifier(request):
    return make_classifier(request.param)


def explain(classifier, audio, method=SPES, **changes):
    model, extractor = classifier
    explainer = SpeechClassificationAttribution(method(model), extractor)
    return explainer.attribute(audio, **{**QUICK, **changes})


def own_logits(classifier, audio):
    model, extractor = classifier
    made = extractor(audio, sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        return model(**made).logits[0]


def test_scores_are_the_models_own(classifier, audio):
    model, extractor = classifier
    adapter = SpeechClassificationAttribution(SPES(model), extractor).adapter
    speech = adapter.from_audio(audio)
    with torch.no_grad():
        states = adapter.encode(speech, speech.spectrogram[None].expand(2, -1, -1))
        target = adapter.force(speech, "no", {})
        found = adapter.output_layer(adapter.decode(states, target))
    own = own_logits(classifier, audio)
    assert found.shape == (2, 1, 4)
    assert torch.allclose(found[0, 0], own, atol=1e-4)
    assert torch.allclose(found[1, 0], own, atol=1e-4)


def test_the_class_that_is_told(classifier, audio, tmp_path):
    result = explain(classifier, audio)
    logits = own_logits(classifier, audio)
    told = classifier[0].config.id2label[int(logits.argmax())]
    assert result.output_tokens == [told]
    assert result.text == told
    assert result.probabilities[0] == pytest.approx(logits.softmax(0).max().item(), abs=1e-4)
    assert result.ranks.tolist() == [1]
    assert result.token_attr is None
    assert result.spectrogram_attr.shape == (1, *result.spectrogram.shape)
    assert result.spectrogram_attr.amax() > 0
    result.save(tmp_path / "result.npz")
    again = SpeechToTextAttributionResult.load(tmp_path / "result.npz")
    assert again.output_tokens == [told]


def test_the_impact_of_a_patch(classifier, audio):
    """The divergence over the classes, where it alone is removed."""
    result = explain(classifier, audio, FeatureAblation, target="yes")
    adapter = SpeechClassificationAttribution(SPES(classifier[0]), classifier[1]).adapter
    speech = adapter.from_audio(audio)
    mask = result.feature_masks[0]
    cell = mask == mask.unique()[-1]
    without = torch.where(cell, result.removed, result.spectrogram)
    with torch.no_grad():
        before, after = (
            adapter.encode(speech, own[None])[0, 0].double().log_softmax(0)
            for own in (speech.spectrogram, without)
        )
    expected = (before.exp() * (before - after)).sum().item()
    assert result.spectrogram_attr[0][cell][0].item() == pytest.approx(expected, rel=0.02, abs=1e-6)


@pytest.mark.parametrize(
    "method", [BubbleNoise, FeatureAblation, KernelShap, Saliency, IntegratedGradients]
)
def test_other_methods(classifier, audio, method):
    arguments = {"n_steps": 3} if method is IntegratedGradients else {}
    result = explain(classifier, audio, method, method_args=arguments)
    assert torch.isfinite(result.spectrogram_attr).all()
    assert result.spectrogram_attr.abs().sum() > 0


def test_deletion(classifier, audio):
    """By the class that is told, and by the divergence."""
    model, extractor = classifier
    explainer = SpeechClassificationAttribution(SPES(model), extractor)
    result = explain(classifier, audio)
    example = {"audio": audio, "reference": result.text, "attribution": result}
    assert deletion_curve(explainer, [example], step=0.5).y[0] == 0
    graded = deletion_curve(explainer, [example], step=0.5, metric="kl")
    assert graded.y[0] == pytest.approx(0, abs=1e-6)
    assert graded.y[-1] > 0
    # A class is no text, of which words could be wrong.
    assert judge(explainer, result, audio, step=0.5).metric == "kl"
    assert sound_faithfulness(explainer, result, audio=audio).written is None


def test_names_and_numbers(classifier, audio):
    by_name, by_number = (explain(classifier, audio, target=own) for own in ("NO", [1]))
    assert by_name.output_tokens == by_number.output_tokens == ["no"]
    assert torch.equal(by_name.spectrogram_attr, by_number.spectrogram_attr)
    assert explain(classifier, audio, target="maybe").output_ids == [3]
    with pytest.raises(ArgumentError, match="tells one of: yes, no, Maybe, maybe"):
        explain(classifier, audio, target="MAYBE")
    with pytest.raises(ArgumentError, match="the number of one of 4 classes"):
        explain(classifier, audio, target=[4])
    with pytest.raises(ArgumentError, match="is asked nothing"):
        explain(classifier, audio, gen_args={"num_beams": 2})


def test_what_is_no_classifier(tiny_model, audio):
    network, processor = tiny_model
    with pytest.raises(ArgumentTypeError, match="tells no class"):
        SpeechClassificationAttribution(SPES(network), processor)
    model, _ = make_classifier("hubert_classifier")
    with pytest.raises(ArgumentTypeError, match="needs its feature extractor"):
        SpeechClassificationAttribution(SPES(model), object())


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_on_the_command_line(name, audio, tmp_path, capsys):
    import soundfile

    model, extractor = make_classifier(name)
    model.save_pretrained(tmp_path / "model")
    extractor.save_pretrained(tmp_path / "model")
    assert type(load_model(tmp_path / "model")[0]) is type(model)
    soundfile.write(tmp_path / "speech.wav", audio, 16_000, subtype="FLOAT")
    status = main(
        ["explain", str(tmp_path / "speech.wav"), "--model", str(tmp_path / "model"), "--quiet",
         "--samples", "40", "--patches-per-second", "40", "--out", str(tmp_path / "out")]
    )  # fmt: skip
    written = capsys.readouterr()
    assert status == 0, written.err
    (saved,) = (tmp_path / "out").glob("**/*.npz")
    result = SpeechToTextAttributionResult.load(saved)
    assert result.output_tokens[0] in written.out
    own = own_logits((model, extractor), np.asarray(audio))
    assert result.output_ids == [int(own.argmax())]


TOLD = {"speaker": ("soft", "loud"), "answer": ("yes", "no", "maybe")}


class TestTheStudysClassifier:
    """It tells several things, and brings its adapter."""

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, tmp_path_factory):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = SpeechClassifier(ClassifierConfig(TOLD))
        folder = tmp_path_factory.mktemp("study")
        model.save_pretrained(folder)
        return folder

    def test_its_scores(self, folder, audio):
        model = SpeechClassifier.from_pretrained(folder)
        with torch.no_grad():
            logits = model(torch.from_numpy(audio)[None])["answer"][0]
        result = explain((model, "answer"), audio)
        assert result.output_tokens == [TOLD["answer"][int(logits.argmax())]]
        assert result.probabilities[0] == pytest.approx(logits.softmax(0).max().item(), abs=1e-5)
        with pytest.raises(ArgumentError, match="say which, of"):
            explain((model, None), audio)
        with pytest.raises(ArgumentError, match="tells no 'mood'"):
            explain((model, "mood"), audio)

    def test_on_the_command_line(self, folder, audio, tmp_path, capsys):
        import soundfile

        soundfile.write(tmp_path / "speech.wav", audio, 16_000, subtype="FLOAT")
        status = main(
            ["explain", str(tmp_path / "speech.wav"), "--model", str(folder), "--quiet", "--label",
             "speaker", "--samples", "40", "--patches-per-second", "40"]
        )  # fmt: skip
        written = capsys.readouterr()
        assert status == 0, written.err
        assert set(written.out.split()) & set(TOLD["speaker"])
