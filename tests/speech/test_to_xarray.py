"""Maps with named axes."""

import json
import sys

import numpy as np
import pytest
import torch

from captum_spes.errors import ArgumentError
from tests.analysis.planted import FREQUENCIES, TIMES, bump, planted_result, previous


def planted(**changes):
    maps = torch.stack([bump(0.1, 0.3), bump(0.4, 0.6), bump(0.6, 0.8, seed=1)])
    given = {
        "token_attr": previous(3, [0, 1, 2]),
        "times": [(0.1, 0.3), None],
        "parameters": {
            "n_samples_evaluated": 10, "n_token_samples_evaluated": 10,
            "reliability": {
                "tokens": [0.5, 0.25, float("nan")], "words": [0.5, 0.75],
                "previous_tokens": [0.5] * 3, "sentence": 0.5, "standard_error": [0.1] * 3,
            },
        },
        "probabilities": torch.tensor([0.5, 0.5, 0.25]),
        "ranks": torch.tensor([1, 1, 2]),
        "runners_up": [" a", " b", "c"],
        "seed": 2**60,
        **changes,
    }  # fmt: skip
    return planted_result([" so", " may", "be"], maps, **given)


def same(array, tensor):
    return np.array_equal(array.values, tensor.numpy(), equal_nan=array.dtype.kind == "f")


def test_maps_and_axes():
    result = planted()
    dataset = result.to_xarray()
    wanted = {
        "spectrogram_attr": ("token", "time", "frequency"),
        "token_attr": ("token", "previous_token"),
        "spectrogram": ("time", "frequency"),
        "removed": ("time", "frequency"),
        "feature_masks": ("level", "time", "frequency"),
    }
    for name, axes in wanted.items():
        assert dataset[name].dims == axes
        assert same(dataset[name], getattr(result, name))
    assert np.isnan(dataset["token_attr"].values[0, 1:]).all()
    assert same(dataset["time"], TIMES)
    assert same(dataset["frequency"], FREQUENCIES)
    assert (dataset["time"].units, dataset["frequency"].units) == ("s", "Hz")
    assert dataset["token_text"].values.tolist() == [" so", " may", "be"]
    assert dataset["previous_token_text"].values.tolist() == ["<|start|>", " so", " may"]
    assert "token_text" in dataset.coords
    assert "spectrogram_attr" in dataset.data_vars
    assert "instruction_attr" not in dataset
    assert dataset["reliability"].values == pytest.approx([0.5, 0.25, np.nan], nan_ok=True)
    assert dataset["rank"].values.tolist() == [1, 1, 2]
    # The strongest moment of a map is found by the names of its axes.
    profile = dataset["spectrogram_attr"].isel(token=1).mean("frequency")
    assert 0.4 <= float(profile.idxmax("time")) < 0.6


def test_words():
    result = planted()
    dataset = result.to_xarray(of="words")
    assert dataset["spectrogram_attr"].dims == ("word", "time", "frequency")
    assert dataset["word_text"].values.tolist() == ["so", "maybe"]
    mean = result.spectrogram_attr[1:].mean(0)
    assert np.allclose(dataset["spectrogram_attr"].values[1], mean)
    # Tokens inside a word do not explain it.
    row = result.token_attr[1:].mean(0)
    assert dataset["token_attr"].values[1] == pytest.approx(row.numpy(), nan_ok=True)
    assert np.isnan(dataset["token_attr"].values[1, 2])
    assert dataset["probability"].values == pytest.approx([0.5, 0.125])
    assert dataset["reliability"].values.tolist() == [0.5, 0.75]
    assert dataset["word_start"].values == pytest.approx([0.1, np.nan], nan_ok=True)
    assert dataset["word_end"].units == "s"


def test_instructions():
    instruction = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 8.0]])
    result = planted(instruction_attr=instruction, instruction_tokens=["Write", " it"])
    assert same(result.to_xarray()["instruction_attr"], instruction)
    words = result.to_xarray("words")
    assert words["instruction_attr"].values.tolist() == [[1, 2], [4, 6]]
    assert words["instruction_token_text"].values.tolist() == ["Write", " it"]


def test_attributes_say_what_made_it():
    result = planted(model_id="a\udce9")
    attributes = result.to_xarray().attrs
    assert all(isinstance(value, str | float) for value in attributes.values())
    assert attributes["seed"] == str(2**60)
    assert attributes["model"] == "a\\xe9"
    assert json.loads(attributes["settings"]) == json.loads(json.dumps(result.settings.to_dict()))
    assert json.loads(attributes["words"])[0]["start"] == 0.1


def test_the_result_stays_what_it_is():
    result = planted()
    dataset = result.to_xarray()
    dataset["spectrogram_attr"][:] = 0
    dataset["time"].values[:]  # an index cannot be written to
    assert result.spectrogram_attr.abs().max() > 0.5


def test_what_a_result_does_not_have():
    bare = planted_result([" so"])
    assert set(bare.to_xarray().data_vars) == {
        "spectrogram_attr", "spectrogram", "removed", "feature_masks"
    }  # fmt: skip
    # A score of one's own has other units than the tokens that have probabilities.
    own = planted(words=[], probabilities=torch.ones(5), ranks=torch.ones(5).long(),
                  runners_up=["x"] * 5)  # fmt: skip
    assert "probability" not in own.to_xarray()


def test_what_is_refused(monkeypatch):
    with pytest.raises(ArgumentError, match="of must be 'tokens' or 'words', got 'phones'"):
        planted().to_xarray("phones")
    with pytest.raises(ArgumentError, match="no words of its own"):
        planted(words=[]).to_xarray("words")
    contrast = {"word": "so", "foil": "no", "score": "parity_ratio"}
    with pytest.raises(ArgumentError, match="as that of a contrast"):
        planted(parameters={"contrast": contrast}).to_xarray("words")
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(ImportError, match=r"pip install 'captum-spes\[export\]'"):
        planted().to_xarray()
