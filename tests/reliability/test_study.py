"""A study finds the agreement, the ceiling and the split that were planted."""

import json

import numpy as np
import pytest

from captum_spes.alignment import read_alignments
from captum_spes.corpus import read_manifest
from captum_spes.errors import ArgumentError
from captum_spes.reliability import (
    ReliabilityStudy,
    condition_agreements,
    paired_difference,
    parse_method,
    parse_units,
    reliability_table,
    run_study,
)
from tests.reliability.planted import FRAMES, PlantedModel, drawn, utterances, write_corpus

SHARED_PART = 0.5
# Sampling noise of equal variance halves every correlation.
NOISE = 1.0


def study(tmp_path, models, methods=("spes@9",), units=("10ms",), size=12, **arguments):
    return run_study(
        models,
        utterances(tmp_path / "corpus", size),
        [parse_method(name) for name in methods],
        [parse_units(name) for name in units],
        tmp_path / "study",
        **arguments,
    )


def row(tmp_path, models, **arguments):
    return reliability_table(study(tmp_path, models, **arguments)).iloc[0]


def test_identical_models_agree_perfectly_by_every_measure(tmp_path):
    models = {name: PlantedModel(lambda key, seed: drawn(key)) for name in "abc"}
    found = row(tmp_path, models)
    for measure in ("agreement", "corrected", "ceiling", "disattenuated", "jaccard"):
        assert found[measure] == 1
    for measure in ("pearson", "spearman", "rank_biased_overlap", "of_utterance"):
        assert found[measure] == pytest.approx(1)
    assert found["models"] == 3
    assert found["utterances"] == 12
    assert found["passes"] == 7
    assert found["units"] == FRAMES


def test_unrelated_models_agree_by_chance(tmp_path):
    models = {name: PlantedModel(lambda key, seed, n=name: drawn(n + key)) for name in "abcde"}
    found = row(tmp_path, models)
    assert found["agreement_low"] <= found["chance"] <= found["agreement_high"]
    assert found["chance"] == pytest.approx(0.2)
    assert found["ceiling"] == 1
    assert found["of_model"] == pytest.approx(1, abs=0.05)


def test_models_with_a_shared_part_agree_as_far_as_that(tmp_path):
    def model(name):
        def scores(key, seed):
            own, shared = drawn(name + key), drawn(key)
            return np.sqrt(SHARED_PART) * shared + np.sqrt(1 - SHARED_PART) * own

        return PlantedModel(scores)

    found = row(tmp_path, {name: model(name) for name in "abcde"})
    assert found["pearson"] == pytest.approx(SHARED_PART, abs=0.03)
    assert found["of_utterance"] == pytest.approx(SHARED_PART, abs=0.03)
    assert found["of_model"] == pytest.approx(1 - SHARED_PART, abs=0.03)
    # What two normal variables with this correlation give: both in the upper fifth.
    assert found["agreement"] == pytest.approx(joint_upper_fifth(SHARED_PART), abs=0.03)


def joint_upper_fifth(correlation):
    draws = np.random.default_rng(0).standard_normal((2, 400_000))
    one = draws[0]
    other = correlation * one + np.sqrt(1 - correlation**2) * draws[1]
    both = (one > np.quantile(one, 0.8)) & (other > np.quantile(other, 0.8))
    return both.mean() / 0.2


def test_sampling_noise_is_told_from_models(tmp_path):
    def scores(key, seed):
        return drawn(key) + NOISE * drawn(f"{key} {seed}")

    found = row(tmp_path, {name: PlantedModel(scores) for name in "abcd"})
    assert found["of_masks"] == pytest.approx(0.5, abs=0.04)
    assert found["of_model"] == pytest.approx(0, abs=0.04)
    assert found["disattenuated"] == pytest.approx(1, abs=0.06)
    assert found["ceiling"] == pytest.approx(found["agreement"], abs=0.03)
    assert found["ceiling"] < 0.6


def test_masks_differ_between_models_and_runs_and_are_the_same_again(tmp_path):
    seeds = {}

    def model(name):
        def scores(key, seed):
            seeds.setdefault(name, []).append(seed)
            return drawn(f"{key} {seed}")

        return PlantedModel(scores)

    first = study(tmp_path / "1", {name: model(name) for name in "ab"}, size=2)
    used = [seed for of_model in seeds.values() for seed in of_model]
    assert len(set(used)) == len(used) == 2 * 2 * 2
    again = study(tmp_path / "2", {name: model(name) for name in "ab"}, size=2)
    for name in "ab":
        pairs = zip(first.models[name].records, again.models[name].records, strict=True)
        assert all((one.scores == other.scores).all() for one, other in pairs)


def test_a_method_without_randomness_runs_once_and_has_no_ceiling_below_one(tmp_path):
    models = {name: PlantedModel(lambda key, seed: drawn(key)) for name in "ab"}
    found = row(tmp_path, models, methods=("feature-ablation",))
    assert found["ceiling"] == 1
    assert models["a"].calls == 12


def test_one_run_of_a_sampling_method_tells_no_ceiling(tmp_path):
    models = {name: PlantedModel(lambda key, seed: drawn(key)) for name in "ab"}
    found = row(tmp_path, models, n_runs=1)
    assert found["agreement"] == 1
    assert np.isnan(found[["ceiling", "disattenuated", "of_masks"]].astype(float)).all()


def test_tokens_of_an_utterance_count_as_one(tmp_path):
    def scores(key, seed):
        return drawn(key)

    def other(key, seed):
        return drawn(key) if key.endswith("0") else -drawn(key)

    models = {"a": PlantedModel(scores, n_items=2), "b": PlantedModel(other, n_items=2)}
    found = study(tmp_path, models, methods=("saliency",), size=5)
    [agreement] = condition_agreements(found)
    assert agreement.between.values.shape == (1, 5)
    assert agreement.between.values == pytest.approx(0.5)  # 1 for one token, 0 for the other


def test_signs_count_unless_magnitudes_are_asked_for(tmp_path):
    models = {
        "a": PlantedModel(lambda key, seed: drawn(key)),
        "b": PlantedModel(lambda key, seed: -drawn(key)),
    }
    found = study(tmp_path, models, methods=("saliency",))
    assert reliability_table(found).iloc[0]["agreement"] == 0
    assert reliability_table(found, absolute=True).iloc[0]["agreement"] == 1


def test_conditions_are_compared_on_the_same_pairs(tmp_path):
    models = {
        "a": PlantedModel(lambda key, seed: drawn(key)),
        "b": PlantedModel(lambda key, seed: drawn(key)),
    }
    found = condition_agreements(study(tmp_path, models, methods=("saliency", "spes@9")))
    assert paired_difference(found[0], found[1])[0] == 0
    other = condition_agreements(study(tmp_path / "2", models, methods=("saliency",), size=5))
    with pytest.raises(ArgumentError, match="same models and utterances"):
        paired_difference(found[0], other[0])


def test_a_study_goes_on_where_it_was(tmp_path):
    class BrokenError(Exception):
        pass

    def failing(key, seed):
        if key.startswith("utterance-2"):
            raise BrokenError
        return drawn(key)

    good = {name: PlantedModel(lambda key, seed: drawn(key)) for name in "ab"}
    with pytest.raises(BrokenError):
        study(tmp_path, {"a": PlantedModel(failing), "b": good["b"]}, size=4)
    found = study(tmp_path, good, size=4)
    assert good["a"].calls == 2 * 2  # the two utterances that were missing, two runs each
    assert [r.utterance for r in found.models["a"].records][::2] == [
        f"utterance-{number}" for number in range(4)
    ]
    loaded = ReliabilityStudy.load(tmp_path / "study")
    pairs = zip(found.models["a"].records, loaded.models["a"].records, strict=True)
    assert all((one.scores == other.scores).all() for one, other in pairs)
    assert loaded.accuracy("speaker") == {"a": 100, "b": 100}


def test_other_settings_do_not_mix(tmp_path):
    models = {name: PlantedModel(lambda key, seed: drawn(key)) for name in "ab"}
    study(tmp_path, models)
    with pytest.raises(ArgumentError, match=r"other settings \(methods, seed\)"):
        study(tmp_path, models, methods=("saliency",), seed=1)


def test_a_damaged_file_is_named(tmp_path):
    models = {name: PlantedModel(lambda key, seed: drawn(key)) for name in "ab"}
    study(tmp_path, models)
    file = tmp_path / "study" / "attributions" / "a.npz"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ArgumentError, match=r"a\.npz is damaged"):
        study(tmp_path, models)


def test_utterances_without_times_are_left_out_of_every_unit(tmp_path):
    manifest = write_corpus(tmp_path / "corpus", 4)
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    del lines[1]["phones"]
    lines[2]["words"] = None
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    models = {name: PlantedModel(lambda key, seed: drawn(key)) for name in "ab"}
    found = run_study(
        models,
        read_manifest(manifest),
        [parse_method("saliency")],
        [parse_units(name) for name in ("20ms", "word", "phone")],
        tmp_path / "study",
        alignments=read_alignments(manifest),
    )
    assert found.settings["left_out"] == ["utterance-1", "utterance-2"]
    assert {r.utterance for r in found.models["a"].records} == {"utterance-0", "utterance-3"}
    table = reliability_table(found).set_index("reported")
    assert set(table["utterances"]) == {2}
    assert table.loc["word", "units"] == 3
    assert table.loc["word", "chance"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"models": {"a": PlantedModel(drawn)}}, "two models"),
        ({"units": ("word",)}, "none of 12 utterances has the times"),
        ({"inputs": ("encoder",)}, "a has no input 'encoder'; it has: spectrogram"),
        ({"tasks": ("mood",)}, "a has no task 'mood'; it has: speaker"),
        ({"n_runs": 0}, "n_runs must be"),
    ],
)
def test_bad_arguments_are_told(tmp_path, change, message):
    models = {name: PlantedModel(lambda key, seed: drawn(key)) for name in "ab"}
    arguments = {"models": models, **change}
    with pytest.raises(ArgumentError, match=message):
        study(tmp_path, **arguments)
