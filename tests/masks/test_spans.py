"""Feature masks of windows, words and phones."""

import pytest
import torch
from captum.attr import FeatureAblation
from hypothesis import given
from hypothesis import strategies as st

from captum_spes import SPES
from captum_spes.errors import ArgumentError
from captum_spes.masks import span_feature_mask, window_feature_mask


class TestWindows:
    def test_spectrogram_and_waveform(self):
        mask = window_feature_mask(torch.zeros(2, 7, 3), 0.03)
        assert mask.shape == (2, 7, 3)
        assert mask[1, :, 2].tolist() == [0, 0, 0, 1, 1, 1, 2]
        wave = window_feature_mask(torch.zeros(1, 1600), 0.02, frame_rate=16_000, time_dim=-1)
        assert wave[0].bincount().tolist() == [320] * 5

    def test_at_least_one_frame(self):
        assert window_feature_mask(torch.zeros(3, 1), 0.001)[:, 0].tolist() == [0, 1, 2]

    @pytest.mark.parametrize(
        "arguments", [{"width": 0}, {"width": float("nan")}, {"frame_rate": 0}]
    )
    def test_unusable(self, arguments):
        with pytest.raises(ArgumentError, match="positive"):
            window_feature_mask(torch.zeros(3, 1), **arguments)
        with pytest.raises(ArgumentError, match="no frames"):
            window_feature_mask(torch.zeros(0, 1))


class TestSpans:
    def test_frames_before_the_first_word_join_no_word(self):
        mask = span_feature_mask(torch.zeros(10, 2), [(0.02, 0.04), (0.06, 0.08)])
        assert mask[:, 1].tolist() == [2, 2, 0, 0, 3, 3, 1, 1, 4, 4]

    def test_gaps_can_stay(self):
        mask = span_feature_mask(torch.zeros(4), [(0.01, 0.02)], time_dim=0, perturb_gaps=False)
        assert mask.tolist() == [-1, 0, -1, -1]

    def test_a_span_without_a_frame_keeps_its_number(self):
        mask = span_feature_mask(torch.zeros(3, 1), [(0.0, 0.01), (0.011, 0.012), (0.02, 0.03)])
        assert mask[:, 0].tolist() == [0, 3, 2]

    @given(st.lists(st.floats(0, 0.3), max_size=8).map(sorted))
    def test_every_frame_has_the_span_that_it_lies_in(self, borders):
        spans = list(zip(borders[::2], borders[1::2], strict=False))
        labels = span_feature_mask(torch.zeros(25, 1), spans)[:, 0].tolist()
        for frame, label in enumerate(labels):
            inside = [i for i, (a, b) in enumerate(spans) if a <= (frame + 0.5) / 100 < b]
            assert inside == ([label] if label < len(spans) else [])
        gaps = [label for label in labels if label >= len(spans)]
        assert gaps == sorted(gaps)

    @pytest.mark.parametrize("spans", [[(0.2, 0.1)], [(0.0, 0.2), (0.1, 0.3)], [(-0.1, 0.1)]])
    def test_unusable(self, spans):
        with pytest.raises(ArgumentError, match="does not follow"):
            span_feature_mask(torch.zeros(30, 1), spans)

    def test_methods_perturb_words(self):
        """A model that adds up its input: each word is worth its own sum."""
        inputs = torch.rand(1, 10, 4)
        mask = span_feature_mask(inputs, [(0.02, 0.04), (0.06, 0.08)])

        def model(x):
            return x.sum((1, 2))

        ablated = FeatureAblation(model).attribute(inputs, feature_mask=mask)
        assert torch.allclose(ablated[0, 2:4], inputs[0, 2:4].sum().expand(2, 4), atol=1e-5)
        sampled = SPES(model).attribute(inputs, feature_mask=mask, n_samples=200, seed=0)
        assert (sampled[0, 2:4] == sampled[0, 2, 0]).all()
