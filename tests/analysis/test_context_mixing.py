"""Value zeroing against a plain loop over positions, attention and norms against their definitions,
and a model that is left as it was."""

import threading
from types import SimpleNamespace

import pytest
import torch

from captum_spes import SPES, CrossAttention, SpeechToTextAttribution
from captum_spes.analysis import context_mixing
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.speech.models import adapt
from captum_spes.speech.models.mixing import PARTS

TARGET = "the cat"
ATTENTION = {"cross": "encoder_attn", "decoder": "self_attn", "encoder": "self_attn"}


def explainer_of(model):
    return SpeechToTextAttribution(SPES(model[0]), model[1])


def stack_of(network, part):
    return network.get_encoder() if part == "encoder" else network.get_decoder()


def hooks_of(network):
    return [
        len(own)
        for module in network.modules()
        for own in (module._forward_hooks, module._forward_pre_hooks)
    ]


class PlainLoop:
    """One model of one layer, run from the start for every source, its values zeroed by hand."""

    def __init__(self, model, audio, part):
        self.network, self.adapter, self.part = model[0], adapt(*model), part
        self.speech = self.adapter.from_audio(audio)
        self.target = self.adapter.force(self.speech, TARGET, {})
        self.layer = stack_of(self.network, part).layers[0]
        self.attention = getattr(self.layer, ATTENTION[part])

    def run(self, removed=()):
        """What the layer gives, and its attention's input, weights and values."""
        seen = {}
        values = self.attention.v_proj

        def zeroed(x):
            made = torch.nn.functional.linear(x, values.weight, values.bias)
            made[:, list(removed)] = 0
            seen["values"] = made
            return made

        handles = [
            self.layer.register_forward_hook(lambda _, __, out: seen.update(output=out)),
            self.attention.register_forward_hook(lambda _, __, out: seen.update(weights=out[1])),
        ]
        values.forward = zeroed
        try:
            with torch.no_grad():
                states = self.adapter.encode(self.speech, self.speech.spectrogram[None])
                self.adapter.decode(states, self.target)
        finally:
            del values.forward
            for handle in handles:
                handle.remove()
        output = seen["output"]
        seen["output"] = output[0] if isinstance(output, tuple) else output
        return seen

    @property
    def rows(self):
        return torch.tensor(self.target.explained) - 1

    def distances(self, groups):
        intact, moved = self.run()["output"][0], []
        for removed in groups:
            cosine = torch.cosine_similarity(
                self.run(removed)["output"][0].double(), intact.double(), dim=-1
            )
            moved.append(1 - cosine)
        return torch.stack(moved, 1)


def groups_of(n_sources, size):
    return [range(i, min(i + size, n_sources)) for i in range(0, n_sources, size)]


def n_spoken(loop, mixing):
    """Positions that the frames of the speech lie in."""
    return len(mixing.sources) if mixing.part != "decoder" else len(loop.target.decoder_ids)


@pytest.mark.filterwarnings("ignore")
class TestAgainstAPlainLoop:
    @pytest.mark.parametrize("attention", ["sdpa", "eager"])
    @pytest.mark.parametrize("part", PARTS)
    def test_value_zeroing(self, tiny_model, audio, part, attention):
        if attention == "sdpa" and not tiny_model[0]._supports_sdpa:
            pytest.skip("transformers has no fast attention for this model")
        tiny_model[0].set_attn_implementation(attention)
        mixing = context_mixing(explainer_of(tiny_model), audio, part, target=TARGET)
        loop = PlainLoop(tiny_model, audio, part)
        expected = loop.distances(groups_of(n_spoken(loop, mixing), 1))
        expected = expected[: len(mixing.targets)] if part == "encoder" else expected[loop.rows]
        assert mixing.scores.shape == (1, *expected.shape)
        assert torch.allclose(mixing.scores[0].double(), expected, atol=1e-6, rtol=1e-3)
        assert expected.max() > 1e-3  # or nothing was seen

    @pytest.mark.parametrize("part", PARTS)
    def test_groups_and_batches(self, tiny_whisper, audio, part):
        explainer = explainer_of(tiny_whisper)
        one = context_mixing(explainer, audio, part, target=TARGET)
        few = context_mixing(explainer, audio, part, target=TARGET, group=4, batch_size=2)
        again = context_mixing(explainer, audio, part, target=TARGET, group=4, batch_size=64)
        loop = PlainLoop(tiny_whisper, audio, part)
        groups = groups_of(n_spoken(loop, one), 4)
        expected = loop.distances(groups)
        expected = expected[: len(one.targets)] if part == "encoder" else expected[loop.rows]
        assert torch.allclose(few.scores[0].double(), expected, atol=1e-6, rtol=1e-3)
        assert torch.allclose(few.scores, again.scores, atol=1e-7)
        for number, members in enumerate(groups):
            summed = one.attention[0][:, list(members)].sum(1)
            assert torch.allclose(few.attention[0, :, number], summed, atol=1e-6)

    @pytest.mark.parametrize("part", PARTS)
    def test_attention_and_norms(self, tiny_model, audio, part):
        tiny_model[0].set_attn_implementation("eager")
        mixing = context_mixing(explainer_of(tiny_model), audio, part, target=TARGET)
        loop = PlainLoop(tiny_model, audio, part)
        seen = loop.run()
        rows = torch.arange(len(mixing.targets)) if part == "encoder" else loop.rows
        weights, values = seen["weights"][0][:, rows], seen["values"][0]
        n_sources = len(mixing.sources)
        assert torch.allclose(mixing.attention[0], weights.mean(0)[:, :n_sources], atol=1e-6)
        project = getattr(loop.attention, "out_proj", None) or loop.attention.o_proj
        for target in range(len(rows)):
            for source in range(n_sources):
                heads = values[source].view(len(weights), -1) * weights[:, target, source, None]
                with torch.no_grad():
                    norm = (project.weight @ heads.flatten()).norm()
                assert mixing.norms[0, target, source] == pytest.approx(float(norm), abs=1e-5)

    def test_norm_of_a_group_is_that_of_the_sum(self, tiny_whisper, audio):
        explainer = explainer_of(tiny_whisper)
        whole = context_mixing(explainer, audio, "decoder", target=TARGET, group=1000)
        loop = PlainLoop(tiny_whisper, audio, "decoder")
        found = {}
        own = loop.attention.register_forward_hook(lambda _, __, out: found.update(out=out[0]))
        loop.run()
        own.remove()
        bias = loop.attention.out_proj.bias.detach()
        expected = (found["out"][0] - bias)[loop.rows].norm(dim=-1)
        assert torch.allclose(whole.norms[0, :, 0], expected, atol=1e-5)

    def test_each_layer_on_its_own(self, audio, make_deep_whisper):
        model = make_deep_whisper()
        mixing = context_mixing(explainer_of(model), audio, target=TARGET, group=5)
        loop = PlainLoop(model, audio, "cross")
        expected = loop.distances(groups_of(30, 5))[loop.rows]
        assert torch.allclose(mixing.scores[0].double(), expected, atol=1e-6, rtol=1e-3)
        # Of the second layer only its own values are zeroed, not those of the first one as well.
        loop.layer = loop.network.get_decoder().layers[1]
        loop.attention = loop.layer.encoder_attn
        second = loop.distances(groups_of(30, 5))[loop.rows]
        assert torch.allclose(mixing.scores[1].double(), second, atol=1e-6, rtol=1e-3)
        assert not torch.allclose(mixing.scores[0], mixing.scores[1], atol=1e-4)


@pytest.fixture
def make_deep_whisper(tiny_whisper):
    """A Whisper with a second, other decoder layer."""

    def make():
        from transformers import WhisperForConditionalGeneration

        network, processor = tiny_whisper
        config = type(network.config)(**{**network.config.to_dict(), "decoder_layers": 2})
        with torch.random.fork_rng():
            torch.manual_seed(1)
            deep = WhisperForConditionalGeneration(config).eval()
        deep.generation_config = network.generation_config
        return deep, processor

    return make


@pytest.mark.filterwarnings("ignore")
class TestTheModel:
    @pytest.mark.parametrize("part", PARTS)
    def test_is_left_as_it_was(self, tiny_model, audio, part):
        network = tiny_model[0].train()
        modes, hooks = [m.training for m in network.modules()], hooks_of(network)
        values = [p.detach().clone() for p in network.parameters()]
        random = torch.get_rng_state()
        context_mixing(explainer_of(tiny_model), audio, part, target=TARGET)
        assert [m.training for m in network.modules()] == modes
        assert hooks_of(network) == hooks
        assert all(map(torch.equal, values, network.parameters()))
        assert torch.equal(torch.get_rng_state(), random)

    @pytest.mark.parametrize("fails_at", [1, 2, 3, 4])
    def test_also_after_an_error(self, tiny_whisper, audio, fails_at):
        network, calls = tiny_whisper[0].train(), []

        def fail(*_):
            calls.append(1)
            if len(calls) == fails_at:
                raise RuntimeError("planted")

        handle = network.get_decoder().layers[0].fc1.register_forward_hook(fail)
        hooks = hooks_of(network)
        explainer = explainer_of(tiny_whisper)
        with pytest.raises(RuntimeError, match="planted"):
            context_mixing(explainer, audio, target=TARGET, batch_size=12)
        assert hooks_of(network) == hooks
        assert network.training
        handle.remove()

    def test_other_threads_neither_see_nor_are_seen(self, tiny_whisper, audio):
        network, _ = tiny_whisper
        adapter = adapt(*tiny_whisper)
        speech = adapter.from_audio(audio)
        target = adapter.force(speech, TARGET, {})
        states = adapter.encode(speech, speech.spectrogram[None]).detach().flip(1)
        with torch.no_grad():
            alone = adapter.decode(states, target)
        undisturbed = context_mixing(explainer_of(tiny_whisper), audio, target=TARGET)
        seen, owner = [], threading.get_ident()

        def other(*_):
            if threading.get_ident() != owner:
                return

            def work():
                with torch.no_grad():
                    seen.append(adapter.decode(states, target))

            thread = threading.Thread(target=work)
            thread.start()
            thread.join()

        handle = network.get_decoder().layers[0].fc1.register_forward_hook(other)
        mixing = context_mixing(explainer_of(tiny_whisper), audio, target=TARGET, batch_size=1)
        handle.remove()
        assert torch.allclose(mixing.scores, undisturbed.scores, atol=1e-6)
        assert len(seen) > 30  # also while each of 30 positions was zeroed
        assert all(torch.equal(one, alone) for one in seen)


@pytest.mark.filterwarnings("ignore")
class TestMaps:
    def test_time_map_is_attention_s_explanation(self, tiny_model, audio):
        """Up to the share that padding has."""
        mixing = context_mixing(explainer_of(tiny_model), audio, target=TARGET)
        explained = SpeechToTextAttribution(CrossAttention(tiny_model[0]), tiny_model[1])
        result = explained.attribute(audio, target=TARGET)
        found, expected = mixing.time_map("attention"), result.spectrogram_attr[..., 0]
        assert mixing.targets == tuple(result.output_tokens)
        assert found.shape == expected.shape
        ratio = found / expected
        assert torch.allclose(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-4)

    def test_token_map_is_attention_s_explanation(self, tiny_model, audio):
        mixing = context_mixing(explainer_of(tiny_model), audio, "decoder", target=TARGET)
        explained = SpeechToTextAttribution(CrossAttention(tiny_model[0]), tiny_model[1])
        result = explained.attribute(audio, target=TARGET)
        found = mixing.token_map("attention")
        assert mixing.sources == tuple(result.previous_tokens)
        assert torch.allclose(found, result.token_attr, atol=1e-6, equal_nan=True)
        zeroing = mixing.token_map()
        assert torch.equal(torch.isnan(zeroing), torch.isnan(found))
        assert torch.all(mixing.scores[0][~mixing.readable] == 0)  # nobody reads what comes later

    def test_shares_and_layers(self, tiny_whisper, audio, make_deep_whisper):
        mixing = context_mixing(explainer_of(make_deep_whisper()), audio, target=TARGET, group=4)
        for measure in ("zeroing", "attention", "norms"):
            assert torch.allclose(mixing.shares(measure).sum(-1), torch.ones(()), atol=1e-5)
            layers = [mixing.time_map(measure, layer) for layer in (0, -1)]
            assert torch.allclose(mixing.time_map(measure), torch.stack(layers).mean(0))
            assert not torch.allclose(*layers, atol=1e-3)
        # Two frames to a position, four positions to a group.
        first = mixing.shares()[1][:, :1]
        assert torch.equal(mixing.time_map(layer=1)[:, :8], first.expand(-1, 8))

    def test_axes(self, tiny_whisper, audio):
        explainer = explainer_of(tiny_whisper)
        encoder = context_mixing(explainer, audio, "encoder", target=TARGET, group=10)
        assert encoder.sources == ("0.00", "0.20", "0.40")
        assert len(encoder.targets) == 30
        assert encoder.targets[1] == "0.02"
        decoder = context_mixing(explainer, audio, "decoder", target=TARGET, group=2)
        single = context_mixing(explainer, audio, "decoder", target=TARGET).sources
        assert decoder.sources[:2] == ("".join(single[:2]), "".join(single[2:4]))
        assert len(decoder.sources) == (len(single) + 1) // 2

    def test_what_the_model_writes(self, tiny_speech2text, audio):
        explainer = explainer_of(tiny_speech2text)
        own = context_mixing(explainer, audio, group=10)
        assert own.targets == tuple(explainer.attribute(
            audio, n_samples=20, n_token_samples=0, patches_per_second=20, seed=0
        ).output_tokens)  # fmt: skip


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"part": "all"}, "part must be one of"),
            ({"group": 0}, "group must be"),
            ({"batch_size": 0}, "batch_size must be"),
        ],
    )
    def test_arguments(self, tiny_whisper, audio, arguments, message):
        with pytest.raises(ArgumentError, match=message):
            context_mixing(explainer_of(tiny_whisper), audio, **arguments)

    def test_of_maps(self, tiny_whisper, audio):
        explainer = explainer_of(tiny_whisper)
        cross = context_mixing(explainer, audio, target=TARGET, group=10)
        decoder = context_mixing(explainer, audio, "decoder", target=TARGET)
        for ask, message in (
            (lambda: cross.time_map("weights"), "measure must be one of"),
            (lambda: cross.time_map(layer=1), "there are 1 layers"),
            (cross.token_map, "take time_map"),
            (decoder.time_map, "take token_map"),
        ):
            with pytest.raises(ArgumentError, match=message):
                ask()
        with pytest.raises(ArgumentTypeError, match="layer must be a whole number"):
            cross.time_map(layer=0.5)

    def test_other_models(self, tiny_whisper, audio):
        with pytest.raises(ArgumentTypeError, match="give an explainer"):
            context_mixing(tiny_whisper[0], audio)
        other = SimpleNamespace(encode=None)  # fails where it is asked for anything
        with pytest.raises(ArgumentTypeError, match="of transformers, such as Whisper"):
            context_mixing(other, audio)

    def test_other_layers_before_the_model_runs(self, tiny_whisper, audio):
        layer, calls = tiny_whisper[0].get_decoder().layers[0], []
        layer.looks_at = layer.encoder_attn
        del layer.encoder_attn
        tiny_whisper[0].get_encoder().register_forward_hook(lambda *_: calls.append(1))
        with pytest.raises(ArgumentTypeError, match="layers whose encoder_attn has v_proj"):
            context_mixing(explainer_of(tiny_whisper), audio)
        assert not calls
