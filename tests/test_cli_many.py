"""``captum-spes explain`` over many recordings: what is bad, what is finished, and by whom."""

import io
import json
import os
import shutil
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from captum_spes import SpeechToTextAttribution, SpeechToTextAttributionResult
from captum_spes.cli import main
from captum_spes.demo import load_examples
from captum_spes.io.locks import only_process_in

# Of few samples; the command line prints it.
pytestmark = pytest.mark.filterwarnings("ignore:.*sampling noise")
QUICK = ["--model", "demo", "--samples", "12", "--token-samples", "0", "--quiet"]
QUICK += ["--patches-per-second", "20", "--batch-size", "16", "--prior", "2"]


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """The beginnings of three bundled recordings: few words, and few figures to draw."""
    folder, files = tmp_path_factory.mktemp("originals"), []
    for name, example in zip("abc", load_examples(), strict=False):
        soundfile.write(folder / f"{name}.wav", example.audio[:9_600], 16_000)
        files.append(folder / f"{name}.wav")
    return files


@pytest.fixture
def clips(originals, tmp_path):
    (tmp_path / "in").mkdir()
    return [Path(shutil.copy(file, tmp_path / "in" / file.name)) for file in originals]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def explained(monkeypatch):
    """Counts what is explained: paths of recordings."""
    found, attribute = [], SpeechToTextAttribution.attribute

    def counted(self, audio, *args, **kwargs):
        result = attribute(self, audio, *args, **kwargs)
        found.append(result.parameters.get("audio", {}).get("path"))
        return result

    monkeypatch.setattr(SpeechToTextAttribution, "attribute", counted)
    return found


def explain(capsys, *arguments, quick=QUICK):
    capsys.readouterr()
    status = main(["explain", *map(str, arguments), *quick])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def record(folder):
    return json.loads((folder / "recording.json").read_text())


def unfinish(folder):
    """What a process that was killed before its last step leaves."""
    (folder / "recording.json").write_text(json.dumps({**record(folder), "finished": None}))


def maps(out, name):
    """All of an explanation, as it is in the file."""
    with np.load(out / name / "explanation.npz") as arrays:
        return {key: arrays[key].tobytes() for key in arrays.files}


class TestBadFiles:
    def test_what_cannot_be_read_is_named_and_the_rest_goes_on(self, capsys, clips, tmp_path, out):
        bad, gone, folder = tmp_path / "bad.wav", tmp_path / "gone.wav", tmp_path / "folder.wav"
        bad.write_text("no audio")
        folder.mkdir()
        given = [clips[0], bad, gone, folder, clips[1]]
        status, printed, errors = explain(capsys, *given, "--out", out)
        assert status == 1
        assert errors.splitlines()[0] == f"captum-spes: no such audio file: {gone}"
        for file in (bad, folder):
            (line,) = (line for line in errors.splitlines() if str(file) in line)
            assert line.startswith("captum-spes: ")
            assert line.count(str(file)) == 1
        assert len(errors.splitlines()) == 3
        assert [printed.index(str(file)) for file in (clips[0], clips[1])]
        assert {path.name for path in out.iterdir() if path.is_dir()} == {"a", "b"}

    def test_none_that_is_good_is_an_error(self, capsys, tmp_path, out, monkeypatch):
        """Missing files are told before a model is loaded."""
        monkeypatch.setattr("captum_spes.cli.explain_task.load", None)
        gone = [tmp_path / name for name in ("x.wav", "y.wav")]
        status, _, errors = explain(capsys, *gone, "--out", out)
        assert status == 2
        assert errors.splitlines() == [
            *(f"captum-spes: no such audio file: {file}" for file in gone),
            "captum-spes: error: no recording could be explained.",
        ]
        assert not out.exists()

    def test_a_full_disk_ends_the_run(self, capsys, clips, out, monkeypatch):
        def full(*args, **kwargs):
            raise OSError(28, "No space left on device", "tokens.png")

        monkeypatch.setattr("captum_spes.report.write_explanation", full)
        status, printed, errors = explain(capsys, *clips, "--out", out)
        assert (status, printed) == (2, "")
        assert errors == "captum-spes: error: tokens.png: No space left on device\n"


class TestGoingOn:
    def test_what_is_finished_is_not_done_again(self, capsys, clips, out, explained, monkeypatch):
        assert explain(capsys, clips[0], "--out", out)[0] == 0
        status, printed, errors = explain(capsys, *clips, "--out", out)
        assert (status, errors) == (0, "")
        assert explained == [str(file) for file in clips]
        assert printed.splitlines()[0] == f"{clips[0]}: explained before: {out / 'a'}"
        assert printed.count("explained before") == 1
        # In any other order, and by another path.
        monkeypatch.chdir(clips[0].parent)
        status, printed, _ = explain(capsys, "c.wav", "a.wav", "--out", out)
        assert status == 0
        assert printed.splitlines() == [
            f"c.wav: explained before: {out / 'c'}",
            f"a.wav: explained before: {out / 'a'}",
        ]
        assert len(explained) == 3

    def test_a_run_that_was_killed_goes_on(self, capsys, clips, out, explained, monkeypatch):
        write = "captum_spes.report.files.write_figure"

        def killed(path, figure):
            if path.parent.name == "b":
                raise KeyboardInterrupt
            path.touch()
            return path

        with monkeypatch.context() as patched:
            patched.setattr(write, killed)
            assert explain(capsys, *clips, "--out", out)[0] == 130
        assert (out / "b" / "explanation.npz").exists()
        assert explain(capsys, *clips, "--out", out)[0] == 0
        a, b, c = map(str, clips)
        assert explained == [a, b, b, c]
        assert (out / "b" / "tokens.png").stat().st_size > 0

    def test_nobody_reads_what_is_finished(self, capsys, clips, out, explained, monkeypatch):
        """A pipe that was closed costs no explanation."""

        def closed(*args):
            raise BrokenPipeError

        with monkeypatch.context() as patched:
            patched.setattr("captum_spes.cli.explain_task.print_report", closed)
            patched.setattr("captum_spes.cli._leave_output", lambda: None)
            assert explain(capsys, clips[0], "--out", out)[0] == 141
        assert "explained before" in explain(capsys, clips[0], "--out", out)[1]
        assert len(explained) == 1

    def test_an_empty_explanation_is_none(self, capsys, clips, out):
        """As a disk leaves it that was full, or lost power."""
        assert explain(capsys, clips[0], "--out", out)[0] == 0
        (out / "a" / "explanation.npz").write_bytes(b"")
        status, printed, _ = explain(capsys, clips[0], "--out", out)
        assert status == 0
        assert "explained before" not in printed
        assert (out / "a" / "explanation.npz").stat().st_size > 0

    def test_a_file_that_is_gone_and_a_recording_that_changed(
        self, capsys, clips, originals, out, explained
    ):
        explain(capsys, *clips[:2], "--out", out)
        (out / "a" / "tokens.png").unlink()
        (out / "a" / "tokens-3.png").touch()
        (out / "b" / "explanation.npz").unlink()
        assert explain(capsys, *clips[:2], "--out", out)[0] == 0
        assert (out / "a" / "tokens.png").exists()  # drawn again
        assert explained == [str(file) for file in (*clips[:2], clips[1])]
        (out / "a" / "notes.txt").touch()
        shutil.copy(originals[2], clips[0])
        assert explain(capsys, clips[0], "--out", out)[0] == 0
        assert explained[-1] == str(clips[0])
        assert len(explained) == 4
        # Of what it was no figure is left.
        assert {path.name for path in (out / "a").iterdir()} == {
            "explanation.npz", "notes.txt", "recording.json", "sentence.png", "tokens.png",
        }  # fmt: skip

    def test_what_ctrl_c_left_is_explained_again(self, capsys, clips, out, monkeypatch):
        attribute = SpeechToTextAttribution.attribute

        def interrupted(self, *args, **kwargs):
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                return attribute(self, *args, **kwargs)

        before = signal.getsignal(signal.SIGINT)
        with monkeypatch.context() as patched:
            patched.setattr(SpeechToTextAttribution, "attribute", interrupted)
            assert explain(capsys, clips[0], "--return-partial", "--out", out)[0] == 0
        assert (out / "a" / "tokens.png").exists()
        assert record(out / "a")["finished"] is None
        assert signal.getsignal(signal.SIGINT) is before
        assert "explained before" not in explain(capsys, clips[0], "--out", out)[1]
        assert "explained before" in explain(capsys, clips[0], "--out", out)[1]

    def test_windows_are_finished_together(self, capsys, model_folder, tmp_path, out):
        """More than the model takes at once; a page is wanted later, and all is done again."""
        time = np.arange(6 * 16_000) / 16_000
        soundfile.write(tmp_path / "long.wav", 0.3 * np.sin(2000 * time * (1 + time)), 16_000)
        given = [tmp_path / "long.wav", "--out", out]
        quick = ["--model", str(model_folder), *QUICK[2:]]

        def again(*more):
            status, printed, _ = explain(capsys, *given, *more, quick=quick)
            assert status == 0
            return "explained before" not in printed

        assert again()
        first, second = sorted((out / "long").glob("*/tokens.png"))
        assert not again()
        second.unlink()
        assert again()
        assert second.exists()
        unfinish(out / "long")
        assert again()
        assert again("--html")
        assert first.with_name("explanation.html").exists()
        assert not again()


class TestOtherOutputs:
    def test_what_is_missing_is_made_of_what_is_there(self, capsys, clips, out, explained):
        """And is what it would have been at once."""
        explain(capsys, clips[0], "--out", out)
        before = maps(out, "a")
        status, printed, _ = explain(capsys, clips[0], "--out", out, "--judge")
        assert status == 0
        assert "deletion (" in printed
        more = ("--html", "--figure-format", "svg")
        status, printed, _ = explain(capsys, clips[0], "--out", out, *more)
        assert status == 0
        assert "written: " in printed
        assert {"tokens.png", "tokens.svg", "explanation.html"} <= {
            path.name for path in (out / "a").iterdir()
        }
        assert len(explained) == 1
        result = SpeechToTextAttributionResult.load(out / "a" / "explanation.npz")
        assert {"deletion", "heard"} <= set(result.parameters)
        assert maps(out, "a")["spectrogram_attr"] == before["spectrogram_attr"]
        # Whatever was made once need not be made again.
        every = ("--judge", "--html", "--figure-format")
        for given in ([], every[:2], [*every, "png"], [*every, "svg"]):
            assert "explained before" in explain(capsys, clips[0], "--out", out, *given)[1]
        assert explain(capsys, clips[0], "--out", out.with_name("new"), "--judge", "--html")[0] == 0
        assert maps(out.with_name("new"), "a") == maps(out, "a")

    def test_what_could_not_be_measured_is_tried_again(
        self, capsys, clips, out, explained, monkeypatch
    ):
        def fails(*args, **kwargs):
            raise RuntimeError("out of memory")

        with monkeypatch.context() as patched:
            patched.setattr("captum_spes.metrics.judge", fails)
            status, _, errors = explain(capsys, clips[0], "--out", out, "--judge")
        assert status == 0
        assert "cannot be measured" in errors
        assert "deletion (" in explain(capsys, clips[0], "--out", out, "--judge")[1]
        assert "explained before" in explain(capsys, clips[0], "--out", out, "--judge")[1]
        assert len(explained) == 1

    def test_a_damaged_explanation_is_made_anew(self, capsys, clips, out, explained):
        explain(capsys, clips[0], "--out", out)
        (out / "a" / "explanation.npz").write_bytes(b"nonsense")
        assert explain(capsys, clips[0], "--out", out, "--html")[0] == 0
        assert len(explained) == 2
        assert SpeechToTextAttributionResult.load(out / "a" / "explanation.npz")


class TestOneWayOfExplaining:
    @pytest.fixture
    def filled(self, capsys, clips, out):
        assert explain(capsys, clips[0], "--out", out)[0] == 0
        return {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}

    @pytest.mark.parametrize(
        ("given", "told"),
        [
            (["--samples", "8"], "n_samples is 12 there and 8 now"),
            (["--seed", "1", "--samples", "8"], "seed is 0 there and 1 now, n_samples is 12 there"),
            (
                ["--method", "spes-mean", "--prior", "none"],
                'method is "spes" there and "spes-mean" now',
            ),
            (["--target", "Anna runs"], 'target is null there and "Anna runs" now'),
            (["--word", "Anna"], 'word is [] there and ["Anna"] now'),
            (["--at", "0:00-0:01"], "at is [] there and [[0.0, 1.0]] now"),
            (["--contrast", "Anna", "Emma"], 'contrast is null there and ["Anna", "Emma"] now'),
            (["--errors", "--reference", "Emma"], "errors is false there and true now"),
            (["--num-beams", "2"], 'gen_args is {} there and {"num_beams": 2} now'),
        ],
    )
    def test_another_one_is_refused_before_a_model_is_loaded(
        self, capsys, clips, out, filled, monkeypatch, given, told
    ):
        monkeypatch.setattr("captum_spes.cli.explain_task.load", None)
        status, printed, errors = explain(capsys, clips[1], "--out", out, quick=[*QUICK, *given])
        assert (status, printed) == (2, "")
        (line,) = errors.splitlines()
        assert line.startswith(f"captum-spes: error: {out} holds explanations made in another way")
        assert told in line
        assert "Give another --out" in line
        assert {path: path.read_bytes() for path in filled} == filled

    def test_another_model_is_refused(self, capsys, clips, out, filled):
        quick = ["--model", "demo-ctc", *QUICK[2:]]
        status, _, errors = explain(capsys, clips[1], "--out", out, quick=quick)
        assert status == 2
        assert "made in another way: model is " in errors
        assert not (out / "b").exists()

    def test_what_changes_no_map_may_differ(self, capsys, clips, out, filled):
        given = ["--batch-size", "3", "--device", "cpu"]
        assert explain(capsys, clips[1], "--out", out, quick=[*QUICK, *given])[0] == 0

    def test_a_folder_without_explanations_may_become_another_one(self, capsys, clips, out):
        """A word that is nowhere was asked for by mistake."""
        assert explain(capsys, clips[0], "--out", out, "--word", "zebra")[0] == 2
        assert explain(capsys, clips[0], "--out", out)[0] == 0

    def test_files_that_nobody_noted_are_not_written_over(self, capsys, clips, out, monkeypatch):
        """Explanations of version 0.1, for example, which noted nothing."""
        (out / "a").mkdir(parents=True)
        (out / "a" / "explanation.npz").touch()
        monkeypatch.setattr("captum_spes.cli.explain_task.load", None)
        for clip in clips[:2]:  # nor is anything written beside them
            status, _, errors = explain(capsys, clip, "--out", out)
            assert status == 2
            assert f"error: {out} holds explanations and no explain.json" in errors
        (out / "a" / "explanation.npz").rename(out / "a" / "notes.txt")
        status, _, errors = explain(capsys, clips[0], "--out", out)
        assert status == 2
        assert f"error: {out / 'a'} holds files and no recording.json" in errors

    def test_nor_added_to(self, capsys, clips, out, filled):
        (out / "explain.json").unlink()
        status, _, errors = explain(capsys, clips[1], "--out", out)
        assert status == 2
        assert f"{out} holds explanations and no explain.json that says how" in errors

    @pytest.mark.parametrize(
        "content",
        [
            "", "null", "{}", '{"finished": 1}',
            '{"name": [], "recording": null, "sha256": "", "finished": null}',
            '{"name": "a", "recording": null, "sha256": "", "finished": {"files": []}}',
        ],
    )  # fmt: skip
    def test_a_damaged_note_is_one_line(self, capsys, clips, out, filled, content):
        for name in ("a/recording.json", "explain.json"):
            kept = (out / name).read_text()
            (out / name).write_text(content)
            status, _, errors = explain(capsys, clips[0], "--out", out)
            assert status == 2
            assert errors.startswith("captum-spes: error: ")
            assert errors.count("\n") == 1
            (out / name).write_text(kept)

    def test_one_run_at_a_time(self, capsys, clips, out, filled, monkeypatch):
        monkeypatch.setattr("captum_spes.cli.explain_task.load", None)
        with only_process_in(out):
            status, _, errors = explain(capsys, clips[1], "--out", out)
        assert status == 2
        assert f"{out} is in use by process {os.getpid()} on " in errors


class TestOneName:
    @pytest.fixture
    def same(self, originals, tmp_path):
        """Different recordings called x in three folders, and a copy of the first."""
        files = []
        for number, source in enumerate((*originals, originals[0])):
            (tmp_path / str(number)).mkdir()
            files.append(Path(shutil.copy(source, tmp_path / str(number) / "x.wav")))
        return files

    def test_each_is_recognised_whatever_else_is_given(self, capsys, same, out, explained):
        assert explain(capsys, *same[:2], "--out", out)[0] == 0
        assert explain(capsys, same[2], same[1], "--out", out)[0] == 0
        assert explain(capsys, *reversed(same), "--out", out)[0] == 0
        assert explained == [str(file) for file in same]
        places = {}
        for number, file in enumerate(same):
            (line,) = explain(capsys, file, "--out", out)[1].splitlines()
            places[number] = line.removeprefix(f"{file}: explained before: ")
        names = ("x", "x-2", "x-3", "x-4")
        assert places == {number: str(out / name) for number, name in enumerate(names)}
        assert len(explained) == 4

    def test_files_that_were_moved(self, capsys, same, out, tmp_path, explained):
        explain(capsys, *same[:2], "--out", out)
        moved = [file.rename(tmp_path / f"new{i}.wav") for i, file in enumerate(same[:2])]
        places = []
        for number in (1, 0):
            (tmp_path / f"there{number}").mkdir()
            file = moved[number].rename(tmp_path / f"there{number}" / "x.wav")
            places.append(explain(capsys, file, "--out", out)[1].split()[-1])
        assert places == [str(out / "x-2"), str(out / "x")]
        assert len(explained) == 2

    def test_another_file_in_the_old_place(self, capsys, same, out, tmp_path, explained):
        """It does not take the folder of the one that was moved."""
        first, second = same[:2]
        explain(capsys, first, "--out", out)
        (tmp_path / "old").mkdir()
        moved = first.rename(tmp_path / "old" / "x.wav")
        second.rename(first)
        status, printed, _ = explain(capsys, first, moved, "--out", out)
        assert status == 0
        assert f"{moved}: explained before: {out / 'x'}" in printed
        assert record(out / "x-2")["recording"] == str(first)
        assert len(explained) == 2

    def test_what_was_begun_keeps_its_folder(self, capsys, same, out):
        explain(capsys, *same[:2], "--out", out)
        unfinish(out / "x")
        unfinish(out / "x-2")
        assert explain(capsys, same[2], "--out", out)[0] == 0
        assert record(out / "x-3")["recording"] == str(same[2])
        assert explain(capsys, same[1], "--out", out)[0] == 0
        assert record(out / "x-2")["finished"]
        assert record(out / "x")["finished"] is None


def test_standard_input_is_recognised(capsys, clips, out, monkeypatch, explained):
    for number in (0, 1, 0):
        content = io.TextIOWrapper(io.BytesIO(clips[number].read_bytes()))
        monkeypatch.setattr("sys.stdin", content)
        status, printed, _ = explain(capsys, "-", "--out", out)
        assert status == 0
    assert printed == f"-: explained before: {out / 'stdin'}\n"
    assert (out / "stdin-2" / "tokens.png").exists()
    assert len(explained) == 2


class TestWorkers:
    def test_two_give_what_this_process_gives(self, capsys, clips, tmp_path, out):
        """With one thread; what they say is printed here, recording by recording."""
        alone, threads = tmp_path / "alone", torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            expected = explain(capsys, *clips, "--out", alone, "--judge")[1]
        finally:
            torch.set_num_threads(threads)
        bad = tmp_path / "bad.wav"
        bad.write_text("no audio")
        given = (*clips, bad, "--out", out, "--judge", "--workers", "2")
        status, printed, errors = explain(capsys, *given)
        assert status == 1
        assert errors.strip().splitlines()[-1].startswith(f"captum-spes: {bad} ")
        assert len(errors.strip().splitlines()) == 1
        for name in "abc":
            assert maps(out, name) == maps(alone, name)
        reports = [own.replace(str(alone), str(out)) for own in reports_in(expected, clips)]
        assert sorted(reports_in(printed, clips)) == sorted(reports)
        # And what they finished is finished.
        assert explain(capsys, *clips, "--out", out, "--judge")[1].count("explained before") == 3

    def test_where_the_model_runs_is_passed_on(self, capsys, clips, monkeypatch):
        asked = []

        def demo(device):
            asked.append(device)
            raise OSError("stopped before a model is loaded")

        monkeypatch.setattr("captum_spes.demo.DEMOS", {"demo": demo})
        explain(capsys, clips[0], "--device", "cuda:1")
        assert asked == ["cuda:1"]

    def test_what_is_of_one_process(self, capsys, clips):
        status, _, errors = explain(capsys, *clips, "--workers", "2", "--return-partial")
        assert status == 2
        assert errors == (
            "captum-spes: error: --return-partial is of a run in this process: leave it out, or "
            "--workers.\n"
        )


def reports_in(printed, files):
    """The report of each recording, which begins with its name."""
    marks = [printed.index(f"{file}\n") for file in files]
    ends = sorted([*marks, len(printed)])
    return [printed[mark : ends[ends.index(mark) + 1]].strip() for mark in marks]


def test_recordings_are_read_while_the_model_works(capsys, clips, monkeypatch):
    """In other threads, the next one before the first is explained, and not all of them."""
    from captum_spes.cli.recordings import GivenRecording

    events, arrived = [], threading.Event()
    read, attribute = GivenRecording.read, SpeechToTextAttribution.attribute

    def noted_read(self, rate):
        if self.audio is None:
            events.append(("read", threading.current_thread() is threading.main_thread()))
            if len(events) > 1:
                arrived.set()
        return read(self, rate)

    def noted(self, *args, **kwargs):
        assert arrived.wait(60)  # the second is read although this one is not explained
        events.append(("explain", len([kind for kind, _ in events if kind == "read"])))
        return attribute(self, *args, **kwargs)

    monkeypatch.setattr(GivenRecording, "read", noted_read)
    monkeypatch.setattr(SpeechToTextAttribution, "attribute", noted)
    many = [*clips, *clips, *clips]
    assert explain(capsys, *many)[0] == 0
    assert not any(is_main for kind, is_main in events if kind == "read")
    n_read = [number for kind, number in events if kind == "explain"]
    assert len(n_read) == len(many)
    assert n_read[0] <= 4
    assert all(number <= done + 4 for done, number in enumerate(n_read))


def test_long_recordings_wait_for_their_turn(capsys, clips, monkeypatch):
    monkeypatch.setattr("captum_spes.cli.recordings._READ_EARLY_SECONDS", 0.1)
    assert explain(capsys, *clips)[0] == 0


def test_the_cost_of_what_is_left_is_told(capsys, clips, out):
    explain(capsys, clips[0], "--out", out)
    loud = [option for option in QUICK if option != "--quiet"]
    errors = explain(capsys, *clips, "--out", out, quick=loud)[2]
    assert "captum-spes: 2 recordings, each 39 passes of spectrograms" in errors
