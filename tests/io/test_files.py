"""Files that appear complete or not at all, whoever is killed meanwhile; locks; clear errors."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from captum_spes.errors import ArgumentError
from captum_spes.io.files import (
    keep_settings,
    made_folder,
    read_json,
    regular_file,
    whole_file,
    write_whole,
)
from captum_spes.io.locks import only_process_in

POSIX = pytest.mark.skipif(os.name != "posix", reason="signals and locks of POSIX")
# Writes half a file, says so, and waits to be killed.
HALF = """
import sys, time
from pathlib import Path
from captum_spes.io.files import whole_file
with whole_file(Path(sys.argv[1])) as file:
    file.write(b"half"); file.flush(); print("half", flush=True); time.sleep(60)
"""
HOLD = """
import sys, time
from pathlib import Path
from captum_spes.io.locks import only_process_in
with only_process_in(Path(sys.argv[1])):
    print("held", flush=True); time.sleep(60)
"""


def started(code, argument):
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(argument)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline()
    return process


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


@POSIX
class TestAbandoned:
    def test_what_a_killed_writer_left_goes_at_the_next_save(self, tmp_path):
        path = tmp_path / "a.npz"
        write_whole(path, "old")
        kill(started(HALF, path))
        assert len(list(tmp_path.iterdir())) == 2
        assert path.read_text() == "old"
        write_whole(path, "new")
        assert list(tmp_path.iterdir()) == [path]
        assert path.read_text() == "new"

    def test_that_of_a_living_writer_and_of_other_files_stays(self, tmp_path):
        path, other = tmp_path / "a.npz", tmp_path / "b.npz"
        living = started(HALF, path)
        kill(started(HALF, other))
        write_whole(path, "new")
        hidden = sorted(p.name.rpartition(".")[0] for p in tmp_path.glob(".*"))
        assert hidden == [".a.npz", ".b.npz"]
        kill(living)

    def test_hidden_files_of_the_user_stay(self, tmp_path):
        (tmp_path / ".a.npz.backup").write_text("mine")
        write_whole(tmp_path / "a.npz", "new")
        assert (tmp_path / ".a.npz.backup").read_text() == "mine"


def test_a_name_as_long_as_the_system_allows(tmp_path):
    path = tmp_path / ("x" * 255)
    write_whole(path, "new")
    assert path.read_text() == "new"


def test_errors_name_the_file_that_was_asked_for(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder'") as caught, whole_file(tmp_path / "folder") as file:
        file.write(b"x")
    assert caught.value.filename == str(tmp_path / "folder")
    with pytest.raises(OSError, match=r"No space left.*a\.npz"), whole_file(tmp_path / "a.npz"):
        raise OSError(28, "No space left on device")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_halves_of_characters_are_written_as_escapes_that_json_reads(tmp_path):
    text = json.dumps({"id": "\udce9 \ud800 ü"}, ensure_ascii=False)
    write_whole(tmp_path / "a.json", text)
    assert read_json(tmp_path / "a.json", "a test") == {"id": "\udce9 \ud800 ü"}


@POSIX
class TestLock:
    def test_another_process_is_told_who_works_there(self, tmp_path):
        holder = started(HOLD, tmp_path)
        told = pytest.raises(ArgumentError, match=f"in use by process {holder.pid} on ")
        with told, only_process_in(tmp_path):
            pytest.fail("both work there")
        kill(holder)
        with only_process_in(tmp_path):  # which a dead process does not hold
            pass

    def test_it_holds_within_one_process_too_and_ends(self, tmp_path):
        told = pytest.raises(ArgumentError, match="in use")
        with only_process_in(tmp_path), told, only_process_in(tmp_path):
            pytest.fail("both work there")
        with only_process_in(tmp_path):
            pass


class TestPlaces:
    @POSIX
    def test_pipes_do_not_hang(self, tmp_path):
        os.mkfifo(tmp_path / "settings.json")
        start = time.monotonic()
        with pytest.raises(ArgumentError, match="pipe or device"):
            keep_settings(tmp_path / "settings.json", {}, "scores")
        assert time.monotonic() - start < 5

    @pytest.mark.parametrize("content", ["null", "[]", "3", "{", "[" * 100_000, "\xff"])
    def test_settings_that_are_none(self, tmp_path, content):
        path = tmp_path / "settings.json"
        path.write_bytes(content.encode("latin-1"))
        with pytest.raises(ArgumentError, match=r"settings\.json is damaged"):
            keep_settings(path, {"a": 1}, "scores")
        assert path.read_bytes() == content.encode("latin-1")

    def test_a_file_is_no_folder(self, tmp_path):
        (tmp_path / "file").touch()
        for path in (tmp_path / "file", tmp_path / "file" / "deeper" / "still"):
            with pytest.raises(OSError, match=r"file is a file, and no folder"):
                made_folder(path)

    def test_a_missing_file_is_as_ever(self, tmp_path):
        with pytest.raises(FileNotFoundError), regular_file(tmp_path / "nope", "a test"):
            pass
