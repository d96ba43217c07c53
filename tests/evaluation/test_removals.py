"""Comparisons with removals of one's own choice, both orders and own tokens."""

import csv
import json

import numpy as np
import pytest
import soundfile

from captum_spes import Settings
from captum_spes.cli import main
from captum_spes.corpus import ExplanationStore, Utterance
from captum_spes.errors import ArgumentError
from captum_spes.evaluation import Comparison, EvaluationSettings, compare_methods
from captum_spes.evaluation.comparison import AS_EXPLAINED, n_copies, n_copies_per_map
from captum_spes.metrics import deletion_curve, insertion_curve, own_token_deletion, symmetric_gain
from captum_spes.report import difference_ranks, write_differences
from captum_spes.speech import METHODS, named_methods
from captum_spes.speech.forecast import forecast
from captum_spes.speech.models import adapt

pytestmark = pytest.mark.filterwarnings("ignore")
METHOD_NAMES = ("saliency", "energy", "random")
QUICK = Settings.paper(
    n_samples=10, n_token_samples=0, patches_per_second=40, gen_args={"max_new_tokens": 5}
)
REMOVALS = ("silence", "other")


@pytest.fixture(scope="module")
def made(make_tiny_whisper, tmp_path_factory):
    """A comparison on three recordings, with everything that can be asked for."""
    model, processor = make_tiny_whisper()
    folder = tmp_path_factory.mktemp("compared")
    generator = np.random.default_rng(0)
    utterances = []
    for name in ("one", "two", "three"):
        samples = 0.1 * generator.standard_normal(9600) * np.linspace(0, 1, 9600)
        soundfile.write(folder / f"{name}.flac", samples, 16_000)
        utterances.append(Utterance(name, folder / f"{name}.flac", "the cat"))
    settings = EvaluationSettings("tiny", QUICK, removals=REMOVALS, own_tokens=True)

    def compare(out="out", settings=settings, given=utterances, methods=METHOD_NAMES):
        return compare_methods(
            model, processor, given, named_methods(methods), settings, folder / out,
            explanations=folder / "kept",
        )  # fmt: skip

    return model, processor, utterances, settings, compare, folder


@pytest.fixture(scope="module")
def comparison(made):
    return made[4]()


class TestMeasures:
    def test_they_are_those_of_the_functions(self, made, comparison):
        model, processor, utterances, _, _, folder = made
        adapter = adapt(model, processor)
        with ExplanationStore(folder / "kept" / "saliency.h5") as store:
            given = [(own.audio, own.text, store[own.id]) for own in utterances]
        options = {"removal": "silence", "metric": "kl"}
        found = comparison.curve("saliency", "kl", "silence").y
        assert found == pytest.approx(deletion_curve(adapter, given, **options).y, abs=1e-4)
        gain = comparison.gain("saliency", "kl", "silence")
        expected = symmetric_gain(adapter, given, **options)
        # Both orders, but for one cell where steps are no whole number of cells.
        assert gain.first.auc == pytest.approx(expected.first.auc, abs=1e-3)
        assert gain.second.y == pytest.approx(expected.second.y, abs=5e-3)
        assert gain.second.y[0] == pytest.approx(0, abs=1e-5)
        texts = comparison.curve("saliency", "insertion", "silence")
        assert texts.y == insertion_curve(adapter, given, removal="silence").y
        for removal, name in ((None, AS_EXPLAINED), ("silence", "silence")):
            own = comparison.own_token("saliency", name)
            expected = own_token_deletion(adapter, given, removal=removal)
            for curve in ("own", "others", "sentence"):
                found, wanted = getattr(own, curve), getattr(expected, curve)
                assert found.y == pytest.approx(wanted.y, abs=1e-4)

    def test_a_map_that_is_the_same_for_all_tokens_gains_nothing_of_its_own(self, comparison):
        for removal in comparison.removals:
            own = comparison.own_token("energy", removal)
            assert own.against_others.auc == pytest.approx(0, abs=1e-5)

    def test_removals_differ_and_the_intact_recording_does_not(self, comparison):
        assert comparison.removals == [AS_EXPLAINED, *REMOVALS]
        curves = [comparison.curve("energy", "kl", own) for own in comparison.removals]
        assert len({round(curve.auc, 4) for curve in curves}) == 3
        assert np.allclose([curve.y[0] for curve in curves], 0, atol=1e-5)

    def test_the_other_recording_depends_on_no_order(self, made, comparison):
        compare = made[4]
        settings = EvaluationSettings("tiny", QUICK, removals=("other",))
        again = compare("backwards", settings, made[2][::-1], ("energy",))
        for id_ in comparison.ids:
            first, second = (
                own.records["energy"][id_]["removals"]["other"] for own in (comparison, again)
            )
            assert first["deletion"] == second["deletion"]
            assert np.allclose(first["kl"], second["kl"], atol=1e-5)

    def test_what_was_not_measured_is_said(self, comparison):
        with pytest.raises(ArgumentError, match="removal must be one of as explained, silence"):
            comparison.curve("energy", "kl", "noise")
        with pytest.raises(ArgumentError, match="size does not depend on"):
            comparison.curve("energy", "size", "silence")
        assert comparison.gain("energy", "kl") is None
        assert comparison.gain("energy") is not None


class TestFolders:
    def test_it_goes_on_and_what_is_damaged_is_measured_again(self, made, comparison):
        compare, folder = made[4], made[5]
        scores = folder / "out" / "scores.jsonl"
        before = scores.read_text()
        compare()
        assert scores.read_text() == before
        records = [json.loads(line) for line in before.splitlines()]
        del records[0]["removals"]["other"]
        records[1]["removals"]["silence"]["insertion_kl"] = [1.0]
        del records[2]["own_tokens"]["silence"]
        records[3]["own_tokens"][AS_EXPLAINED]["others"] = ["x"] * 11
        scores.write_text("".join(f"{json.dumps(record)}\n" for record in records))
        with pytest.warns(UserWarning, match="lacks") as warned:
            compare()
        told = " ".join(str(warning.message) for warning in warned)
        for part in (
            "lacks removals, other, deletion", "lacks removals, silence, insertion_kl",
            "lacks own_tokens, silence", "lacks own_tokens, as explained",
        ):  # fmt: skip
            assert part in told
        assert len(scores.read_text().splitlines()) == len(records) + 4
        scores.write_text(before)

    def test_without_them_folders_are_what_they_were(self, made):
        plain = EvaluationSettings("tiny", QUICK)
        assert not {"removals", "own_tokens"} & set(plain.to_dict())
        made[4]("plain", plain, methods=("energy",))
        line = (made[5] / "plain" / "scores.jsonl").read_text().splitlines()[0]
        assert not {"removals", "own_tokens"} & set(json.loads(line))

    def test_other_settings_need_another_folder(self, made, comparison):
        other = EvaluationSettings("tiny", QUICK, removals=("mean",))
        with pytest.raises(ArgumentError, match="removals"):
            made[4](settings=other)


class TestDifferences:
    @pytest.fixture(scope="class")
    def written(self, comparison, tmp_path_factory):
        pytest.importorskip("statsmodels", reason="statsmodels is not installed")
        table, text = write_differences(comparison, tmp_path_factory.mktemp("told"), 20)
        with open(table, newline="") as file:
            rows = list(csv.DictReader(file))
        return rows, text.read_text()

    def test_rows(self, written, comparison):
        rows, _ = written
        measures = {(row["removal"], row["measure"]) for row in rows}
        assert ("silence", "kl gain") in measures
        assert {(AS_EXPLAINED, "own token"), (AS_EXPLAINED, "own map")} <= measures
        assert (AS_EXPLAINED, "kl gain") not in measures
        assert len(rows) == 3 * len(measures)
        by_name = {(row["removal"], row["measure"], row["method"]): row for row in rows}
        for measure, better in (("kl", max), ("token_accuracy", min), ("insertion", min)):
            own = [by_name["silence", measure, method] for method in METHOD_NAMES]
            best = better(own, key=lambda row: float(row["area"]))
            assert float(best["rank"]) == min(float(row["rank"]) for row in own)
        for method in METHOD_NAMES:
            own = comparison.own_token(method)
            for measure, area in (("own map", own.own.auc), ("own token", own.against_others.auc)):
                found = float(by_name[AS_EXPLAINED, measure, method]["area"])
                assert found == pytest.approx(area, abs=1e-4)
        first, second = (by_name["silence", "kl", method] for method in METHOD_NAMES[:2])
        assert first["difference"] == first["p"] == ""
        difference = float(second["area"]) - float(first["area"])
        assert float(second["difference"]) == pytest.approx(difference, abs=2e-4)
        for row in rows:
            if row["method"] != METHOD_NAMES[0]:
                # Three utterances: the test is exact, and cannot be below 2 of 8; of two methods
                # that are compared with the first, one can cost the double.
                p = float(row["p"])
                assert 0.25 <= p <= float(row["p_holm"]) <= min(1, 2 * p)
        assert any(row["p_holm"] > row["p"] for row in rows)

    def test_ranks(self, comparison):
        found = difference_ranks(comparison)
        assert found.methods == METHOD_NAMES
        assert {"kl, silence", "gain, other", "own token, as explained"} <= set(found.measures)
        assert found.taus.shape == (len(found.measures),) * 2

    @pytest.mark.parametrize("metric", ["wer_capped", "bleu"])
    def test_the_better_method_ranks_first_by_every_measure(self, metric):
        """It ruins the text at once, and gives it back at once."""
        text = "one two three four five"

        def record(n_right_of_deletion, n_right_of_insertion):
            deletion, insertion = (
                [text] * count + [""] * (21 - count)
                for count in (n_right_of_deletion, 21 - n_right_of_insertion)
            )
            right = [100.0 * bool(own) for own in deletion]
            measures = {"deletion": deletion, "insertion": insertion[::-1]}
            graded = {"kl": [1 - own / 100 for own in right], "token_accuracy": right}
            return {"reference": text, **measures, **graded, "cost": None}

        records = {"bad": {"a": record(18, 18)}, "good": {"a": record(2, 2)}}
        found = difference_ranks(Comparison(["bad", "good"], records, metric))
        assert found.measures == tuple(
            f"{name}, {AS_EXPLAINED}"
            for name in ("deletion", "insertion", "gain", "kl", "token_accuracy")
        )
        assert found.ranks.tolist() == [[2, 1]] * 5

    def test_what_people_read(self, written):
        _, told = written
        assert "| kl, silence |" in told
        assert "Kendall's tau of two measures: mean" in told
        assert "and for nothing else" in told


class TestCost:
    def test_it_counts_what_is_heard(self, made):
        model, processor, utterances, settings, *_ = made
        adapter = adapt(model, processor)
        assert n_copies(3) == 2 + 3 * 38
        assert n_copies(3, 2) == 1 + 3 * (1 + 3 * 38)
        assert n_copies(0, 2) == 0
        per_map = n_copies_per_map(2, settings)
        assert per_map == 11 * 2 * (1 + len(REMOVALS))
        assert n_copies_per_map(2, EvaluationSettings("tiny", QUICK)) == 0
        pairs = [(METHODS["energy"], QUICK)]
        plain = forecast(adapter, utterances[0].audio, pairs, target="the cat")
        found = forecast(
            adapter, utterances[0].audio, pairs, target="the cat", scored_per_map=per_map
        )
        n_tokens = len(adapter.force(adapter.from_audio(np.ones(9600)), "the cat", {}).explained)
        assert found.graded == per_map * (n_tokens + 1)
        assert plain.graded == 0
        assert f"{found.graded:,} passes to look at single tokens" in found.text(1, 0.6)
        assert "single tokens" not in plain.text(1, 0.6)
        assert found.seconds > plain.seconds


class TestBadInput:
    def test_settings(self):
        for given, message in (
            (("mean", "mean"), "named twice"),
            (("nothing",), "removal must be one of mean"),
        ):
            with pytest.raises(ArgumentError, match=message):
                EvaluationSettings("tiny", QUICK, removals=given)

    def test_one_recording_has_no_other(self, made):
        settings = EvaluationSettings("tiny", QUICK, removals=("other",))
        with pytest.raises(ArgumentError, match="and there is one"):
            made[4]("alone", settings, made[2][:1])
        assert not (made[5] / "alone").exists()


def test_at_the_command_line(capsys, tmp_path, model_folder, audio):
    pytest.importorskip("statsmodels", reason="statsmodels is not installed")
    lines = []
    for name, samples in (("one", audio), ("two", audio[::-1])):
        soundfile.write(tmp_path / f"{name}.flac", samples, 16_000)
        lines.append(json.dumps({"id": name, "audio": f"{name}.flac", "text": "the cat"}))
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("\n".join(lines))
    arguments = [
        "evaluate", str(manifest), "--model", str(model_folder), "--out", str(tmp_path / "out"),
        "--methods", "energy,random", "--max-new-tokens", "4", "--quiet",
    ]  # fmt: skip
    assert main([*arguments, "--removal", "other", "--own-tokens"]) == 0
    printed = capsys.readouterr().out
    assert "| kl gain, other |" in printed
    assert "| method | deletion" in printed
    record = json.loads((tmp_path / "out" / "scores.jsonl").read_text().splitlines()[0])
    assert list(record["removals"]) == ["other"]
    assert list(record["own_tokens"]) == [AS_EXPLAINED, "other"]
    assert (tmp_path / "out" / "differences.csv").exists()
    assert main([*arguments, "--removal", "loud"]) == 2
    assert "removal must be one of mean, silence" in capsys.readouterr().err
    plain = [str(tmp_path / "plain") if own == str(tmp_path / "out") else own for own in arguments]
    assert main(plain) == 0
    assert not (tmp_path / "plain" / "differences.md").exists()
    assert main([*plain, "--differences"]) == 0
    assert (tmp_path / "plain" / "differences.md").exists()
