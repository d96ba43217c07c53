"""``captum-spes explain`` with a word and a foil, and with errors of a transcript."""

import numpy as np
import pytest
import soundfile

from captum_spes import SpeechToTextAttributionResult
from captum_spes.cli import main
from captum_spes.demo import load_examples
from captum_spes.forward import Contrast
from captum_spes.io.samples import read_samples

pytestmark = [
    pytest.mark.filterwarnings("always:.*sampling noise"),
    pytest.mark.filterwarnings("always:.*perturbed by no sample"),
]

FEW = ("--samples", "15", "--token-samples", "8", "--patches-per-second", "30", "--quiet")
QUICK = (*FEW, "--prior", "2")
FIRST = load_examples()[0]
TEXT = "Anna runs to the bakery at five o'clock to close her black drawer."


def explain(capsys, *arguments, quick=QUICK):
    status = main(["explain", *(str(argument) for argument in arguments), *quick])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def saved(folder):
    return SpeechToTextAttributionResult.load(folder / "explanation.npz")


class TestContrast:
    def test_word_and_foil(self, capsys, tmp_path):
        status, out, _ = explain(capsys, "--contrast", "five", "nine", "--out", tmp_path)
        assert status == 0
        assert out.strip().splitlines()[:2] == [str(FIRST.path), TEXT]
        assert "likeliest other word" not in out
        assert saved(tmp_path / FIRST.path.stem).settings.score == Contrast("five", "nine")

    @pytest.mark.parametrize("model", ["demo", "demo-ctc", "demo-speech-llm"])
    def test_the_foil_is_found_and_told(self, capsys, tmp_path, model):
        status, out, _ = explain(
            capsys, FIRST.path, "--model", model, "--contrast", "five", "--out", tmp_path
        )
        assert status == 0
        result = saved(tmp_path / FIRST.path.stem)
        (foil, share), *others = result.parameters["contrast"]["alternatives"]
        assert result.output_tokens == [f"five / {foil}"]
        line = next(line for line in out.splitlines() if "likeliest other word" in line)
        assert line.startswith(f"'{foil}' is the likeliest other word in the place of 'five'")
        assert f"{share:.2g}" in line
        assert all(word in line for word, _ in others)

    def test_which_of_several(self, capsys, tmp_path):
        explain(capsys, "--contrast", "to", "from", "--occurrence", "2", "--out", tmp_path)
        result = saved(tmp_path / FIRST.path.stem)
        assert result.settings.score == Contrast("to", "from", occurrence=2)
        assert "o'clock" in "".join(result.previous_tokens)

    @pytest.mark.parametrize(
        "method", ["lime", "spes-mean", "input-x-gradient", "feature-ablation"]
    )
    def test_another_method(self, capsys, tmp_path, method):
        status, _, error = explain(
            capsys, "--contrast", "five", "nine", "--method", method, "--out", tmp_path,
            "--patches-per-second", "10", quick=FEW,
        )  # fmt: skip
        assert (status, "error" in error) == (0, False)
        assert saved(tmp_path / FIRST.path.stem).output_tokens == ["five / nine"]

    def test_of_a_given_text(self, capsys):
        status, out, _ = explain(
            capsys, "--target", "Anna runs to the beach.", "--contrast", "beach", "bakery"
        )
        assert status == 0
        assert out.strip().splitlines()[1] == "Anna runs to the beach."

    def test_recordings_whose_output_lacks_the_word_do_not_end_the_others(self, capsys):
        second = load_examples()[1].path
        status, out, error = explain(
            capsys, second, FIRST.path, "--model", "demo", "--contrast", "five", "nine"
        )
        assert status == 1
        assert f"captum-spes: {second}: the output does not hold 'five'; it says" in error
        assert str(FIRST.path) in out

    @pytest.fixture
    def long_recording(self, tmp_path):
        """More than 40 s, which the bundled model does not take at once."""
        audio = np.concatenate(
            [read_samples(example.path, 16_000, 16_000) for example in load_examples()[:2]] * 9
        )
        soundfile.write(tmp_path / "long.flac", audio, 16_000)
        return tmp_path / "long.flac"

    def test_window_by_window(self, capsys, long_recording, tmp_path):
        out = tmp_path / "out"
        status, text, _ = explain(
            capsys, long_recording, "--model", "demo", "--at", "0:18.5-0:19.5",
            "--contrast", "five", "--out", out,
        )  # fmt: skip
        assert status == 0
        (folder,) = (path for path in (out / "long").iterdir() if path.is_dir())
        result = saved(folder)
        assert result.output_tokens[0].startswith("five / ")
        assert 18.0 < result.words[0].start < 19.5
        assert f"{long_recording}, 00:00.0 to " in text
        assert "likeliest other word" in text

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--contrast", "zebra", "cat"), "does not hold 'zebra'; it says: \"Anna runs"),
            (("--contrast", "five", "--occurrence", "2"), "occurrence must be at most 1, got 2"),
            (("--contrast", "five", "five"), "word and foil are the same"),
            (("--contrast", "five", "--score", "kl"), "--contrast and --score both say"),
            (("--contrast", "five", "six", "ten"), "--contrast takes a word and a foil, got 'five"),
            (("--contrast", "five", str(FIRST.path)), "put AUDIO ahead of it"),
            (("--occurrence", "2"), "--occurrence is of the word of --contrast"),
            (("--contrast", "five", "--method", "energy"), "--contrast has no effect on energy"),
            (("--contrast", "five", "--method", "spes-probability"), "no effect on spes-prob"),
            (("--model", "demo-transducer", "--contrast", "five"), "give a foil"),
        ],
    )
    def test_one_line_for_what_is_wrong(self, capsys, arguments, message):
        status, out, error = explain(capsys, *arguments)
        assert (status, out) == (2, "")
        (line,) = error.strip().splitlines()
        assert line.startswith("captum-spes: error: ")
        assert message in line


class TestErrors:
    def test_a_folder_for_each_and_what_is_left(self, capsys, tmp_path):
        reference = "emma runs to the old bakery at nine o'clock to close black drawer"
        status, out, _ = explain(capsys, "--errors", "--reference", reference, "--out", tmp_path)
        assert status == 0
        places = sorted((tmp_path / FIRST.path.stem).iterdir())
        folders = [place for place in places if place.is_dir()]
        assert [folder.name for folder in folders] == ["1 Anna - emma", "2 five - nine"]
        assert [saved(folder).output_tokens for folder in folders] == [
            ["Anna / Emma"], ["five / nine"],
        ]  # fmt: skip
        first, second, rest = (
            out.index(f"{FIRST.path}, error 1 of 2"),
            out.index(f"{FIRST.path}, error 2 of 2"),
            out.index("2 of 4 errors are not explained"),
        )
        assert first < second < rest
        assert "left out: old: the model wrote nothing in its place" in out[rest:]
        assert "put in: her: nothing was said in its place" in out[rest:]
        assert "captum-spes check" in out[rest:]

    def test_no_error(self, capsys):
        status, out, error = explain(capsys, "--errors", "--reference", TEXT.upper())
        assert status == 0
        assert out.strip().splitlines() == [
            str(FIRST.path), TEXT, "no error: this is what the reference says",
        ]  # fmt: skip
        assert error == ""

    def test_none_that_can_be_explained(self, capsys):
        status, out, _ = explain(capsys, "--errors", "--reference", TEXT.replace(" black", ""))
        assert status == 0
        assert "1 of 1 errors are not explained:\n  put in: black" in out

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--errors",), "give --reference TEXT, too"),
            (("--reference", "a"), "give --errors, too"),
            (("--errors", "--reference", " . "), "reference holds no word"),
            (("--errors", "--reference", "a", "--contrast", "a"), "leave --contrast out"),
            (("--errors", "--reference", "a", "--target", "a"), "leave --target out"),
            (("--errors", "--reference", "a", "--word", "a"), "leave --word out"),
            (("--errors", "--reference", "a", "--at", "1"), "leave --at out"),
            (("--errors", "--reference", "a", "--score", "kl"), "leave --score out"),
            (("--errors", "--reference", "a", "--method", "random"), "no effect on random"),
            ((FIRST.path, FIRST.path, "--model", "demo", "--errors", "--reference", "a"), "got 2"),
        ],
    )
    def test_one_line_for_what_is_wrong(self, capsys, arguments, message):
        status, out, error = explain(capsys, *arguments)
        assert (status, out) == (2, "")
        (line,) = error.strip().splitlines()
        assert line.startswith("captum-spes: error: ")
        assert message in line
