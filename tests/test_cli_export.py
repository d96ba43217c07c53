"""``captum-spes export``: from files, folders and stores to tables, netCDF and TextGrids."""

import json

import h5py
import pandas as pd
import pytest
import xarray
from praatio import textgrid

from captum_spes.analysis import load_results
from captum_spes.cli import main
from captum_spes.corpus import ExplanationStore
from captum_spes.report import unit_table
from tests.analysis.planted import planted_result

# The command line prints it.
pytestmark = pytest.mark.filterwarnings("always:left out")


def run(capsys, *arguments):
    status = main(["export", *map(str, arguments)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture
def explained(tmp_path):
    """Two explanations in a folder, as explain writes them."""
    for name, times in (("a", [(0.1, 0.3), (0.5, 0.7)]), ("b", None)):
        folder = tmp_path / "explained" / name
        folder.mkdir(parents=True)
        planted_result([" so", " no"], times=times).save(folder / "explanation.npz")
    return tmp_path / "explained"


@pytest.fixture
def store(tmp_path, explained):
    with ExplanationStore(tmp_path / "maps.h5") as opened:
        for name, result in load_results(explained).items():
            opened.add(name, result)
    return tmp_path / "maps.h5"


def texts(file):
    grid = textgrid.openTextgrid(str(file), includeEmptyIntervals=False)
    return [(entry.start, entry.end, entry.label) for entry in grid.getTier("words").entries]


def test_folders_stores_and_files_are_one(capsys, explained, store, tmp_path):
    files = sorted(explained.rglob("*.npz"))
    tables = []
    for number, places in enumerate(([explained], [store], files)):
        out = tmp_path / f"{number}.csv"
        status, printed, _ = run(capsys, *places, "--out", out)
        assert status == 0
        assert printed == f"4 rows of 2 explanations, written: {out}\n"
        tables.append(out.read_bytes())
    assert len(set(tables)) == 1
    assert pd.read_csv(out)["utterance"].tolist() == ["a", "a", "b", "b"]


def test_parquet_of_tokens(capsys, store, tmp_path):
    out = tmp_path / "tokens.parquet"
    assert run(capsys, store, "--of", "tokens", "--out", out)[0] == 0
    with ExplanationStore(store) as opened:
        table = unit_table(opened.items(), "tokens")
    found = pd.read_parquet(out)
    assert found["runner_up"].isna().all()
    pd.testing.assert_frame_equal(
        found.drop(columns="runner_up"), table.drop(columns="runner_up"), check_dtype=False
    )


def test_one_netcdf_and_many(capsys, explained, tmp_path):
    out = tmp_path / "maps"
    status, printed, _ = run(capsys, explained, "--format", "netcdf", "--out", out)
    assert status == 0
    assert printed == f"2 written, 0 failed: {out}\n"
    assert sorted(path.name for path in out.iterdir()) == ["a.nc", "b.nc"]
    one = tmp_path / "one.nc"
    assert run(capsys, explained / "a", "--of", "words", "--out", one)[0] == 0
    with xarray.open_dataset(out / "a.nc") as tokens, xarray.open_dataset(one) as words:
        assert tokens["spectrogram_attr"].dims[0] == "token"
        assert words["word_start"].values.tolist() == [0.1, 0.5]


def test_textgrids_take_the_times_of_alignments(capsys, explained, tmp_path):
    out = tmp_path / "grids"
    status, _, errors = run(capsys, explained, "--format", "textgrid", "--out", out)
    assert status == 0
    assert "in 1 of 2 no word has a time" in errors
    assert texts(out / "a.TextGrid") == [(0.1, 0.3, "so"), (0.5, 0.7, "no")]
    assert texts(out / "b.TextGrid") == []
    times = tmp_path / "times.jsonl"
    times.write_text(json.dumps({"id": "b", "words": [["so", 0.2, 0.4], ["no", 0.4, 0.6]]}))
    status, _, errors = run(
        capsys, explained, "--format", "textgrid", "--alignments", times, "--out", out
    )
    assert (status, errors) == (0, "captum-spes: a: no alignment\n")
    assert texts(out / "a.TextGrid") == [(0.1, 0.3, "so"), (0.5, 0.7, "no")]
    assert texts(out / "b.TextGrid") == [(0.2, 0.4, "so"), (0.4, 0.6, "no")]


def test_names_stay_in_the_folder(capsys, tmp_path):
    with ExplanationStore(tmp_path / "maps.h5") as store:
        for name in ("../up", "A", "a", "="):
            store.add(name, planted_result([" so"], times=[(0.1, 0.2)]))
    out = tmp_path / "out" / "grids"
    assert run(capsys, tmp_path / "maps.h5", "--format", "textgrid", "--out", out)[0] == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "%2E.%2Fup.TextGrid", "=.TextGrid", "A.TextGrid", "a-2.TextGrid"
    ]  # fmt: skip
    assert [path.name for path in out.parent.iterdir()] == ["grids"]


def test_what_is_damaged_is_left_out(capsys, explained, store, tmp_path):
    (explained / "a" / "explanation.npz").write_bytes(b"nonsense")
    status, printed, errors = run(capsys, explained, "--out", tmp_path / "a.csv")
    assert status == 0
    assert "left out: " in errors
    assert "2 rows of 1 explanations" in printed
    with h5py.File(store, "r+") as file:
        del file["explanations/00/00/00/spectrogram_attr"]
    status, printed, errors = run(capsys, store, "--out", tmp_path / "b.csv")
    assert status == 0
    assert "left out: " in errors
    assert "2 rows of 1 explanations" in printed


def test_one_that_cannot_be_written_does_not_end_the_run(capsys, explained, tmp_path):
    planted_result(["</s>"], words=[]).save(explained / "silence.npz")
    out = tmp_path / "maps"
    status, printed, errors = run(
        capsys, explained, "--format", "netcdf", "--of", "words", "--out", out
    )
    assert (status, printed) == (1, f"2 written, 1 failed: {out}\n")
    assert errors.startswith("captum-spes: silence: the output has no words of its own")
    status, _, errors = run(
        capsys, explained / "silence.npz", "--of", "words", "--out", tmp_path / "a.nc"
    )
    assert status == 2
    assert errors.splitlines()[-1] == "captum-spes: error: no explanation could be written."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "a.xlsx"], "--out must end in one of .csv, .parquet, .nc, .TextGrid, or"),
        (["--out", "a"], "or --format say what to write; got 'a'"),
        (["--out", "a.nc", "--format", "csv"], "--format csv is written into a file that ends in"),
        (["--out", "a", "--format", "csv"], "written into a file that ends in .csv, got --out 'a'"),
        (["--out", "a.csv", "--format", "netcdf"], "written into a folder, or a file that ends in"),
        (["--out", "a.nc"], "holds one explanation, and there are several: give a folder"),
        (["--out", "a.textgrid"], "a file that ends in .TextGrid holds one explanation"),
        (["--out", "none/a.csv"], "no such folder to write into: none"),
        (["explained/a", "--out", "a.csv"], "there is an explanation of 'a' already"),
        (["none", "--out", "a.csv"], "no such explanation: none"),
        (["none.h5", "--out", "a.csv"], "no such explanation: none.h5"),
        (["empty", "--out", "out", "--format", "netcdf"], "holds no saved explanation"),
    ],
)
def test_what_is_refused(capsys, explained, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    before = sorted(tmp_path.rglob("*"))
    given = [] if arguments[0] == "empty" else [explained]
    status, printed, errors = run(capsys, *given, *arguments)
    assert (status, printed) == (2, "")
    assert message in errors
    assert len(errors.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before, "nothing was made"


def test_an_empty_store(capsys, store, tmp_path):
    with ExplanationStore(tmp_path / "empty.h5") as opened:
        opened.bind({})
    status, _, errors = run(capsys, tmp_path / "empty.h5", "--out", tmp_path / "a.csv")
    assert status == 2
    assert errors == f"captum-spes: error: {tmp_path / 'empty.h5'} holds no explanation.\n"
