"""``explain --judge`` and ``analyse --keep-noise``: how far an explanation can be relied on."""

import re

import pytest

from captum_spes import SpeechToTextAttributionResult
from captum_spes.analysis import load_results
from captum_spes.cli import main
from captum_spes.demo import load_examples
from captum_spes.metrics import Judgement

# Of recordings that are explained with few samples; the command line prints it.
pytestmark = pytest.mark.filterwarnings("ignore:.*sampling noise")
QUICK = ("--samples", "50", "--token-samples", "0", "--prior", "4", "--quiet")
NOISY = (*QUICK, "--prior", "none")


def run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def clips(count):
    return [example.path for example in load_examples()[:count]]


class TestJudge:
    def test_each_recording_has_its_score_below_it_and_keeps_it(self, capsys, tmp_path):
        given = (*clips(2), "--model", "demo", *QUICK, "--judge", "--out", tmp_path)
        status, out, _ = run(capsys, "explain", *given)
        assert status == 0
        assert out.count("deletion (area under the word error rate, in percent") == 2
        results = load_results(tmp_path)
        assert len(results) == 2
        for result in results.values():
            found = Judgement.from_dict(result.parameters["deletion"])
            assert found.text() in out
            assert found.explanation > found.random

    def test_nothing_is_lost_where_it_cannot_be_measured(self, capsys, tmp_path, monkeypatch):
        def full(*_, **__):
            raise RuntimeError("out of memory")

        monkeypatch.setattr("captum_spes.metrics.judge", full)
        given = (*clips(1), "--model", "demo", *NOISY, "--judge", "--html", "--out", tmp_path)
        status, out, err = run(capsys, "explain", *given)
        assert status == 0
        assert "the deletion score cannot be measured: RuntimeError: out of memory" in err
        assert "mostly noise" in out
        (file,) = tmp_path.rglob("explanation.npz")
        parameters = SpeechToTextAttributionResult.load(file).parameters
        assert "deletion" not in parameters
        assert len(parameters["heard"]) == 1
        assert file.with_suffix(".html").exists()

    def test_windows_of_a_long_recording_are_judged_each(self, capsys, tmp_path):
        """A word is asked for: its window is explained, and its text is forced."""
        (clip,) = clips(1)
        word = load_examples()[0].text.split()[1]
        given = (clip, "--model", "demo", *QUICK, "--word", word, "--judge", "--out", tmp_path)
        status, out, _ = run(capsys, "explain", *given)
        assert status == 0
        assert out.count("deletion (area under the divergence of the output, in nats") == 1
        (file,) = tmp_path.rglob("explanation.npz")
        found = SpeechToTextAttributionResult.load(file).parameters["deletion"]
        assert found["metric"] == "kl"
        assert found["explanation"] > found["random"]

    def test_a_given_text(self, capsys):
        example = load_examples()[0]
        status, out, _ = run(
            capsys, "explain", example.path, "--model", "demo", *QUICK, "--judge",
            "--target", example.text,
        )  # fmt: skip
        assert status == 0
        assert "in nats" in out

    def test_a_control_is_told_to_be_no_better_than_itself(self, capsys):
        status, out, _ = run(
            capsys,
            "explain",
            *clips(1),
            "--model",
            "demo",
            "--method",
            "energy",
            "--judge",
            "--quiet",
        )
        assert status == 0
        assert "the map finds what matters no better than loudness does" in out

    @pytest.mark.parametrize(
        "asked", [("--contrast", "to", "at"), ("--errors", "--reference", "a text")]
    )
    def test_contrasts_are_refused_in_one_line(self, capsys, asked):
        status, _, errors = run(
            capsys, "explain", *clips(1), *asked, "--model", "demo", "--judge", *QUICK
        )
        assert status == 2
        assert errors.startswith("captum-spes: error: --judge measures explanations of what was")
        assert len(errors.strip().splitlines()) == 1

    def test_nothing_without_it(self, capsys):
        status, out, _ = run(capsys, "explain", *clips(1), "--model", "demo", *QUICK)
        assert status == 0
        assert "deletion (" not in out


def test_fifty_samples_print_no_place_of_what_is_noise(capsys):
    """The words of the request: a word's row was as sure as any other."""
    status, out, _ = run(capsys, "explain", *clips(1), "--model", "demo", *NOISY)
    assert status == 0
    header, *rows = out[out.index("\ntoken ") :].strip().split("\n\n")[0].split("\n")
    assert header.split()[:6] == ["token", "time", "(s)", "band", "(Hz)", "noise"]
    percents = [int(re.findall(r"(\d+)%", row)[-1]) for row in rows]
    assert any(percent > 50 for percent in percents)
    for row, percent in zip(rows, percents, strict=True):
        # The printed percent is rounded.
        assert percent <= 50 or "mostly noise" in row or "not on audio" in row
    assert "Take more samples (--samples)" in " ".join(out.split())


def test_analyse_leaves_noise_out_unless_it_is_kept(capsys, tmp_path):
    """50 samples: the p of a test was one of noise."""
    assert run(capsys, "explain", *clips(2), "--model", "demo", *NOISY, "--out", tmp_path)[0] == 0
    status, out, _ = run(capsys, "analyse", tmp_path, "--out", tmp_path / "a")
    assert status == 0
    assert "words are mostly noise (reliability below 0.5)" in out
    assert "left out of tests and figure" in out
    assert "  mostly noise\n" not in out
    status, kept, _ = run(capsys, "analyse", tmp_path, "--out", tmp_path / "b", "--keep-noise")
    assert status == 0
    assert "left out of tests" not in kept
    assert " mostly noise\n" in kept
