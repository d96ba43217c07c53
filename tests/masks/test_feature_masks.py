"""Feature masks: layouts, scales, and what a set of levels really holds."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from captum_spes import describe_levels, grid_feature_mask, slic_feature_mask
from captum_spes.errors import ArgumentError

BOTH = pytest.mark.parametrize("cut", [slic_feature_mask, grid_feature_mask])


def spectrogram(frames=120, bins=80, seed=0):
    """Smooth blobs, so that SLIC has something to follow."""
    noise = torch.randn(1, 1, frames, bins, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.avg_pool2d(noise, 9, 1, 4)[0, 0]


@BOTH
def test_one_mask_per_level_shaped_like_the_spectrogram(cut):
    masks = cut(spectrogram(), patches_per_second=(50, 200))
    assert [mask.shape for mask in masks] == [(120, 80), (120, 80)]
    for mask in masks:
        assert mask.dtype == torch.int64
        assert torch.equal(mask.unique(), torch.arange(int(mask.max()) + 1))


@BOTH
def test_transposed_layout(cut):
    s = spectrogram()
    expected = cut(s)
    for time_dim in (-1, 1):
        found = cut(s.T, time_dim=time_dim)
        assert all(torch.equal(a.T, b) for a, b in zip(found, expected, strict=True))
    batch = cut(torch.stack([s.T, s.T]), time_dim=2)
    assert torch.equal(batch[0][1].T, expected[0])


@BOTH
def test_examples_of_a_batch_are_cut_on_their_own(cut):
    a, b = spectrogram(seed=1), spectrogram(seed=2)
    for both, alone_a, alone_b in zip(cut(torch.stack([a, b])), cut(a), cut(b), strict=True):
        assert torch.equal(both, torch.stack([alone_a, alone_b]))


@BOTH
def test_scale_may_be_one_number(cut):
    assert len(cut(spectrogram(), patches_per_second=60)) == 1
    assert len(cut(spectrogram(), n_patches=100)) == 1
    assert len(cut(spectrogram(), n_patches=np.int64(100))) == 1
    assert len(cut(spectrogram(), patches_per_second=np.array([60, 100]))) == 2


@BOTH
def test_number_of_patches_grows_with_the_clip_up_to_the_limit(cut):
    def count(frames, **scale):
        return int(cut(spectrogram(frames), patches_per_second=50, **scale)[0].max()) + 1

    assert count(400) > 1.7 * count(200)
    assert count(400, max_seconds=2.0) < 1.2 * count(200)
    assert count(400, max_seconds=None) == count(400)
    assert count(400, seconds=2.0) == count(400, n_patches=100)
    assert count(300, frame_rate=50.0) == count(300, n_patches=300)
    fixed = [int(cut(spectrogram(f), n_patches=150)[0].max()) + 1 for f in (200, 400)]
    assert fixed == pytest.approx([150, 150], rel=0.3)


def test_slic_follows_energy_and_a_grid_does_not():
    s = spectrogram()

    def within(mask):
        means = torch.zeros(int(mask.max()) + 1).scatter_reduce(
            0, mask.flatten(), s.flatten(), "mean", include_self=False
        )
        return float((s - means[mask]).square().mean() / s.var())

    assert within(slic_feature_mask(s, n_patches=150)[0]) < 0.7 * within(
        grid_feature_mask(s, n_patches=150)[0]
    )


@pytest.mark.parametrize("value", [0.0, -7.5])
def test_constant_spectrogram(value):
    mask = slic_feature_mask(torch.full((50, 40), value), n_patches=20)[0]
    assert 10 <= int(mask.max()) + 1 <= 40


def test_scaling_of_the_spectrogram_changes_nothing():
    s = spectrogram()
    assert torch.equal(slic_feature_mask(s)[0], slic_feature_mask(s * 4 - 2)[0])


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 500))
def test_grid_is_made_of_full_rectangles(frames, bins, n_patches):
    mask = grid_feature_mask(torch.zeros(frames, bins), n_patches=n_patches)[0]
    rows = mask[:, 0] // (mask[0, -1] + 1)
    assert torch.equal(mask, rows[:, None] * (mask[0, -1] + 1) + mask[:1])
    assert torch.equal(mask.unique(), torch.arange(int(mask.max()) + 1))
    sizes = mask.flatten().bincount()
    assert sizes.max() <= 4 * sizes.min() or sizes.max() <= 4


@pytest.mark.parametrize("frames", [100, 340, 750])
def test_the_papers_scales_are_one_and_the_same_up_to_7_5_seconds(frames):
    summary = describe_levels(slic_feature_mask(spectrogram(frames)))
    assert summary.n_distinct <= 2
    assert summary.n_patches[0] == summary.n_patches[1]
    assert (
        describe_levels(
            slic_feature_mask(spectrogram(frames), patches_per_second=(60, 240, 600))
        ).n_distinct
        == 3
    )


def test_levels_are_compared_as_partitions_not_as_labels():
    mask = torch.tensor([[0, 0, 1], [2, 2, 1]])
    renamed = torch.tensor([[7, 7, 3], [5, 5, 3]])
    other = torch.tensor([[0, 1, 1], [2, 2, 1]])
    summary = describe_levels([mask, renamed, other])
    assert (summary.n_patches, summary.n_distinct) == ((3, 3, 3), 2)
    assert str(summary) == "3 levels of 3, 3, 3 patches, 2 distinct"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"spectrogram": torch.zeros(3)}, r"got shape \(3,\)"),
        ({"spectrogram": torch.zeros(0, 80)}, "empty"),
        ({"spectrogram": torch.full((9, 9), torch.nan)}, "NaN or infinity"),
        ({"spectrogram": torch.full((9, 9), -torch.inf)}, "NaN or infinity"),
        ({"patches_per_second": 0}, "patches_per_second must be positive"),
        ({"patches_per_second": ()}, "no segmentation level"),
        ({"n_patches": (10, 0)}, "n_patches must be positive"),
        ({"frame_rate": 0}, "frame_rate must be positive"),
        ({"seconds": -1}, "seconds must be positive"),
        ({"max_seconds": 0}, "max_seconds must be positive"),
        ({"time_dim": 0, "spectrogram": torch.zeros(2, 9, 9)}, "time_dim"),
    ],
)
@BOTH
def test_bad_input(cut, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        cut(**{"spectrogram": torch.rand(20, 20), **arguments})


@pytest.mark.parametrize("arguments", [{"compactness": 0}, {"compactness": -1}, {"sigma": -1}])
def test_bad_slic_settings(arguments):
    with pytest.raises(ArgumentError, match="compactness must be positive"):
        slic_feature_mask(torch.rand(20, 20), **arguments)


def test_levels_of_different_shapes_cannot_be_described():
    with pytest.raises(ArgumentError, match="one shape"):
        describe_levels([torch.zeros(2, 2), torch.zeros(3, 2)])


def test_masks_do_not_depend_on_how_many_threads_cut_them():
    generator = torch.Generator().manual_seed(0)
    spectrogram = torch.rand(2, 60, 20, generator=generator)
    before = torch.get_num_threads()
    found = []
    try:
        for count in (1, 4):
            torch.set_num_threads(count)
            found.append(slic_feature_mask(spectrogram, patches_per_second=(20, 40, 80)))
    finally:
        torch.set_num_threads(before)
    assert [int(level.max()) for level in found[0]] == sorted(
        int(level.max()) for level in found[0]
    )
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
