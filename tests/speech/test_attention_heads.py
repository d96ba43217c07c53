"""Attention of chosen heads, and of heads by their entropy, against the model's own weights."""

import math

import pytest
import soundfile
import torch

from captum_spes import CrossAttention
from captum_spes.cli import main
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.speech import METHODS, ChosenHeads, HeadsByEntropy, named_methods
from captum_spes.speech.attention_heads import entropy_weights
from captum_spes.speech.models import adapt
from tests.speech.explaining import explain

NAMES = ("cross-attention-alignment-heads", "cross-attention-by-entropy")


def own_weights(model, audio):
    """Cross-attention as transformers returns it: (heads, tokens, positions), one layer."""
    network, processor = model
    adapter = adapt(network, processor)
    speech = adapter.from_audio(audio)
    target = adapter.force(speech, "the cat", {})
    network.set_attn_implementation("eager")
    with torch.no_grad():
        output = network(
            speech.features, decoder_input_ids=target.decoder_ids[None], output_attentions=True
        )
    rows = torch.tensor(target.explained) - 1
    return output.cross_attentions[0][0][:, rows], output.decoder_attentions[0][0][:, rows]


def over_frames(weights, result):
    """Whisper has two frames to a position."""
    return weights.repeat_interleave(2, -1)[:, : len(result.spectrogram)]


@pytest.fixture
def aligned(tiny_whisper):
    tiny_whisper[0].generation_config.alignment_heads = [[0, 1]]
    return tiny_whisper


class TestChosenHeads:
    def test_are_those_that_the_checkpoint_names(self, aligned, audio):
        result = explain(aligned, audio, ChosenHeads)
        cross, decoder = own_weights(aligned, audio)
        expected = over_frames(cross[1], result)[:, :, None].expand(-1, -1, 80)
        assert torch.allclose(result.spectrogram_attr, expected, atol=1e-6)
        known = ~torch.isnan(result.token_attr)
        assert torch.allclose(result.token_attr[known], decoder.mean(0)[known], atol=1e-6)
        assert result.method == "ChosenHeads"

    def test_given_ones_need_no_list(self, tiny_model, audio):
        every = [(0, 0), (0, 1)]
        result = explain(tiny_model, audio, lambda network: ChosenHeads(network, every))
        mean = explain(tiny_model, audio, CrossAttention)
        assert torch.allclose(result.spectrogram_attr, mean.spectrogram_attr, atol=1e-6)
        one = explain(tiny_model, audio, lambda network: ChosenHeads(network, every[:1]))
        assert not torch.allclose(one.spectrogram_attr, mean.spectrogram_attr, atol=1e-4)
        assert (result.method, one.method) == ("ChosenHeads (0.0 0.1)", "ChosenHeads (0.0)")

    def test_a_model_without_them_says_so_before_it_runs(self, tiny_model):
        calls = []
        handle = tiny_model[0].register_forward_hook(lambda *_: calls.append(1))
        with pytest.raises(ArgumentError, match=r"names no generation_config.alignment_heads") as e:
            ChosenHeads(tiny_model[0])
        handle.remove()
        assert "\n" not in str(e.value)
        assert not calls

    @pytest.mark.parametrize(
        ("heads", "error", "message"),
        [
            ([], ArgumentError, "at least one"),
            ([(0, 1), (0, 1)], ArgumentError, "once"),
            ([(0, -1)], ArgumentError, "counted from 0"),
            ([(0, 1, 2)], ArgumentTypeError, "pairs of whole numbers"),
            ([(0, 1.5)], ArgumentTypeError, "pairs of whole numbers"),
            ([3], ArgumentTypeError, "pairs of whole numbers"),
            ("heads", ArgumentTypeError, "pairs of whole numbers"),
        ],
    )
    def test_what_is_no_list_of_heads(self, tiny_whisper, heads, error, message):
        with pytest.raises(error, match=message):
            ChosenHeads(tiny_whisper[0], heads)

    @pytest.mark.parametrize("pair", [(1, 0), (0, 2)])
    def test_heads_that_are_not_there(self, tiny_whisper, audio, pair):
        with pytest.raises(ArgumentError, match="1 layers of 2 heads"):
            explain(tiny_whisper, audio, lambda network: ChosenHeads(network, [pair]))


class TestHeadsByEntropy:
    def test_is_the_weighted_mean(self, tiny_whisper, audio):
        result = explain(tiny_whisper, audio, HeadsByEntropy)
        cross, _ = own_weights(tiny_whisper, audio)
        n_spoken = math.ceil(len(result.spectrogram) / 2)
        counts = []
        for token in range(cross.shape[1]):
            shares = cross[:, token, :n_spoken] / cross[:, token, :n_spoken].sum(-1, keepdim=True)
            entropy = torch.distributions.Categorical(shares).entropy()
            focus = 1 - entropy / math.log(n_spoken)
            counts.append(focus / focus.sum())
        weights = torch.stack(counts, 1)
        assert (weights[0] - weights[1]).abs().max() > 0.05  # so that the mean would be another
        expected = over_frames((weights[..., None] * cross).sum(0), result)
        assert torch.allclose(result.spectrogram_attr[..., 0], expected, atol=1e-5)

    def test_one_place_counts_and_everywhere_does_not(self):
        peaked, even = torch.eye(4)[:1], torch.full((1, 4), 0.25)
        found = entropy_weights(torch.stack([peaked, even]))
        assert found.flatten().tolist() == pytest.approx([1, 0])
        # Padding takes a head's weight, not its right to count.
        assert torch.equal(entropy_weights(torch.stack([peaked / 10, even])), found)

    def test_alike_ones_count_the_same(self):
        even = torch.full((3, 2, 5), 0.2)
        assert entropy_weights(even).tolist() == [[pytest.approx(1 / 3)] * 2] * 3
        assert entropy_weights(torch.ones(3, 2, 1)).sum(0).tolist() == pytest.approx([1, 1])

    def test_every_encoder_decoder(self, tiny_model, audio):
        result = explain(tiny_model, audio, HeadsByEntropy)
        assert torch.isfinite(result.spectrogram_attr).all()
        assert result.method == "Heads By Entropy"


class TestRegistry:
    def test_names(self):
        kinds = [method.kind for method in named_methods(NAMES)]
        assert kinds == [ChosenHeads, HeadsByEntropy]
        assert all(METHODS[name].runner is None for name in NAMES)

    def test_command_line(self, model_folder, audio, tmp_path, capsys):
        soundfile.write(tmp_path / "tone.flac", audio, 16_000)
        command = ["explain", str(tmp_path / "tone.flac"), "--model", str(model_folder)]
        command += ["--target", "the cat", "--quiet", "--method"]
        heads, entropy = NAMES
        assert main([*command, entropy]) == 0
        assert "Heads By Entropy" in capsys.readouterr().out
        assert main([*command, heads]) != 0
        assert "names no generation_config.alignment_heads" in capsys.readouterr().err
