"""Attributions of real classifiers and speech-to-text models are what Captum says of them."""

import numpy as np
import pytest
import soundfile
import torch
from captum.attr import FeatureAblation

from captum_spes import SPES, KLDivergenceForward, SpeechToTextAttribution
from captum_spes.corpus import Utterance
from captum_spes.demo import MODEL_FOLDER, load_demo
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.io.audio import load_audio
from captum_spes.stability import (
    ClassifierConfig,
    SpeechClassifier,
    load_explained_model,
    parse_method,
)
from captum_spes.stability.classification import ClassifierModel, HuggingFaceStages, OurStages
from captum_spes.stability.units import perturbed_masks
from tests.conftest import BEFORE_TRANSFORMERS_5
from tests.stability.planted import RATE, utterances

METHODS = (
    "saliency", "integrated-gradients", "feature-ablation", "feature-ablation-kl", "lime@30",
    "spes@30", "spes-efficient@30",
)  # fmt: skip
CLASSES = {"speaker": ("soft", "loud"), "kind": ("noise", "speech", "music")}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return utterances(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(0)
    return SpeechClassifier(ClassifierConfig(CLASSES, RATE)).eval()


@pytest.fixture(scope="module")
def folder(classifier, tmp_path_factory):
    place = tmp_path_factory.mktemp("models") / "seed-0"
    classifier.save_pretrained(place)
    return str(place)


@pytest.fixture(scope="module")
def wav2vec2(tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.Wav2Vec2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        conv_dim=(8, 8, 8), conv_stride=(5, 4, 4), conv_kernel=(10, 8, 4),
        num_feat_extract_layers=3, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2,
        classifier_proj_size=8, id2label={0: "soft", 1: "loud"}, label2id={"soft": 0, "loud": 1},
    )  # fmt: skip
    place = tmp_path_factory.mktemp("wav2vec2") / "seed-0"
    transformers.Wav2Vec2ForSequenceClassification(config).save_pretrained(place)
    transformers.Wav2Vec2FeatureExtractor(sampling_rate=RATE).save_pretrained(place)
    return str(place)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stage", ["waveform", "spectrogram", "encoder"])
@pytest.mark.parametrize("kind", ["folder", "wav2vec2"])
def test_every_method_explains_every_input(request, corpus, kind, stage, method):
    model = load_explained_model(request.getfixturevalue(kind), "speaker")
    view = model.view(corpus[1], stage)
    masks = perturbed_masks("50ms", view, None)
    made = model.attribute(view, corpus[1], "speaker", parse_method(method), masks, 0)
    assert made.maps.shape == (1, *view.values.shape)
    assert made.maps.isfinite().all()
    assert made.maps.std() > 0
    again = model.attribute(view, corpus[1], "speaker", parse_method(method), masks, 0)
    torch.testing.assert_close(made.maps, again.maps)
    if parse_method(method).is_random:
        other = model.attribute(view, corpus[1], "speaker", parse_method(method), masks, 1)
        assert not torch.equal(made.maps, other.maps)


@pytest.mark.parametrize("kind", ["folder", "wav2vec2"])
def test_all_stages_end_in_the_same_class(request, corpus, kind):
    place = request.getfixturevalue(kind)
    if kind == "folder":
        stages = OurStages(SpeechClassifier.from_pretrained(place))
        tolerance = 1e-5
    else:
        transformers = pytest.importorskip("transformers")
        stages = HuggingFaceStages(
            transformers.AutoModelForAudioClassification.from_pretrained(place),
            transformers.AutoFeatureExtractor.from_pretrained(place),
            "speaker",
        )
        tolerance = 1e-3  # the inverse Fourier transform loses the last samples
    waveform = torch.from_numpy(load_audio(corpus[0].audio, RATE))
    with torch.no_grad():
        logits = [
            stages.logits(stages.represent(waveform, stage)[0], stage, "speaker")
            for stage in stages.inputs
        ]
    for other in logits[1:]:
        torch.testing.assert_close(other, logits[0], atol=tolerance, rtol=tolerance)


def test_ablation_is_the_fall_of_the_right_class(corpus, classifier, folder):
    model = load_explained_model(folder)
    view = model.view(corpus[1], "spectrogram")
    masks = perturbed_masks("100ms", view, None)
    made = model.attribute(view, corpus[1], "speaker", parse_method("feature-ablation"), masks, 0)

    @torch.no_grad()
    def right(values):
        return classifier.classify(classifier.encoder_input(values[None]))["speaker"][0, 1]

    for label in range(int(masks[0].max()) + 1):
        removed = torch.where(masks[0] == label, view.baseline, view.values)
        wanted = float(right(view.values) - right(removed))
        found = made.maps[0][masks[0] == label]
        assert found.numpy() == pytest.approx(np.full(len(found), wanted), abs=1e-5)
    n_features = int(masks[0].max()) + 1
    assert made.passes == n_features + 1


def test_ablation_by_divergence_counts_all_classes(corpus, classifier, folder):
    model = load_explained_model(folder)
    view = model.view(corpus[1], "spectrogram")
    masks = perturbed_masks("100ms", view, None)
    method = parse_method("feature-ablation-kl")
    made = model.attribute(view, corpus[1], "kind", method, masks, 0)

    @torch.no_grad()
    def log_probabilities(values):
        logits = classifier.classify(classifier.encoder_input(values[None]))["kind"]
        return logits.double().log_softmax(-1)[0]

    whole = log_probabilities(view.values)
    for label in range(int(masks[0].max()) + 1):
        removed = torch.where(masks[0] == label, view.baseline, view.values)
        wanted = float((whole.exp() * (whole - log_probabilities(removed))).sum())
        assert made.maps[0][masks[0] == label].mean() == pytest.approx(wanted, abs=1e-6)


def test_spes_is_that_of_the_divergence(corpus, classifier, folder):
    model = load_explained_model(folder)
    view = model.view(corpus[1], "spectrogram")
    masks = perturbed_masks("patch", view, None)
    made = model.attribute(view, corpus[1], "kind", parse_method("spes@40"), masks, 3)
    inputs = view.values[None]

    def logits(values):
        return classifier.classify(classifier.encoder_input(values))["kind"]

    wanted = SPES(KLDivergenceForward(logits, inputs)).attribute(
        inputs, baselines=view.baseline[None], feature_mask=[m[None] for m in masks],
        n_samples=40, seed=3,
    )  # fmt: skip
    torch.testing.assert_close(made.maps, wanted)


def test_gradients_cost_three_passes(corpus, folder):
    model = load_explained_model(folder)
    view = model.view(corpus[1], "spectrogram")
    made = model.attribute(view, corpus[1], "speaker", parse_method("saliency"), [], 0)
    assert made.passes == 3
    assert (made.maps < 0).any()  # signed, as in the study


@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks")
def test_rules_for_layers_find_those_of_the_classifier(corpus, folder, wav2vec2):
    """Methods that change layers get the network itself, and it is the one that is explained."""

    view = load_explained_model(folder).view(corpus[1], "spectrogram")
    layers = torch.nn.Sequential(torch.nn.Linear(40, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))

    class Stages:
        """Two classes from the means over time of a small network's outputs."""

        inputs, classes = ("spectrogram",), {"speaker": ("soft", "loud")}
        device, network = torch.device("cpu"), layers.eval()

        def logits(self, values, stage, task):
            return layers(values).mean(1)

    model = ClassifierModel(Stages())
    made = model.attribute(view, corpus[1], "speaker", parse_method("deep-lift"), [], 0)
    # Of a network of ReLU, the differences of the inputs add up to that of the logit.
    with torch.no_grad():
        intact, removed = (layers(values).mean(0)[1] for values in (view.values, view.baseline))
    assert float(made.maps.sum()) == pytest.approx(float(intact - removed), rel=1e-3, abs=1e-5)
    for place, task in ((folder, None), (wav2vec2, "speaker")):
        other = load_explained_model(place, task)
        view = other.view(corpus[1], "spectrogram")
        with pytest.raises(ArgumentTypeError, match=r"rules for layers of .*the model has none"):
            other.attribute(view, corpus[1], "speaker", parse_method("guided-backprop"), [], 0)


def test_baseline_is_what_the_model_makes_of_silence(corpus, classifier, folder):
    model = load_explained_model(folder)
    with torch.no_grad():
        silence = classifier.spectrogram(torch.zeros(1, RATE))[0]
    view = model.view(corpus[0], "spectrogram")
    torch.testing.assert_close(view.baseline[5], silence[5])
    assert model.view(corpus[0], "waveform").baseline.abs().max() == 0


def test_models_come_back_as_they_were(corpus, wav2vec2):
    transformers = pytest.importorskip("transformers")
    network = transformers.AutoModelForAudioClassification.from_pretrained(wav2vec2)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(wav2vec2)
    model = ClassifierModel(HuggingFaceStages(network, extractor, "speaker"))
    view = model.view(corpus[1], "encoder")
    samples = model.view(corpus[1], "waveform").values[None]
    with torch.no_grad():
        before = network(samples).logits
        model.attribute(view, corpus[1], "speaker", parse_method("saliency"), [], 0)
        # A hook that is left behind would give it other states.
        assert torch.equal(network(samples).logits, before)
    state = torch.get_rng_state()
    masks = perturbed_masks("50ms", view, None)
    model.attribute(view, corpus[1], "speaker", parse_method("lime@5"), masks, 0)
    if not BEFORE_TRANSFORMERS_5:  # whose wav2vec 2.0 draws a number for each layer that it runs
        assert torch.equal(torch.get_rng_state(), state)


def test_models_in_half_precision_are_computed_in_single(corpus, wav2vec2, tmp_path):
    transformers = pytest.importorskip("transformers")
    half = transformers.AutoModelForAudioClassification.from_pretrained(wav2vec2)
    half.half().save_pretrained(tmp_path)
    transformers.AutoFeatureExtractor.from_pretrained(wav2vec2).save_pretrained(tmp_path)
    model = load_explained_model(str(tmp_path), "speaker")
    assert model.is_right(corpus[0], "speaker") in (0, 1)


def test_an_impulse_is_where_its_frame_says(classifier, folder, tmp_path):
    samples = np.zeros(RATE, np.float32)
    samples[RATE // 2] = 1
    soundfile.write(tmp_path / "click.wav", samples, RATE)
    click = Utterance("click", tmp_path / "click.wav", "click")
    model = load_explained_model(folder)
    for stage in ("waveform", "spectrogram"):
        view = model.view(click, stage)
        energy = view.values.reshape(len(view.values), -1).mean(1)
        times = view.start + torch.arange(len(energy)) / view.frame_rate
        assert float(times[energy.argmax()]) == pytest.approx(0.5, abs=0.5 / RATE + 1e-4)


def test_right_and_wrong_classes(corpus, classifier, folder):
    model = load_explained_model(folder)
    for utterance in corpus:
        samples = torch.from_numpy(load_audio(utterance.audio, RATE))[None]
        with torch.no_grad():
            found = CLASSES["speaker"][int(classifier(samples)["speaker"].argmax())]
        assert model.is_right(utterance, "speaker") == (found == utterance.labels["speaker"])


@pytest.mark.parametrize(
    ("text", "written", "rightness"),
    [("the cat sat down", "the cat sits down", 0.75), ("今天天气很好", "今天天气好", 5 / 6)],
)
def test_how_right_a_transcript_is(monkeypatch, text, written, rightness):
    """By words, or by characters where words have no spaces between them."""
    explained = load_explained_model(str(MODEL_FOLDER))
    utterance = Utterance("cat", load_demo()[2][1].path, text)
    monkeypatch.setattr(type(explained._adapter), "text", lambda self, ids: written)
    assert explained.is_right(utterance, "transcription") == pytest.approx(rightness)


def test_a_speech_to_text_model_is_explained_through_the_wrapper():
    model, processor, examples = load_demo()
    explained = load_explained_model(str(MODEL_FOLDER))
    utterance = Utterance("cat", examples[1].path, examples[1].text)
    view = explained.view(utterance, "spectrogram")
    masks = perturbed_masks("100ms", view, None)
    assert explained.is_right(utterance, "transcription") == 1
    made = explained.attribute(
        view, utterance, "transcription", parse_method("feature-ablation"), masks, 0
    )
    wanted = SpeechToTextAttribution(FeatureAblation(model), processor).attribute(
        examples[1].path, target=examples[1].text, n_token_samples=0, feature_mask=masks, seed=0
    )
    torch.testing.assert_close(made.maps, wanted.spectrogram_attr)
    # Captum evaluates the input once more, and so does the score.
    assert made.passes == int(masks[0].max()) + 1 + 2
    made = explained.attribute(view, utterance, "transcription", parse_method("saliency"), [], 0)
    assert made.maps.shape == wanted.spectrogram_attr.shape
    assert (made.maps < 0).any()


def test_what_cannot_be_loaded_is_told(tmp_path, wav2vec2, corpus, folder):
    with pytest.raises(ArgumentError, match="say which label"):
        load_explained_model(wav2vec2)
    with pytest.raises(ArgumentError, match="cannot load the model"):
        load_explained_model(str(tmp_path / "nothing"))
    (tmp_path / "config.json").write_text('{"model_type": "captum_spes_classifier"}')
    with pytest.raises(ArgumentError, match="cannot load the classifier"):
        load_explained_model(str(tmp_path))
    transformers = pytest.importorskip("transformers")
    config = transformers.AutoConfig.from_pretrained(wav2vec2)
    headless = transformers.Wav2Vec2Model(config)
    headless.save_pretrained(tmp_path / "headless")
    transformers.Wav2Vec2FeatureExtractor(sampling_rate=RATE).save_pretrained(tmp_path / "headless")
    with pytest.raises(ArgumentError, match="no classifier, its weights lack"):
        load_explained_model(str(tmp_path / "headless"), "speaker")
    strange = load_explained_model(wav2vec2, "kind")
    view = strange.view(corpus[0], "waveform")
    with pytest.raises(ArgumentError, match="'noise', which the model does not know: soft, loud"):
        strange.attribute(view, corpus[0], "kind", parse_method("saliency"), [], 0)
