"""The standing benchmark: anybody's method gets its row, and only like is put beside like."""

import csv
import hashlib
import json
from pathlib import Path

import pytest

from captum_spes.benchmark import (
    DEFAULT_METHODS,
    SUITE,
    joined_standing,
    standing_benchmark,
)
from captum_spes.cli import main
from captum_spes.cli.benchmark import METHODS as SHOWN_DEFAULT
from captum_spes.demo import load_examples
from captum_spes.errors import ArgumentError, ArgumentTypeError

TRIAL = SUITE.trial()
# A method of Captum's, made by a function, and objects that are no methods.
OWN_CODE = '''
from captum.attr import LayerActivation, Saliency


def gradients(model):
    """How fast a token's probability changes with each cell.

    More of this.
    """
    return Saliency(model)


def of_layers(model):
    return LayerActivation(model, model.get_encoder())


def fails(model):
    raise KeyError("no such layer")


number = 3
'''


@pytest.fixture(scope="module")
def own_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "mine.py"
    path.write_text(OWN_CODE)
    return path


@pytest.fixture(scope="module")
def measured(own_file, tmp_path_factory):
    """An own method beside a control, measured by the command."""
    out = tmp_path_factory.mktemp("measured") / "out"
    own = f"mine={own_file}:gradients"
    arguments = [
        "--trial",
        "--methods",
        "energy,saliency",
        "--method",
        own,
        "--out",
        str(out),
        "--quiet",
    ]
    assert main(["benchmark", *arguments]) == 0
    return out, arguments


def submission(folder):
    return json.loads((folder / "submission.json").read_text())


def test_an_own_method_gets_its_row(measured):
    out, _ = measured
    with open(out / "table.csv", newline="") as file:
        rows = {
            (row["method"], row["measure"], row["removal"]): row for row in csv.DictReader(file)
        }
    # Equal maps for all tokens are worth nothing; gradients of each are worth more.
    assert float(rows["energy", "own token", "mean"]["value"]) == 0
    own = rows["mine", "own token", "mean"]
    assert float(own["value"]) > 0.01
    assert float(own["difference"]) == float(own["value"])
    assert {row["suite"] for row in rows.values()} == {"1-trial"}
    table = (out / "table.md").read_text()
    assert table.startswith("| method | own token, mean ↑ | minus energy |")
    assert table.index("| mine |") < table.index("| energy |")  # the best first
    assert "* mine: How fast a token's probability changes with each cell.\n" in table
    # It is run as the package runs the method that it is.
    for (method, *measure), row in rows.items():
        if method == "saliency" and measure[0] != "seconds":
            assert rows["mine", *measure]["value"] == row["value"]
    names = {path.name for path in out.iterdir()}
    assert names >= {"scores.jsonl", "settings.json", "suite.json", "run.json"}


def test_a_submission_says_what_was_measured_with_what(measured, own_file):
    found = submission(measured[0])
    assert found["suite"]["version"] == "1-trial"
    assert {"torch", "captum"} <= set(found["versions"])
    assert found["machine"]["cores"] >= 1
    energy, _, own = found["methods"]
    assert energy["source"] is None
    digest = hashlib.blake2b(own_file.read_bytes(), digest_size=16).hexdigest()
    assert own["source"] == digest
    assert list(own["scores"]) == list(TRIAL.recordings)
    line = json.loads((measured[0] / "scores.jsonl").read_text().splitlines()[2])
    assert own["scores"][line["id"]]["own_tokens"] == line["own_tokens"]
    (value,) = (m["value"] for m in own["measures"] if m["measure"] == "own token")
    assert value > 0.01


def test_a_run_goes_on_to_the_same_table(measured, monkeypatch):
    out, arguments = measured
    before = (out / "table.md").read_text()
    lines = (out / "scores.jsonl").read_text().splitlines(keepends=True)
    (out / "scores.jsonl").write_text(lines[0] + lines[1] + lines[2][:50])  # killed while it wrote
    (out / "table.md").unlink()
    assert main(["benchmark", *arguments]) == 0
    again = (out / "scores.jsonl").read_text().splitlines(keepends=True)
    assert again[:2] == lines[:2]

    def without_seconds(text):
        return [line.rpartition("|")[0].rpartition("|")[0] if line.startswith("| ") else line
                for line in text.splitlines()]  # fmt: skip

    assert without_seconds((out / "table.md").read_text()) == without_seconds(before)


def test_scores_of_other_code_are_not_gone_on_with(measured, tmp_path):
    changed = tmp_path / "mine.py"
    changed.write_text(OWN_CODE + "\nnumber = 4\n")
    with pytest.raises(ArgumentError, match=r"scores of mine made with other settings \(source"):
        standing_benchmark([f"mine={changed}:gradients"], out=measured[0], suite=TRIAL)


def test_code_that_failed_can_be_mended(tmp_path):
    path = tmp_path / "mine.py"
    mended = "from captum_spes import EnergyMap\n\n\nclass Mine(EnergyMap):"
    path.write_text(f"{mended}\n    def maps(self, *args):\n        raise KeyError('no')\n")
    with pytest.raises(ArgumentError, match="measured with every method; Mine: KeyError: 'no'"):
        standing_benchmark([f"{path}:Mine"], out=tmp_path / "out", suite=TRIAL)
    path.write_text(f"{mended}\n    pass\n")
    found = standing_benchmark([f"{path}:Mine"], out=tmp_path / "out", suite=TRIAL)
    assert found.rows()[0]["value"] == 0


def test_a_folder_of_another_suite_is_not_gone_on_with(measured):
    with pytest.raises(ArgumentError, match=r"other settings \(recordings, removals, version"):
        standing_benchmark(["energy"], out=measured[0])


def test_submissions_are_joined(measured, tmp_path, capsys):
    out, _ = measured
    one, other = submission(out), submission(out)
    one["methods"], other["methods"] = (
        one["methods"][:1],
        [own for own in other["methods"] if own["name"] != "saliency"][::-1],
    )
    one["methods"][0]["scores"][TRIAL.recordings[0]]["cost"]["seconds"] = 99  # another machine
    paths = [tmp_path / "one.json", tmp_path / "other.json"]
    for path, own in zip(paths, (one, other), strict=True):
        path.write_text(json.dumps(own))
    assert main(["benchmark", "--join", *map(str, paths)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("| energy |") == 1  # the same scores, once
    assert "energy (2)" not in printed
    assert "minus energy" in printed
    rows = {(r["method"], r["measure"], r["removal"]): r for r in joined_standing(paths).rows()}
    mine = rows["mine", "own token", "mean"]
    assert mine["difference"] == mine["value"] > 0.01


def test_the_same_name_with_other_scores_gets_a_number(measured, tmp_path):
    other = submission(measured[0])
    scores = other["methods"][0]["scores"][TRIAL.recordings[0]]
    scores["kl"] = [value + 1 for value in scores["kl"]]
    path = tmp_path / "submission.json"
    path.write_text(json.dumps(other))
    found = joined_standing([measured[0], tmp_path])
    assert found.comparison.methods == ["energy", "saliency", "mine", "energy (2)"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["suite"].update(version="2"), "is of version '2' of the suite, and this"),
        (lambda s: s["suite"].update(seed=7), r"different suites .*seed\): rows of both cannot"),
        (lambda s: s["suite"].pop("metric"), "its suite lacks recordings, removals or the metric"),
        (lambda s: s["methods"][0]["scores"].update({TRIAL.recordings[0]: 3}), "are none"),
        (lambda s: s.update(format="?"), "is no submission"),
        (lambda s: s["methods"][0]["scores"].clear(), "has not the scores of every recording"),
        (lambda s: s["methods"][0]["scores"][TRIAL.recordings[0]].pop("kl"), "energy lack kl"),
    ],
)
def test_other_submissions_are_refused(measured, tmp_path, capsys, change, message):
    found = submission(measured[0])
    change(found)
    path = tmp_path / "other.json"
    path.write_text(json.dumps(found))
    with pytest.raises(ArgumentError, match=message):
        joined_standing([measured[0], path])
    assert main(["benchmark", "--join", str(measured[0]), str(path)]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("gradcam", "unknown method 'gradcam'; give file.py:object"),
        ("missing.py:x", "no such file: missing.py"),
        ("no_such_module:x", "cannot import 'no_such_module'"),
        ("{file}:nothing", "has no 'nothing'; expected a class or function that makes"),
        ("{file}:number", "number must be a class or function that makes .*; got int"),
        ("{file}:fails", "fails cannot be made from the model: KeyError: 'no such layer'"),
        ("{file}:of_layers", "is not supported: attr_method must attribute to inputs"),
        ("energy={file}:gradients", "there is a method 'energy' already"),
    ],
)
def test_what_is_no_method_is_refused_in_one_line(own_file, tmp_path, capsys, given, message):
    given = given.format(file=own_file)
    out = tmp_path / "out"
    with pytest.raises((ArgumentError, ArgumentTypeError), match=message):
        standing_benchmark([given], out=out)
    assert main(["benchmark", "--methods", "none", "--method", given, "--out", str(out)]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len([line for line in told if line.startswith("captum-spes: error:")]) == 1
    assert not out.exists()


def test_the_suite_is_what_its_version_says():
    """Whoever changes settings, steps or recordings gives the suite another version and puts its
    digest here: rows of two people are compared by the version alone."""
    text = json.dumps(SUITE.to_dict(), sort_keys=True)
    assert SUITE.version == "1"
    assert hashlib.blake2b(text.encode(), digest_size=8).hexdigest() == "bc4aec79def537cc"


def test_the_suite_names_bundled_recordings_and_the_help_its_methods():
    assert set(SUITE.recordings) == {example.name for example in load_examples()}
    assert ",".join(DEFAULT_METHODS) == SHOWN_DEFAULT
    assert Path(load_examples()[0].path).exists()
