"""A small slice of the study: real recordings, trained models, the command, its tables; and the
saved study says what its tables say."""

import csv
from pathlib import Path

import pytest

from captum_spes.cli import main
from captum_spes.demo import STUDIES
from captum_spes.stability import StabilityStudy, stability_table
from recipes.stability.digits import make_digit_strings
from recipes.stability.training import train_seeds
from tests.conftest import need, shared_folder

SEEDS = (0, 1)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_from_recordings_to_tables(tmp_path):
    recordings = need(shared_folder() / "speech" / "fsdd")
    digits = tmp_path / "digits"
    make_digit_strings(recordings, digits, {"train": 600, "validation": 40, "test": 3}, n_digits=3)
    trained = train_seeds(
        digits / "train",
        digits / "validation",
        ["speaker"],
        tmp_path / "models",
        seeds=SEEDS,
        sampling_rate=8000,
        epochs=4,
    )
    # One in six is right by chance.
    assert all(record["accuracy"]["speaker"] > 80 for record in trained.values())
    out = tmp_path / "out"
    assert main(
        ["reliability", "--models", str(tmp_path / "models"), "--quiet",
         "--manifest", str(digits / "test" / "manifest.jsonl"), "--out", str(out),
         "--methods", "spes@60,saliency,feature-ablation,lime",
         "--units", "20ms,20ms:word,word,phone,patch"]
    ) == 0  # fmt: skip
    table = {(r["method"], r["perturbed"], r["reported"]): r for r in rows(out / "table.csv")}
    assert {r["utterances"] for r in table.values()} == {"3"}
    # Two models that learned the same agree more than by chance, word by word.
    ablation = table["feature-ablation", "word", "word"]
    assert float(ablation["agreement"]) > float(ablation["chance"])
    # 25 samples say nothing of a hundred windows, of any model.
    lime = table["lime@25", "20ms", "20ms"]
    assert float(lime["ceiling"]) < 0.35
    assert float(lime["of_masks"]) > 0.7


PUBLISHED = Path(__file__).parents[2] / "benchmarks" / "results" / "reliability" / "table.csv"


def test_the_bundled_study_says_what_its_tables_say():
    study = StabilityStudy.load(STUDIES / "digits")
    assert len(study.models) == 5
    published = [
        row for row in rows(PUBLISHED) if row["group"] == "digits" and row["part"] == "spectrogram"
    ]
    found = stability_table(study)
    assert len(found) == len(published)
    for row, wanted in zip(found.to_dict("records"), published, strict=True):
        for name in ("task", "method", "perturbed", "reported"):
            assert row[name] == wanted[name]
        for name in ("agreement", "ceiling", "chance", "mismatched"):
            assert row[name] == pytest.approx(float(wanted[name]), abs=1e-3)
