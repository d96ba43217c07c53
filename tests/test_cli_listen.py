"""``captum-spes listen``: sounds of saved explanations."""

import numpy as np
import pytest
import soundfile

from captum_spes import SpeechToTextAttributionResult
from captum_spes.cli import main
from captum_spes.demo import load_examples


def run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture(scope="module")
def explained(tmp_path_factory):
    """A recording that was explained on the command line, and the explanation."""
    folder = tmp_path_factory.mktemp("explained")
    recording = folder / "speech.wav"
    samples, rate = soundfile.read(load_examples()[0].path)
    soundfile.write(recording, samples, rate, "FLOAT")
    few = ["--samples", "30", "--token-samples", "0", "--patches-per-second", "40", "--quiet"]
    few += ["--prior", "2"]
    status = main(["explain", str(recording), "--model", "demo", "--out", str(folder), *few])
    assert status == 0
    return recording, folder / "speech" / "explanation.npz"


def test_a_word(capsys, explained, tmp_path):
    recording, file = explained
    out = tmp_path / "five.wav"
    status, text, _ = run(capsys, "listen", file, "--word", "Five", "--out", out)
    assert status == 0
    assert text.splitlines() == [
        f"the 20 % of the cells that matter most to 'Five': "
        f"{soundfile.info(recording).duration:.2f} s at 16000 Hz",
        f"written: {out}",
    ]
    result = SpeechToTextAttributionResult.load(file)
    samples, rate = soundfile.read(out, dtype="float32")
    assert rate == 16_000
    assert np.array_equal(samples, result.listen(word="five").samples)
    assert len(samples) == soundfile.info(recording).frames


def test_its_complement_adds_up_to_the_recording(capsys, explained, tmp_path):
    recording, file = explained
    parts = []
    for name, options in (("kept.wav", []), ("rest.wav", ["--complement"])):
        status, text, _ = run(
            capsys, "listen", file, "--token", "-2", "--keep", "0.35", "--out", tmp_path / name,
            *options,
        )  # fmt: skip
        assert status == 0
        assert ("all but the 35 % " in text) == bool(options)
        parts.append(soundfile.read(tmp_path / name)[0])
    assert np.allclose(sum(parts), soundfile.read(recording)[0], atol=1e-6)


def test_the_model_hears_it(capsys, explained, tmp_path):
    _, file = explained
    status, text, _ = run(
        capsys, "listen", file, "--keep", "1", "--out", tmp_path / "all.flac", "--model", "demo"
    )
    assert status == 0
    assert "wer against what was explained: 0.0 %" in text
    assert "divergence of the explained tokens: 0.000 nats per token" in text


def test_another_recording_than_the_one_that_was_explained(capsys, explained, tmp_path):
    recording, file = explained
    result = SpeechToTextAttributionResult.load(file)
    moved = tmp_path / "moved.npz"
    parameters = {**result.parameters, "audio": {"path": str(tmp_path / "gone.wav"), "sha256": ""}}
    object.__setattr__(result, "parameters", parameters)
    result.save(moved)
    status, _, error = run(capsys, "listen", moved, "--out", tmp_path / "a.wav")
    assert status == 2
    assert "gone.wav, and is not there" in error
    status, _, _ = run(capsys, "listen", moved, "--out", tmp_path / "a.wav", "--audio", recording)
    assert status == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--word", "zebra"], "does not hold 'zebra'"),
        (["--word", "five", "--occurrence", "2"], "occurrence must be at most 1"),
        (["--occurrence", "2"], "--occurrence is of the word of --word"),
        (["--token", "500"], "token must be an index"),
        (["--word", "five", "--token", "1"], "give one of them"),
        (["--keep", "0"], "keep must be a share"),
        (["--audio", "nothing.wav"], "nothing.wav"),
        (["--out", "sound.mp3"], ".wav or .flac"),
    ],
)
def test_refused_in_one_line(capsys, explained, tmp_path, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    status, out, error = run(capsys, "listen", explained[1], "--out", "sound.wav", *options)
    assert status == 2
    assert words in error
    assert len(error.splitlines()) == 1
    assert not out
    assert not list(tmp_path.iterdir())


def test_no_explanation(capsys, tmp_path):
    (tmp_path / "a.npz").write_bytes(b"nothing")
    status, _, error = run(capsys, "listen", tmp_path / "a.npz", "--out", tmp_path / "a.wav")
    assert status == 2
    assert "a.npz" in error


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_windows_and_errors_of_long_recordings_know_their_file(capsys, tmp_path, model_folder):
    generator = np.random.default_rng(0)
    soundfile.write(tmp_path / "long.wav", 0.1 * generator.standard_normal(48_000 * 6), 48_000)
    few = ["--samples", "20", "--token-samples", "0", "--patches-per-second", "40", "--quiet"]
    few += ["--prior", "2"]
    status, _, _ = run(
        capsys, "explain", tmp_path / "long.wav", "--model", model_folder, "--out", tmp_path, *few
    )
    assert status == 0
    files = sorted(tmp_path.rglob("explanation.npz"))
    assert len(files) > 1
    status, text, _ = run(capsys, "listen", files[-1], "--out", tmp_path / "end.wav")
    assert status == 0
    window = SpeechToTextAttributionResult.load(files[-1]).parameters["window"]
    assert soundfile.info(tmp_path / "end.wav").frames == round(
        48_000 * (window["end"] - window["start"])
    )
    assert "at 48000 Hz" in text
