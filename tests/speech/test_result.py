"""The result: measures of it, its pictures, and files that lose nothing."""

import json
import os
from contextlib import suppress

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from captum_spes import SpeechToTextAttributionResult, Word
from captum_spes.errors import ArgumentError


def make(**changes):
    generator = torch.Generator().manual_seed(0)
    previous = torch.rand(3, 4, generator=generator)
    previous[0, 2:], previous[1, 3:] = torch.nan, torch.nan
    fields = {
        "output_tokens": [" so", " what", "<|endoftext|>"],
        "previous_tokens": ["<|start|>", "<|notimestamps|>", " so", " what"],
        "spectrogram": torch.randn(30, 80, generator=generator),
        "removed": torch.zeros(30, 80),
        "feature_masks": torch.arange(2400).reshape(1, 30, 80) // 5,
        "spectrogram_attr": torch.rand(3, 30, 80, generator=generator),
        "token_attr": previous,
        "frame_times": torch.arange(30) / 100,
        "mel_frequencies": torch.linspace(30, 7900, 80),
        "words": [Word("so", (0,)), Word("what", (1,), 0.1, 0.25)],
        "text": "so what, $x_1$ 漢字",
        "output_ids": [5, 6, 0],
        "previous_ids": [1, 2, 5, 6],
        "seconds": 0.3,
        "seed": 2**62,
        "method": "SPES",
        "model_id": "tiny",
        "parameters": {"n_samples": 5, "patches_per_level": [3, 4], "max_seconds": None},
    }
    return SpeechToTextAttributionResult(**{**fields, **changes})


def test_repr_is_short():
    shown = repr(make())
    assert "3 tokens, 30 frames, 80 mel bins" in shown
    assert len(shown) < 250


class TestMeasures:
    def test_normalized_unpacks(self):
        spectrogram_attr, token_attr = make().normalized()
        assert spectrogram_attr.shape == (3, 30, 80)
        assert torch.isnan(token_attr).sum() == 3

    def test_sentence_is_the_mean_of_normalised_maps(self):
        result = make()
        sentence = result.sentence_attr()
        assert torch.allclose(sentence.spectrogram_attr, result.normalized()[0].mean(0))
        assert sentence.token_attr.shape == (4,)

    def test_words(self):
        result = make(words=[Word("sowhat", (0, 1))])
        found = result.word_attr()
        assert torch.allclose(found.spectrogram_attr[0], result.normalized()[0][:2].mean(0))

    def test_speech_share(self):
        result = make(
            spectrogram_attr=torch.tensor([3.0, 0.0, 0.0])[:, None, None].expand(3, 30, 80),
            token_attr=torch.tensor([[1.0, torch.nan], [2.0, 2.0], [0.0, 0.0]]),
        )
        assert result.speech_share().tolist() == [0.75, 0.0, 0.5]

    def test_speech_share_of_signed_maps_does_not_cancel(self):
        signs = torch.ones(3, 30, 80)
        signs[:, ::2] = -1
        share = make(spectrogram_attr=signs, token_attr=torch.ones(3, 4)).speech_share()
        assert share.tolist() == [0.5, 0.5, 0.5]


class TestFigures:
    @pytest.mark.parametrize("over_spectrogram", [False, True])
    @pytest.mark.parametrize("token", [None, 0, -1])
    def test_map(self, token, over_spectrogram):
        figure = make().plot_spectrogram_attr(token, over_spectrogram=over_spectrogram)
        assert isinstance(figure, Figure)
        axes, colour_bar = figure.axes
        assert axes.get_xlabel() == "time (s)"
        assert axes.get_ylabel() == "frequency (Hz)"
        assert "saliency" in colour_bar.get_ylabel()
        left, right = axes.get_xlim()
        assert (left, right) == pytest.approx((-0.005, 0.295))

    def test_frequency_ticks_stand_at_their_mel_bins(self):
        axes = make().plot_spectrogram_attr(0).axes[0]
        frequencies = np.linspace(30, 7900, 80)
        for tick, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True):
            hz = float(label.get_text())
            assert np.interp(tick, range(80), frequencies) == pytest.approx(min(hz, 7900))

    def test_drawn_values_are_the_map(self):
        result = make()
        image = result.plot_spectrogram_attr(1).axes[0].images[0]
        assert np.allclose(image.get_array(), result.normalized()[0][1].T)
        image = result.plot_spectrogram_attr(1, normalized=False).axes[0].images[0]
        assert np.allclose(image.get_array(), result.spectrogram_attr[1].T)

    def test_tokens(self):
        axes, _ = make().plot_token_attr().axes
        assert [t.get_text() for t in axes.get_yticklabels()] == ["␣so", "␣what", "<|endoftext|>"]
        assert len(axes.get_xticklabels()) == 4
        assert axes.images[0].get_array().mask.sum() == 3

    def test_sheet_has_a_map_per_token(self):
        figure = make().plot_spectrogram_attrs(columns=2)
        assert sum(axes.get_visible() and bool(axes.images) for axes in figure.axes) >= 3

    @pytest.mark.parametrize(
        "draw", ["plot_spectrogram_attr", "plot_spectrogram_attrs", "plot_token_attr"]
    )
    @pytest.mark.filterwarnings("ignore:no font of this system has")
    def test_constant_maps_and_odd_characters_can_be_drawn(self, draw, tmp_path):
        result = make(
            spectrogram_attr=torch.zeros(3, 30, 80),
            token_attr=torch.zeros(3, 4),
            output_tokens=[" $x_1^", "\n", "漢"],
        )
        getattr(result, draw)().savefig(tmp_path / "figure.png")
        assert (tmp_path / "figure.png").stat().st_size > 1000

    @pytest.mark.filterwarnings("ignore:no font of this system has")
    def test_one_frame(self, tmp_path):
        result = make(
            spectrogram=torch.zeros(1, 80),
            spectrogram_attr=torch.rand(3, 1, 80),
            frame_times=torch.zeros(1),
        )
        result.plot_spectrogram_attr(over_spectrogram=True).savefig(tmp_path / "figure.png")

    def test_notebooks_show_it(self):
        assert make().plot_spectrogram_attr(0)._repr_png_().startswith(b"\x89PNG")

    def test_pyplot_is_left_alone(self):
        make().plot_spectrogram_attr()
        make().plot_token_attr()
        assert plt.get_fignums() == []

    @pytest.mark.parametrize("token", [3, -4, 100, "so"])
    def test_token_out_of_range(self, token):
        with pytest.raises(ArgumentError, match="index of the 3 tokens"):
            make().plot_spectrogram_attr(token)

    def test_raw_sentence(self):
        with pytest.raises(ArgumentError, match="name a token"):
            make().plot_spectrogram_attr(normalized=False)


def assert_equal(a, b):
    for name, value in vars(a).items():
        other = getattr(b, name)
        if isinstance(value, torch.Tensor):
            assert value.dtype == other.dtype
            assert torch.equal(torch.nan_to_num(value, nan=-9.0), torch.nan_to_num(other, nan=-9.0))
        else:
            assert value == other, name


class TestFiles:
    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"token_attr": None},
            {"spectrogram_attr": torch.rand(3, 30, 80).double()},
            {"words": [], "parameters": {"gen_args": {"num_beams": 5}}},
        ],
    )
    def test_nothing_is_lost(self, tmp_path, changes):
        result = make(**changes)
        result.save(tmp_path / "explanation.npz")
        assert_equal(result, SpeechToTextAttributionResult.load(tmp_path / "explanation.npz"))

    def test_name_is_taken_as_it_is(self, tmp_path):
        make().save(str(tmp_path / "explanation"))
        assert os.listdir(tmp_path) == ["explanation"]

    def test_file_holds_no_pickle(self, tmp_path):
        make().save(tmp_path / "a.npz")
        with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
            assert json.loads(str(file["metadata"]))["format"].startswith("captum_spes")

    def test_a_failed_write_leaves_the_old_file_and_no_rest(self, tmp_path, monkeypatch):
        path = tmp_path / "a.npz"
        make(seed=1).save(path)

        def full(file, **arrays):
            file.write(b"half")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(np, "savez_compressed", full)
        with pytest.raises(OSError, match="No space left"):
            make(seed=2).save(path)
        assert os.listdir(tmp_path) == ["a.npz"]
        assert SpeechToTextAttributionResult.load(path).seed == 1

    def test_missing_folder(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="no such folder to save into"):
            make().save(tmp_path / "nope" / "a.npz")

    def test_missing_file(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            SpeechToTextAttributionResult.load(tmp_path / "nope.npz")

    def test_any_flipped_bit_is_a_clear_error_or_harmless(self, tmp_path):
        path = tmp_path / "a.npz"
        make().save(path)
        content = path.read_bytes()
        for position in np.random.default_rng(0).integers(0, len(content) * 8, 150):
            damaged = bytearray(content)
            damaged[position // 8] ^= 1 << (position % 8)
            path.write_bytes(damaged)
            with suppress(ArgumentError):
                assert SpeechToTextAttributionResult.load(path).method

    def test_a_missing_array_is_damage(self, tmp_path):
        path = tmp_path / "a.npz"
        make().save(path)
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files if name != "spectrogram_attr"}
        np.savez(path, **arrays)
        with pytest.raises(ArgumentError, match="spectrogram_attr"):
            SpeechToTextAttributionResult.load(path)

    @pytest.mark.parametrize("damage", ["text", "truncated", "other_npz", "other_format", "empty"])
    def test_damaged_file(self, tmp_path, damage):
        path = tmp_path / "a.npz"
        make().save(path)
        if damage == "text":
            path.write_text("hello")
        elif damage == "truncated":
            path.write_bytes(path.read_bytes()[:2000])
        elif damage == "empty":
            path.write_bytes(b"")
        elif damage == "other_npz":
            np.savez(path, a=np.zeros(3))
        else:
            np.savez(path, metadata=np.array(json.dumps({"format": "another"})))
        with pytest.raises(ArgumentError, match=r"a\.npz"):
            SpeechToTextAttributionResult.load(path)
