"""Explanations in the formats of other tools, read back by these tools."""

import sys
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
import torch
import xarray
from praatio import textgrid

from captum_spes.alignment import read_alignments
from captum_spes.errors import ArgumentError
from captum_spes.io.files import whole_file
from captum_spes.report import exports as module
from captum_spes.report import unit_table, write_netcdf, write_textgrid, write_units
from captum_spes.speech.textgrids import Span, lanes
from tests.analysis.planted import bump, planted_result, previous

TIMES = [(0.1, 0.3), (0.4, 0.6), (0.6, 0.9)]


def planted(**changes):
    """Three words; the last is of two tokens, and its map is strong where the second's is."""
    maps = torch.stack(
        [bump(0.1, 0.3, 2, 5), bump(0.4, 0.7, 4, 9), *[bump(0.5, 0.8, 1, 3, seed=1)] * 2]
    )
    given = {
        "times": TIMES,
        "token_attr": previous(4, [0, 1, 0, 2]),
        "probabilities": torch.tensor([0.9, 0.5, 0.25, 1.0]),
        "ranks": torch.tensor([1, 2, 3, 1]),
        "runners_up": [" a", "=b", "c\udce9", " d"],
        "seed": 2**60,
        **changes,
    }
    return planted_result([" so", " =no", " may", "be"], maps, **given)


def silent():
    """Nothing is known of it but its maps."""
    return planted_result([" so", "."], torch.zeros(2, 100, 16), method="Saliency")


class TestTables:
    @pytest.mark.parametrize("of", ["words", "tokens"])
    def test_parquet_is_the_table(self, tmp_path, of):
        results = {"a": planted(), "b": silent(), "c": planted()}
        file = tmp_path / "units.parquet"
        table = unit_table(results, of)
        assert write_units(iter(results.items()), file, of) == len(table)
        pd.testing.assert_frame_equal(pd.read_parquet(file), table, check_dtype=False)

    def test_columns_have_types_where_all_is_unknown(self, tmp_path):
        write_units({"a": silent()}, tmp_path / "a.parquet")
        write_units({"a": planted()}, tmp_path / "b.parquet")
        first, second = (pyarrow.parquet.read_schema(tmp_path / f"{name}.parquet") for name in "ab")
        assert first == second
        assert str(first.field("rank").type) == "int64"
        assert str(first.field("start").type) == "double"
        assert str(first.field("rests_on_audio").type) == "bool"

    def test_csv_is_the_table(self, tmp_path):
        results = {"-a": planted(), "b": silent()}
        assert write_units(results, tmp_path / "units.CSV") == 5
        found, table = pd.read_csv(tmp_path / "units.CSV"), unit_table(results)
        # What spreadsheets would run has an apostrophe before it, and numbers have none.
        assert found["utterance"].tolist() == ["'-a"] * 3 + ["b"] * 2
        assert found["text"].tolist() == ["so", "'=no", "maybe", "so", "."]
        assert found["runner_up"].dropna().tolist() == ["a", "'=b", "c\\xe9"]
        texts = ["utterance", "text", "runner_up"]
        pd.testing.assert_frame_equal(
            found.drop(columns=texts), table.drop(columns=texts), check_dtype=False
        )

    @pytest.mark.parametrize("ending", [".csv", ".parquet"])
    def test_rows_are_written_as_they_come(self, tmp_path, monkeypatch, ending):
        """After the last chunk nothing is lost, and results are asked for one by one."""
        monkeypatch.setattr(module, "_ROWS", 4)
        asked, sizes = [], []
        file = tmp_path / f"units{ending}"

        def pairs():
            for name in "abcdef":
                asked.append(name)
                sizes.append(sum(path.stat().st_size for path in tmp_path.iterdir()))
                yield name, planted()

        def flushed(path):
            with whole_file(path) as opened:
                yield Unbuffered(opened)

        monkeypatch.setattr(module, "whole_file", contextmanager(flushed))
        assert write_units(pairs(), file) == 18
        assert asked == list("abcdef")
        assert sizes[0] < sizes[2] < sizes[5], "something stands in the file before the last one"
        read = pd.read_csv if ending == ".csv" else pd.read_parquet
        assert read(file)["utterance"].tolist() == [name for name in "abcdef" for _ in range(3)]
        if ending == ".parquet":
            assert pyarrow.parquet.ParquetFile(file).num_row_groups == 5

    @pytest.mark.parametrize("ending", [".csv", ".parquet"])
    def test_what_ends_half_way_leaves_what_was_there(self, tmp_path, ending):
        file = tmp_path / f"units{ending}"
        file.write_text("before")

        def pairs():
            yield "a", planted()
            raise OSError("the disk is gone")

        with pytest.raises(OSError, match="the disk is gone"):
            write_units(pairs(), file)
        assert file.read_text() == "before"
        assert [path.name for path in tmp_path.iterdir()] == [file.name]

    def test_nothing_is_a_table_without_rows(self, tmp_path):
        assert write_units({}, tmp_path / "a.csv") == write_units({}, tmp_path / "a.parquet") == 0
        columns = list(unit_table({}).columns)
        assert list(pd.read_csv(tmp_path / "a.csv").columns) == columns
        assert list(pd.read_parquet(tmp_path / "a.parquet").columns) == columns

    def test_what_is_refused(self, tmp_path, monkeypatch):
        with pytest.raises(ArgumentError, match=r"end in \.csv or \.parquet, got 'a\.xlsx'"):
            write_units({}, tmp_path / "a.xlsx")
        with pytest.raises(ArgumentError, match="of must be 'words' or 'tokens', got 'phones'"):
            write_units({}, tmp_path / "a.csv", of="phones")
        with pytest.raises(FileNotFoundError, match="no such folder to write into"):
            write_units({}, tmp_path / "none" / "a.csv")
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(ImportError, match=r"pip install 'captum-spes\[export\]'"):
            write_units({}, tmp_path / "a.parquet")
        assert list(tmp_path.iterdir()) == []


class Unbuffered:
    """A file in which everything is as soon as it is written."""

    def __init__(self, file):
        self._file = file

    def write(self, content):
        count = self._file.write(content)
        self._file.flush()
        return count

    def __getattr__(self, name):
        return getattr(self._file, name)


class TestNetCDF:
    @pytest.mark.parametrize("of", ["tokens", "words"])
    def test_it_is_the_dataset(self, tmp_path, of):
        result = planted()
        write_netcdf(result, tmp_path / "a.nc", of)
        with xarray.open_dataset(tmp_path / "a.nc") as found:
            xarray.testing.assert_equal(found.load(), result.to_xarray(of))
            assert found.attrs == result.to_xarray(of).attrs
            assert found["time"].attrs["units"] == "s"

    def test_sides_that_were_not_explained_are_left_out(self, tmp_path):
        write_netcdf(silent(), tmp_path / "a.nc")
        with xarray.open_dataset(tmp_path / "a.nc") as found:
            assert "token_attr" not in found
            assert set(found.sizes) == {"token", "time", "frequency", "level"}

    def test_a_file_appears_whole_or_not_at_all(self, tmp_path):
        (tmp_path / "a.nc").write_text("before")
        with pytest.raises(ArgumentError, match="take of='tokens'"):
            write_netcdf(planted_result(["</s>"], words=[]), tmp_path / "a.nc", of="words")
        assert (tmp_path / "a.nc").read_text() == "before"
        with pytest.raises(FileNotFoundError, match="no such folder to write into"):
            write_netcdf(planted(), tmp_path / "none" / "a.nc")


def tiers_of(file):
    grid = textgrid.openTextgrid(str(file), includeEmptyIntervals=False)
    assert grid.validate(reportingMode="error")
    return grid, {name: list(grid.getTier(name).entries) for name in grid.tierNames}


class TestTextGrids:
    def test_words_and_what_is_known_of_them(self, tmp_path):
        result = planted()
        write_textgrid(result, tmp_path / "a.TextGrid")
        grid, tiers = tiers_of(tmp_path / "a.TextGrid")
        assert (grid.minTimestamp, grid.maxTimestamp) == (0.0, 1.0)
        assert [entry.label for entry in tiers["words"]] == ["so", "=no", "maybe"]
        table = unit_table({"a": result})
        for name, column in (("impact", "impact"), ("probability", "probability")):
            assert [entry[:2] for entry in tiers[name]] == TIMES
            labels = [float(entry.label) for entry in tiers[name]]
            assert labels == pytest.approx(table[column].tolist(), rel=1e-2)
        assert [entry.label for entry in tiers["rests on audio"]] == ["yes"] * 3
        assert tiers["reliability"] == [], "planted maps have none"

    def test_the_words_are_an_alignment(self, tmp_path):
        write_textgrid(planted(), tmp_path / "a.TextGrid")
        words = read_alignments(tmp_path / "a.TextGrid")["a"].words
        assert [(word.start, word.end) for word in words] == TIMES

    def test_salient_places_that_overlap(self, tmp_path):
        """The second word's is from 0.4 to 0.7 s, the third's from 0.5 to 0.8 s."""
        result = planted()
        write_textgrid(result, tmp_path / "a.TextGrid")
        _, tiers = tiers_of(tmp_path / "a.TextGrid")
        table = unit_table({"a": result})
        found = {
            entry.label: (entry.start, entry.end)
            for name in ("salient", "salient 2")
            for entry in tiers[name]
        }
        assert [len(tiers[name]) for name in ("salient", "salient 2")] == [2, 1]
        for row in table.itertuples():
            label = f"{row.text} {row.lowest:.0f}-{row.highest:.0f} Hz"
            assert found[label] == pytest.approx((row.salient_start, row.salient_end))
        peaks = [(point.time, point.label) for point in tiers["peaks"]]
        assert peaks == [
            (pytest.approx(row.salient_peak), f"{row.text} {row.strongest:.0f} Hz")
            for row in table.itertuples()
        ]

    def test_peaks_at_one_moment_are_one_point(self, tmp_path):
        maps = bump(0.2, 0.4, 2, 5).expand(2, -1, -1)
        write_textgrid(planted_result([" a", " b"], maps), tmp_path / "a.TextGrid")
        _, tiers = tiers_of(tmp_path / "a.TextGrid")
        (point,) = tiers["peaks"]
        assert point.label.startswith("a ")
        assert ", b " in point.label

    def test_words_that_overlap_have_tiers_of_their_own(self, tmp_path):
        times = [(0.1, 0.5), (0.3, 0.6), (0.5, 0.5)]
        write_textgrid(planted(times=times), tmp_path / "a.TextGrid")
        _, tiers = tiers_of(tmp_path / "a.TextGrid")
        assert [entry[:] for entry in tiers["words"]] == [(0.1, 0.5, "so"), (0.5, 0.51, "maybe")]
        assert [entry[:] for entry in tiers["words 2"]] == [(0.3, 0.6, "=no")]
        assert [entry[:2] for entry in tiers["impact 2"]] == [(0.3, 0.6)]

    def test_tokens_that_spell_a_word_have_its_time(self, tmp_path):
        write_textgrid(planted(), tmp_path / "a.TextGrid", of="tokens")
        _, tiers = tiers_of(tmp_path / "a.TextGrid")
        assert [entry[:] for entry in tiers["tokens"]] == [
            (0.1, 0.3, "so"), (0.4, 0.6, "=no")
        ]  # fmt: skip

    def test_nothing_known_and_odd_texts(self, tmp_path):
        write_textgrid(silent(), tmp_path / "a.TextGrid")
        _, tiers = tiers_of(tmp_path / "a.TextGrid")
        assert set(map(len, tiers.values())) == {0}
        odd = planted_result([' "a"\n', " b\udce9"], times=[(0.1, 0.2), (0.3, 0.4)])
        write_textgrid(odd, tmp_path / "b.TextGrid")
        _, tiers = tiers_of(tmp_path / "b.TextGrid")
        assert [entry.label for entry in tiers["words"]] == ['"a"', "b\\xe9"]

    def test_a_window_ends_where_it_does_in_the_recording(self, tmp_path):
        result = planted(parameters={"window": {"start": 5.0, "end": 6.0}})
        write_textgrid(result, tmp_path / "a.TextGrid")
        assert tiers_of(tmp_path / "a.TextGrid")[0].maxTimestamp == 6.0

    def test_what_is_refused(self, tmp_path):
        with pytest.raises(ArgumentError, match="of must be 'words' or 'tokens', got 'phones'"):
            write_textgrid(planted(), tmp_path / "a.TextGrid", of="phones")
        with pytest.raises(FileNotFoundError, match="no such folder to write into"):
            write_textgrid(planted(), tmp_path / "none" / "a.TextGrid")


def test_lanes_never_overlap():
    generator = np.random.default_rng(0)
    starts = generator.uniform(0, 10, 200)
    spans = [Span(s, s + d) for s, d in zip(starts, generator.exponential(0.4, 200), strict=True)]
    found = lanes(spans)
    assert sorted(index for lane in found for index, _ in lane) == list(range(200))
    for lane in found:
        for (_, one), (_, other) in pairwise(lane):
            assert one.end <= other.start
    for index, span in (own for lane in found for own in lane):
        assert span.start == pytest.approx(spans[index].start, abs=0.01)
        assert span.end - span.start > 0.009
    # No more tiers than spans that share a moment.
    deepest = max(sum(s.start <= t.start < s.end + 0.01 for s in spans) for t in spans)
    assert len(found) <= deepest
