"""Comparisons: resumable, complete in the face of failures, and scored alike."""

import json
from dataclasses import replace

import pytest
import soundfile
import torch

from captum_spes import (
    SPES,
    EnergyMap,
    Settings,
    SpeechToTextAttribution,
    SpeechToTextAttributionResult,
)
from captum_spes.attr import GaussianProcess, MaskedDifference, MaskedMean
from captum_spes.corpus import Utterance
from captum_spes.corpus.runner import seed_of
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.evaluation import Comparison, EvaluationSettings, compare_methods, measured_cost
from captum_spes.metrics import deletion_curve, insertion_curve, size_curve
from captum_spes.report import comparison_rows, comparison_table, write_comparison
from captum_spes.speech import METHODS, named_methods

QUICK = Settings.paper(
    n_samples=20,
    n_token_samples=20,
    patches_per_second=(40, 80),
    gen_args={"max_new_tokens": 6},
)


def quick(**changes):
    """Settings of a quick comparison; ``n_samples`` and the like change the explanations."""
    own = {"seed", "method_args", "language", "metric", "batch_size"}
    evaluated = {name: value for name, value in changes.items() if name in own}
    explained = {name: value for name, value in changes.items() if name not in own}
    return EvaluationSettings("tiny", QUICK.replace(**explained), **evaluated)


SETTINGS = quick()


@pytest.fixture
def utterances(tmp_path, audio):
    found = []
    for name, samples in (("tone", audio), ("backwards", audio[::-1].copy())):
        soundfile.write(tmp_path / f"{name}.flac", samples, 16_000)
        found.append(Utterance(name, tmp_path / f"{name}.flac", "the cat", {"de": "die Katze"}))
    return found


@pytest.fixture
def compare(tiny_speech2text, utterances, tmp_path):
    def compare(
        methods=("spes", "energy"), settings=SETTINGS, folder="out", given=utterances, **kw
    ):
        return compare_methods(
            *tiny_speech2text, given, named_methods(methods), settings, tmp_path / folder, **kw
        )

    return compare


def lines(tmp_path, folder="out"):
    return (tmp_path / folder / "scores.jsonl").read_text().splitlines()


@pytest.mark.filterwarnings("ignore")
class TestMethods:
    @pytest.mark.slow
    def test_every_name_works(self, compare, utterances):
        few = quick(
            n_samples=6, n_token_samples=3, method_args={"integrated-gradients": {"n_steps": 2}}
        )
        # LRP has no rule for the convolutions of this model, which names no alignment heads.
        fails = {
            "lrp": "cannot explain this model",
            "cross-attention-alignment-heads": "names no generation_config.alignment_heads",
        }
        works = [name for name in METHODS if name not in fails]
        comparison = compare(works, few, given=utterances[:1])
        assert not comparison.failures
        assert comparison.ids == ["tone"]
        failures = compare(list(fails), given=utterances[:1], folder="fails").failures
        assert [name for _, name, _ in failures] == list(fails)
        assert all(fails[name] in error for _, name, error in failures)

    def test_more_samples_than_a_method_takes(self, compare, tmp_path):
        with pytest.raises(ArgumentError, match=r"spes-efficient: .* at most 10000 samples"):
            compare(["spes", "spes-efficient"], quick(n_samples=20_000))
        assert not (tmp_path / "out").exists()

    def test_unknown_and_repeated_names(self):
        with pytest.raises(ArgumentError, match="unknown method 'gradcam'; known: spes, "):
            named_methods(["spes", "gradcam"])
        for names in ([], ["spes", "spes"]):
            with pytest.raises(ArgumentError, match="once"):
                named_methods(names)

    def test_settings_are_those_of_the_paper(self):
        paper = Settings.paper(n_samples=2000)  # as many as every method takes
        made = {name: method.settings(paper) for name, method in METHODS.items()}
        assert made["spes"] == made["spes-unnormalized"] == paper
        assert made["feature-wise"] == paper.replace(
            feature_mask="cells", perturb_prob=0.7, token_perturb_prob=0.1
        )
        assert made["spes-single-level"] == paper.replace(patches_per_second=500)
        assert made["spes-fixed-patches"] == paper.replace(n_patches=(2000, 2500, 3000))
        assert made["spes-grid"] == paper.replace(feature_mask="grid")
        assert made["spes-probability"] == paper.replace(score="probability")
        assert made["spes-joint"] == paper.replace(perturb_jointly=True)

    def test_estimators_are_those_of_the_names(self):
        for start in (Settings.paper(n_samples=2000), Settings.efficient()):
            made = {name: method.settings(start) for name, method in METHODS.items()}
            assert made["spes"].estimator == start.estimator
            assert made["spes-mean"].estimator == MaskedMean()
            assert made["spes-difference"].estimator == MaskedDifference()
            assert made["feature-wise"].estimator == MaskedMean()
            efficient = made["spes-efficient"]
            assert efficient.estimator == GaussianProcess()
            assert len(efficient.patches_per_second) == 16
            # What is for SPES alone reaches no other method.
            for name in ("saliency", "lime", "bubble-noise", "energy"):
                assert made[name].estimator == MaskedMean()


@pytest.mark.filterwarnings("ignore")
class TestScores:
    def test_are_those_of_the_curves(self, compare, tiny_speech2text, utterances):
        comparison = compare()
        explainer = SpeechToTextAttribution(SPES(tiny_speech2text[0]), tiny_speech2text[1])
        results = [
            explainer.attribute(u.audio, settings=QUICK, seed=seed_of(0, u.id)) for u in utterances
        ]
        given = [(u.audio, u.text, r) for u, r in zip(utterances, results, strict=True)]
        for name, function in (("deletion", deletion_curve), ("insertion", insertion_curve)):
            assert comparison.curve("spes", name).y == function(explainer, given).y
        for name in ("kl", "token_accuracy"):
            direct = deletion_curve(explainer, given, metric=name)
            assert comparison.curve("spes", name).y == pytest.approx(direct.y, abs=1e-5)
        assert comparison.curve("spes", "size").y == pytest.approx(size_curve(results).y)
        tokens = size_curve(results, side="previous tokens")
        assert comparison.curve("spes", "token_size").y == pytest.approx(tokens.y)

    def test_insertion_ends_where_deletion_starts(self, compare):
        for record in compare(("energy",)).records["energy"].values():
            assert record["insertion"][0] == record["deletion"][-1]
            assert record["insertion"][-1] == record["deletion"][0]
            assert record["deletion"][0] != record["deletion"][-1]

    def test_a_method_without_token_maps_has_no_size_of_them(self, compare):
        comparison = compare()
        assert comparison.curve("energy", "token_size") is None
        assert comparison_rows(comparison)[1]["token_size"] is None

    def test_same_maps_are_made_once(self, compare):
        comparison = compare(("spes", "spes-unnormalized"))
        assert comparison.curve("spes-unnormalized", "size") is None
        costs = [comparison.records[name]["tone"]["cost"] for name in comparison.methods]
        assert costs[0] == costs[1]
        assert comparison.curve("spes", "kl").y != comparison.curve("spes-unnormalized", "kl").y

    def test_same_maps_come_again_where_they_are_not_kept(self, compare):
        together = compare(("spes", "spes-unnormalized"))
        alone = compare(("spes-unnormalized",), folder="alone")
        for measure in ("kl", "deletion"):
            expected = together.curve("spes-unnormalized", measure).y
            assert alone.curve("spes-unnormalized", measure).y == expected

    def test_translations_are_scored_against_theirs(self, compare):
        comparison = compare(("energy",), quick(language="de", metric="bleu"))
        assert comparison.records["energy"]["tone"]["reference"] == "die Katze"
        assert comparison.curve("energy", "deletion").metric == "bleu"

    def test_texts_are_kept_as_written_and_normalised_for_scoring(self, compare):
        same = compare(("energy",), text_normalizer=lambda text: "always the same")
        kept = compare(("energy",))
        assert same.records == kept.records
        assert set(same.curve("energy", "deletion").y) == {0}
        assert set(kept.curve("energy", "deletion").y) != {0}

    def test_cost_counts_what_the_model_saw(self, tiny_speech2text, audio):
        network, processor = tiny_speech2text
        explainer = SpeechToTextAttribution(SPES(network), processor)
        # Long, so that no two samples keep the same tokens: equal ones run once.
        settings = QUICK.replace(perturbations_per_eval=7)
        with measured_cost(network) as cost:
            explainer.attribute(audio, target=[10] * 15, settings=settings, seed=0)
        # 20 and 20 samples; reference and original of each side; states of the token side, and
        # their keys and values; the probabilities of the tokens, from the same states.
        assert cost.encoder_passes == 20 + 2 + 1
        assert cost.decoder_passes == 20 + 2 + 20 + 2 + 1 + 1
        assert cost.seconds > 0
        assert not any(m._forward_pre_hooks for m in network.modules())


@pytest.mark.filterwarnings("ignore")
class TestGoingOn:
    def test_nothing_is_computed_twice(self, compare, tmp_path, monkeypatch):
        first = compare()
        written = lines(tmp_path)
        monkeypatch.setattr(
            SpeechToTextAttribution,
            "attribute",
            lambda *args, **kwargs: pytest.fail("explained again"),
        )
        assert compare().records == first.records
        assert lines(tmp_path) == written

    def test_more_methods_and_utterances_are_added(self, compare, utterances, tmp_path):
        compare(("energy",), given=utterances[:1])
        comparison = compare(("energy", "random"))
        assert len(lines(tmp_path)) == 4
        assert comparison.ids == ["tone", "backwards"]

    def test_a_killed_process_leaves_whole_lines(self, compare, tmp_path):
        first = compare(("energy",))
        path = tmp_path / "out" / "scores.jsonl"
        text = path.read_text()
        path.write_text(text[: len(text) - 40])
        again = compare(("energy",))
        assert again.records["energy"]["tone"] == first.records["energy"]["tone"]
        assert len(lines(tmp_path)) == 2
        assert all(json.loads(line) for line in lines(tmp_path))

    def test_a_damaged_line_is_named(self, compare, tmp_path):
        compare(("energy",))
        path = tmp_path / "out" / "scores.jsonl"
        path.write_text("{broken\n" + path.read_text())
        with pytest.raises(ArgumentError, match="damaged in line 1"):
            compare(("energy",))

    def test_other_settings_are_refused(self, compare):
        compare(("energy",))
        with pytest.raises(ArgumentError, match=r"other settings \(seed;"):
            compare(("energy",), quick(seed=1))
        with pytest.raises(ArgumentError, match=r"other settings \(settings;"):
            compare(("energy",), quick(n_samples=21))
        compare(("energy",), quick(seed=1), folder="other")

    def test_settings_are_kept_beside_the_scores(self, compare, tmp_path):
        compare(("energy",), quick(seed=3, method_args={"energy": {}}))
        kept = json.loads((tmp_path / "out" / "settings.json").read_text())
        assert Settings.from_dict(kept["settings"]) == QUICK
        assert (kept["model"], kept["seed"], kept["metric"]) == ("tiny", 3, "wer_capped")

    def test_another_precision_is_other_settings(self, compare, tiny_speech2text):
        compare(("energy",))
        tiny_speech2text[0].bfloat16()
        with pytest.raises(ArgumentError, match=r"other settings \(dtype"):
            compare(("energy",))

    def test_a_torn_settings_file_is_named(self, compare, tmp_path):
        compare(("energy",))
        (tmp_path / "out" / "settings.json").write_text("{")
        with pytest.raises(ArgumentError, match="damaged"):
            compare(("energy",))

    def test_goes_on_in_other_batches(self, compare, tmp_path):
        compare(("energy",))
        compare(("energy",), quick(perturbations_per_eval=1, batch_size=2))
        assert len(lines(tmp_path)) == 2

    @pytest.mark.parametrize("change", ["recording", "reference"])
    def test_what_changed_is_computed_again(self, compare, utterances, tmp_path, audio, change):
        compare(("energy",))
        first, second = utterances
        if change == "recording":
            soundfile.write(first.audio, audio[:8000], 16_000)
        else:
            first = replace(first, text="another text")
        comparison = compare(("energy",), given=[first, second])
        assert len(lines(tmp_path)) == 3
        assert comparison.records["energy"]["tone"]["reference"] == first.text

    def test_order_is_that_of_the_manifest(self, compare, utterances):
        compare(("energy",), given=utterances[1:])
        assert compare(("energy",)).ids == ["tone", "backwards"]

    def test_an_interrupted_run_keeps_what_it_has(self, compare, tmp_path, monkeypatch):
        measure, calls = SpeechToTextAttributionResult.sentence_attr, []

        def interrupted(*args, **kwargs):
            calls.append(1)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return measure(*args, **kwargs)

        monkeypatch.setattr(SpeechToTextAttributionResult, "sentence_attr", interrupted)
        with pytest.raises(KeyboardInterrupt):
            compare()
        assert len(lines(tmp_path)) == 2
        monkeypatch.undo()
        assert len(compare().ids) == 2
        assert len(lines(tmp_path)) == 4


class TestSettings:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            (quick(method_args={"integrated_gradients": {}}), "not among"),
            (quick(method_args={"energy": {"seed": 1}}), "method_args cannot hold 'seed'"),
            (quick(language="fr"), "tone has no translation into 'fr'"),
            (quick(metric="ter"), "metric must be one of"),
        ],
    )
    def test_are_checked_before_any_work(self, compare, tmp_path, settings, message):
        with pytest.raises(ArgumentError, match=message):
            compare(settings=settings)
        assert not (tmp_path / "out").exists()

    def test_arguments_that_a_method_does_not_take(self, compare, tmp_path):
        settings = quick(method_args={"spes": {"n_steps": 3}})
        with pytest.raises(ArgumentTypeError, match="spes takes no argument 'n_steps'"):
            compare(settings=settings)
        assert not (tmp_path / "out").exists()


def test_it_is_shown_in_a_line():
    records = {"energy": {"a": {"kl": [1.0] * 500}, "b": {"error": "too short"}}}
    assert repr(Comparison(["energy"], records, "wer")) == (
        "Comparison(methods=['energy'], 1 utterances measured with all, 1 failures, metric='wer')"
    )
    assert "0 utterances" in repr(Comparison([], {}, "wer"))


@pytest.mark.filterwarnings("ignore")
class TestFailures:
    @pytest.fixture
    def with_snippet(self, utterances, tmp_path):
        soundfile.write(tmp_path / "snippet.flac", torch.zeros(960).numpy(), 16_000)
        return [Utterance("snippet", tmp_path / "snippet.flac", "nothing"), *utterances]

    def test_one_utterance_fails_and_the_rest_goes_on(self, compare, with_snippet):
        comparison = compare(given=with_snippet)
        assert comparison.ids == ["tone", "backwards"]
        assert [failure[:2] for failure in comparison.failures] == [
            ("snippet", "spes"), ("snippet", "energy"),
        ]  # fmt: skip
        assert "less than 0.1 s" in comparison.failures[0][2]
        assert "* snippet, spes: ArgumentError" in comparison_table(comparison)

    def test_is_tried_again(self, compare, with_snippet, audio):
        compare(("energy",), given=with_snippet)
        soundfile.write(with_snippet[0].audio, audio, 16_000)
        assert not compare(("energy",), given=with_snippet).failures

    def test_all_methods_are_scored_on_the_same_utterances(self, compare, monkeypatch):
        maps, calls = EnergyMap.maps, []

        def fails_once(*args):
            calls.append(1)
            if len(calls) == 1:
                raise RuntimeError("out of memory")
            return maps(*args)

        monkeypatch.setattr(EnergyMap, "maps", fails_once)
        comparison = compare()
        assert comparison.ids == ["backwards"]
        assert {row["utterances"] for row in comparison_rows(comparison)} == {1}
        monkeypatch.undo()
        assert not compare().failures  # what failed is tried again


@pytest.mark.filterwarnings("ignore")
class TestReport:
    def test_files(self, compare, tmp_path):
        written = write_comparison(compare(), tmp_path / "report")
        assert [path.name for path in written] == [
            "table.csv", "table.md", "deletion.png", "insertion.png", "size.png",
            "token_size.png", "kl.png", "token_accuracy.png",
        ]  # fmt: skip
        assert all(path.stat().st_size > 0 for path in written)

    def test_rows_hold_areas_intervals_and_paired_differences(self, compare):
        comparison = compare()
        first, second = comparison_rows(comparison)
        curves = [comparison.curve(name, "kl") for name in comparison.methods]
        assert second["kl"] == pytest.approx(curves[1].auc, abs=1e-3)
        assert [second["kl_low"], second["kl_high"]] == pytest.approx(
            curves[1].interval(), abs=1e-3
        )
        difference, interval = curves[1].difference(curves[0])
        assert second["kl_difference"] == pytest.approx(difference, abs=1e-3)
        assert second["kl_difference_low"] == pytest.approx(interval.low, abs=1e-3)
        assert first["kl_difference"] is None
        assert first["encoder_passes"] > second["encoder_passes"]

    @pytest.mark.parametrize(
        ("metric", "arrow", "unit"),
        [
            ("wer_capped", "↑", "by word error rate (wer_capped)"),
            ("cer", "↑", "by character error rate (cer)"),
            ("bleu", "↓", "by BLEU,"),
            ("bleu-zh", "↓", "by BLEU (bleu-zh)"),
        ],
    )
    def test_arrows_tell_which_direction_is_better(self, compare, metric, arrow, unit):
        table = comparison_table(compare(("energy",), quick(metric=metric)))
        assert unit in table
        assert f"| deletion {arrow} |" in table
        assert f"| insertion {'↓' if arrow == '↑' else '↑'} |" in table


def test_where_nothing_is_right_before_anything_is_removed(compare, utterances):
    """Deletion would find every method equal, without a word."""
    written = [replace(utterance, text="ZZZ ZZZ") for utterance in utterances]
    with pytest.warns(UserWarning, match="with nothing removed the word error rate is .* already,"):
        compare(["energy"], given=written)


def test_words_that_are_only_spelled_in_another_way(compare, utterances, recwarn):
    """Case and punctuation are told from words, and nothing is said where they are left out."""
    heard = compare(["energy"]).records["energy"]
    written = [replace(own, text=heard[own.id]["deletion"][0].upper() + "!") for own in utterances]
    recwarn.clear()
    with pytest.warns(UserWarning, match="% already, and 0 % without case and punctuation"):
        compare(["energy"], given=written, folder="as it is")
    plain = {"text_normalizer": lambda text: text.casefold().strip("!")}
    compare(["energy"], given=written, folder="plain", **plain)
    assert not recwarn
