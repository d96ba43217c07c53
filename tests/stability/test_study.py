"""A study finds the agreement, the ceiling and the split that were planted."""

import json
import unicodedata

import numpy as np
import pytest
import torch

from captum_spes.alignment import Alignment, Interval, read_alignments
from captum_spes.corpus import read_manifest
from captum_spes.errors import ArgumentError
from captum_spes.report import write_stability
from captum_spes.stability import (
    Attributed,
    StabilityStudy,
    condition_agreements,
    paired_difference,
    parse_method,
    parse_units,
    run_study,
    stability_table,
)
from tests.stability.planted import FRAMES, PlantedModel, drawn, utterances, write_corpus

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
    return stability_table(study(tmp_path, models, **arguments)).iloc[0]


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


class OfManyLengths(PlantedModel):
    """Utterances of few words and few tokens, and of many of both."""

    def attribute(self, view, utterance, task, method, masks, seed):
        n_items, n_words = (5, 4) if int(utterance.id[-1]) % 2 else (12, 9)
        maps = torch.full((n_items, FRAMES, 1), torch.nan)
        for item in range(n_items):
            words = torch.tensor(self.scores(f"{utterance.id} {item}", seed)[:n_words])
            maps[item, :, 0] = words.float().repeat_interleave(FRAMES // n_words + 1)[:FRAMES]
        return Attributed(maps, 1)


def alignment_of_many_lengths(utterance):
    n_words = 4 if int(utterance.id[-1]) % 2 else 9
    width = (FRAMES // n_words + 1) / 100
    spans = [(n * width, min((n + 1) * width, 4.0)) for n in range(n_words)]
    return Alignment(tuple(Interval(str(n), *span) for n, span in enumerate(spans)))


def test_chance_is_that_of_the_utterances_that_count_whatever_their_tokens(tmp_path):
    explained = utterances(tmp_path / "corpus", 10)
    found = run_study(
        {name: OfManyLengths(lambda key, seed, n=name: drawn(n + key)) for name in "abcdef"},
        explained,
        [parse_method("saliency")],
        [parse_units("word")],
        tmp_path / "study",
        alignments={u.id: alignment_of_many_lengths(u) for u in explained},
    )
    row = stability_table(found).iloc[0]
    # One of four words and one of nine, every utterance counting the same.
    assert row["chance"] == pytest.approx((1 / 4 + 1 / 9) / 2)
    assert row["agreement_low"] <= row["chance"] <= row["agreement_high"]
    assert row["corrected"] == pytest.approx(0, abs=0.05)


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


def test_what_position_alone_gives_is_told(tmp_path):
    """Maps that follow the place in the utterance and not the utterance agree, and say nothing."""
    ramp = np.linspace(0, 5, FRAMES)
    positional = {n: PlantedModel(lambda key, seed: ramp + 0.01 * drawn(key)) for n in "abc"}
    heard = {n: PlantedModel(lambda key, seed: drawn(key)) for n in "abc"}
    for models, wanted in ((positional, 1.0), (heard, 0.2)):
        row = stability_table(study(tmp_path / str(wanted), models)).iloc[0]
        assert row["agreement"] == pytest.approx(1, abs=0.01)
        assert row["mismatched"] == pytest.approx(wanted, abs=0.03)


@pytest.mark.parametrize("noise", [0.5, 1.0, 2.0])
def test_disattenuation_does_not_depend_on_the_noise(tmp_path, noise):
    def model(name):
        def scores(key, seed):
            signal = drawn(key) + drawn(name + key)  # half of it shared
            return signal / 2**0.5 + noise * drawn(f"{name} {key} {seed}")

        return PlantedModel(scores)

    row = stability_table(study(tmp_path, {name: model(name) for name in "abcde"})).iloc[0]
    truth = (joint_upper_fifth(0.5) - 0.2) / 0.8
    assert row["disattenuated"] == pytest.approx(truth, abs=0.05)
    assert row["disattenuated_low"] < truth < row["disattenuated_high"]
    assert row["ceiling"] < 0.85


def test_nothing_is_disattenuated_where_the_ceiling_is_chance(tmp_path):
    models = {n: PlantedModel(lambda key, seed, n=n: drawn(f"{n}{key}{seed}")) for n in "abc"}
    row = stability_table(study(tmp_path, models)).iloc[0]
    assert row["ceiling_low"] < row["chance"] < row["ceiling_high"]
    assert np.isnan(row["disattenuated"])


def test_signs_count_unless_magnitudes_are_asked_for(tmp_path):
    models = {
        "a": PlantedModel(lambda key, seed: drawn(key)),
        "b": PlantedModel(lambda key, seed: -drawn(key)),
    }
    found = study(tmp_path, models, methods=("saliency",))
    assert stability_table(found).iloc[0]["agreement"] == 0
    assert stability_table(found, absolute=True).iloc[0]["agreement"] == 1


def test_conditions_are_compared_on_the_same_pairs(tmp_path):
    """One method names what both models share, the other what only one has."""

    def model(name):
        class Model(PlantedModel):
            def attribute(self, view, utterance, task, method, masks, seed):
                same = method.name == "saliency"
                key = utterance.id if same else f"{name}{utterance.id}"
                maps = torch.tensor(drawn(key), dtype=torch.float32)[None, :, None]
                return Attributed(maps, 1)

        return Model(None)

    models = {name: model(name) for name in "abcd"}
    methods = ("saliency", "feature-ablation")
    found = condition_agreements(study(tmp_path, models, methods=methods))
    mean, (low, high) = paired_difference(found[0], found[1])
    assert low < mean < high
    assert mean == pytest.approx(1, abs=0.05)
    assert low < 1 < high
    assert paired_difference(found[1], found[0])[0] == pytest.approx(-mean)
    other = condition_agreements(study(tmp_path / "2", models, methods=methods, size=5))
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
    loaded = StabilityStudy.load(tmp_path / "study")
    pairs = zip(found.models["a"].records, loaded.models["a"].records, strict=True)
    assert all((one.scores == other.scores).all() for one, other in pairs)
    assert loaded.accuracy("speaker") == {"a": 100, "b": 100}


def test_other_settings_do_not_mix(tmp_path):
    models = {name: PlantedModel(lambda key, seed: drawn(key)) for name in "ab"}
    study(tmp_path, models)
    with pytest.raises(ArgumentError, match=r"other settings \(methods, seed; see"):
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
    table = stability_table(found).set_index("reported")
    assert set(table["utterances"]) == {2}
    assert table.loc["word", "units"] == 3
    assert table.loc["word", "chance"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_times_are_found_whatever_the_form_of_a_name(tmp_path, form):
    manifest = write_corpus(tmp_path / "corpus", 4)
    name = unicodedata.normalize(form, "Zürich")
    manifest.write_text(manifest.read_text().replace("utterance-1", name, 1))
    utterances = read_manifest(manifest)
    assert name in [utterance.id for utterance in utterances]
    found = run_study(
        {name: PlantedModel(lambda key, seed: drawn(key)) for name in "ab"},
        utterances,
        [parse_method("saliency")],
        [parse_units("word")],
        tmp_path / "study",
        alignments=read_alignments(manifest),
    )
    assert found.settings["left_out"] == []


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


def test_a_mistake_leaves_nothing_behind(tmp_path):
    models = {name: PlantedModel(lambda key, seed: drawn(key)) for name in "ab"}
    with pytest.raises(ArgumentError):
        study(tmp_path, models, inputs=("cepstrum",))
    assert len(study(tmp_path, models).models) == 2


def test_only_the_models_that_are_asked_for_count(tmp_path):
    models = {name: PlantedModel(lambda key, seed: drawn(key)) for name in "abc"}
    study(tmp_path, models)
    some = study(tmp_path, {name: models[name] for name in "ac"})
    assert list(some.models) == ["a", "c"]
    assert set(StabilityStudy.load(tmp_path / "study").models) == set("abc")


def test_a_model_that_is_not_whole_does_not_count(tmp_path):
    def failing(key, seed):
        if key.startswith("utterance-2"):
            raise KeyboardInterrupt
        return drawn(key)

    models = {name: PlantedModel(lambda key, seed: drawn(key)) for name in "ab"}
    with pytest.raises(KeyboardInterrupt):
        study(tmp_path, {**models, "c": PlantedModel(failing)}, size=4)
    assert set(StabilityStudy.load(tmp_path / "study").models) == {"a", "b"}


def test_other_recordings_labels_or_times_are_noticed(tmp_path):
    models = {name: PlantedModel(lambda key, seed: drawn(key)) for name in "ab"}
    study(tmp_path, models, size=2)
    manifest = tmp_path / "corpus" / "manifest.jsonl"
    changed = manifest.read_text().replace("so it is", "so it was")
    manifest.write_text(changed)
    with pytest.raises(ArgumentError, match=r"other settings \(data; see"):
        run_study(models, read_manifest(manifest), [parse_method("spes@9")],
                  [parse_units("10ms")], tmp_path / "study")  # fmt: skip


def test_names_with_a_slash_are_names(tmp_path):
    models = {name: PlantedModel(lambda key, seed: drawn(key)) for name in ("facebook/a", "b")}
    assert set(study(tmp_path, models).models) == {"facebook/a", "b"}


def test_single_units_and_constant_maps_do_not_count(tmp_path):
    explained = utterances(tmp_path / "corpus", 4)
    words = {u.id: Alignment((Interval("so", 0.0, 4.0),)) for u in explained}
    words["utterance-1"] = Alignment(tuple(Interval(str(n), n, n + 1.0) for n in range(4)))

    def constant(key, seed):
        return np.zeros(FRAMES) if key.startswith("utterance-2") else drawn(key)

    found = run_study(
        {"a": PlantedModel(constant), "b": PlantedModel(lambda key, seed: drawn(key))},
        explained,
        [parse_method("saliency")],
        [parse_units("word"), parse_units("10ms")],
        tmp_path / "study",
        alignments=words,
    )
    table = stability_table(found).set_index("reported")
    assert table.loc["word", "utterances"] == 1
    assert table.loc["10ms", "utterances"] == 3
    assert table.loc["10ms", "comparable"] == 0.75


def test_maps_that_are_not_finite_are_told_with_their_utterance(tmp_path):
    models = {name: PlantedModel(lambda key, seed: drawn(key) * np.nan) for name in "ab"}
    with pytest.raises(ArgumentError, match="utterance-0: the attributions by speaker, spectro"):
        study(tmp_path, models)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"methods": ("lime", "lime@25")}, "every method once.*'lime@25' is there twice"),
        ({"units": ("20ms", "20ms")}, "every unit once"),
        ({"methods": ()}, "every method once, and at least one; there is none"),
    ],
)
def test_everything_is_named_once(tmp_path, arguments, message):
    models = {name: PlantedModel(lambda key, seed: drawn(key)) for name in "ab"}
    with pytest.raises(ArgumentError, match=message):
        study(tmp_path, models, **arguments)


def test_utterances_have_one_name_each(tmp_path):
    models = {name: PlantedModel(lambda key, seed: drawn(key)) for name in "ab"}
    explained = utterances(tmp_path / "corpus", 2)
    with pytest.raises(ArgumentError, match="every utterance once"):
        run_study(models, [*explained, explained[0]], [parse_method("saliency")],
                  [parse_units("20ms")], tmp_path / "study")  # fmt: skip


def test_models_of_different_kinds_share_nothing(tmp_path):
    class Other(PlantedModel):
        tasks = ("mood",)

    models = {"a": PlantedModel(lambda k, s: drawn(k)), "b": Other(lambda k, s: drawn(k))}
    with pytest.raises(ArgumentError, match="a tells speaker and b mood: models must be of one"):
        study(tmp_path, models)
    assert not (tmp_path / "study").exists()


def test_times_outside_the_recording_are_told(tmp_path):
    explained = utterances(tmp_path / "corpus", 2)
    milliseconds = Alignment((Interval("so", 100.0, 200.0), Interval("it", 200.0, 300.0)))
    models = {name: PlantedModel(lambda key, seed: drawn(key)) for name in "ab"}
    with pytest.raises(ArgumentError, match=r"utterance-0: no word lies within the 4\.00 s"):
        run_study(
            models,
            explained,
            [parse_method("saliency")],
            [parse_units("word")],
            tmp_path / "study",
            alignments={utterance.id: milliseconds for utterance in explained},
        )


def test_maps_that_cannot_be_compared_are_not_called_reliable(tmp_path):
    models = {
        "a": PlantedModel(lambda key, seed: np.zeros(FRAMES)),
        "b": PlantedModel(lambda key, seed: drawn(key)),
    }
    write_stability(study(tmp_path, models, methods=("saliency",)), tmp_path / "report")
    summary = (tmp_path / "report" / "summary.md").read_text()
    assert "0.6 or more: 0 of 1 conditions" in summary
    assert "* speaker, spectrogram, saliency" not in summary
