"""What the command line prints and writes, whatever names hold and whoever stops listening."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from captum_spes.cli import main
from captum_spes.demo import load_examples

pytestmark = pytest.mark.filterwarnings("always")
POSIX = pytest.mark.skipif(os.name != "posix", reason="file systems and pipes of POSIX")
QUICK = ["--model", "demo", "--samples", "12", "--token-samples", "4", "--quiet"]
QUICK += ["--patches-per-second", "40", "--prior", "2"]
RUN = [sys.executable, "-m", "captum_spes.cli"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """The beginning of a bundled recording: few words, and few figures to draw."""
    example, file = load_examples()[0], tmp_path_factory.mktemp("clip") / "short.flac"
    soundfile.write(file, example.audio[:9_600], 16_000)
    return file


def everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@POSIX
def test_names_of_recordings_stay_in_the_output_folder(tmp_path, clip, capsys):
    """Stems that are "..", "." and "-"; escape sequences, reserved and long names."""
    source, out = tmp_path / "in", tmp_path / "deep" / "out"
    source.mkdir()
    stems = [b"..", b".", b"-", b"a\nb", b"\x1b[31mred", b"con", b"x" * 240]
    files = [os.path.join(os.fsencode(source), stem + b".flac") for stem in stems]
    for file in files:
        shutil.copy(clip, file)
    status = main(["explain", *map(os.fsdecode, files), *QUICK, "--out", str(out)])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "in"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]
    folders = [path for path in out.iterdir() if path.is_dir()]
    assert len(folders) == len(stems)
    for folder in folders:
        assert (folder / "explanation.npz").is_file()
    assert "\x1b" not in captured.out + captured.err
    assert "\\x1b[31mred" in captured.out
    # And analyse finds them again by these names.
    from captum_spes.analysis import load_results

    # Python 3.14 sees no suffix in "...flac", and one in "a.flac".
    names = {Path(os.fsdecode(file)).stem for file in files[:-1]}
    assert {"-", "a\nb", "con"} <= names <= set(load_results(out))


def test_an_output_that_is_a_file_is_one_line(tmp_path, clip, capsys):
    (tmp_path / "file").touch()
    manifest = tmp_path / "m.jsonl"
    manifest.write_text(json.dumps({"id": "a", "audio": str(clip), "text": "the"}))
    for place in (tmp_path / "file", tmp_path / "file" / "deeper"):
        for command in (["explain", str(clip)], ["evaluate", str(manifest)]):
            assert main([*command, *QUICK, "--out", str(place)]) == 2
            captured = capsys.readouterr()
            assert captured.err.startswith("captum-spes: error: ")
            assert "is a file, and no folder to write into" in captured.err
            assert captured.err.count("\n") == 1
            assert captured.out == ""


@POSIX
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device here")
class TestOutputs:
    def run(self, clip, tmp_path, ending):
        command = [*RUN, "explain", str(clip), *QUICK, "--out", str(tmp_path / "out")]
        shell = " ".join(map(repr, command))
        return subprocess.run(
            ["bash", "-c", f"{shell} {ending}"], capture_output=True, text=True, check=False
        )

    def test_nobody_reads(self, clip, tmp_path):
        done = self.run(clip, tmp_path, "| true; exit ${PIPESTATUS[0]}")
        assert done.returncode == 141
        assert "Traceback" not in done.stderr
        assert "rror" not in done.stderr
        assert (tmp_path / "out" / clip.stem / "explanation.npz").exists()

    def test_a_full_disk(self, clip, tmp_path):
        done = self.run(clip, tmp_path, "> /dev/full")
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].startswith("captum-spes: error: ")
        assert "No space left" in done.stderr
        assert "Traceback" not in done.stderr
        assert "Exception ignored" not in done.stderr

    def test_no_output_at_all(self, clip, tmp_path):
        done = self.run(clip, tmp_path, ">&-")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "out" / clip.stem / "explanation.npz").exists()

    def test_help_that_nobody_reads(self):
        done = subprocess.run(
            ["bash", "-c", f"{sys.executable} -m captum_spes.cli evaluate --help | true; "
             "exit ${PIPESTATUS[0]}"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode in (0, 141)
        assert done.stderr == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["explain", "\x1b[31mno.wav", "--model", "demo"],
        ["explain", "a.wav", "--model", "\x1b[31m"],
        ["explain", "--method", "\x1b[31m"],
        ["explain", "--method-args", "\x1b["],
        ["explain", "--method-args", "[" * 100_000],
        ["\x1b[31m"],
        ["evaluate", "\x1b[31m", "--out", "x"],
        ["analyse", "\x1b[31m", "--out", "x"],
        ["export", "\x1b[31m", "--out", "x.csv"],
        ["export", "a", "--out", "\x1b[31m"],
    ],
)
def test_errors_are_one_line_without_escape_sequences(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        status = main(arguments)
    except SystemExit as stopped:
        status = stopped.code
    error = capsys.readouterr().err
    assert status == 2
    assert "\x1b" not in error
    assert error.count("\n") == 1
    assert error.startswith("captum-spes: error: ")
    assert everything(tmp_path) == []


def test_a_long_report_is_cut_with_a_line_that_says_where_the_rest_is(capsys):
    from captum_spes.cli.options import print_report

    print_report("\n".join(map(str, range(500))), "summary.md")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 201
    assert lines[-1] == "... and 300 more lines: summary.md"


def test_a_terminal_without_an_encoding(monkeypatch):
    from captum_spes.cli.options import print_text

    monkeypatch.setattr(sys, "stdout", None)
    print_text("ü")
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    print_text("ü")


def test_a_damaged_record_of_runs_does_not_end_what_took_hours(tmp_path):
    from captum_spes.io.provenance import write_provenance

    for content in ("null", "{", "{}"):
        (tmp_path / "run.json").write_text(content)
        with pytest.warns(UserWarning, match=r"run\.json was damaged"):
            write_provenance(tmp_path, ["explain", "caf\udce9.flac"])
        assert (tmp_path / "run.damaged.json").read_text() == content
        (run,) = json.loads((tmp_path / "run.json").read_text())
        assert "caf\udce9.flac" in run["command"]
