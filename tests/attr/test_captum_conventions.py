"""SPES behaves as a Captum user expects of a perturbation method."""

import copy
import inspect
import io
from contextlib import redirect_stderr

import numpy as np
import pytest
import torch
from captum.attr import NoiseTunnel, PerturbationAttribution, ShapleyValueSampling
from captum.metrics import infidelity, sensitivity_max
from captum.testing.attr.helpers.test_config import config
from captum.testing.helpers.basic_models import BasicModel_MultiLayer, BasicModelWithSparseInputs

from captum_spes import SPES
from captum_spes.attr import captum_compat
from tests.attr.designs import AllMasks, FixedMasks

X = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


def model(x, scale=1.0):
    return (x * x).cumsum(1) * scale


def attribute(forward=model, inputs=X, **kwargs):
    return SPES(forward).attribute(inputs, **{"n_samples": 40, "seed": 0, **kwargs})


class TestClass:
    def test_is_a_perturbation_attribution(self):
        assert issubclass(SPES, PerturbationAttribution)
        spes = SPES(model)
        assert spes.forward_func is model
        assert spes.multiplies_by_inputs
        assert not spes.has_convergence_delta()
        assert SPES.get_name() == spes.get_name() == "SPES"

    def test_signature_is_the_contract(self):
        parameters = inspect.signature(SPES.attribute).parameters
        contract = [
            "self", "inputs", "baselines", "target", "additional_forward_args", "feature_mask",
            "n_samples", "perturbations_per_eval", "show_progress", "perturb_prob", "seed",
            "design",
        ]  # fmt: skip
        assert list(parameters)[: len(contract)] == contract
        for added in list(parameters.values())[len(contract) :]:
            assert added.kind is inspect.Parameter.KEYWORD_ONLY
            assert added.default is not inspect.Parameter.empty
        defaults = {name: p.default for name, p in parameters.items()}
        assert defaults["n_samples"] == 20_000
        assert defaults["perturb_prob"] == 0.5
        for name in ("perturb_prob", "seed", "design"):
            assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY

    def test_unknown_arguments_are_rejected(self):
        with pytest.raises(TypeError):
            attribute(n_sample=3)

    def test_future_is_not_implemented(self):
        with pytest.raises(NotImplementedError, match="SPES"):
            SPES(model).attribute_future(X, target=0)

    def test_a_copy_with_another_forward_uses_it(self):
        other = copy.copy(SPES(model))
        other.forward_func = lambda x: torch.zeros(len(x))
        assert other.attribute(X, n_samples=9, seed=0).abs().sum() == 0

    def test_compatibility_layer_finds_captums_private_names(self):
        for name in captum_compat.__all__:
            assert hasattr(captum_compat, name)
        parameters = inspect.signature(captum_compat._run_forward).parameters
        assert list(parameters) == ["forward_func", "inputs", "target", "additional_forward_args"]


class TestShapes:
    def test_tensor_in_tensor_out_tuple_in_tuple_out(self):
        assert isinstance(attribute(target=0), torch.Tensor)
        alone = attribute(inputs=(X,), target=0)
        assert isinstance(alone, tuple)
        assert torch.equal(alone[0], attribute(target=0))

    def test_several_outputs_are_kept_apart(self):
        attr = attribute()
        assert attr.shape == (2, 3, 3)
        for k in range(3):
            assert torch.equal(attr[:, k], attribute(target=k))

    def test_three_dimensional_output(self):
        attr = attribute(lambda x: torch.stack([model(x), -model(x)], 2))
        assert attr.shape == (2, 3, 2, 3)

    def test_value_per_batch_in_four_flavours(self):
        flavours = [
            lambda x: model(x).sum(),
            lambda x: model(x).sum().reshape(1),
            lambda x: float(model(x).sum()),
            lambda x: int(model(x).sum()),
        ]
        results = [attribute(f) for f in flavours]
        assert all(r.shape == (1, 3) for r in results)
        assert all(torch.allclose(r.float(), results[0].float()) for r in results)

    def test_output_that_has_nothing_to_do_with_the_batch(self):
        attr = attribute(lambda x: x.sum() * torch.ones(1, 5, 3), X, perturbations_per_eval=1)
        assert attr.shape == (1, 5, 3, 3)

    def test_dtypes(self):
        assert attribute(target=0).dtype == torch.float32
        assert attribute(inputs=X.double(), target=0).dtype == torch.float64
        half = attribute(inputs=X.half(), target=0)
        assert half.dtype == torch.float32
        assert torch.allclose(half, attribute(target=0), rtol=1e-2)
        assert attribute(lambda x: x.float().sum(1), X.long()).dtype == torch.float32

    def test_no_gradient_is_recorded_and_inputs_stay_as_they_were(self):
        x = X.clone().requires_grad_()
        attr = attribute(inputs=x, target=0)
        assert not attr.requires_grad
        assert x.grad is None
        assert torch.equal(x.detach(), X)


class TestTargets:
    @pytest.mark.parametrize(
        "target", [1, torch.tensor(1), [0, 2], torch.tensor([0, 2]), (1,), [(0,), (2,)]]
    )
    @pytest.mark.parametrize("perturbations_per_eval", [1, 3, 50])
    def test_targets_select_as_in_captum(self, target, perturbations_per_eval):
        attr = attribute(target=target, perturbations_per_eval=perturbations_per_eval)
        columns = (
            [0, 2] if isinstance(target, list) or torch.as_tensor(target).numel() > 1 else [1, 1]
        )
        everything = attribute()
        expected = torch.stack([everything[row, column] for row, column in enumerate(columns)])
        assert torch.allclose(attr, expected)


class TestArguments:
    def test_additional_arguments_are_repeated_with_the_batch(self):
        scale = torch.tensor([[1.0], [100.0]])
        attr = attribute(target=0, additional_forward_args=(scale,), perturbations_per_eval=7)
        plain = attribute(target=0)
        assert torch.allclose(attr, plain * scale)
        assert torch.allclose(attribute(target=0, additional_forward_args=2.0), plain * 2)

    @pytest.mark.parametrize(
        "baselines",
        [0.5, torch.full((1, 3), 0.5), torch.full((2, 3), 0.5), (0.5,)],
    )
    def test_baselines(self, baselines):
        def exactly(**kwargs):
            return SPES(model).attribute(X, n_samples=8, design=AllMasks(), target=2, **kwargs)

        assert torch.equal(exactly(baselines=baselines), exactly(baselines=0.5))
        shifted = SPES(lambda x: model(x + 0.5)).attribute(
            X - 0.5, n_samples=8, design=AllMasks(), target=2
        )
        assert torch.allclose(exactly(baselines=0.5), shifted)

    def test_fractional_baseline_of_an_integer_input_is_not_truncated(self):
        attr = SPES(lambda x: x.float().sum(1)).attribute(
            torch.tensor([[2, 2]]), baselines=0.5, n_samples=4, design=AllMasks()
        )
        assert attr.tolist() == [[2.25, 2.25]]

    def test_infinite_features_can_be_removed(self):
        x = torch.tensor([[1.0, -torch.inf]])

        def finite_part(x):
            return torch.where(torch.isinf(x), 0.0, x).sum(1)

        attr = SPES(finite_part).attribute(x, n_samples=4, design=AllMasks())
        assert attr.tolist() == [[1.0, 0.5]]

    def test_negative_labels_are_never_perturbed(self):
        seen = []

        def forward(x):
            seen.append(x.clone())
            return x.sum(1)

        attr = attribute(forward, X, feature_mask=torch.tensor([[3, -1, 5]]))
        assert attr[:, 1].tolist() == [0.0, 0.0]
        assert torch.equal(torch.cat(seen)[:, 1].unique(), torch.tensor([2.0, 5.0]))

    def test_labels_are_global_over_a_tuple(self):
        attr = SPES(lambda a, b: a.sum(1) + b.sum(1)).attribute(
            (torch.ones(1, 1), torch.ones(1, 1)),
            feature_mask=(torch.tensor([[4]]), torch.tensor([[4]])),
            n_samples=5,
            seed=0,
        )
        assert [a.item() for a in attr] == [2.0, 2.0]

    def test_masks_per_example_give_what_each_example_gives_alone(self):
        masks = torch.tensor([[0, 0, 1], [0, 1, 2]])
        attr = attribute(target=2, feature_mask=masks, perturbations_per_eval=3)
        for row in range(2):
            alone = attribute(inputs=X[row : row + 1], target=2, feature_mask=masks[row : row + 1])
            assert torch.allclose(attr[row : row + 1], alone)

    def test_design_with_masks_per_example_serves_each_example_from_its_start(self):
        masks = torch.tensor([[0, 0, 1], [0, 1, 2]])
        rows = torch.randint(0, 2, (6, 3), generator=torch.Generator().manual_seed(0))
        both = attribute(target=2, feature_mask=masks, n_samples=6, design=FixedMasks(rows))
        for row in range(2):
            alone = attribute(
                inputs=X[row : row + 1],
                target=2,
                feature_mask=masks[row : row + 1],
                n_samples=6,
                design=FixedMasks(rows),
            )
            assert torch.allclose(both[row], alone[0])

    def test_numpy_integers_are_integers(self):
        expected = attribute(target=0, n_samples=9)
        found = attribute(target=0, n_samples=np.int64(9), seed=np.int64(0))
        assert torch.equal(found, expected)

    def test_masks_per_example_on_several_levels(self):
        levels = [torch.tensor([[0, 0, 1], [0, 1, 2]]), torch.tensor([[0, 1, 1]])]
        attr = attribute(target=2, feature_mask=levels, n_samples=41)
        alone = attribute(
            inputs=X[1:], target=2, feature_mask=[levels[0][1:], levels[1]], n_samples=41
        )
        assert torch.allclose(attr[1:], alone)

    def test_empty_second_input(self):
        attr = SPES(lambda a, b: a.sum(1)).attribute(
            (X, torch.zeros(2, 0)), n_samples=8, design=AllMasks()
        )
        assert attr[1].shape == (2, 0)
        assert attr[0][0].tolist() == [3.5, 4.0, 4.5]

    def test_sparse_inputs(self):
        ids = torch.tensor([2, 5])
        attr = SPES(lambda x: BasicModelWithSparseInputs().eval()(x, ids)).attribute(
            torch.ones(1, 3), n_samples=10, seed=0
        )
        assert attr.shape == (1, 3)


class TestWithTheRestOfCaptum:
    def test_noise_tunnel(self):
        tunnel = NoiseTunnel(SPES(lambda x: model(x)[:, 2]))
        attr = tunnel.attribute(X, nt_samples=2, stdevs=1e-10, n_samples=40, seed=0)
        assert torch.allclose(attr, attribute(target=2), atol=1e-4)

    def test_noise_tunnel_with_masks_per_example(self):
        masks = torch.tensor([[0, 0, 1], [0, 1, 2]])
        attr = NoiseTunnel(SPES(model)).attribute(
            X, nt_samples=2, stdevs=1e-10, n_samples=40, seed=0, target=2, feature_mask=masks
        )
        assert torch.allclose(attr, attribute(target=2, feature_mask=masks), atol=1e-4)

    def test_metrics(self):
        def explain(inputs, **kwargs):
            return attribute(inputs=inputs, target=2)

        assert sensitivity_max(explain, X, n_perturb_samples=2).shape == (2,)

        def perturb(inputs):
            noise = 0.01 * torch.ones_like(inputs)
            return noise, inputs - noise

        value = infidelity(lambda x: model(x)[:, 2], perturb, X, attribute(target=2))
        assert torch.isfinite(value).all()

    @pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
    def test_jit(self):
        net = BasicModel_MultiLayer().eval()
        traced = torch.jit.trace(net, X)
        assert torch.allclose(attribute(traced, X, target=0), attribute(net, X, target=0))

    @pytest.mark.parametrize(
        "case",
        [
            case
            for case in config
            if ShapleyValueSampling in case["algorithms"]
            and not case.get("noise_tunnel")
            and "layer" not in case
        ],
        ids=lambda case: case["name"],
    )
    def test_captums_own_input_configurations(self, case):
        """As Captum's test_targets: a batch gives what its rows give one by one."""
        arguments = {
            name: value
            for name, value in copy.deepcopy(case["attribute_args"]).items()
            if name not in ("n_samples", "perturbations_per_eval")
        }
        arguments |= {"n_samples": 30, "seed": 0, "perturbations_per_eval": 4}
        net = case["model"].eval()
        inputs = arguments.pop("inputs")
        whole = SPES(net).attribute(inputs, **arguments)
        tensors = inputs if isinstance(inputs, tuple) else (inputs,)
        whole = whole if isinstance(whole, tuple) else (whole,)
        for row in range(len(tensors[0])):
            alone = SPES(net).attribute(
                tuple(t[row : row + 1] for t in tensors), **_row_of(arguments, row, len(tensors[0]))
            )
            for a, b in zip(whole, alone, strict=True):
                assert torch.allclose(a[row : row + 1], b, atol=1e-4, rtol=1e-4)


def _row_of(arguments, row, batch):
    """The arguments of one example."""

    def cut(value):
        if isinstance(value, torch.Tensor) and value.dim() and len(value) == batch and batch > 1:
            return value[row : row + 1]
        return value

    own = dict(arguments)
    target = own.get("target")
    if isinstance(target, list) or (isinstance(target, torch.Tensor) and target.numel() > 1):
        own["target"] = target[row : row + 1]
    for name in ("baselines", "additional_forward_args", "feature_mask"):
        if name in own:
            value = own[name]
            own[name] = tuple(map(cut, value)) if isinstance(value, tuple) else cut(value)
    return own


class TestProgress:
    @pytest.mark.parametrize("perturbations_per_eval", [1, 3, 7])
    def test_bar_reaches_its_end(self, perturbations_per_eval):
        stream = io.StringIO()
        with redirect_stderr(stream):
            attribute(target=0, show_progress=True, perturbations_per_eval=perturbations_per_eval)
        assert "SPES attribution: 100%" in stream.getvalue()

    def test_no_bar_by_default(self, capsys):
        attribute(target=0)
        assert capsys.readouterr().err == ""

    def test_model_in_training_mode_is_pointed_out(self):
        with pytest.warns(UserWarning, match="training mode"):
            attribute(torch.nn.Linear(3, 1).train(), X)
