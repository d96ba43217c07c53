"""Files of the paper's code: read as explanations, and written as that code writes them."""

import os
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from captum_spes.corpus import read_official, write_official
from captum_spes.errors import ArgumentError
from tests.speech.test_result import make

GOLDEN = Path(__file__).parents[1] / "golden" / "data" / "explanations_official.h5"


def contents(path):
    with h5py.File(path) as file:
        return {f"{group}/{name}": file[group][name][()] for group in file for name in file[group]}


def test_a_file_of_that_code():
    found = read_official(GOLDEN)
    assert list(found) == ["3", "4"]
    with h5py.File(GOLDEN) as file:
        for name, result in found.items():
            group = file[name]
            assert np.array_equal(result.spectrogram_attr, group["fbank_heatmap"])
            tokens = result.token_attr
            assert np.array_equal(tokens.nan_to_num(0), group["tgt_embed_heatmap"][..., 0])
            count = len(tokens)
            assert torch.equal(tokens.isnan(), torch.ones(count, count).triu(1).bool())
    # The begin of the sentence is fed first, and its end explained last.
    result = found["3"]
    assert result.text == "was about step about"
    assert result.output_tokens == [" was", " about", " step", " about", "</s>"]
    assert result.previous_tokens == ["</s>", " was", " about", " step", " about"]
    assert [word.word for word in result.words] == ["was", "about", "step", "about"]
    assert torch.isfinite(result.sentence_attr().spectrogram_attr).all()


def test_written_again_it_is_the_same(tmp_path):
    write_official(tmp_path / "again.h5", read_official(GOLDEN))
    first, second = contents(GOLDEN), contents(tmp_path / "again.h5")
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert np.array_equal(value, second[name])
        assert np.asarray(value).dtype == np.asarray(second[name]).dtype


def test_two_files_of_separate_passes(tmp_path):
    with h5py.File(GOLDEN) as file:
        for name, left_out in (("speech", "tgt_embed_heatmap"), ("tokens", "fbank_heatmap")):
            with h5py.File(tmp_path / f"{name}.h5", "w") as part:
                for group in file:
                    file.copy(group, part)
                    del part[group][left_out]
    speech, tokens = tmp_path / "speech.h5", tmp_path / "tokens.h5"
    joined, whole = read_official(speech, tokens), read_official(GOLDEN)
    for name, result in whole.items():
        assert torch.equal(joined[name].spectrogram_attr, result.spectrogram_attr)
        assert torch.equal(joined[name].token_attr.nan_to_num(0), result.token_attr.nan_to_num(0))
    assert read_official(speech)["3"].token_attr is None
    with pytest.raises(ArgumentError, match="has a fbank_heatmap, and so has the file before"):
        read_official(speech, GOLDEN)
    with pytest.raises(ArgumentError, match="holds no fbank_heatmap"):
        read_official(tokens)


def test_our_explanations(tmp_path):
    """A prompt but its last token is left out: the paper's decoder reads one token a step."""
    result = make(
        previous_tokens=["<|start|>", "<|en|>", " a", " b"],
        previous_ids=[0, 1, 2, 3],
        token_attr=torch.tensor([[9.0, 1.0, np.nan, np.nan], [9, 2, 3, np.nan], [9, 4, 5, 6]]),
    )
    write_official(tmp_path / "ours.h5", {"7": result})
    found = contents(tmp_path / "ours.h5")
    assert found["7/tgt_text"].tolist() == [b"</s>", "▁a".encode(), "▁b".encode()]
    assert found["7/tgt_embed_heatmap"][..., 0].tolist() == [[1, 0, 0], [2, 3, 0], [4, 5, 6]]
    again = read_official(tmp_path / "ours.h5")["7"]
    assert torch.equal(again.spectrogram_attr, result.spectrogram_attr)


def test_what_is_refused(tmp_path):
    path = tmp_path / "out.h5"
    with pytest.raises(ArgumentError, match="at least one explanation"):
        write_official(path, {})
    few = replace(make(), previous_tokens=["a"], previous_ids=[1], token_attr=None)
    with pytest.raises(ArgumentError, match="reads one token before each"):
        write_official(path, {"0": few})
    assert not path.exists()
    with h5py.File(path, "w") as file:
        file.create_group("0")
    with pytest.raises(ArgumentError, match="lacks tgt_text"):
        read_official(path)
    path.write_bytes(b"nothing")
    with pytest.raises(ArgumentError, match="no HDF5 file"):
        read_official(path)
    os.mkfifo(tmp_path / "pipe.h5")
    with pytest.raises(ArgumentError, match=r"pipe.h5"):
        read_official(tmp_path / "pipe.h5")
    with pytest.raises(FileNotFoundError):
        read_official(tmp_path / "nowhere.h5")
