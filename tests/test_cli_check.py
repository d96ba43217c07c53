"""``captum-spes check``: tables, files, exit status, rules of one's own."""

import csv
import json
import re

import numpy as np
import pysubs2
import pytest
import soundfile

from captum_spes import SpeechToTextAttribution
from captum_spes.alignment import read_alignments
from captum_spes.cli import main
from captum_spes.demo import MANIFEST, load_examples
from captum_spes.speech.verdicts import read_rules

FIRST, SECOND = load_examples()[:2]
DEMO = ("--model", "demo", "--quiet")


def run(capsys, *arguments):
    status = main(["check", *(str(argument) for argument in arguments)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_the_bundled_recording(capsys):
    status, out, error = run(capsys, "--quiet")
    assert status == 0
    assert error == ""
    lines = out.splitlines()
    assert lines[0].split() == ["time", "(s)", "word", "verdict", "evidence", "probability"]
    assert [line.split()[1] for line in lines[1:14]] == [w.label.strip(".") for w in FIRST.words]
    assert "\n13 words: 1" in out
    assert "% are called not heard" in out  # how often the rule errs


def test_a_text_that_nobody_said(capsys):
    arguments = (FIRST.path, *DEMO, "--target", SECOND.text)
    status, out, error = run(capsys, *arguments, "--fail-above", "5%")
    assert status == 1
    assert sum("not heard" in line for line in out.splitlines()[1:9]) >= 4
    assert "% of the words were not heard, more than 5 %" in error
    status, _, error = run(capsys, *arguments, "--fail-above", "1.0")
    assert (status, error) == (0, "")


@pytest.mark.parametrize("kind", ["json", "csv", "srt", "vtt", "textgrid"])
def test_formats_are_printed_and_written(capsys, tmp_path, kind):
    status, out, _ = run(capsys, FIRST.path, *DEMO, "--passes", "4", "--format", kind)
    assert status == 0
    arguments = (*DEMO, "--passes", "4", "--format", kind, "--out", tmp_path / "out")
    status, told, _ = run(capsys, FIRST.path, SECOND.path, *arguments)
    assert status == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    ending = {"textgrid": "TextGrid"}.get(kind, kind)
    assert names == [f"test-00121.{ending}", f"test-00205.{ending}"]
    assert all(name in told for name in names)
    file = tmp_path / "out" / names[1]
    assert file.read_text().rstrip("\n") == out.rstrip("\n")
    n_words = {
        "json": lambda: len(json.loads(out)["words"]),
        "csv": lambda: len(list(csv.DictReader(out.splitlines()))),
        "textgrid": lambda: len(read_alignments(file)["test-00205"].words),
    }
    if kind in n_words:
        assert n_words[kind]() == len(FIRST.words)
    else:
        text = " ".join(event.plaintext for event in pysubs2.load(str(file)))
        assert re.sub(r"\[([^]?]*)\??\]", r"\1", text) == FIRST.text


def test_the_table_is_written_as_json_and_csv(capsys, tmp_path):
    out = tmp_path / "out"
    status, printed, _ = run(capsys, FIRST.path, *DEMO, "--passes", "1", "--out", out)
    assert status == 0
    assert "drawer" in printed
    assert sorted(path.suffix for path in out.iterdir()) == [".csv", ".json"]


def test_rules_of_ones_own(capsys, tmp_path):
    out = tmp_path / "rules"
    arguments = ("--calibrate", MANIFEST, "--out", out, "--passes", "1", *DEMO)
    status, printed, _ = run(capsys, *arguments)
    assert status == 0
    (rule,) = read_rules(out / "verdict_rules.json")
    assert f"1 passes: {rule}" in printed
    assert "8 recordings of manifest.jsonl" in printed
    arguments = (*DEMO, "--rules", out / "verdict_rules.json", "--passes", "1", "--format", "json")
    status, printed, error = run(capsys, FIRST.path, *arguments)
    assert (status, error) == (0, "")
    assert json.loads(printed)["rule"]["calibrated_on"] == rule.calibrated_on


def fails_for(n_samples, check):
    def failing(self, audio, *args, **kwargs):
        if len(audio) == n_samples:
            raise RuntimeError("no memory")
        return check(self, audio, *args, **kwargs)

    return failing


def test_one_bad_recording_does_not_end_the_run(capsys, tmp_path, monkeypatch):
    soundfile.write(tmp_path / "short.wav", np.ones(100) * 0.1, 16_000)
    soundfile.write(tmp_path / "silent.wav", np.zeros(16_000), 16_000)
    status, out, error = run(capsys, tmp_path / "silent.wav", FIRST.path, *DEMO)
    assert status == 0
    assert "drawer" in out
    assert f"\n{FIRST.path}\n" in out  # several recordings are told apart
    # In a pipeline nothing may be missing.
    soundfile.write(tmp_path / "b.flac", FIRST.audio, 16_000)
    monkeypatch.setattr(
        SpeechToTextAttribution, "check", fails_for(len(FIRST.audio), SpeechToTextAttribution.check)
    )
    arguments = (tmp_path / "silent.wav", tmp_path / "b.flac", *DEMO)
    status, _, error = run(capsys, *arguments)
    assert status == 0
    assert "b.flac: RuntimeError: no memory" in error
    status, _, error = run(capsys, *arguments, "--fail-above", "100%")
    assert status == 2
    assert "1 recordings could not be checked" in error
    status, _, error = run(capsys, tmp_path / "short.wav", FIRST.path, *DEMO)
    assert status == 2
    assert "short.wav: audio lasts 0.006 s, less than 0.1 s" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((FIRST.path,), "no model: give --model"),
        ((FIRST.path, SECOND.path, *DEMO, "--format", "json"), "needs --out DIR"),
        ((FIRST.path, SECOND.path, *DEMO, "--target", "a"), "--target is the text of one"),
        ((FIRST.path, *DEMO, "--passes", "41"), "passes must be at most 40"),
        ((FIRST.path, *DEMO, "--rules", "none.json"), "no such file of verdict rules"),
        (("no.wav", *DEMO), "no such audio file"),
        (("--calibrate", MANIFEST, *DEMO), "--calibrate needs --out DIR"),
        (
            ("--calibrate", MANIFEST, "--out", "out", "--target", "a", *DEMO),
            "--target has no effect",
        ),
        ((FIRST.path, "--calibrate", MANIFEST, "--out", "out", *DEMO), "leave AUDIO out"),
        (("--calibrate", "none.jsonl", "--out", "out", *DEMO), "no such manifest"),
    ],
)
def test_mistakes_are_told_in_one_line(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, out, error = run(capsys, *arguments)
    assert status == 2
    assert out == ""
    assert len(error.splitlines()) == 1
    assert message in error


@pytest.mark.parametrize("share", ["101%", "1.5", "many", "", "5%%", "nan"])
def test_shares(capsys, share):
    with pytest.raises(SystemExit) as caught:
        main(["check", "--fail-above", share])
    assert caught.value.code == 2
    assert "is no share: give 5% or 0.05" in capsys.readouterr().err
