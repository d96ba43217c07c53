"""Names of files made from data: in their folder on every system, readable back, and distinct."""

import ntpath
import os
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captum_spes.io.names import FileNames, file_name, text_of_file_name

ANYTHING = st.text(st.characters(exclude_categories=()), max_size=300)
ODD = [
    "", ".", "..", "...", "-", "--out", "~", "/", "/etc/passwd", "../../x", "a/b", "a\\b", "C:",
    "a:b", "a\0b", "a\nb", "\x1b[2J", "con", "CON", "nul.txt", "LPT1", "com¹.x", " a", "a ", "a.",
    ".hidden", "x" * 400, "漢" * 200, "\udce9", "\ud800", "a%2Fb", "50%", "\u202egpj.exe", "<b>|?*",
]  # fmt: skip


def check(text, folder):
    name = file_name(text)
    assert 1 <= len(name.encode()) <= 180
    path = folder / name
    assert os.path.normpath(path) == str(path)
    assert path.parent == folder
    assert not set(name) & set('<>:"/\\|?*')
    assert name.isprintable()
    assert not name.startswith((".", "-", " "))
    assert not name.endswith((".", " "))
    # What Windows takes for a device is none of these.
    assert ntpath.splitext(name.split(".")[0])[0].upper() not in {"CON", "PRN", "AUX", "NUL"}


@pytest.mark.parametrize("text", ODD, ids=ascii)
def test_odd_texts_make_files_in_their_folder(text, tmp_path):
    check(text, tmp_path)
    (tmp_path / file_name(text)).write_text("x")
    assert len(list(tmp_path.iterdir())) == 1


@settings(deadline=None, max_examples=200, derandomize=True, database=None)
@given(ANYTHING)
def test_any_text_makes_a_name_that_can_be_read_back(text):
    from pathlib import Path

    check(text, Path("/folder"))
    if len(text.encode("utf-8", "surrogatepass")) < 50 and text:
        lone = any(0xD800 <= ord(c) < 0xDC80 or 0xDD00 <= ord(c) < 0xE000 for c in text)
        composed = unicodedata.normalize("NFC", text)
        if not lone:
            assert text_of_file_name(file_name(text)) == composed


def test_ordinary_names_stay():
    for text in ("test-00121", "Zürich 1", "漢字", "a.b", "50%", "openai_whisper", "it's", "100%x"):
        assert file_name(text) == text
        assert text_of_file_name(text) == text
    # Written by no one here: read as they are.
    assert text_of_file_name("50%20x") == "50%20x"


def test_long_names_stay_apart():
    one, other = file_name("x" * 300 + "a"), file_name("x" * 300 + "b")
    assert one != other
    assert file_name("x" * 300 + "a") == one


@pytest.mark.parametrize(
    "texts",
    [
        ["tone", "tone", "tone"],
        ["Tone", "tone", "TONE"],
        [unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é"), "É"],
        ["tone", "tone", "tone-2"],
        ["tone-2", "tone", "tone"],
        ["straße", "STRASSE", "strasse"],
        ["a/b", "a%2Fb", "a%2fb"],
        ["x" * 300, "x" * 300, "X" * 300],
        ["..", "..", "%2E."],
    ],
)
def test_names_that_some_system_takes_for_one_are_told_apart(texts):
    names = FileNames()
    made = [names.new(text) for text in texts]
    assert len({unicodedata.normalize("NFD", name.casefold()) for name in made}) == len(texts)


def test_names_that_are_taken():
    assert FileNames("table").new("Table") == "Table-2"
