"""Settings made from anything: an error of ours, or settings that a file holds and gives back."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captum_spes import Settings
from captum_spes.errors import ArgumentError, ArgumentTypeError

NAMES = list(Settings().to_dict())
LIKELY = st.sampled_from(
    ["kl", "probability", "slic", "grid", "cells", "mean", "auto", 0.5, 0.3, 1, 4, 100, (40, 60),
     [60.0], {"n_steps": 5}, {"spectrogram": {"n_steps": 5}}, {"num_beams": 2},
     10**400, -(10**400), 2**70, b"5", np.float32(0.5), np.int64(5), np.array(5)]
)  # fmt: skip
SIMPLE = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | LIKELY
VALUES = st.recursive(
    SIMPLE,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=2)
    ),
    max_leaves=5,
)
GIVEN = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=3)
QUICK = settings(max_examples=500, deadline=None, derandomize=True)


@QUICK
@given(GIVEN)
def test_made_of_anything(values):
    try:
        made = Settings(**values)
    except (ArgumentError, ArgumentTypeError):
        return
    again = Settings.from_dict(json.loads(json.dumps(made.to_dict())))
    assert again == made
    assert again.to_dict() == made.to_dict()


@QUICK
@given(GIVEN | VALUES)
def test_read_from_anything(values):
    try:
        found = Settings.from_dict(values)
    except (ArgumentError, ArgumentTypeError):
        return
    assert Settings.from_dict(json.loads(json.dumps(found.to_dict()))) == found


@QUICK
@given(st.text(max_size=10), VALUES)
def test_unknown_names(name, value):
    if name not in NAMES:
        with pytest.raises(ArgumentTypeError, match="there is no setting"):
            Settings.paper(**{name: value})
