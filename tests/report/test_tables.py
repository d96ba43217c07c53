"""Tables and figures as text and files."""

import csv

import pandas as pd
import pytest
from matplotlib.figure import Figure

from captum_spes import report, stability
from captum_spes.report.figures import write_figure
from captum_spes.report.tables import (
    aligned_lines,
    fenced_table,
    markdown_table,
    with_interval,
    write_frame,
    write_rows,
)

FRAME = pd.DataFrame({"word": ["so, so", "no"], "score": [0.123456, 2.0]})


def test_csv_of_a_frame(tmp_path):
    path = write_frame(tmp_path / "a.csv", FRAME)
    assert path.read_bytes() == b'word,score\n"so, so",0.123456\nno,2.0\n'
    write_frame(path, FRAME, float_format="%.2f")
    assert path.read_bytes() == b'word,score\n"so, so",0.12\nno,2.00\n'


def test_csv_of_rows(tmp_path):
    path = write_rows(tmp_path / "a.csv", ["word", "score"], [["so, so", 0.5], ['"ß"', None]])
    assert path.read_bytes() == 'word,score\n"so, so",0.5\n"""ß""",\n'.encode()
    with path.open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file))[2] == ['"ß"', ""]


def test_a_table_that_fails_leaves_the_file_that_was_there(tmp_path):
    path = write_rows(tmp_path / "a.csv", ["n"], [[1]])

    def rows():
        yield [2]
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_rows(path, ["n"], rows())
    assert path.read_text() == "n\n1\n"


def test_a_figure_that_fails_leaves_the_file_that_was_there(tmp_path):
    path = write_figure(tmp_path / "a.png", Figure())
    before = path.read_bytes()
    assert before.startswith(b"\x89PNG")
    broken = Figure()
    broken.text(0.5, 0.5, "$x_1^$")
    with pytest.raises(ValueError, match="x_1"):
        write_figure(path, broken)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_markdown():
    table = markdown_table(["a", "b"], [["1", "2"], ["3", "4"]])
    assert table == "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |"
    assert markdown_table(["a"], []) == "| a |\n|---|"


def test_fixed_width():
    expected = "```\n  word  score\nso, so   0.12\n    no   2.00\n```"
    assert fenced_table(FRAME, ".2f") == expected
    lines = aligned_lines("{:<5} {:>3}  {}", ["word", "n", "x"], [["so", "1", "y"], ["no", "", ""]])
    assert lines == ["word    n  x", "so      1  y", "no"]


def test_intervals():
    assert with_interval(0.5, (0.25, 0.75), ".2f") == "0.50 [0.25, 0.75]"
    assert with_interval(0.5, (-0.25, 0.75), "+.1f") == "+0.5 [-0.2, +0.8]"
    assert with_interval(0.5, None, ".1f") == "0.5"


def test_former_names_go_on_with_a_warning():
    names = {"plot_reliability": "plot_stability", "write_reliability": "write_stability"}
    for former, new in names.items():
        with pytest.warns(DeprecationWarning, match=f"{former} is {new} now"):
            assert getattr(report, former) is getattr(report, new)
    assert report.plot_stability is stability.plot_stability
    with pytest.raises(AttributeError, match="plot_nothing"):
        _ = report.plot_nothing
