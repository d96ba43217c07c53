"""From mel bins to bands, and from frames to spans of time."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from captum_spes.errors import ArgumentError
from captum_spes.maps import Band, band_mean, frames_within, frequency_bands, time_mean

FREQUENCIES = torch.tensor([100.0, 300.0, 900.0, 2000.0, 5000.0])
TIMES = torch.arange(10) * 0.01 + 0.005


class TestBands:
    def test_critical_bands(self):
        bands = frequency_bands("bark")
        assert [band.low for band in bands[:5]] == [0, 100, 200, 300, 400]
        assert bands[-1] == Band("7700-8000 Hz", 7700, 8000)

    def test_equivalent_rectangular_bandwidths(self):
        """At 1 kHz the bandwidth is 24.7 (4.37 + 1) = 132.6 Hz."""
        bands = frequency_bands("erb")
        around = next(band for band in bands if band.low <= 1000 < band.high)
        assert around.high - around.low == pytest.approx(132.6, rel=0.1)
        assert (bands[0].low, bands[-1].high) == pytest.approx((0, 8000))

    @pytest.mark.parametrize("scale", ["hz", "bark", "erb"])
    def test_bands_fill_the_range(self, scale):
        bands = frequency_bands(scale, low=150, high=3900)
        assert bands[0].low == pytest.approx(150)
        assert bands[-1].high == pytest.approx(3900)
        for band, following in pairwise(bands):
            assert band.high == following.low

    def test_regions_of_the_voice(self):
        assert [band.name for band in frequency_bands("voice")] == ["F0", "F1", "F2"]

    def test_means(self):
        maps = torch.arange(10.0).reshape(2, 5)
        bands = frequency_bands({"low": (0, 900), "high": (900, 8000), "none": (400, 500)})
        found = band_mean(maps, FREQUENCIES, bands)
        assert found[:, :2].tolist() == [[0.5, 3.0], [5.5, 8.0]]
        assert found[:, 2].isnan().all()
        assert torch.equal(band_mean(maps.T, FREQUENCIES, bands[:2], dim=0), found[:, :2].T)

    @pytest.mark.parametrize("scale", ["mel", [100], [300, 100], [-1, 5], {"a": (5, 1)}])
    def test_bad_bands(self, scale):
        with pytest.raises(ArgumentError, match=r"scale must be|edges of bands"):
            frequency_bands(scale)

    def test_frequencies_of_another_map(self):
        with pytest.raises(ArgumentError, match="4 mel bins"):
            band_mean(torch.zeros(3, 4), FREQUENCIES, frequency_bands("hz"))


class TestSpans:
    def test_frames(self):
        assert frames_within(TIMES, 0.02, 0.04).nonzero().flatten().tolist() == [2, 3]
        assert frames_within(TIMES, 0.021, 0.023).nonzero().flatten().tolist() == [2]
        assert not frames_within(TIMES, 0.2, 0.3).any()
        middles = torch.tensor([0.25, 0.5, 0.75])
        assert frames_within(middles, 0.25, 0.75).tolist() == [True, True, False]
        assert frames_within(TIMES, 0.0, 9.0).all()
        with pytest.raises(ArgumentError, match="start <= end"):
            frames_within(TIMES, 0.3, 0.2)
        with pytest.raises(ArgumentError, match="start <= end"):
            frames_within(TIMES, float("nan"), 0.2)

    @given(*[st.floats(0, 0.099)] * 3)
    def test_neighbouring_spans_share_no_frame_unless_they_are_shorter_than_one(self, a, b, c):
        a, b, c = sorted((a, b, c))
        first, second = frames_within(TIMES, a, b), frames_within(TIMES, b, c)
        assert first.any()
        assert second.any()
        if min(b - a, c - b) > 0.01:
            assert not (first & second).any()

    def test_means(self):
        maps = torch.arange(20.0).reshape(1, 10, 2)
        found = time_mean(maps, TIMES, [(0.0, 0.02), (0.09, 0.2), (0.5, 0.6)])
        assert found.shape == (1, 3, 2)
        assert found[0, :2].tolist() == [[1.0, 2.0], [18.0, 19.0]]
        assert found[0, 2].isnan().all()
        assert time_mean(maps, TIMES, []).shape == (1, 0, 2)
        with pytest.raises(ArgumentError, match="10 frames"):
            time_mean(maps, TIMES[:3], [(0, 1)])
