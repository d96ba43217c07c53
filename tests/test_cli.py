"""The command line: text, files, and one clear line for everything that is wrong."""

import io
import json
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from captum_spes import Settings, SpeechToTextAttributionResult
from captum_spes.attr import GaussianProcess, MaskedDifference, MaskedMean
from captum_spes.cli import main
from captum_spes.demo import load_examples
from captum_spes.metrics import corpus_score
from tests.conftest import BEFORE_TRANSFORMERS_5

# Few samples are noise; the command line prints it.
pytestmark = pytest.mark.filterwarnings("always:.*sampling noise")

FEW = ["--samples", "20", "--token-samples", "20", "--patches-per-second", "40", "--quiet"]
QUICK = [*FEW, "--prior", "2"]


@pytest.fixture
def recording(tmp_path, audio):
    soundfile.write(tmp_path / "tone.flac", audio, 16_000)
    return tmp_path / "tone.flac"


@pytest.fixture
def long_recording(tmp_path):
    """6.5 s of tones and pauses."""
    time = np.arange(int(6.5 * 16_000)) / 16_000
    tones = np.sin(2 * np.pi * (300 + 200 * time) * time) * (np.sin(8 * time) > -0.3)
    noise = np.random.default_rng(0).normal(0, 0.01, len(time))
    soundfile.write(tmp_path / "long.flac", 0.3 * tones + noise, 16_000)
    return tmp_path / "long.flac"


def folders_in(place):
    return sorted(path for path in place.iterdir() if path.is_dir())


def run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def explain(capsys, *arguments, quick=QUICK):
    return run(capsys, "explain", *arguments, *quick)


@pytest.mark.skipif(BEFORE_TRANSFORMERS_5, reason="other random weights, all maps mostly noise")
def test_text_tells_time_band_and_previous_token_of_every_token(capsys, recording, model_folder):
    status, out, _ = explain(capsys, recording, "--model", model_folder, "--target", "the cat")
    assert status == 0
    lines = out.strip().splitlines()
    assert lines[0] == str(recording)
    assert lines[1] == "the cat"
    assert "seed 0" in lines[2]
    assert "patches per level" in lines[2]
    assert "20 samples" in lines[2]
    assert lines[3].startswith("sampling noise: ")
    assert lines[4].startswith(
        "the target was given, not written by the model, which gives it a log-"
    )
    header = next(i for i, line in enumerate(lines) if line.startswith("token "))
    rows = lines[header + 1 : lines.index("", header)]
    assert rows[0].startswith("the ")
    assert rows[-1].startswith("</s> ")
    after = lines[header + len(rows) + 2 :]
    words = [line.split()[0] for line in after[: after.index("")]]
    assert words == ["word", "cat"]  # the header, and what several tokens spell
    # With 20 samples some maps are mostly noise, and nothing is read off those.
    assert rows[0].split()[1:3] == ["mostly", "noise"]
    start, end = map(float, rows[-1].split()[1].split("-"))
    assert 0 <= start <= end <= 0.6
    low, high = map(float, rows[-1].split()[2].split("-"))
    assert 20 <= low <= high <= 8000


class TestLongRecordings:
    """More than the model takes at once (4 s), and parts of it."""

    def test_every_window_is_explained_and_written(
        self, capsys, long_recording, model_folder, tmp_path
    ):
        out = tmp_path / "out"
        status, text, _ = explain(capsys, long_recording, "--model", model_folder, "--out", out)
        assert status == 0
        folders = folders_in(out / "long")
        assert [folder.name for folder in folders] == ["from 00-00.0", "from 00-02.5"]
        results = [SpeechToTextAttributionResult.load(f / "explanation.npz") for f in folders]
        assert [r.parameters["window"]["start"] for r in results] == pytest.approx(
            [0, 2.5], abs=0.1
        )
        assert f"{long_recording}, 00:00.0 to 00:04.0" in text
        assert (folders[1] / "tokens.png").exists()
        # Times in the table are those of the recording.
        assert "2.5" in text.split("00:02.5 to 00:06.5")[1]

    def test_only_what_is_asked_for(self, capsys, long_recording, model_folder, tmp_path):
        out = tmp_path / "out"
        status, text, _ = explain(
            capsys, long_recording, "--model", model_folder, "--at", "0:06-0:06.5", "--out", out
        )
        assert status == 0
        assert [folder.name for folder in folders_in(out / "long")] == ["from 00-02.5"]
        (result,) = (
            SpeechToTextAttributionResult.load(file) for file in out.rglob("explanation.npz")
        )
        asked = result.parameters["window"]["asked_words"]
        rows = sum(len(result.words[i].token_indices) for i in asked)
        table = text.split("strongest previous token")[1].split("written:")[0]
        table = table.split("\n\n")[0]  # without that of words
        assert len(table.strip().splitlines()) == rows < len(result.output_tokens)
        word = result.words[asked[0]].word
        status, again, _ = explain(
            capsys, long_recording, "--model", model_folder, "--word", word.upper()
        )
        assert status == 0
        assert "00:02.5 to 00:06.5" in again

    def test_one_without_the_word_does_not_end_the_others(
        self, capsys, recording, long_recording, model_folder, tmp_path
    ):
        """The short one lasts 0.6 s: nothing is spoken in it at 6 s."""
        out, given = tmp_path / "out", ("--model", model_folder, "--at", "6")
        status, text, error = explain(capsys, recording, long_recording, *given, "--out", out)
        assert status == 1
        assert f"captum-spes: {recording}: nothing was written from 6 " in error
        assert "Traceback" not in error
        assert [file.parts[-3] for file in out.rglob("explanation.npz")] == ["long"]
        assert str(long_recording) in text
        status, _, error = explain(capsys, recording, recording, *given)
        assert status == 2
        assert error.strip().endswith("captum-spes: error: no recording could be explained.")

    def test_the_cost_of_the_parts_is_told(self, capsys, long_recording, model_folder):
        arguments = [argument for argument in QUICK if argument != "--quiet"]
        status, _, error = run(
            capsys, "explain", long_recording, "--model", model_folder, "--at", "6", *arguments
        )
        assert status == 0
        assert "1 of 2 windows are explained" in error
        assert "1 recording, each 47 passes of spectrograms" in error

    def test_standard_input(self, capsys, recording, model_folder, monkeypatch, tmp_path):
        content = io.TextIOWrapper(io.BytesIO(recording.read_bytes()))
        monkeypatch.setattr("sys.stdin", content)
        status, text, _ = explain(capsys, "-", "--model", model_folder, "--out", tmp_path / "out")
        assert status == 0
        assert (tmp_path / "out" / "stdin" / "explanation.npz").exists()
        expected = explain(capsys, recording, "--model", model_folder)[1]
        assert text.strip().splitlines()[1:4] == expected.strip().splitlines()[1:4]


class TestBundled:
    def test_nothing_given_explains_the_bundled_recording(self, capsys):
        example = load_examples()[0]
        status, out, _ = explain(capsys)
        assert status == 0
        lines = out.strip().splitlines()
        assert lines[0] == str(example.path)
        assert lines[1] == example.text

    def test_its_translation(self, capsys):
        status, out, _ = explain(capsys, "--target-language", "de")
        assert status == 0
        written = out.strip().splitlines()[1]
        assert corpus_score([load_examples()[0].translations["de"]], [written]) < 50

    def test_bundled_model_on_another_recording(self, capsys):
        example = load_examples()[1]
        status, out, _ = explain(capsys, example.path, "--model", "demo")
        assert status == 0
        assert corpus_score([example.text], [out.strip().splitlines()[1]]) < 50

    def test_another_model_on_the_bundled_recording(self, capsys, model_folder):
        status, out, _ = explain(capsys, "--model", model_folder, "--target", "the cat")
        assert status == 0
        assert out.strip().splitlines()[:2] == [str(load_examples()[0].path), "the cat"]

    def test_no_network_is_touched(self, tmp_path):
        """In a process where every connection fails."""
        program = (
            "import socket, sys\n"
            "def refuse(*args, **kwargs): raise OSError('no network')\n"
            "socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse\n"
            "from captum_spes.cli import main\n"
            f"sys.exit(main(['explain', '--out', {str(tmp_path)!r}, *{QUICK!r}]))\n"
        )
        environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**environment, "HF_HOME": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert list(tmp_path.glob("*/tokens.png"))


class TestSampling:
    EFFICIENT = ("--samples", "40", "--token-samples", "20", "--quiet")

    def saved(self, out):
        return SpeechToTextAttributionResult.load(out / "tone" / "explanation.npz")

    def arguments(self, recording, model_folder, tmp_path):
        return (
            "explain", recording, "--model", model_folder, "--target", "the cat", "--out", tmp_path,
            *self.EFFICIENT,
        )  # fmt: skip

    def test_default_gets_more_from_few_samples(self, capsys, recording, model_folder, tmp_path):
        status, out, _ = run(capsys, *self.arguments(recording, model_folder, tmp_path))
        assert status == 0
        assert "in 16 levels" in out
        assert self.saved(tmp_path).parameters["scheme"] == "efficient"

    @pytest.mark.parametrize(
        ("given", "scheme", "patches"),
        [
            (("--scheme", "paper"), "paper", [400, 500, 600]),
            (("--scheme", "paper", "--patches-per-second", "30"), "paper", [30]),
            (("--patches-per-second", "30"), "efficient", [30]),
        ],
    )
    def test_the_papers_mean_is_there(
        self, capsys, recording, model_folder, tmp_path, given, scheme, patches
    ):
        status, _, _ = run(capsys, *self.arguments(recording, model_folder, tmp_path), *given)
        assert status == 0
        parameters = self.saved(tmp_path).parameters
        assert (parameters["scheme"], parameters["patches_per_second"]) == (scheme, patches)

    def test_estimators_by_the_name_of_a_method(self, capsys, recording, model_folder, tmp_path):
        patches = Settings.efficient().patches_per_second
        for name, estimator in (
            ("spes-mean", MaskedMean()),
            ("spes-difference", MaskedDifference()),
            ("spes-efficient", GaussianProcess()),
        ):
            arguments = self.arguments(recording, model_folder, tmp_path / name)
            assert run(capsys, *arguments, "--method", name)[0] == 0
            settings = self.saved(tmp_path / name).settings
            assert (settings.estimator, settings.patches_per_second) == (estimator, patches)

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            (
                ("--scheme", "paper", "--method", "spes-efficient", "--patches-per-second", "30"),
                "patches_per_second=(30,) has no effect on spes-efficient",
            ),
            (
                ("--method", "feature-wise", "--perturb-prob", "0.2"),
                "perturb_prob=0.2 has no effect on feature-wise",
            ),
            (("--method", "saliency", "--tolerance", "0.2"), "has no effect on saliency"),
        ],
    )
    def test_an_option_without_effect_is_told(
        self, capsys, recording, model_folder, tmp_path, given, message
    ):
        status, _, err = run(capsys, *self.arguments(recording, model_folder, tmp_path), *given)
        assert status == 2
        assert message in err

    def test_tolerance_stops_early(self, capsys, recording, model_folder, tmp_path):
        given = ("--samples", "5000", "--patches-per-second", "20", "--tolerance", "0.5")
        status, out, _ = run(capsys, *self.arguments(recording, model_folder, tmp_path), *given)
        assert status == 0
        found = self.saved(tmp_path).reliability()
        assert found.n_samples < 5000
        assert f"{found.n_samples} samples" in out

    def test_noise_is_one_clear_line(self, capsys, recording, model_folder, tmp_path):
        given = ("--samples", "20", "--patches-per-second", "2000")
        _, _, err = run(capsys, *self.arguments(recording, model_folder, tmp_path), *given)
        (line,) = (line for line in err.splitlines() if "sampling noise" in line)
        assert line.startswith("captum-spes: warning: ")
        assert "UserWarning" not in err

    @pytest.mark.parametrize("size", ["auto", "3"])
    def test_batch_size(self, capsys, recording, model_folder, tmp_path, size):
        arguments = self.arguments(recording, model_folder, tmp_path)
        assert run(capsys, *arguments, "--batch-size", size)[0] == 0

    @pytest.mark.parametrize(
        "given",
        [
            ("--tolerance", "1.5"),
            ("--tolerance", "much"),
            ("--batch-size", "0"),
            ("--batch-size", "b"),
        ],
    )
    def test_bad_values(self, capsys, recording, model_folder, given):
        error = fails(capsys, recording, "--model", model_folder, *given, quick=())
        assert given[1] in error


def test_another_method(capsys, recording, model_folder, tmp_path):
    arguments = [recording, "--model", model_folder, "--target", "the cat"]
    for name, shown in (("energy", "Energy Map"), ("feature-wise", "SPES")):
        folder = tmp_path / name
        status, out, _ = explain(capsys, *arguments, "--method", name, "--out", folder, quick=FEW)
        assert status == 0
        assert out.splitlines()[3].startswith(f"{shown}, ")
        result = SpeechToTextAttributionResult.load(folder / "tone" / "explanation.npz")
        assert result.method == shown
    assert result.parameters["feature_mask"] == "cells"
    status, _, error = explain(capsys, *arguments, "--method", "spes-unnormalized")
    assert status == 2
    assert "differs in evaluate only" in error
    status, _, error = explain(capsys, *arguments, "--method", "gradcam")
    assert status == 2
    assert "unknown method 'gradcam'" in error


def test_files(capsys, recording, model_folder, tmp_path):
    out = tmp_path / "deep" / "out"
    arguments = [recording, "--model", model_folder, "--target", "the cat", "--out", out]
    assert explain(capsys, *arguments)[0] == 0
    written = sorted(path.name for path in (out / "tone").iterdir())
    assert written == [
        "explanation.npz", "previous_tokens.png", "recording.json", "sentence.png", "tokens.png",
    ]  # fmt: skip
    result = SpeechToTextAttributionResult.load(out / "tone" / "explanation.npz")
    assert result.text == "the cat"
    assert result.parameters["n_samples"] == 20


def test_several_recordings_of_one_name(capsys, recording, model_folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(recording, other / "tone.flac")
    out = tmp_path / "out"
    status, text, _ = explain(
        capsys, recording, other / "tone.flac", "--model", model_folder, "--out", out,
        "--target", "the cat", "--token-samples", "5",
    )  # fmt: skip
    assert status == 0
    assert text.count("the cat\n") == 2
    assert [folder.name for folder in folders_in(out)] == ["tone", "tone-2"]


def test_seed(capsys, recording, model_folder):
    arguments = [recording, "--model", model_folder, "--target", "the cat"]
    first = explain(capsys, *arguments, "--seed", "1")[1]
    assert first == explain(capsys, *arguments, "--seed", "1")[1]
    assert first != explain(capsys, *arguments, "--seed", "2")[1]


def fails(capsys, *arguments, quick=QUICK):
    status, out, err = run(capsys, "explain", *arguments, *quick)
    assert status == 2
    assert out == ""
    assert err.startswith("captum-spes: error: ")
    assert err.count("\n") == 1
    return err


class TestErrors:
    def test_no_model(self, capsys, recording):
        assert "no model: give --model" in fails(capsys, recording)

    def test_language_that_the_bundled_model_does_not_write(self, capsys):
        assert "no token for a language" in fails(capsys, "--target-language", "fr")
        assert "hears English only" in fails(capsys, "--language", "de")

    def test_missing_audio(self, capsys, model_folder):
        assert "no such audio file: nope.wav" in fails(capsys, "nope.wav", "--model", model_folder)

    def test_bad_audio_is_named(self, capsys, recording, model_folder, tmp_path):
        """By itself it is an error; beside another recording it is left out."""
        empty, text, short = (tmp_path / name for name in ("e.wav", "t.wav", "s.wav"))
        empty.touch()
        text.write_text("no audio at all " * 50)
        soundfile.write(short, np.zeros(800), 16_000)
        bad = ((empty, "empty"), (text, "no audio file"), (short, "less than 0.1 s"))
        for file, message in bad:
            error = fails(capsys, file, "--model", model_folder)
            assert message in error
            assert str(file) in error
            status, out, beside = explain(capsys, recording, file, "--model", model_folder)
            assert status == 1
            assert out.strip().splitlines()[0] == str(recording)
            told = error.replace("captum-spes: error: ", "captum-spes: ")
            assert beside.splitlines()[-1] == told.strip()

    def test_a_target_for_more_than_the_model_takes(self, capsys, long_recording, model_folder):
        error = fails(capsys, long_recording, "--model", model_folder, "--target", "the cat")
        assert "at most 4.0 s" in error

    def test_parts_of_what_is_given(self, capsys, long_recording, model_folder):
        arguments = (long_recording, "--model", model_folder)
        assert "leave --target out" in fails(capsys, *arguments, "--word", "a", "--target", "a")
        assert "does not hold 'zebra'" in fails(capsys, *arguments, "--word", "zebra")
        assert "nothing was written from 100" in fails(capsys, *arguments, "--at", "1:40")

    @pytest.mark.parametrize("time", ["noon", "1:2:3:4", "5-3", "", "-", "1e9", "12:34-"])
    def test_times_that_are_none(self, capsys, recording, time):
        with pytest.raises(SystemExit, match="2"):
            run(capsys, "explain", recording, "--model", "demo", f"--at={time}")
        assert "argument --at" in capsys.readouterr().err

    def test_standard_input_that_is_none(self, capsys, model_folder, monkeypatch):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
        assert "empty" in fails(capsys, "-", "--model", model_folder)
        assert "can be read once" in fails(capsys, "-", "-", "--model", model_folder)
        monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
        assert "is a terminal" in fails(capsys, "-", "--model", model_folder)

    def test_unknown_model(self, capsys, recording, tmp_path):
        assert "no such model folder" in fails(capsys, recording, "--model", tmp_path / "nope")
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
        assert "family 'bert'" in fails(capsys, recording, "--model", tmp_path)

    def test_unusable_target(self, capsys, recording, model_folder):
        assert "empty text" in fails(capsys, recording, "--model", model_folder, "--target", " ")

    def test_unusable_output(self, capsys, recording, model_folder, tmp_path):
        (tmp_path / "file").touch()
        arguments = ["--model", model_folder, "--out", tmp_path / "file"]
        assert "file" in fails(capsys, recording, *arguments)

    @pytest.mark.parametrize(
        "arguments",
        [
            ["explain", "--samples", "0"],
            ["explain", "--samples", "many"],
            ["explain", "--token-samples", "-1"],
            ["explain", "--max-seconds", "long"],
            ["explain", "--patches-per-second", "few"],
            ["explain", "--device", "tpu"],
            ["explain", "--baselines", "noise", "--quiet"],
            ["explain", "--nonsense"],
            ["explain", "--scheme", "quick"],
            ["explain", "--feature-mask", "words"],
            ["nonsense"],
            [],
        ],
    )
    def test_wrong_arguments(self, capsys, arguments):
        try:
            status = main(arguments)
        except SystemExit as stopped:  # of what the parser itself refuses
            status = stopped.code
        assert status == 2
        error = capsys.readouterr().err
        assert error.startswith("captum-spes: error: ")
        assert error.count("\n") == 1

    def test_generation_argument_that_the_model_lacks(self, capsys, recording, model_folder):
        error = fails(capsys, recording, "--model", model_folder, "--language", "de")
        assert "cannot generate with" in error

    def test_seed_out_of_range(self, capsys, recording, model_folder):
        error = fails(capsys, recording, "--model", model_folder, "--seed", 2**64)
        assert "seed must lie in" in error


def test_terminal_that_lacks_a_character_loses_nothing(recording, model_folder, tmp_path):
    out = tmp_path / "out"
    shown = subprocess.run(
        [
            "captum-spes", "explain", str(recording), "--model", str(model_folder), *QUICK,
            "--out", str(out), "--target", "the cat",
        ],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    assert (out / "tone" / "explanation.npz").exists()


def test_interruption(capsys, recording, model_folder, monkeypatch):
    from captum_spes import SpeechToTextAttribution

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(SpeechToTextAttribution, "attribute", interrupted)
    status, _, err = explain(capsys, recording, "--model", model_folder)
    assert (status, err) == (130, "captum-spes: interrupted\n")


def test_module():
    """The installed command runs above."""
    command = [sys.executable, "-m", "captum_spes.cli", "--version"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("captum-spes ")


def test_import_is_light():
    code = (
        "import sys, captum_spes; "
        "sys.exit(any(m in sys.modules for m in ('transformers', 'skimage', 'soundfile')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
