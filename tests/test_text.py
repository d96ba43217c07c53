"""Text from data in every format: Markdown, CSV, the terminal, tables."""

import csv
import io

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captum_spes.report.tables import fenced_table, markdown_table, write_frame, write_rows
from captum_spes.text import for_csv, for_markdown, for_terminal, visible

ANYTHING = st.text(st.characters(exclude_categories=()), max_size=30)
QUIET = settings(deadline=None, max_examples=150, derandomize=True, database=None)
ATTACKS = [
    "x\n\n# H\n<script>", "a|b", "# H", "> q", "- i", "* i", "+ i", "1. i", "1) i", "---", "===",
    "`code`", "```", "*b*", "_b_", "__b__", "[a](b)", "![a](b)", "<b>", "&lt;", "&amp;", "~~s~~",
    "\\|", "\\", "a\\", "    code", "|", "a\r\nb", "\u2028", "$x$", ": d", "[x]: http://a",
    "-1.5 [-2.0, 1.0]", "1 [2, 3](4)", "-", "1.",
]  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS, ids=ascii)
def test_markdown_shows_it_as_it_is(attack):
    markdown_it = pytest.importorskip("markdown_it")
    reader = markdown_it.MarkdownIt("commonmark").enable(["table", "strikethrough"])

    def texts(source):
        found = []
        for token in reader.parse(source):
            if token.type == "inline":
                found.append("".join(c.content for c in token.children))
                assert {c.type for c in token.children} <= {"text", "text_special"}
            assert token.type not in ("html_block", "code_block", "fence", "blockquote_open", "hr")
        return found

    assert texts(markdown_table(["id", "n"], [[attack, "1"]])) == [
        "id", "n", visible(attack).strip(), "1",
    ]  # fmt: skip
    item = reader.parse(f"* {for_markdown(attack)}, spes: error")
    assert [t.type for t in item if t.type.endswith("_open")] == [
        "bullet_list_open", "list_item_open", "paragraph_open",
    ]  # fmt: skip
    assert texts(f"# {for_markdown(attack)} end")[0].split() == [*visible(attack).split(), "end"]


def test_numbers_in_a_table_can_be_read_without_a_renderer():
    rows = [["-1.50 [-2.00, 1.00]", "1,000", "-", "+3"]]
    assert markdown_table(["a", "b", "c", "d"], rows).endswith(f"| {' | '.join(rows[0])} |")


def test_ordinary_names_stay_readable():
    for text in ("spes-efficient", "lime@25", "test-00121", "feature_wise", "Zürich 1", "it's"):
        assert for_markdown(text) == for_csv(text) == visible(text) == text


FORMULAS = [
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    " =1",
    "\uff1d1",
    "=cmd|' /C calc'!A0",
]


@pytest.mark.parametrize("cell", FORMULAS, ids=ascii)
def test_no_cell_of_a_csv_is_a_formula(cell, tmp_path):
    write_rows(tmp_path / "rows.csv", [cell, "n"], [[cell, -0.5]])
    write_frame(tmp_path / "frame.csv", pd.DataFrame({cell: [cell], "n": [-0.5]}))
    for name in ("rows.csv", "frame.csv"):
        with (tmp_path / name).open(newline="", encoding="utf-8") as file:
            for row in csv.reader(file):
                assert row[0].strip()[0] not in "=+-@\t\r\uff1d"
        assert row[1] == "-0.5"


def test_numbers_of_a_csv_stay_numbers():
    for cell in ("-0.1234", "+2", "-1e-5", "-inf", 3, -2.5, None, True):
        assert for_csv(cell) is cell or for_csv(cell) == cell


@QUIET
@given(ANYTHING)
def test_every_csv_can_be_read_back(text):
    content = io.StringIO()
    csv.writer(content).writerow([for_csv(text), "end"])
    content.getvalue().encode()
    assert list(csv.reader(io.StringIO(content.getvalue()))) == [[for_csv(text), "end"]]


@QUIET
@given(ANYTHING)
def test_nothing_moves_the_cursor_of_a_terminal(text):
    shown = for_terminal(text)
    assert all(c == "\n" or c not in "\x1b\r\x07\x08\x9b\u202e\u2066\u2028" for c in shown)
    assert "\n" not in visible(text)
    visible(text).encode()
    assert shown.count("\n") == text.count("\n")


def test_letters_of_all_scripts_are_shown():
    for text in ("Zürich", "今天", "हिन्दी", "مرحبا", "👩‍🔬", "a b\u00a0c", "x́"):
        assert visible(text) == text
    assert visible("a\x1b[31m\udce9\u202e") == "a\\x1b[31m\\xe9\\u202e"


def test_a_table_of_fixed_width_is_not_ended_or_widened_by_a_cell():
    frame = pd.DataFrame({"word": ["```\n# H", "x" * 5000, "\x1b[2J"], "n": [1, 2, 3]})
    lines = fenced_table(frame, ".2f").split("\n")
    assert lines[0] == lines[-1] == "````"
    assert len(lines) == 6
    assert max(map(len, lines)) < 100
    assert "\x1b" not in "".join(lines)
