"""On a GPU: the explanations of the CPU, and batches as large as its memory allows."""

import copy
import time

import pytest
import torch
from captum.attr import FeatureAblation, InputXGradient, IntegratedGradients, KernelShap, Saliency

from captum_spes import SPES, SpeechClassificationAttribution, SpeechToTextAttribution
from captum_spes.attr.loop import AutomaticBatchSize
from captum_spes.demo import load_demo, load_examples, load_speech_llm
from captum_spes.metrics import deletion_curve
from tests.speech.explaining import explain, rank_correlations
from tests.speech.families import ENCODER_DECODERS, SPEECH_LLMS, make_family
from tests.speech.frame_families import (
    CLASSIFIERS,
    CTC_FAMILIES,
    TRANSDUCERS,
    make_classifier,
    make_frame_family,
)

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(autouse=True)
def exact_convolutions():
    """TensorFloat-32, PyTorch's default for convolutions, is exact to a thousandth."""
    with torch.backends.cudnn.flags(allow_tf32=False):
        yield


def on_gpu(model):
    network, processor = model
    return copy.deepcopy(network).to("cuda"), processor


def assert_same(found, expected):
    for name in ("spectrogram_attr", "token_attr"):
        a, b = getattr(found, name), getattr(expected, name)
        if a is None and b is None:
            continue
        assert a.device.type == "cpu"
        tolerance = 1e-3 * float(b.nan_to_num(0).abs().max())
        assert torch.allclose(a, b, rtol=0, atol=tolerance, equal_nan=True)


class TestMaps:
    @pytest.mark.parametrize("scheme", ["paper", "efficient"])
    def test_spes(self, tiny_model, audio, scheme):
        expected = explain(tiny_model, audio, scheme=scheme)
        assert_same(explain(on_gpu(tiny_model), audio, scheme=scheme), expected)

    @pytest.mark.parametrize(
        "method", [FeatureAblation, KernelShap, Saliency, InputXGradient, IntegratedGradients]
    )
    def test_other_methods(self, tiny_model, audio, method):
        expected = explain(tiny_model, audio, method)
        assert_same(explain(on_gpu(tiny_model), audio, method), expected)

    def test_joint_perturbation(self, tiny_model, audio):
        expected = explain(tiny_model, audio, perturb_jointly=True)
        assert_same(explain(on_gpu(tiny_model), audio, perturb_jointly=True), expected)

    def test_model_and_generators_come_back_as_they_were(self, tiny_model, audio):
        network, processor = on_gpu(tiny_model)
        weights = {name: value.clone() for name, value in network.state_dict().items()}
        state = torch.cuda.get_rng_state()
        for method in (SPES, KernelShap):
            explain((network, processor), audio, method)
        assert torch.equal(torch.cuda.get_rng_state(), state)
        for name, value in network.state_dict().items():
            assert value.device.type == "cuda"
            assert torch.equal(value, weights[name])

    def test_deletion(self, tiny_model, audio):
        curves = []
        for network, processor in (tiny_model, on_gpu(tiny_model)):
            explainer = SpeechToTextAttribution(SPES(network), processor)
            result = explain((network, processor), audio)
            curves.append(deletion_curve(explainer, [(audio, None, result)], metric="kl"))
        assert curves[0].y == pytest.approx(curves[1].y, rel=0.01, abs=1e-3)


class TestFamilies:
    @pytest.mark.parametrize("name", [*SPEECH_LLMS, *ENCODER_DECODERS])
    def test_spes(self, name, audio, tmp_path):
        family = make_family(name, tmp_path)
        settings = {"target": "the cat", "n_samples": 40, "n_token_samples": 30}
        expected = explain(family, audio, **settings)
        found = explain(on_gpu(family), audio, **settings)
        assert_same(found, expected)
        if expected.instruction_attr is not None:
            assert torch.allclose(found.instruction_attr, expected.instruction_attr, atol=1e-3)

    @pytest.mark.parametrize("name", [*CTC_FAMILIES, *TRANSDUCERS])
    def test_frame_by_frame(self, name, audio, tmp_path):
        family = make_frame_family(name, tmp_path)
        scores = (None, "ctc") if name in CTC_FAMILIES else (None,)
        for score in scores:
            settings = {"target": "a cat", "n_samples": 40, "n_token_samples": 30, "score": score}
            expected = explain(family, audio, **settings)
            assert_same(explain(on_gpu(family), audio, **settings), expected)
        own = explain(on_gpu(family), audio, target=None)
        assert own.output_ids == explain(family, audio, target=None).output_ids

    @pytest.mark.parametrize("name", CLASSIFIERS)
    def test_classifiers(self, name, audio):
        maps = []
        for model, extractor in (make_classifier(name), on_gpu(make_classifier(name))):
            explainer = SpeechClassificationAttribution(SPES(model), extractor)
            maps.append(explainer.attribute(audio, n_samples=40, patches_per_second=40, seed=0))
        assert_same(maps[1], maps[0])

    def test_trained_speech_llm(self):
        texts, maps = [], []
        for device in ("cpu", "cuda"):
            model, processor, examples = load_speech_llm(device)
            result = SpeechToTextAttribution(SPES(model), processor).attribute(
                examples[0].path, n_samples=100, n_token_samples=100, patches_per_second=60, seed=0
            )
            texts.append(result.text)
            maps.append(result)
        assert texts[0] == texts[1]
        assert_same(maps[1], maps[0])
        assert torch.allclose(maps[1].side_shares(), maps[0].side_shares(), atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_the_order_of_every_map(dtype):
    model, processor, _ = load_demo(device="cuda")
    explainer = SpeechToTextAttribution(SPES(model), processor)
    settings = {"n_samples": 300, "n_token_samples": 0, "patches_per_second": 60, "seed": 0}
    exact, fast = (
        explainer.attribute(load_examples()[0].path, dtype=d, perturbations_per_eval=32, **settings)
        for d in (None, dtype)
    )
    assert fast.text == exact.text
    assert min(rank_correlations(exact, fast)) >= 0.98


def test_automatic_batch_size_stays_within_the_memory(monkeypatch):
    """Memory ends for real, samples are kept, and the maps do not depend on it."""
    model, processor, _ = load_demo(device="cuda")
    explainer = SpeechToTextAttribution(SPES(model), processor)
    settings = {"n_samples": 1500, "n_token_samples": 0, "patches_per_second": 60, "seed": 0}
    path, failed = load_examples()[0].path, []
    expected = explainer.attribute(path, perturbations_per_eval=4, **settings)
    told = AutomaticBatchSize.shrinks_after

    def spy(self, error, size):
        failed.append(size)
        return told(self, error, size)

    # Time stands still, so that larger batches always count as worth it and memory ends them.
    monkeypatch.setattr(time, "perf_counter", lambda: 0.0)
    monkeypatch.setattr(AutomaticBatchSize, "shrinks_after", spy)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 2**28) / total)
    try:
        found = explainer.attribute(path, perturbations_per_eval="auto", **settings)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert failed
    assert found.parameters["n_samples_evaluated"] == settings["n_samples"]
    assert_same(found, expected)
