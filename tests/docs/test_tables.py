"""Tables of docs/results say what the files in benchmarks/results say.

``python docs/tables`` writes them anew; docs/tables says how a table is made.
"""

import importlib
import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

# Tables of docs/results that no file gives, by the heads of their first columns in the order of the
# page, each with the reason. A new table gets a marker or stands here.
UNMARKED = {
    "results/passes.md": [
        ("way", "bootstrapped by `benchmarks/few_passes.py table`, which needs more than Python"),
        ("what", "trials, several to a cell; the page names no file of them"),
        ("what", "trials, several to a cell; the page names no file of them"),
        ("scheme", "bootstrapped by `benchmarks/sample_efficiency.py table`"),
        ("scheme", "bootstrapped by `benchmarks/sample_efficiency.py table`"),
    ],
    "results/speed.md": [("what", "one cell holds several figures of several files")],
}


def load(name):
    """A module of docs/tables; the folder is loaded under a name that is nobody else's."""
    if "docs_tables" not in sys.modules:
        folder = DOCS / "tables"
        spec = importlib.util.spec_from_file_location(
            "docs_tables", folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        sys.modules["docs_tables"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["docs_tables"])
    return importlib.import_module(f"docs_tables.{name}")


pages, shape, sources = load("pages"), load("shape"), load("sources")
needs_results = pytest.mark.skipif(
    not (sources.RESULTS / "README.md").exists(),
    reason="benchmarks/results is missing, as in a source distribution",
)


@pytest.fixture
def docs(tmp_path):
    """A copy of the pages of results, to be changed; right, whatever the pages themselves are."""
    shutil.copytree(DOCS / "results", tmp_path / "results")
    pages.rewrite(tmp_path)
    return tmp_path


def change(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


def unmarked(docs):
    return {
        page.relative_to(docs).as_posix(): heads
        for page in sorted((docs / "results").glob("*.md"))
        if (heads := _unmarked_of(page.read_text(encoding="utf-8").splitlines()))
    }


def _unmarked_of(lines):
    tables = [table for table in pages.tables_of(lines) if not table.name]
    return [sources.cells(table.lines[0])[0] for table in tables]


@needs_results
def test_pages_and_result_files_agree():
    found = pages.differences(DOCS)
    assert not found, "run `python docs/tables`, or correct what it cannot:\n" + "\n".join(found)


def test_tables_without_a_marker_are_listed_with_a_reason():
    listed = {page: [head for head, _ in tables] for page, tables in UNMARKED.items()}
    assert unmarked(DOCS) == listed, "give the table a marker and a specification, or list it"


def test_a_new_table_without_a_marker_is_found(docs):
    with (docs / "results" / "deletion.md").open("a", encoding="utf-8") as page:
        page.write("\n| new | table |\n|---|---|\n| a | 1 |\n")
    assert unmarked(docs)["results/deletion.md"] == ["new"]


@needs_results
def test_a_wrong_number_is_named_by_page_table_row_and_cell_and_put_right(docs):
    page = docs / "results" / "deletion.md"
    before = page.read_text(encoding="utf-8")
    change(page, "| 29.0 | 32.2 |", "| 29.0 | 32.3 |")
    assert pages.differences(docs) == [
        "docs/results/deletion.md, table deletion-bundled, row 3 (bubble-noise), column 'size ↓': "
        "the page says '32.3', the file '32.2'"
    ]
    assert pages.rewrite(docs) == ["docs/results/deletion.md"]
    assert page.read_text(encoding="utf-8") == before


@needs_results
def test_a_changed_result_file_is_noticed(docs, tmp_path, monkeypatch):
    changed = tmp_path / "changed"
    shutil.copytree(sources.RESULTS / "plausibility", changed / "plausibility")
    change(changed / "plausibility" / "methods_whisper.csv", "89.25", "88.25")
    monkeypatch.setattr(sources, "RESULTS", changed)
    found = [line for line in pages.differences(docs) if "plausibility-methods" in line]
    assert len(found) == 1
    assert "the page says '89 (+72)', the file '88 (+72)'" in found[0]
    # The other files are not there: each table says so, and its page stays as it is.
    missing = "deletion-whisper, cannot be made: FileNotFoundError"
    assert any(missing in line for line in pages.differences(docs))
    assert pages.rewrite(docs) == ["docs/results/plausibility.md"]


@needs_results
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("<!-- table: listening-orders -->\n", "", "no marker on this page"),
        ("listening-orders", "listening-order", "docs/tables has no specification"),
        ("orders -->\n", "orders -->\n\nText\n\n", "no table stands directly below its marker"),
        ("| random patches | 40 % |", "| random patch | 40 % |", "'random patch'"),
        ("| correlation ↑ |", "| correlation |", "header: "),
        ("\n| random patches | 40 %", "\n\n| random patches | 40 %", "has 5 rows"),
        (
            "\nSo listen to",
            "\n<!-- table: listening-orders -->\n| a |\n|---|\n\nSo listen to",
            "2 tables have this marker",
        ),
    ],
)
def test_markers_specifications_and_shapes_have_to_match(docs, old, new, said):
    change(docs / "results" / "listening.md", old, new)
    assert any("listening" in line and said in line for line in pages.differences(docs))


@pytest.mark.parametrize(
    ("text", "digits", "shown"),
    [
        ("60.839 [56.284, 65.973]", 1, "60.8 [56.3, 66.0]"),
        ("-11.333 [-18.669, -3.831]", 0, "-11 [-19, -4]"),
        ("0.1251 [0.0949, 0.1349]", 2, "0.13 [0.09, 0.13]"),
        ("-0.001 [-0.004, 0.040]", 2, "0.00 [-0.00, 0.04]"),
        ("1004.0", 0, "1004"),
        ("", 1, "-"),
        ("-", 1, "-"),
        ("6.2 %", None, "6.2 %"),
    ],
)
def test_cells_are_rounded_part_by_part(text, digits, shown):
    assert shape.rounded(text, digits) == shown


def test_a_tie_in_a_file_may_be_rounded_either_way_and_nothing_else_may():
    """Files were rounded before: what ends in a 5 there does not tell which way to go on."""
    made = shape.rounded("0.135 [0.104, 0.145]", 2)
    for shown in ("0.13 [0.10, 0.14]", "0.14 [0.10, 0.15]", "0.14 [0.10, 0.14]"):
        assert shape.agrees(shown, made)
    for shown in ("0.12 [0.10, 0.14]", "0.13 [0.11, 0.14]", "0.13 (0.10, 0.14)", "0.13", ""):
        assert not shape.agrees(shown, made)
    assert shape.decided(made) == "0.14 [0.10, 0.15]"
    assert shape.decided(shape.number("-0.125", 2)) == "-0.13"


@needs_results
def test_what_no_file_decides_stays_when_a_table_is_written(docs):
    page = docs / "results" / "contrast.md"
    before = page.read_text(encoding="utf-8")
    # A wrong peak; in the same row stands a noise of the map that no file has.
    change(page, "| 5.65 | 41 % |", "| 5.66 | 41 % |")
    # The file has 90.500.
    change(page, "| 91 [85, 96] |", "| 90 [85, 96] |")
    assert len(pages.differences(docs)) == 1
    pages.rewrite(docs)
    assert page.read_text(encoding="utf-8") == before.replace("| 91 [85", "| 90 [85")


@needs_results
def test_a_lost_row_is_written_again(docs):
    page = docs / "results" / "deletion.md"
    before = page.read_text(encoding="utf-8")
    lines = before.splitlines()
    del lines[lines.index("<!-- table: deletion-whisper -->") + 4]
    page.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert pages.rewrite(docs) == ["docs/results/deletion.md"]
    assert page.read_text(encoding="utf-8") == before


def test_a_new_table_is_written_below_its_marker_and_fences_are_left_alone(tmp_path, monkeypatch):
    made = shape.Table(["a", "b"], [["x", "1"], ["y", ""]])
    monkeypatch.setattr(pages, "REGISTRY", {"page.md": {"new": lambda: made}})
    page = tmp_path / "page.md"
    below = "\n```\n<!-- table: new -->\n| c |\n|---|\n```\n"
    page.write_text("Text\n\n<!-- table: new -->\n| ? |\n|---|\n" + below, encoding="utf-8")
    pages.rewrite(tmp_path)
    table = "| a | b |\n|---|---|\n| x | 1 |\n| y | |\n"
    assert page.read_text(encoding="utf-8") == "Text\n\n<!-- table: new -->\n" + table + below
    assert pages.differences(tmp_path) == []


def test_rows_and_columns_are_picked_by_name():
    source = [{"method": "a", "size": "1.26"}, {"method": "b", "size": "2"}]
    table = shape.picked(source, {"b": "B", "a": "A"}, {"size": ("size ↓", 1)}, by="method")
    assert table == (["method", "size ↓"], [["B", "2.0"], ["A", "1.3"]])
    with pytest.raises(ValueError, match="0 rows"):
        shape.picked(source, ["c"], {"size": ("size", 1)}, by="method")
    with pytest.raises(ValueError, match="no column 'width'"):
        shape.picked(source, ["a"], {"width": ("width", 1)}, by="method")
    with pytest.raises(ValueError, match="2 rows"):
        shape.picked([*source, *source], ["a"], {"size": ("size", 1)}, by="method")
