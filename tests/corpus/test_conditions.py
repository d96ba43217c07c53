"""Conditions by name, and manifests whose recordings are in one."""

import json

import numpy as np
import pytest
import soundfile

from captum_spes.alignment import Alignment, Interval, read_alignments
from captum_spes.corpus import RecordingCondition, add_noise, read_manifest, write_condition
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.io.audio import load_audio

RATE = 16_000
SOUND = (0.3 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.float32)
SPOKEN = Alignment((Interval("la", 0.2, 0.8),), (Interval("l", 0.2, 0.3), Interval("a", 0.3, 0.8)))


@pytest.fixture
def manifest(tmp_path):
    lines = []
    for name in ("one", "two"):
        soundfile.write(tmp_path / f"{name}.wav", SOUND, RATE, "FLOAT")
        line = {"id": name, "audio": f"{name}.wav", "text": "la", "translations": {"de": "la la"}}
        lines.append(json.dumps({**line, "labels": {"digit": "0"}}))
    path = tmp_path / "manifest.jsonl"
    path.write_text("\n".join(lines))
    return path


class TestCondition:
    def test_names_do_what_the_functions_do(self):
        found = RecordingCondition("noise:10").applied(SOUND, RATE, seed=3)
        assert np.array_equal(found, add_noise(SOUND, RATE, 10, seed=3))
        found = RecordingCondition("speech-noise:-5").applied(SOUND, RATE, seed=3)
        assert np.array_equal(found, add_noise(SOUND, RATE, -5, kind="speech", seed=3))
        assert np.array_equal(RecordingCondition("clean").applied(SOUND, RATE), SOUND)
        for name in ("reverberation:0.4", "telephone"):
            found = RecordingCondition(name).applied(SOUND, RATE)
            assert found.shape == SOUND.shape
            assert not np.array_equal(found, SOUND)

    def test_times_scale_with_the_rate_alone(self):
        faster = RecordingCondition("rate:1.25")
        assert faster.seconds(1.0) == 0.8
        assert faster.aligned(SPOKEN).phones[1] == Interval("a", 0.24, 0.64)
        assert faster.aligned(SPOKEN).words == (Interval("la", 0.16, 0.64),)
        assert len(faster.applied(SOUND, RATE)) == 12_800
        assert RecordingCondition("reverberation:0.5").aligned(SPOKEN) == SPOKEN

    @pytest.mark.parametrize(
        ("name", "told"),
        [
            ("rain", "there is no condition 'rain'; there are clean, noise:DB,"),
            ("noise", "the condition is noise:DB, got 'noise'"),
            ("telephone:3", "the condition is telephone, got"),
            ("noise:loud", "noise:DB with a number"),
            ("noise:nan", "noise:DB must be finite"),
            ("rate:0", "rate:FACTOR must be positive and finite"),
            ("reverberation:-1", "reverberation:SECONDS must be positive"),
        ],
    )
    def test_unknown_names(self, name, told):
        with pytest.raises(ArgumentError, match=told):
            RecordingCondition(name)

    def test_a_name_is_a_text(self):
        with pytest.raises(ArgumentTypeError, match="name of a condition"):
            RecordingCondition(10)


class TestManifest:
    def test_holds_what_the_first_held(self, manifest, tmp_path):
        made = write_condition(manifest, tmp_path / "noisy", "noise:10")
        before, after = read_manifest(manifest), read_manifest(made)
        for one, other in zip(before, after, strict=True):
            assert (one.id, one.text, one.labels) == (other.id, other.text, other.labels)
            assert one.translations == other.translations
            assert other.audio.parent == tmp_path / "noisy"

    def test_recordings_are_in_the_condition_each_with_its_noise(self, manifest, tmp_path):
        noises = []
        for seed in (0, 0, 1):
            made = write_condition(manifest, tmp_path / f"noisy {seed}", "noise:10", seed=seed)
            noises += [load_audio(own.audio, RATE) - SOUND for own in read_manifest(made)]
        for noise in noises:
            ratio = 10 * np.log10(np.mean(SOUND**2) / np.mean(noise**2))
            assert ratio == pytest.approx(10, abs=0.1)
        first, second, again, _, other, _ = noises
        assert np.array_equal(first, again)
        for one in (second, other):
            assert abs(np.corrcoef(first, one)[0, 1]) < 0.05

    def test_what_is_too_loud_is_made_softer_and_not_cut(self, manifest, tmp_path):
        made = write_condition(manifest, tmp_path / "noisy", "noise:-10")
        found = load_audio(read_manifest(made)[0].audio, RATE)
        assert 0.999 < np.abs(found).max() <= 1
        assert (np.abs(found) > 0.99).sum() < 5

    def test_times_are_those_of_the_new_recordings(self, manifest, tmp_path):
        known = {"one": SPOKEN}
        made = write_condition(manifest, tmp_path / "slow", "rate:0.5", alignments=known)
        found = read_alignments(made)
        assert found == {"one": RecordingCondition("rate:0.5").aligned(SPOKEN)}
        assert found["one"].words[0].end == 1.6
        assert len(load_audio(read_manifest(made)[0].audio, RATE)) == 2 * RATE

    def test_takes_utterances(self, manifest, tmp_path):
        made = write_condition(read_manifest(manifest)[1:], tmp_path / "noisy", "noise:10")
        assert [own.id for own in read_manifest(made)] == ["two"]

    def test_nothing_is_written_for_a_condition_that_is_none(self, manifest, tmp_path):
        with pytest.raises(ArgumentError, match="no condition"):
            write_condition(manifest, tmp_path / "rain", "rain")
        assert not (tmp_path / "rain").exists()

    def test_a_manifest_means_a_whole_one(self, manifest, tmp_path):
        soundfile.write(tmp_path / "two.wav", np.zeros(RATE), RATE)
        with pytest.raises(ArgumentError, match=r"two: the recording is silent"):
            write_condition(manifest, tmp_path / "noisy", "noise:10")
        assert not (tmp_path / "noisy" / "manifest.jsonl").exists()
