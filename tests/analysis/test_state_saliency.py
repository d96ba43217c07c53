"""SPES on encoder states against SPES that is given the states themselves, and correlations against
SciPy's."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from captum_spes import SPES, KLDivergenceForward, SpeechToTextAttribution
from captum_spes.analysis import correlation_in_time, state_saliency
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.speech.models import adapt

TARGET = "the cat"


def explainer_of(model):
    return SpeechToTextAttribution(SPES(model[0]), model[1])


def by_hand(model, audio, n_spoken, group, mean):
    """States as inputs of SPES, all numbers of a group's states under one label."""
    adapter = adapt(*model)
    speech = adapter.from_audio(audio)
    target = adapter.force(speech, TARGET, {})
    with torch.no_grad():
        states = adapter.encode(speech, speech.spectrogram[None])
        labels = torch.full((1, states.shape[1], 1), -1)
        labels[0, :n_spoken, 0] = torch.arange(n_spoken) // group
        removed = states[:, :n_spoken].mean(1, keepdim=True) if mean else torch.zeros(1, 1, 1)
        score = KLDivergenceForward(
            lambda own: adapter.output_layer(adapter.decode(own, target)), states
        )
        return SPES(score).attribute(
            states, baselines=removed.expand_as(states).contiguous(), feature_mask=labels,
            n_samples=60, seed=3,
        )[0, :, :n_spoken, 0]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
class TestStates:
    @pytest.mark.parametrize(("baseline", "group"), [("mean", 1), ("zero", 4)])
    def test_are_what_spes_perturbs(self, tiny_model, audio, baseline, group):
        explainer = explainer_of(tiny_model)
        found = state_saliency(
            explainer, audio, target=TARGET, group=group, n_samples=60, baseline=baseline, seed=3
        )
        n_spoken = {"whisper": 30, "speech_to_text": 15}.get(tiny_model[0].config.model_type)
        if n_spoken is None:  # Canary's encoder has no padding
            n_spoken = adapt(*tiny_model).encode(
                (speech := adapt(*tiny_model).from_audio(audio)), speech.spectrogram[None]
            ).shape[1]  # fmt: skip
        expected = by_hand(tiny_model, audio, n_spoken, group, baseline == "mean")
        assert torch.allclose(found.scores, expected[:, ::group], atol=1e-5)
        assert found.scores.std() > 1e-3
        frames = found.time_map()
        assert frames.shape == (len(found.tokens), len(found.frame_times))
        assert torch.equal(frames[:, 0], found.scores[:, 0])
        assert torch.equal(frames[:, -1], found.scores[:, -1])

    def test_model_is_left_as_it_was_and_seeds_count(self, tiny_whisper, audio):
        network = tiny_whisper[0].train()
        random = torch.get_rng_state()
        made = [
            state_saliency(
                explainer_of(tiny_whisper), audio, target=TARGET, n_samples=30, seed=seed
            ).scores
            for seed in (0, 0, 1)
        ]
        assert torch.equal(made[0], made[1])
        assert not torch.equal(made[0], made[2])
        assert network.training
        assert torch.equal(torch.get_rng_state(), random)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"group": 0}, "group must be"),
            ({"n_samples": 0}, "n_samples must be"),
            ({"baseline": "noise"}, "baseline must be one of"),
        ],
    )
    def test_arguments(self, tiny_whisper, audio, arguments, message):
        with pytest.raises(ArgumentError, match=message):
            state_saliency(explainer_of(tiny_whisper), audio, **arguments)

    def test_other_models(self, tiny_whisper, audio):
        with pytest.raises(ArgumentTypeError, match="give an explainer"):
            state_saliency(tiny_whisper[0], audio)
        with pytest.raises(ArgumentTypeError, match="of transformers, such as Whisper"):
            state_saliency(SimpleNamespace(encode=None), audio)


class TestCorrelation:
    def test_is_scipy_s(self):
        one, other, third = np.random.default_rng(0).normal(size=(3, 2, 30))
        explained = SimpleNamespace(
            spectrogram_attr=torch.tensor(third)[:, :, None] * torch.ones(3)
        )
        maps = {"states": torch.tensor(one + other), "input": explained}
        table = correlation_in_time(torch.tensor(one), maps, ["a", "b"])
        assert table["token"].tolist() == ["a", "b"] * 2
        assert table["saliency"].tolist() == ["states"] * 2 + ["input"] * 2
        pairs = [(one[0], (one + other)[0]), (one[1], (one + other)[1])]
        pairs += [(one[0], third[0]), (one[1], third[1])]
        assert table["pearson"].tolist() == pytest.approx([stats.pearsonr(*p)[0] for p in pairs])
        assert table["spearman"].tolist() == pytest.approx([stats.spearmanr(*p)[0] for p in pairs])
        assert table["share"].tolist() == pytest.approx([max(p, 0) ** 2 for p in table["pearson"]])

    def test_falling_together_explains_nothing(self):
        rising = torch.arange(5.0)[None]
        table = correlation_in_time(rising, {"falling": -rising, "flat": torch.ones(1, 5)})
        assert table["share"][0] == 0
        assert table["pearson"][0] == pytest.approx(-1)
        assert table.loc[1, ["pearson", "spearman", "share"]].isna().all()

    def test_errors(self):
        maps = torch.rand(2, 5)
        for attention, saliency, tokens, message in (
            (maps, {"own": torch.rand(2, 6)}, None, "own has maps of shape"),
            (maps, {}, None, "nothing to compare"),
            (maps, {"own": maps}, ["a"], "tokens must be 2 names"),
            (maps / 0, {"own": maps}, None, "attention must be finite"),
            (maps[0], {"own": maps}, None, "of shape"),
        ):
            with pytest.raises(ArgumentError, match=message):
                correlation_in_time(attention, saliency, tokens)
        for attention, saliency in ((maps, maps), ([1.0], {"own": maps})):
            with pytest.raises(ArgumentTypeError, match="must be a"):
                correlation_in_time(attention, saliency)
