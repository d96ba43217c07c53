"""`benchmarks/smoke.py` knows every benchmark, so that a new one cannot be forgotten."""

import ast
import itertools
import shlex
from pathlib import Path

import pytest

from tests.conftest import module_of

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FILE = BENCHMARKS / "smoke.py"
pytestmark = pytest.mark.skipif(
    not FILE.exists(), reason="benchmarks/smoke.py is missing, as in a source distribution"
)


@pytest.fixture(scope="module")
def smoke():
    return module_of(FILE)


def can_be_run(file):
    """Whether a file has a main function or reads arguments; others are imported by those."""
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    names = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    reads = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    return "main" in names or "ArgumentParser" in reads


def test_every_script_is_run_or_there_is_a_reason(smoke):
    scripts = {file.stem for file in BENCHMARKS.glob("*.py") if file != FILE and can_be_run(file)}
    assert len(scripts) > 25
    # What is not run may also be a part of a script, named behind it.
    assert scripts == {*smoke.COMMANDS, *(name.split()[0] for name in smoke.NOT_RUN)}
    assert not set(smoke.COMMANDS) & set(smoke.NOT_RUN)
    assert all(smoke.COMMANDS.values())
    assert all(reason.strip() for reason in smoke.NOT_RUN.values())


def test_what_a_script_needs_is_told_of_scripts_that_are_run(smoke):
    assert {*smoke.LIBRARIES, *smoke.PROGRAMS} <= set(smoke.COMMANDS)


def test_commands_name_files_that_are_there_and_write_into_the_folder(smoke, tmp_path):
    out = tmp_path / "out"
    places = {**smoke.PLACES, "out": out, "real": smoke.real_recordings(tmp_path / "real")}
    for name, commands in smoke.COMMANDS.items():
        for command in commands:
            arguments = [part.format(**places) for part in shlex.split(command)]
            for flag, value in itertools.pairwise(arguments):
                if flag in ("--out", "--store", "--work") and "--table" not in arguments:
                    assert Path(value).is_relative_to(out), (name, command)
            for argument in arguments:
                path = Path(argument)
                if path.is_absolute() and not path.is_relative_to(out):
                    assert path.exists() or path.is_relative_to(smoke.SHARED), (name, argument)


def test_a_script_that_fails_is_shown_and_the_status_tells(smoke, tmp_path, monkeypatch, capsys):
    (tmp_path / "breaks.py").write_text('print("before the end")\nraise SystemExit("it broke")\n')
    (tmp_path / "works.py").write_text('print("not shown")\n')
    monkeypatch.setattr(smoke, "HERE", tmp_path)
    monkeypatch.setattr(smoke, "COMMANDS", {"breaks": [""], "works": [""]})
    monkeypatch.setattr(smoke, "NOT_RUN", {"trains": "takes an hour"})
    monkeypatch.setattr("sys.argv", ["smoke.py"])
    assert smoke.main() == 1
    shown = capsys.readouterr().out
    assert "breaks: failed after" in shown
    assert "before the end\n  it broke" in shown
    assert "works: 0 s" in shown
    assert "not shown" not in shown
    assert "trains: not run: takes an hour" in shown
    assert shown.endswith("failed: breaks\n")
    monkeypatch.setattr("sys.argv", ["smoke.py", "works", "trains"])
    assert smoke.main() == 0


def test_a_script_that_hangs_is_ended(smoke, tmp_path, monkeypatch):
    (tmp_path / "hangs.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(smoke, "HERE", tmp_path)
    monkeypatch.setattr(smoke, "MOST_SECONDS", 0.5)
    monkeypatch.setattr(smoke, "COMMANDS", {"hangs": [""]})
    assert "did not end in 0.5 s" in smoke.failure_of("hangs", tmp_path)


def test_what_is_missing_is_told(smoke, monkeypatch, capsys):
    monkeypatch.setattr(smoke, "LIBRARIES", {"memory": ["no_such_library"]})
    assert smoke.is_fine("memory")
    assert capsys.readouterr().out == "memory: skipped: no_such_library is not installed\n"
    monkeypatch.setattr(smoke, "LIBRARIES", {})
    monkeypatch.setattr(smoke, "PROGRAMS", {"memory": ["no-such-program"]})
    assert smoke.missing_of("memory") == "there is no no-such-program"
    monkeypatch.setitem(smoke.PLACES, "whisper", Path("nowhere"))
    assert smoke.missing_of("long_recordings") == "there is no Whisper in CAPTUM_SPES_SHARED"
