"""Settings: checked when made, equal by value, saved, and run again as they were."""

import dataclasses
import inspect
import json
import pickle
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from captum.attr import FeatureAblation, GradientShap, IntegratedGradients, KernelShap, Saliency

from captum_spes import (
    SPES,
    Settings,
    SpeechToTextAttribution,
    SpeechToTextAttributionResult,
)
from captum_spes.attr import BernoulliDesign, GaussianProcess, MaskedDifference, MaskedMean
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.forward import KL, TokenProbability
from captum_spes.speech import GradientPrior
from tests.speech.explaining import QUICK, explain

# Two explanations saved by version 0.1 of random tiny models.
DATA = Path(__file__).parent / "data"
NAMES = [field.name for field in dataclasses.fields(Settings)]


def levels():
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(-1, 5, (30, 8), generator=generator) for _ in range(2)]


# Each makes equal values anew, as other objects.
MANY = {
    "paper": Settings.paper,
    "efficient": Settings.efficient,
    "efficient, probability": lambda: Settings.efficient(score="probability"),
    "own patches": lambda: Settings(
        feature_mask=levels(), baselines=torch.full((30, 8), 0.25), n_samples=9
    ),
    "one level": lambda: Settings(feature_mask=levels()[0], baselines=torch.tensor([1.5, -2.0])),
    "sides": lambda: Settings(
        method_args={"spectrogram": {"n_steps": 5}, "tokens": {"n_steps": 3}}
    ),
    "one side": lambda: Settings(
        method_args={"internal_batch_size": 2, "method": "riemann_trapezoid"}
    ),
    "prompt": lambda: Settings(gen_args={"prompt_ids": torch.tensor([3, 1, 4]), "num_beams": 5}),
    "objects": lambda: Settings(
        score=TokenProbability(log=True),
        estimator=MaskedDifference(),
        design=BernoulliDesign(0.3),
        dtype=torch.bfloat16,
    ),
    "numbers": lambda: Settings(
        n_samples=7, n_token_samples=0, perturb_prob=0.25, token_perturb_prob=0.125,
        tolerance=0.1, max_seconds=None, n_patches=(20, 30), baselines=0.5,
    ),
    "NumPy's": lambda: Settings(
        n_samples=np.int64(7), perturb_prob=np.float32(0.25),
        patches_per_second=np.array([40, 60]), perturb_jointly=np.bool_(True),
    ),
    # generate tells lists from tuples, and wants tuples as keys.
    "lists": lambda: Settings(
        gen_args={"bad_words_ids": [[1, 2], [3]], "temperature": (0.0, 0.2), "lengths": []},
        method_args={"sliding_window_shapes": (3, 4), "layers": [1]},
    ),
    "keys": lambda: Settings(gen_args={"sequence_bias": {(10,): -1.0, (4, 5): 2.0}}),
    "words": lambda: Settings(
        feature_mask="cells", baselines="mean", perturbations_per_eval="auto"
    ),
}  # fmt: skip
every_kind = pytest.mark.parametrize("make", MANY.values(), ids=MANY)


def kinds(value):
    """The types inside, which ``==`` of settings does not tell apart."""
    if isinstance(value, dict):
        return {key: kinds(own) for key, own in value.items()}
    if isinstance(value, list | tuple):
        return type(value), [kinds(own) for own in value]
    return type(value)


@every_kind
def test_arguments_of_generation_keep_their_types(make):
    settings = make()
    for again in (
        Settings.from_dict(json.loads(json.dumps(settings.to_dict()))),
        pickle.loads(pickle.dumps(settings)),
    ):
        assert kinds(again.gen_args) == kinds(settings.gen_args)
        assert kinds(again.method_args) == kinds(settings.method_args)


def test_single_values_of_numpy_are_those_of_python():
    """To generate, ``numpy.True_`` is not True: the record would say what did not run."""
    given = {"return_timestamps": np.bool_(True), "num_beams": np.int64(2), "top_p": np.float32(1)}
    settings = Settings(gen_args=given)
    assert settings.gen_args["return_timestamps"] is True
    assert kinds(settings.gen_args) == {
        "return_timestamps": bool,
        "num_beams": int,
        "top_p": float,
    }


@pytest.mark.parametrize(
    "saved",
    [{"pairs": 5}, {"pairs": [1]}, {"pairs": [[1]]}, {"pairs": [[{"list": []}, 1]]}],
    ids=str,
)
def test_damaged_arguments_are_an_error_of_ours(saved):
    kept = {**Settings.paper().to_dict(), "gen_args": {"items": {"x": saved}}}
    with pytest.raises(ArgumentError, match="damaged pairs in saved settings"):
        Settings.from_dict(kept)


class TestValues:
    def test_cannot_be_changed(self):
        settings = Settings.paper()
        with pytest.raises(dataclasses.FrozenInstanceError):
            settings.n_samples = 3

    @every_kind
    def test_are_equal_by_value(self, make):
        first, second = make(), make()
        assert first == second
        assert hash(first) == hash(second)
        assert first in {second}

    def test_every_change_makes_them_unequal(self):
        all_of_them = [make() for make in MANY.values()]
        for number, one in enumerate(all_of_them):
            assert [one == other for other in all_of_them].index(True) == number
        assert Settings() != "Settings()"
        patches = levels()
        patches[1][3, 3] += 1
        assert Settings(feature_mask=levels()) != Settings(feature_mask=patches)
        whole, broken = torch.ones(3), torch.ones(3, dtype=torch.int64)
        assert Settings(baselines=whole) != Settings(baselines=broken)

    def test_start_from_the_paper(self):
        assert Settings() == Settings.paper()
        assert Settings.paper().changed() == {}
        efficient = Settings.efficient()
        assert (efficient.n_samples, efficient.n_token_samples) == (40, 200)
        assert len(efficient.patches_per_second) == 16
        assert efficient.estimator == GaussianProcess()
        assert efficient.prior == GradientPrior()
        assert set(efficient.changed()) == {
            "n_samples", "n_token_samples", "patches_per_second", "estimator", "prior",
        }  # fmt: skip

    def test_a_changed_value_changes_nothing_else(self):
        changed = {"n_samples": 77, "patches_per_second": (40.0,), "perturb_prob": 0.25}
        for start in (Settings.paper, Settings.efficient):
            settings = start(**changed)
            assert settings == start().replace(**changed)
            for name in set(NAMES) - set(changed):
                assert getattr(settings, name) == getattr(start(), name)

    def test_scores_by_name_are_the_objects(self):
        assert Settings(score="kl") == Settings(score=KL())
        assert Settings(score="log_probability") == Settings(score=TokenProbability(log=True))

    def test_a_score_that_can_be_negative_is_read_without_logarithms(self):
        assert Settings.efficient(score="probability").estimator == GaussianProcess(
            log_impacts=False
        )
        with pytest.raises(ArgumentError, match="log_impacts=False"):
            Settings.efficient().replace(score="probability")


class TestFiles:
    @every_kind
    def test_come_back_from_json(self, make):
        settings = make()
        held = json.dumps(settings.to_dict())
        again = Settings.from_dict(json.loads(held))
        assert again == settings
        assert json.dumps(again.to_dict()) == held

    def test_what_is_missing_is_the_papers(self):
        assert Settings.from_dict({"n_samples": 100}) == Settings.paper(n_samples=100)
        assert Settings.from_dict({}) == Settings.paper()

    @pytest.mark.parametrize("given", [[1], "n_samples", 5, None])
    def test_must_be_an_object(self, given):
        with pytest.raises(ArgumentTypeError, match="settings must be an object"):
            Settings.from_dict(given)

    def test_no_code_is_named_by_a_file(self):
        held = Settings(estimator=MaskedDifference()).to_dict()
        held["estimator"]["object"] = "os.system"
        with pytest.raises(ArgumentError, match=r"unknown object 'os\.system'"):
            Settings.from_dict(held)


class TestChecks:
    @pytest.mark.parametrize(
        ("given", "near"),
        [("n_sample", "n_samples"), ("patches", "n_patches"), ("gen_arg", "gen_args")],
    )
    def test_unknown_names_are_told_with_the_nearest(self, given, near):
        message = f"there is no setting '{given}'; did you mean '{near}'?"
        for make in (
            Settings.paper,
            Settings.efficient,
            Settings().replace,
            lambda **values: Settings.from_dict(values),
        ):
            with pytest.raises(ArgumentTypeError) as told:
                make(**{given: 5})
            assert str(told.value).startswith(message)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("n_samples", 0),
            ("n_samples", True),
            ("n_samples", "40"),
            ("n_samples", 2.5),
            ("n_token_samples", -1),
            ("n_token_samples", None),
            ("perturb_prob", None),
            ("perturb_prob", 0),
            ("perturb_prob", 1),
            ("perturb_prob", "x"),
            ("perturb_prob", float("nan")),
            ("token_perturb_prob", 1.5),
            ("patches_per_second", "40"),
            ("patches_per_second", 0),
            ("patches_per_second", (40, -1)),
            ("patches_per_second", ("40",)),
            ("max_seconds", -1),
            ("max_seconds", "long"),
            ("n_patches", "5"),
            ("n_patches", 2.5),
            ("n_patches", (10, 0)),
            ("feature_mask", "words"),
            ("feature_mask", 5),
            ("baselines", float("inf")),
            ("baselines", [1, 2]),
            ("score", "cer"),
            ("score", 5),
            ("score", KL),
            ("estimator", 5),
            ("estimator", MaskedMean),
            ("estimator", None),
            ("design", 5),
            ("perturb_jointly", "yes"),
            ("tolerance", "x"),
            ("tolerance", 2),
            ("tolerance", 0),
            ("perturbations_per_eval", 0),
            ("perturbations_per_eval", "many"),
            ("perturbations_per_eval", 2.5),
            ("dtype", "bfloat16"),
            ("dtype", torch.int32),
            ("method_args", 5),
            ("method_args", {1: 2}),
            ("method_args", {"spectrogram": 5}),
            ("method_args", {"seed": 1}),
            ("method_args", {"baselines": 0}),
            ("method_args", {"return_halves": True}),
            ("method_args", {"return_convergence_delta": True}),
            ("method_args", {"tokens": {"return_input_shape": False}}),
            ("method_args", {"feature_mask": None}),
            ("method_args", {"tokens": {"target": 1}}),
            ("method_args", {"tokens": {"estimator": MaskedMean()}}),
            ("gen_args", 5),
            ("gen_args", ["num_beams"]),
        ],
    )
    def test_each_bad_value_is_one_clear_error(self, name, value):
        with pytest.raises((ArgumentError, ArgumentTypeError)) as told:
            Settings(**{name: value})
        message = str(told.value)
        assert name in message
        assert "\n" not in message
        assert message.endswith(".")
        # It is told what is wrong with it before anything runs, wherever it is given.
        with pytest.raises((ArgumentError, ArgumentTypeError)) as again:
            Settings.paper().replace(**{name: value})
        assert str(again.value) == message

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"n_samples": 10_001, "estimator": GaussianProcess()}, "at most 10000 samples"),
            ({"perturb_jointly": True, "tolerance": 0.2}, "tolerance is for SPES with both sides"),
            (
                {"perturb_jointly": True, "n_samples": 9, "estimator": GaussianProcess()},
                "separately",
            ),
            ({"patches_per_second": ()}, "at least one scale"),
        ],
    )
    def test_values_that_do_not_go_together(self, given, message):
        with pytest.raises(ArgumentError, match=message):
            Settings(**given)

    def test_what_only_spes_can_is_told_before_the_model_runs(self, tiny_speech2text, audio):
        for given in (
            {"design": BernoulliDesign(0.5)},
            {"estimator": MaskedDifference()},
            {"scheme": "efficient"},
            {"tolerance": 0.1},
            {"perturb_jointly": True},
        ):
            with pytest.raises(ArgumentError, match="is for SPES, got Saliency"):
                explain(tiny_speech2text, audio, Saliency, **given)


@pytest.mark.filterwarnings("ignore")
class TestWhatRan:
    def test_is_what_was_asked_for_in_whatever_way(self, tiny_speech2text, audio):
        asked = {"n_samples": 20, "n_token_samples": 10, "patches_per_second": (40,)}
        run = {"target": "the cat", "seed": 0}
        model, processor = tiny_speech2text
        explainer = SpeechToTextAttribution(SPES(model), processor)
        efficient = SpeechToTextAttribution(SPES.efficient(model), processor)

        paper = Settings.paper(**asked)
        ways = [
            explainer.attribute(audio, **run, **asked),
            explainer.attribute(audio, **run, settings=paper),
            explainer.attribute(audio, **run, scheme="paper", **asked),
            explainer.attribute(audio, **run, settings=Settings.paper(**asked), n_samples=20),
            explainer.attribute(
                audio, **run, n_token_samples=10, patches_per_second=40,
                method_args={"n_samples": 20},
            ),
        ]  # fmt: skip
        assert all(result.settings == paper for result in ways)
        assert all(same_maps(result, ways[0]) for result in ways)

        few = {"n_samples": 20, "n_token_samples": 10}
        wanted = Settings.efficient(**few)
        ways = [
            explainer.attribute(audio, **run, scheme="efficient", **few),
            explainer.attribute(audio, **run, settings=wanted),
            efficient.attribute(audio, **run, **few),
            efficient.attribute(audio, **run, settings=wanted),
        ]
        assert all(result.settings == wanted for result in ways)
        assert all(same_maps(result, ways[0]) for result in ways)

    @pytest.mark.parametrize(
        ("method", "given"),
        [
            (SPES, {}),
            (SPES, {"scheme": "efficient"}),
            (SPES, {"estimator": MaskedDifference(), "perturb_prob": 0.3}),
            (SPES, {"score": "probability", "baselines": 0.3, "feature_mask": "grid"}),
            (SPES, {"tolerance": 0.5, "n_samples": 400}),
            (SPES, {"perturb_jointly": True}),
            (SPES, {"target": None, "gen_args": {"max_new_tokens": 4, "do_sample": True}}),
            (SPES, {"method_args": {"spectrogram": {"n_samples": 30}, "tokens": {"n_samples": 9}}}),
            (KernelShap, {}),
            (IntegratedGradients, {"method_args": {"n_steps": 3}}),
            (FeatureAblation, {"n_patches": 12}),
        ],
        ids=str,
    )
    def test_runs_again_bit_for_bit(self, tiny_model, audio, tmp_path, method, given):
        """Also after a round through a file."""
        first = explain(tiny_model, audio, method, **given)
        first.save(tmp_path / "first.npz")
        loaded = SpeechToTextAttributionResult.load(tmp_path / "first.npz")
        assert loaded.settings == first.settings
        explainer = SpeechToTextAttribution(method(tiny_model[0]), tiny_model[1])
        target = given.get("target", QUICK["target"])
        for settings in (first.settings, loaded.settings):
            again = explainer.attribute(audio, target=target, settings=settings, seed=first.seed)
            assert same_maps(again, first)
            assert again.settings == first.settings
            # As text: NaN equals nothing.
            assert json.dumps(again.parameters) == json.dumps(first.parameters)

    def test_equal_patches_are_an_equal_run(self, tiny_speech2text, audio):
        """Whether they are the constant itself or numbers that equal it."""
        constant = Settings.paper().patches_per_second
        for scheme in ("paper", "efficient"):
            one, other = (
                explain(tiny_speech2text, audio, scheme=scheme, patches_per_second=patches)
                for patches in (constant, tuple(float(n) for n in constant))
            )
            assert one.settings == other.settings
            assert same_maps(one, other)
            assert one.parameters["scheme"] == scheme
            assert one.parameters["patches_per_second"] == [400, 500, 600]

    def test_the_signature_shows_the_papers_values(self):
        shown = inspect.signature(SpeechToTextAttribution.attribute).parameters
        paper = Settings.paper()
        for name in NAMES:
            assert shown[name].default == (getattr(paper, name) or None)


def same_maps(one, other):
    pairs = [(result.spectrogram_attr, result.token_attr) for result in (one, other)]
    return all(torch.equal(a.nan_to_num(-1), b.nan_to_num(-1)) for a, b in zip(*pairs, strict=True))


class Recording(FeatureAblation):
    """Ablation that keeps what it was given besides."""

    given: ClassVar[list] = []

    def attribute(self, inputs, baselines=None, target=None, feature_mask=None, extra="none"):
        Recording.given.append(("tokens" if inputs.dim() == 2 else "spectrogram", extra))
        return super().attribute(inputs, baselines, target, None, feature_mask)


@pytest.mark.filterwarnings("ignore")
class TestMethodArguments:
    def test_what_the_settings_have_a_name_for_becomes_that_setting(self):
        settings = Settings(method_args={"n_samples": 7, "perturb_prob": 0.25, "n_steps": 3})
        assert settings == Settings(
            n_samples=7, perturb_prob=0.25, method_args={"spectrogram": {"n_steps": 3}}
        )
        assert settings.method_args == {"spectrogram": {"n_steps": 3}}
        sides = {"spectrogram": {"n_samples": 7}, "tokens": {"n_samples": 9, "perturb_prob": 0.1}}
        assert Settings(method_args=sides) == Settings(
            n_samples=7, n_token_samples=9, token_perturb_prob=0.1
        )
        patches = {"patches_per_second": 30, "max_seconds": 4, "gradients_with_padding": False}
        assert Settings(method_args=patches) == Settings(**patches)
        assert Settings(method_args={"n_patches": [3, 4]}) == Settings(n_patches=[3, 4])

    def test_samples_of_the_spectrogram_do_not_reach_the_previous_tokens(
        self, tiny_speech2text, audio
    ):
        result = explain(tiny_speech2text, audio, method_args={"n_samples": 7})
        assert result.settings.n_samples == result.parameters["n_samples"] == 7
        assert result.settings.n_token_samples == QUICK["n_token_samples"]
        assert result.parameters["n_samples_evaluated"] == 7
        assert result.parameters["n_token_samples_evaluated"] == QUICK["n_token_samples"]
        plain = explain(tiny_speech2text, audio, n_samples=7)
        assert same_maps(result, plain)
        assert result.settings == plain.settings

    def test_a_probability_reaches_its_side_only(self, tiny_speech2text, audio):
        result = explain(tiny_speech2text, audio, method_args={"tokens": {"perturb_prob": 0.2}})
        plain = explain(tiny_speech2text, audio, token_perturb_prob=0.2)
        assert result.settings == plain.settings
        assert same_maps(result, plain)
        other = explain(tiny_speech2text, audio)
        assert torch.equal(other.spectrogram_attr, result.spectrogram_attr)
        assert not same_maps(other, result)

    @pytest.mark.parametrize(
        ("method_args", "spectrogram", "tokens"),
        [
            ({"extra": 1}, 1, "none"),
            ({"spectrogram": {"extra": 1}}, 1, "none"),
            ({"tokens": {"extra": 2}}, "none", 2),
            ({"spectrogram": {"extra": 1}, "tokens": {"extra": 2}}, 1, 2),
            (None, "none", "none"),
        ],
    )
    def test_reach_their_side_only(self, tiny_speech2text, audio, method_args, spectrogram, tokens):
        Recording.given.clear()
        result = explain(tiny_speech2text, audio, Recording, method_args=method_args)
        assert set(Recording.given) == {("spectrogram", spectrogram), ("tokens", tokens)}
        extra = {side: own.get("extra") for side, own in result.settings.method_args.items()}
        wanted = {"spectrogram": spectrogram, "tokens": tokens}
        assert extra == {side: value for side, value in wanted.items() if value != "none"}

    def test_unknown_ones_are_told_with_those_there_are(self, tiny_speech2text, audio):
        with pytest.raises(ArgumentTypeError, match="takes no argument 'n_step' in method_args"):
            explain(tiny_speech2text, audio, IntegratedGradients, method_args={"n_step": 5})
        with pytest.raises(ArgumentTypeError, match=r"^Gradient Shap .* no argument 'n_step'"):
            explain(tiny_speech2text, audio, GradientShap, method_args={"n_step": 5})


@pytest.mark.filterwarnings("ignore")
class TestVersionOne:
    """Explanations that version 0.1 saved load with the settings that they were made with."""

    @pytest.mark.parametrize(
        ("file", "settings", "target", "length", "seed"),
        [
            (
                "version_1.npz",
                Settings.paper(
                    n_samples=40,
                    n_token_samples=12,
                    perturb_prob=0.3,
                    token_perturb_prob=0.25,
                    patches_per_second=(20, 30),
                    max_seconds=0.5,
                    baselines=0.25,
                    feature_mask="grid",
                    score="probability",
                    gen_args={"num_beams": 2},
                    perturbations_per_eval=8,
                ),
                "ab",
                9600,
                3,
            ),
            (
                "version_1_efficient.npz",
                Settings.efficient(n_samples=48, n_token_samples=12, prior=None),
                "a",
                6000,
                4,
            ),
        ],
    )
    def test_loads_and_runs_again(self, tiny_whisper, audio, file, settings, target, length, seed):
        loaded = SpeechToTextAttributionResult.load(DATA / file)
        assert loaded.settings == settings
        assert (loaded.text, loaded.seed) == (target, seed)
        again = explain(
            tiny_whisper, audio[:length], settings=loaded.settings, target=loaded.text, seed=seed,
            **{name: getattr(settings, name) for name in ("n_samples", "n_token_samples",
                                                          "patches_per_second")},
        )  # fmt: skip
        assert again.settings == settings
        # On this machine bit for bit; another one may sum in another order.
        scale = float(loaded.spectrogram_attr.abs().max())
        torch.testing.assert_close(
            again.spectrogram_attr, loaded.spectrogram_attr, rtol=0, atol=1e-4 * scale
        )
        torch.testing.assert_close(
            again.token_attr, loaded.token_attr, rtol=1e-3, atol=1e-7, equal_nan=True
        )

    @pytest.fixture
    def rewritten(self, tmp_path):
        """A file of version 1 with other parameters."""

        def rewritten(**parameters):
            with np.load(DATA / "version_1_efficient.npz") as held:
                arrays = dict(held)
            metadata = json.loads(str(arrays.pop("metadata")))
            assert "settings" not in metadata
            metadata["parameters"] |= parameters
            np.savez(tmp_path / "old.npz", metadata=np.array(json.dumps(metadata)), **arrays)
            return SpeechToTextAttributionResult.load(tmp_path / "old.npz").settings

        return rewritten

    def test_of_other_schemes_and_scores(self, rewritten):
        known = {"n_samples": 48, "n_token_samples": 12}
        for name in ("probability", "log_probability"):
            assert rewritten(score=name) == Settings.efficient(score=name, **known, prior=None)
        assert rewritten(dtype="bfloat16").dtype is torch.bfloat16
        assert rewritten(scheme="paper").estimator == MaskedMean()
        assert rewritten(method_args={"n_steps": 4}).method_args == {"spectrogram": {"n_steps": 4}}

    @pytest.mark.parametrize("name", ["feature_mask", "baselines"])
    def test_what_they_did_not_hold_is_told_when_it_would_run(
        self, rewritten, tiny_whisper, audio, name
    ):
        settings = rewritten(**{name: "given"})
        model, processor = tiny_whisper
        explainer = SpeechToTextAttribution(SPES(model), processor)
        with pytest.raises(ArgumentError, match=f"settings.{name} was .*give it again"):
            explainer.attribute(audio, target="a", settings=settings)
