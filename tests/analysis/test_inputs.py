"""Explanations are read, and their words get times."""

import os
import unicodedata

import pytest

from captum_spes.alignment import Alignment, Interval
from captum_spes.analysis import (
    align_results,
    frequency_profiles,
    load_results,
    read_groups,
)
from captum_spes.errors import ArgumentError
from tests.analysis.planted import planted_result

SPOKEN = Alignment((Interval("so", 0.1, 0.3),))


def test_results_of_a_folder(tmp_path):
    (tmp_path / "a").mkdir()
    planted_result([" so"]).save(tmp_path / "a" / "explanation.npz")
    planted_result([" no"]).save(tmp_path / "b.npz")
    found = load_results(tmp_path)
    assert {name: result.text for name, result in found.items()} == {"a": " so", "b": " no"}
    assert list(load_results(tmp_path / "a" / "explanation.npz")) == ["a"]
    planted_result([" no"]).save(tmp_path / "a.npz")
    with pytest.raises(ArgumentError, match="'a' already"):
        load_results(tmp_path)


def test_no_results(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such explanation"):
        load_results(tmp_path / "x")
    with pytest.raises(ArgumentError, match="no saved explanation"):
        load_results(tmp_path)
    (tmp_path / "broken.npz").write_bytes(b"no")
    with pytest.raises(ArgumentError, match=r"broken\.npz"):
        load_results(tmp_path)


def test_what_has_no_times_is_named():
    texts = {"a": [" so", "."], "b": [" no"], "c": [" so"]}
    results = {name: planted_result(tokens) for name, tokens in texts.items()}
    found = align_results(results, {"a": SPOKEN, "b": SPOKEN, "z": SPOKEN})
    assert list(found.results) == list(found.alignments) == ["a", "b"]
    assert found.results["a"].words[0].start == 0.1
    assert found.dropped == {"c": "no alignment"}
    assert found.results["b"].words[0].start is None
    assert found.unmatched_written == {"a": (), "b": ("no",)}
    assert found.unmatched_spoken == {"a": (), "b": ("so",)}
    with pytest.raises(ArgumentError, match=r"\(a, b, c\) has an alignment; .* of z\. The name"):
        align_results(results, {"z": SPOKEN})


@pytest.mark.parametrize("of_results", ["NFC", "NFD"])
@pytest.mark.parametrize("of_alignments", ["NFC", "NFD"])
def test_names_are_compared_in_one_form(of_results, of_alignments):
    name = unicodedata.normalize(of_results, "Zürich")
    results = {name: planted_result([" so"]), "b": planted_result([" so"])}
    found = align_results(results, {unicodedata.normalize(of_alignments, "Zürich"): SPOKEN})
    assert list(found.results) == list(found.alignments) == [name]
    assert found.dropped == {"b": "no alignment"}


@pytest.mark.parametrize("word", ["21", "1961", "1.5th", "9" * 5000])
@pytest.mark.parametrize("language", ["en", "sv", "vi", "am", "el"])
def test_an_odd_number_ends_no_analysis(word, language):
    results = {"a": planted_result([" so", f" {word}"]), "b": planted_result([" so"])}
    found = align_results(results, {"a": SPOKEN, "b": SPOKEN}, language=language)
    assert found.unmatched_written == {"a": (word,), "b": ()}


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_groups_of_composed_names(tmp_path, form):
    path = tmp_path / "m.jsonl"
    name = unicodedata.normalize(form, "Zürich")
    path.write_text(f'{{"id": "{name}", "speaker": 3}}', encoding="utf-16")
    assert read_groups(path, "speaker") == {"Zürich": "3"}
    result = planted_result([" so"], times=[(0.1, 0.3)])
    profiles = frequency_profiles({name: result}, groups=read_groups(path, "speaker"))
    assert profiles.table["group"].tolist() == ["3"]


def test_groups_that_cannot_be_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ArgumentError, match="no regular file"):
        read_groups(tmp_path / "pipe", "speaker")
    (tmp_path / "deep").write_text("[" * 100_000)
    with pytest.raises(ArgumentError, match="nested too deeply"):
        read_groups(tmp_path / "deep", "speaker")


def test_groups(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text('{"id": "a", "speaker": 3}\n\n{"name": "b", "speaker": 4}\n{"id": "c"}\n')
    assert read_groups(path, "speaker") == {"a": "3", "b": "4"}
    with pytest.raises(ArgumentError, match="field 'gender'"):
        read_groups(path, "gender")
    path.write_text('{"gender": "female"}')
    with pytest.raises(ArgumentError, match="objects with an id"):
        read_groups(path, "gender")
    path.write_text("[1]")
    with pytest.raises(ArgumentError, match="no JSONL"):
        read_groups(path, "speaker")
    with pytest.raises(FileNotFoundError):
        read_groups(tmp_path / "x", "speaker")


def test_a_damaged_explanation_is_named_and_the_others_are_read(tmp_path):
    from tests.speech.test_result import make

    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        make().save(tmp_path / name / "explanation.npz")
    (tmp_path / "one" / "explanation.npz").write_bytes(b"PK damaged")
    with pytest.warns(UserWarning, match=r"left out: .*one.explanation\.npz is damaged"):
        assert list(load_results(tmp_path)) == ["two"]
    with pytest.raises(ArgumentError, match="is damaged"):
        load_results(tmp_path / "one")
