"""Maps of a model that has forgotten what it learned, and the model that comes back as it was."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from captum.attr import InputXGradient

from captum_spes import SPES, EnergyMap, RandomMap, SpeechToTextAttribution
from captum_spes.demo import load_demo
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.metrics import (
    RandomizedWeights,
    inter_seed_agreement,
    randomized_weights,
    weights,
)
from captum_spes.metrics.weights import Stage, kept_weights, weight_stages

pytestmark = pytest.mark.filterwarnings("ignore:.*sampling noise")

TARGET = {"target": "the cat"}


class Watching(EnergyMap):
    """A control that notes which weights differ from those that it was made with, and how."""

    def __init__(self, model, stop=None):
        super().__init__(model)
        self.model, self.stop, self.seen, self.outputs = model, stop, [], []
        self.before = copied(model)

    def maps(self, adapter, speech, sequence, seed):
        now = dict(self.model.named_parameters(remove_duplicate=False))
        for name, tensor in now.items():
            values, old = (
                part.double().flatten().sort().values for part in (tensor, self.before[name])
            )
            assert torch.equal(values, old), name  # permuted, and nothing else
        changed = {name for name in now if not torch.equal(now[name], self.before[name])}
        self.seen.append(changed)
        self.outputs.append(now["proj_out.weight"].clone() if "proj_out.weight" in now else None)
        if self.stop is not None and len(self.seen) > 3:
            raise self.stop
        return super().maps(adapter, speech, sequence, seed)


def ordered(tensor):
    return tensor.detach().double().flatten().sort().values


def copied(model):
    return {
        name: tensor.detach().clone()
        for name, tensor in model.named_parameters(remove_duplicate=False)
    }


def explained_by(model, method, **kwargs):
    network, processor = model
    return SpeechToTextAttribution(method(network, **kwargs), processor)


def assert_unchanged(network, before, pointers):
    for name, tensor in network.named_parameters(remove_duplicate=False):
        assert torch.equal(tensor, before[name]), name
        assert tensor.data_ptr() == pointers[name], name


def pointers_of(network):
    named = network.named_parameters(remove_duplicate=False)
    return {name: tensor.data_ptr() for name, tensor in named}


# The model -------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["cascading", "independent"])
@pytest.mark.parametrize("stop", [None, RuntimeError("no memory"), KeyboardInterrupt()])
def test_the_model_comes_back_bit_for_bit(tiny_model, audio, order, stop):
    explainer = explained_by(tiny_model, Watching, stop=stop)
    network = tiny_model[0]
    before, pointers = copied(network), pointers_of(network)
    if stop is None:
        randomized_weights(explainer, audio, order=order, **TARGET)
    else:
        with pytest.raises(type(stop)):
            randomized_weights(explainer, audio, order=order, **TARGET)
    assert any(explainer.attr_method.seen)
    assert_unchanged(network, before, pointers)


def test_ctrl_c_while_weights_are_put_back_waits(tiny_whisper, monkeypatch):
    network = tiny_whisper[0]
    before, pointers = copied(network), pointers_of(network)
    write, calls = weights._write, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) % 3 == 0:
            raise KeyboardInterrupt
        write(*arguments)

    def permuted():
        with kept_weights() as keeper:
            for stage in weight_stages(network):
                keeper.permute(stage, torch.Generator().manual_seed(0))
            monkeypatch.setattr(weights, "_write", interrupted)

    with pytest.raises(KeyboardInterrupt):
        permuted()
    assert len(calls) > 3
    assert_unchanged(network, before, pointers)


def test_tied_weights_stay_tied_and_are_permuted_once(tiny_whisper, audio):
    network = tiny_whisper[0]
    assert network.proj_out.weight is network.model.decoder.embed_tokens.weight
    explainer = explained_by(tiny_whisper, Watching)
    randomized_weights(explainer, audio, **TARGET)
    _, _, first, *_ = explainer.attr_method.seen
    outputs = explainer.attr_method.outputs
    assert not torch.equal(outputs[1], outputs[2])
    assert all(torch.equal(output, outputs[2]) for output in outputs[3:])
    assert {"proj_out.weight", "model.decoder.embed_tokens.weight"} <= first
    assert network.proj_out.weight is network.model.decoder.embed_tokens.weight


def test_weights_that_overlap_in_memory_come_back():
    memory = torch.arange(40.0)
    one, other = memory[:30], memory[10:]
    with kept_weights() as keeper:
        for number, tensor in enumerate((one, other)):
            keeper.permute(Stage(str(number), {"w": tensor}), torch.Generator().manual_seed(number))
        assert not torch.equal(memory, torch.arange(40.0))
    assert torch.equal(memory, torch.arange(40.0))


def test_half_precision_and_weights_made_in_inference_mode(make_tiny_whisper, audio):
    with torch.inference_mode():
        network, processor = make_tiny_whisper()
        network = network.half().float()
    before = copied(network)
    randomized_weights(explained_by((network, processor), Watching), audio, **TARGET)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.named_parameters())


# The stages ------------------------------------------------------------------------------


def test_a_cascade_goes_from_the_output_down_and_adds_up(tiny_whisper, audio):
    explainer = explained_by(tiny_whisper, Watching)
    found = randomized_weights(explainer, audio, **TARGET)
    assert found.stages[0] == "intact"
    assert found.stages[1] == "proj_out"
    assert found.stages[-1].startswith("model.encoder.conv1")
    _, intact, *cascade = explainer.attr_method.seen
    assert not intact
    assert len(cascade) == len(found.stages) - 1
    assert all(one <= later for one, later in pairwise(cascade))
    places = [min(found.stages.index(s) for s in found.stages if s.startswith(part)) for part in
              ("model.decoder.layers.0", "model.encoder.layers.0")]  # fmt: skip
    assert places[0] < places[1]
    assert not any(name.startswith("model.encoder") for name in cascade[places[0] - 1])


def test_independent_stages_are_changed_alone(tiny_canary, audio):
    explainer = explained_by(tiny_canary, Watching)
    found = randomized_weights(explainer, audio, order="independent", **TARGET)
    own = {stage.name: set(stage.tensors) for stage in weight_stages(tiny_canary[0])}
    tied = {"proj_out.weight", "model.decoder.embed_tokens.weight"}
    for stage, changed in zip(found.stages[1:], explainer.attr_method.seen[2:], strict=True):
        assert changed <= own[stage] | tied, stage
    assert set().union(*explainer.attr_method.seen) > tied


def test_every_weight_is_in_a_stage(tiny_model):
    network = tiny_model[0]
    named = [name for stage in weight_stages(network) for name in stage.tensors]
    assert sorted(named) == sorted(
        name for name, _ in network.named_parameters(remove_duplicate=False)
    )


def test_stages_can_be_given(tiny_whisper, audio):
    explainer = explained_by(tiny_whisper, Watching)
    modules = [["model.encoder.conv1", "model.encoder.conv2"], "model.decoder.layers"]
    found = randomized_weights(explainer, audio, modules=modules, **TARGET)
    assert found.stages == (
        "intact", "model.decoder.layers", "model.encoder.conv1 + model.encoder.conv2",
    )  # fmt: skip
    _, _, first, second = explainer.attr_method.seen
    assert all(name.startswith("model.decoder.layers") for name in first)
    assert {name.split(".")[2] for name in second - first} == {"conv1", "conv2"}


def test_weights_that_are_all_equal_are_told(tiny_whisper, audio):
    found = randomized_weights(
        explained_by(tiny_whisper, EnergyMap), audio,
        modules=["model.decoder.layer_norm", "model.encoder.conv1"], **TARGET,
    )  # fmt: skip
    assert found.changed[0] == 0
    assert found.changed[2] == 0  # a norm that was never trained: 1 and 0
    assert 0.5 < found.changed[1] <= 1


# The agreement ---------------------------------------------------------------------------


def test_the_control_of_energy_notices_nothing_and_random_maps_show_nothing(tiny_whisper, audio):
    energy = randomized_weights(explained_by(tiny_whisper, EnergyMap), audio, **TARGET)
    for measure in ("spearman", "overlap", "ssim"):
        assert energy.means(measure) == pytest.approx(1.0)
        assert energy.kept(measure) == pytest.approx(1.0)
    assert np.isnan(energy.probabilities).all()
    drawn = randomized_weights(explained_by(tiny_whisper, RandomMap), audio, **TARGET)
    assert abs(drawn.means()[0]) < 0.1  # another seed
    assert drawn.means("overlap") == pytest.approx(0.2, abs=0.03)
    assert np.isnan(drawn.kept())


@pytest.fixture(scope="module")
def bundled():
    model, processor, examples = load_demo()
    return (model, processor), next(e.path for e in examples if e.name == "test-00205")


def test_maps_of_a_trained_model_fall(bundled):
    model, clip = bundled
    modules = ["model.encoder", "model.decoder"]
    found = randomized_weights(
        explained_by(model, InputXGradient), clip, modules=modules, n_token_samples=0
    )
    assert found.means()[0] == pytest.approx(1.0)  # deterministic: no seed
    assert (abs(found.means()[1:]) < 0.2).all()
    assert abs(found.kept()) < 0.2
    assert (found.means("overlap")[1:] < 0.45).all()
    assert found.probabilities[0].mean() > 0.8  # the forced output is that of the intact model
    assert found.probabilities[1:].mean() < 0.05
    alone = randomized_weights(
        explained_by(model, InputXGradient), clip, modules=modules, order="independent",
        n_token_samples=0,
    )  # fmt: skip
    assert alone.kept() == pytest.approx(float(alone.means()[1:].mean()))
    # The same permutation for the first stage, and another state for the second.
    assert alone.means()[1] == pytest.approx(found.means()[1])
    assert alone.means()[2] != pytest.approx(found.means()[2])


def test_maps_of_spes_on_the_intact_model_agree_as_two_seeds_do(bundled):
    model, clip = bundled
    explainer = explained_by(model, SPES)
    quick = {"n_samples": 100, "n_token_samples": 0, "patches_per_second": 20}
    found = randomized_weights(explainer, clip, modules=["model"], seed=3, **quick)
    target = explainer.attribute(clip, seed=3, **quick).output_ids
    seeds = [explainer.attribute(clip, target=target, seed=seed, **quick) for seed in (3, 4)]
    expected = inter_seed_agreement(seeds, measure="spearman").mean
    assert found.means()[0] == pytest.approx(expected)
    assert 0.1 < found.means()[0] < 0.95


def test_the_seed_decides(tiny_whisper, audio):
    quick = {"n_samples": 20, "n_token_samples": 0, "patches_per_second": 20, **TARGET}
    explainer = explained_by(tiny_whisper, SPES)
    runs = [randomized_weights(explainer, audio, seed=seed, **quick) for seed in (0, 0, 1)]
    for measure in ("spearman", "overlap", "ssim"):
        np.testing.assert_array_equal(*(run.agreements[measure] for run in runs[:2]))
    assert not np.allclose(runs[0].means()[1:], runs[2].means()[1:])


def test_the_seed_decides_how_weights_are_permuted(tiny_whisper, audio):
    outputs = []
    for seed in (0, 0, 1):
        explainer = explained_by(tiny_whisper, Watching)
        randomized_weights(explainer, audio, modules=["proj_out"], seed=seed, **TARGET)
        outputs.append(explainer.attr_method.outputs[-1])
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


def test_maps_that_are_constant_count_for_nothing():
    nan = float("nan")
    found = RandomizedWeights(
        "any", "independent", ("intact", "a", "b"),
        {"spearman": np.array([[0.8, nan], [nan, nan], [0.2, 0.6]])}, {"spearman": 0.0},
        np.zeros(3), np.zeros((3, 2)),
    )  # fmt: skip
    np.testing.assert_allclose(found.means(), [0.8, nan, 0.4])
    assert found.kept() == pytest.approx(0.5)


def test_the_table_names_every_stage(tiny_whisper, audio):
    found = randomized_weights(explained_by(tiny_whisper, EnergyMap), audio, **TARGET)
    lines = str(found).splitlines()
    assert len(lines) == len(found.stages) + 2
    assert lines[1].split() == ["intact", "1.000", "1.000", "1.000"]
    assert lines[-1].split()[0] == "chance"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"order": "upwards"}, "order must be one of"),
        ({"modules": ["model.decoder.layerz"]}, "no module 'model.decoder.layerz'"),
        ({"modules": []}, "no weights"),
        ({"modules": ["model.encoder.layers.0.activation_fn"]}, "no weights"),
        ({"top": 1.0}, "top must"),
        ({"seed": -1}, "seed must"),
    ],
)
def test_bad_arguments_are_told_before_any_pass(tiny_whisper, audio, given, message):
    explainer = explained_by(tiny_whisper, Watching)
    with pytest.raises(ArgumentError, match=message):
        randomized_weights(explainer, audio, **TARGET, **given)
    assert not explainer.attr_method.seen


def test_what_has_no_weights_is_told(tiny_whisper, audio):
    explainer = explained_by(tiny_whisper, EnergyMap)
    with pytest.raises(ArgumentTypeError, match="SpeechToTextAttribution"):
        randomized_weights(SimpleNamespace(), audio)
    explainer.attr_method.forward_func = lambda features: features
    with pytest.raises(ArgumentTypeError, match=r"torch\.nn\.Module"):
        randomized_weights(explainer, audio, **TARGET)
    with torch.device("meta"):
        explainer.attr_method.forward_func = torch.nn.Linear(3, 3)
    with pytest.raises(ArgumentError, match="not in memory"):
        randomized_weights(explainer, audio, **TARGET)
    with pytest.raises(ArgumentError, match="measure"):
        randomized_weights(explained_by(tiny_whisper, EnergyMap), audio, **TARGET).means("cosine")
