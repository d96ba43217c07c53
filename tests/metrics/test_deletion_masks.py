"""The order in which cells are removed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from captum_spes.errors import ArgumentError
from captum_spes.metrics import deletion_masks


def test_among_equal_scores_the_later_cell_goes_first():
    masks = deletion_masks(torch.zeros(2, 2), [0, 25, 50, 75, 100])
    assert masks.flatten(1).int().tolist() == [
        [0, 0, 0, 0],
        [0, 0, 0, 1],
        [0, 0, 1, 1],
        [0, 1, 1, 1],
        [1, 1, 1, 1],
    ]


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 100))
def test_counts_nesting_and_order(frames, bins, seed):
    values = torch.randint(0, 9, (frames, bins), generator=torch.Generator().manual_seed(seed))
    masks = deletion_masks(values.float(), range(101))
    for percent, mask in enumerate(masks):
        assert int(mask.sum()) == frames * bins * percent // 100
        if mask.any() and not mask.all():
            assert values[mask].min() >= values[~mask].max()
    assert (masks[1:] | ~masks[:-1]).all()


@pytest.mark.parametrize(
    "arguments", [(torch.zeros(3),), (torch.full((2, 2), torch.nan),), (torch.zeros(2, 2), [101])]
)
def test_bad_input(arguments):
    with pytest.raises(ArgumentError):
        deletion_masks(*arguments)
