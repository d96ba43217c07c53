"""Classifiers learn, seeds decide what they should, and corpora are what they say."""

import ctypes.util
import json
import random

import numpy as np
import pytest
import soundfile
import torch

from captum_spes.corpus import read_manifest
from captum_spes.errors import ArgumentError
from captum_spes.stability import ClassifierConfig, SpeechClassifier
from recipes.stability.commands import draw_command, make_commands
from recipes.stability.digits import DIGITS, make_digit_strings
from recipes.stability.training import (
    LabelledSpeech,
    accuracy,
    classify_padded,
    read_labelled_speech,
    train_classifier,
    train_seeds,
)
from tests.stability.planted import RATE, write_corpus, write_recordings

needs_espeak = pytest.mark.skipif(
    ctypes.util.find_library("espeak-ng") is None,
    reason="the eSpeak NG library is not installed (apt-get install espeak-ng)",
)


def tones(size=96, seed=0):
    """High or low; and, apart from that, long or short."""
    generator = np.random.default_rng(seed)
    waveforms, high, long = [], [], []
    for _ in range(size):
        high.append(int(generator.integers(2)))
        long.append(int(generator.integers(2)))
        times = np.arange(RATE * (3 + 3 * long[-1]) // 10) / RATE
        frequency = generator.uniform(1500, 2500) if high[-1] else generator.uniform(200, 500)
        samples = np.sin(2 * np.pi * frequency * times) + 0.01 * generator.standard_normal(
            len(times)
        )
        waveforms.append(torch.from_numpy(samples.astype(np.float32)))
    targets = {"pitch": torch.tensor(high), "length": torch.tensor(long)}
    return LabelledSpeech(
        waveforms, targets, {"pitch": ("low", "high"), "length": ("short", "long")}
    )


def weights(model):
    return torch.cat([parameter.detach().ravel() for parameter in model.parameters()])


def test_a_classifier_learns_all_its_tasks():
    model = train_classifier(tones(), sampling_rate=RATE, epochs=20)
    assert not model.training
    found = accuracy(model, tones(seed=1))
    assert found["pitch"] == 100
    assert found["length"] >= 95


def test_seeds_of_weights_and_order_are_apart():
    speech = tones(40)

    def trained(weight_seed, order_seed, epochs=1):
        return weights(
            train_classifier(
                speech,
                sampling_rate=RATE,
                weight_seed=weight_seed,
                order_seed=order_seed,
                epochs=epochs,
            )
        )

    assert torch.equal(trained(0, 0), trained(0, 0))
    assert not torch.equal(trained(0, 0), trained(1, 0))
    assert not torch.equal(trained(0, 0), trained(0, 1))
    # Without a step, the order of the data decides nothing.
    assert torch.equal(trained(0, 0, epochs=0), trained(0, 1, epochs=0))
    assert not torch.equal(trained(0, 0, epochs=0), trained(1, 0, epochs=0))


def test_training_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    train_classifier(tones(8), sampling_rate=RATE, epochs=1)
    assert torch.equal(torch.get_rng_state(), state)


def test_padding_changes_no_class():
    torch.manual_seed(0)
    model = SpeechClassifier(ClassifierConfig({"pitch": ("low", "high")}, RATE)).eval()
    spectrograms = [torch.randn(frames, 40) for frames in (31, 50)]
    with torch.no_grad():
        together = classify_padded(model, spectrograms)["pitch"]
        alone = [model.classify(model.encoder_input(s[None]))["pitch"][0] for s in spectrograms]
    torch.testing.assert_close(together, torch.stack(alone), atol=1e-5, rtol=1e-5)


def test_models_are_saved_with_their_seeds_and_not_trained_twice(tmp_path):
    for part in ("train", "validation"):
        write_corpus(tmp_path / part, 4)
    arguments = (tmp_path / "train", tmp_path / "validation", ["speaker"], tmp_path / "models")
    train_seeds(
        *arguments, seeds=[0, 1], fixed_seeds={"order_seed": 7}, sampling_rate=RATE, epochs=1
    )
    record = json.loads((tmp_path / "models" / "seed-1" / "training.json").read_text())
    assert (record["weight_seed"], record["order_seed"]) == (1, 7)
    assert set(record["accuracy"]) == {"speaker"}
    one, other = (
        SpeechClassifier.from_pretrained(tmp_path / "models" / f"seed-{seed}") for seed in (0, 1)
    )
    assert one.config.classes == {"speaker": ["loud", "soft"]}
    assert not torch.equal(weights(one), weights(other))
    written = (tmp_path / "models" / "seed-0" / "model.safetensors").stat().st_mtime_ns
    train_seeds(*arguments, seeds=[0], fixed_seeds={"order_seed": 7}, sampling_rate=RATE, epochs=1)
    assert (tmp_path / "models" / "seed-0" / "model.safetensors").stat().st_mtime_ns == written


def test_another_model_in_the_folder_or_seed_is_told(tmp_path):
    for part in ("train", "validation"):
        write_corpus(tmp_path / part, 4)
    arguments = (tmp_path / "train", tmp_path / "validation")
    train_seeds(*arguments, ["speaker"], tmp_path / "models", seeds=[0], sampling_rate=RATE,
                epochs=1)  # fmt: skip
    with pytest.raises(ArgumentError, match=r"other settings \(tasks, weight_seed, epochs\)"):
        train_seeds(*arguments, ["kind"], tmp_path / "models", seeds=[0], sampling_rate=RATE,
                    fixed_seeds={"weight_seed": 9}, epochs=3)  # fmt: skip
    with pytest.raises(ArgumentError, match="weight_seed and order_seed, got 'seed'"):
        train_seeds(*arguments, ["kind"], tmp_path / "models", seeds=[1], sampling_rate=RATE,
                    fixed_seeds={"seed": 9})  # fmt: skip


def test_recordings_that_cannot_be_used_are_named(tmp_path):
    manifest = write_corpus(tmp_path)
    soundfile.write(tmp_path / "utterance-1.wav", np.zeros(RATE), RATE)
    with pytest.raises(ArgumentError, match=r"utterance-1\.wav: audio is silent"):
        read_labelled_speech(manifest, ["speaker"], RATE)


def test_bins_that_never_change_do_no_harm():
    speech = tones(8)
    quiet = [torch.zeros(RATE) + 1e-9 * waveform.sum() for waveform in speech.waveforms]
    constant = LabelledSpeech(quiet, speech.targets, speech.classes)
    assert weights(train_classifier(constant, sampling_rate=RATE, epochs=1)).isfinite().all()


def test_missing_labels_and_unknown_classes_are_told(tmp_path):
    manifest = write_corpus(tmp_path)
    with pytest.raises(ArgumentError, match=r"utterance-0 has no label 'mood'.*speaker, kind"):
        read_labelled_speech(manifest, ["mood"], RATE)
    with pytest.raises(ArgumentError, match="has the speaker 'loud'; known: soft"):
        read_labelled_speech(manifest, ["speaker"], RATE, {"speaker": ("soft",)})


def test_digit_strings_have_the_times_of_their_words(tmp_path):
    write_recordings(tmp_path / "recordings")
    make_digit_strings(tmp_path / "recordings", tmp_path / "made", {"train": 5}, n_digits=3)
    lines = (tmp_path / "made" / "train" / "manifest.jsonl").read_text().splitlines()
    assert len(read_manifest(tmp_path / "made" / "train" / "manifest.jsonl")) == 5
    for line in map(json.loads, lines):
        words = line["text"].split()
        assert [word for word, _, _ in line["words"]] == words
        # One word, anywhere, is below five.
        assert [word for word in words if word in DIGITS[:5]] == [line["labels"]["keyword"]]
        assert line["labels"]["speaker"] in ("ann", "ben")
        audio, rate = soundfile.read(tmp_path / "made" / "train" / line["audio"])
        assert rate == 8000
        is_speech = np.abs(audio) > 0.5 * np.abs(audio).max()
        for word, start, end in line["words"]:
            assert end - start == pytest.approx(0.1 + 0.01 * DIGITS.index(word), abs=1e-3)
            assert is_speech[round(start * rate) + 2 : round(end * rate) - 2].all()
        assert is_speech.mean() == pytest.approx(
            sum(e - s for _, s, e in line["words"]) * rate / len(audio), abs=0.01
        )


def test_digit_strings_are_the_same_again_and_parts_are_apart(tmp_path):
    write_recordings(tmp_path / "recordings")
    sizes = {"train": 3, "validation": 3}
    for name in ("one", "other"):
        make_digit_strings(tmp_path / "recordings", tmp_path / name, sizes)
    for part in sizes:
        texts = [(tmp_path / n / part / "manifest.jsonl").read_text() for n in ("one", "other")]
        assert texts[0] == texts[1]
    assert len({(tmp_path / "one" / p / "manifest.jsonl").read_text() for p in sizes}) == 2


def test_missing_recordings_are_told(tmp_path):
    with pytest.raises(ArgumentError, match="holds no recordings"):
        make_digit_strings(tmp_path, tmp_path / "made", {"train": 1})
    write_recordings(tmp_path / "recordings", takes=5)
    with pytest.raises(ArgumentError, match="part 'train'"):
        make_digit_strings(tmp_path / "recordings", tmp_path / "made", {"train": 1})


def test_commands_say_what_their_labels_say():
    rng = random.Random(0)
    for _ in range(200):
        text, labels = draw_command(rng)
        assert labels["object"] in text
        assert (labels["location"] in text) != (labels["location"] == "none")
        if labels["action"] == "activate":
            assert any(verb in text for verb in ("turn on", "switch on", "start"))


@needs_espeak
def test_commands_are_spoken_with_times_and_labels(tmp_path):
    make_commands(tmp_path, {"test": 2})
    [one, other] = read_manifest(tmp_path / "test" / "manifest.jsonl")
    assert set(one.labels) == {"action", "object", "location", "gender"}
    line = json.loads((tmp_path / "test" / "manifest.jsonl").read_text().splitlines()[0])
    assert [word for word, _, _ in line["words"]] == one.text.replace(",", "").split()
    assert line["phones"][0][1] >= line["words"][0][1] - 0.05
    assert other.audio.exists()
