"""What a model makes of the sound of an explanation."""

import dataclasses

import numpy as np
import pytest
import soundfile
import torch

from captum_spes import SPES, SpeechToTextAttribution, SpeechToTextAttributionResult
from captum_spes.demo import load_ctc, load_demo
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.forward import Contrast
from captum_spes.metrics import corpus_score, sound_faithfulness
from captum_spes.metrics.perturbation import explained_sequence
from captum_spes.speech import EnergyMap, RandomMap
from captum_spes.speech.listening import salient_cells

SETTINGS = {"n_samples": 200, "n_token_samples": 0, "patches_per_second": 60, "seed": 0}


@pytest.fixture(scope="module")
def demo():
    model, processor, examples = load_demo()
    explainer = SpeechToTextAttribution(SPES(model), processor)
    return explainer, explainer.attribute(examples[0].path, **SETTINGS)


def of_method(method):
    model, processor, examples = load_demo()
    explainer = SpeechToTextAttribution(method(model), processor)
    return explainer.attribute(examples[0].path, seed=0, n_token_samples=0)


def test_the_whole_recording_changes_nothing(demo):
    explainer, result = demo
    heard = sound_faithfulness(explainer, result, keep=1)
    assert heard.written == heard.text == result.text
    assert heard.error_rate == 0
    assert heard.metric == "wer"
    assert np.allclose(heard.divergences, 0, atol=1e-9)
    assert heard.correlation == pytest.approx(1)
    assert heard.difference == pytest.approx(0, abs=1e-6)
    assert heard.share == 1
    assert np.isnan(heard.outside)
    nothing = sound_faithfulness(explainer, result, keep=1, complement=True)
    assert nothing.divergence > 1
    assert np.isnan(nothing.correlation)


def test_by_hand(demo):
    """Divergences, texts and features of the sound, from the adapter alone."""
    explainer, result = demo
    adapter = explainer.adapter
    heard = sound_faithfulness(explainer, result, 2, 0.4)
    sound = result.listen(2, 0.4)
    assert sound.sampling_rate == adapter.sampling_rate
    before = adapter.from_audio(result.listen(keep=1).samples)
    after = adapter.from_audio(sound.samples)
    sequence = explained_sequence(result)
    with torch.no_grad():
        first, second = (
            adapter.output_layer(
                adapter.decode(adapter.encode(own, own.spectrogram[None]), sequence)
            ).log_softmax(-1)[0].double()
            for own in (before, after)
        )  # fmt: skip
    expected = (first.exp() * (first - second)).sum(-1)
    assert np.allclose(heard.divergences, expected, atol=1e-4)
    written = explainer.transcribe(sound).text
    assert heard.written == written.strip()
    assert heard.error_rate == pytest.approx(corpus_score([result.text], [written]))
    cells = salient_cells(result, 2, 0.4, None, 1)
    one, other = before.spectrogram[cells].numpy(), after.spectrogram[cells].numpy()
    assert heard.correlation == pytest.approx(np.corrcoef(one, other)[0, 1], abs=1e-4)
    expected = np.sqrt(np.square(one - other).mean()) / before.spectrogram.numpy().std()
    assert heard.difference == pytest.approx(expected, rel=1e-3)
    assert heard.share == pytest.approx(0.4, abs=1e-3)
    one, other = before.spectrogram[~cells].numpy(), after.spectrogram[~cells].numpy()
    expected = np.sqrt(np.square(one - other).mean()) / before.spectrogram.numpy().std()
    assert heard.outside == pytest.approx(expected, rel=1e-3)
    rest = sound_faithfulness(explainer, result, 2, 0.4, complement=True)
    assert rest.share == pytest.approx(0.6, abs=1e-3)


def test_what_explains_is_heard_better_than_random_patches(demo):
    explainer, _ = demo
    _, _, examples = load_demo()
    few = {**SETTINGS, "n_samples": 300, "patches_per_second": (30, 60)}
    result = explainer.attribute(examples[0].path, scheme="efficient", **few)
    own = sound_faithfulness(explainer, result, keep=0.4)
    generator = torch.Generator().manual_seed(0)
    masks = result.feature_masks
    values = torch.rand(len(masks), int(masks.max()) + 1, generator=generator)
    scattered = torch.stack([level[mask] for level, mask in zip(values, masks, strict=True)])
    random = dataclasses.replace(
        result, spectrogram_attr=scattered.mean(0).expand_as(result.spectrogram_attr)
    )
    patches = sound_faithfulness(explainer, random, keep=0.4)
    assert own.divergence < 0.5 * patches.divergence
    assert own.error_rate < patches.error_rate
    # Cells that are scattered cannot be parted: what lies between them is heard, too.
    cells = sound_faithfulness(explainer, of_method(RandomMap), keep=0.4)
    assert cells.outside < 0.5 * patches.outside
    energy = sound_faithfulness(explainer, of_method(EnergyMap), keep=0.4)
    assert energy.correlation > cells.correlation


def test_summary_and_normalised_texts(demo):
    explainer, result = demo
    heard = sound_faithfulness(
        explainer.adapter, result, word=0, keep=0.5, text_normalizer=lambda text: "a b"
    )
    assert heard.error_rate == 0
    text = str(heard)
    assert f"the model writes: {heard.written}" in text
    assert "wer against what was explained: 0.0 %" in text
    assert f"{heard.divergence:.3f} nats per token" in text
    assert "50% of the cells" in text
    assert f"; in the others {heard.outside:.3f}" in text
    assert "in the others" not in str(sound_faithfulness(explainer, result, keep=1))


def test_an_explanation_knows_what_was_heard(demo, tmp_path):
    """Each entry follows the last, is saved, and leaves the given explanation alone."""
    explainer, result = demo
    first = sound_faithfulness(explainer, result, keep=0.3)
    second = sound_faithfulness(explainer, result, word=0, keep=0.5, complement=True)
    told = second.added_to(first.added_to(result))
    assert "heard" not in result.parameters
    told.save(tmp_path / "told.npz")
    loaded = SpeechToTextAttributionResult.load(tmp_path / "told.npz")
    sentence, word = loaded.parameters["heard"]
    assert sentence == {
        "what": "the sentence",
        "keep": 0.3,
        "complement": False,
        "written": first.written,
        "metric": "wer",
        "error_rate": pytest.approx(first.error_rate),
        "divergence": pytest.approx(first.divergence),
    }
    assert word["what"] == f"“{result.words[0].word.strip()}”"
    assert (word["keep"], word["complement"]) == (0.5, True)


def test_at_another_rate(demo, tmp_path):
    explainer, result = demo
    soxr = pytest.importorskip("soxr")
    samples, rate = result.listen(keep=1)
    path = tmp_path / "speech.wav"
    soundfile.write(path, soxr.resample(samples, rate, 44_100), 44_100, "FLOAT")
    found = explainer.attribute(path, **SETTINGS)
    whole = sound_faithfulness(explainer, found, keep=1)
    assert whole.divergence < 1e-6
    kept = sound_faithfulness(explainer, found, keep=0.4)
    assert kept.divergence == pytest.approx(
        sound_faithfulness(explainer, result, keep=0.4).divergence, abs=0.3
    )


def test_contrasts_and_models_without_previous_tokens(demo):
    explainer, result = demo
    path = result.parameters["audio"]["path"]
    contrast = explainer.attribute(path, contrast=Contrast("five", "nine"), **SETTINGS)
    heard = sound_faithfulness(explainer, contrast, keep=0.3)
    assert heard.text == result.text
    assert np.isfinite(heard.divergences).all()
    model, processor, _ = load_ctc()
    ctc = SpeechToTextAttribution(SPES(model), processor)
    found = ctc.attribute(path, **SETTINGS)
    assert sound_faithfulness(ctc, found, keep=1).error_rate == 0
    assert sound_faithfulness(ctc, found, keep=0.3).divergence > 0


def test_refused(demo):
    explainer, result = demo
    with pytest.raises(ArgumentTypeError, match="sound_faithfulness takes word, occurrence"):
        sound_faithfulness(explainer, result, side="audio")
    with pytest.raises(ArgumentTypeError, match="must be an explanation"):
        sound_faithfulness(explainer, "explanation.npz")
    with pytest.raises(ArgumentTypeError, match="text_normalizer must be a function"):
        sound_faithfulness(explainer, result, text_normalizer="lower")
    with pytest.raises(ArgumentError, match="keep must be a share"):
        sound_faithfulness(explainer, result, keep=2)
    with pytest.raises(ArgumentError, match="of another recording"):
        sound_faithfulness(explainer, result, audio=np.zeros(9000, dtype=np.float32))
    short = dataclasses.replace(
        result, spectrogram=result.spectrogram[:-5],
        spectrogram_attr=result.spectrogram_attr[:, :-5], frame_times=result.frame_times[:-5],
    )  # fmt: skip
    with pytest.raises(ArgumentError, match="give the model that was explained"):
        sound_faithfulness(explainer, short)
