"""Saved explanations that were damaged or changed: refused by name, or as good as new."""

import io
import json
import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from captum_spes import Settings, SpeechToTextAttributionResult, Word
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.report import explanation_text
from captum_spes.speech.result_file import ARRAYS

FUZZ = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
K, J, T, F = 3, 4, 12, 8


def make(**changes):
    generator = torch.Generator().manual_seed(0)
    previous = torch.rand(K, J, generator=generator)
    previous[0, 2:], previous[1, 3:] = torch.nan, torch.nan
    values = {
        "output_tokens": [" so", " what", "<|endoftext|>"],
        "previous_tokens": ["<|start|>", "<|notimestamps|>", " so", " what"],
        "spectrogram": torch.randn(T, F, generator=generator),
        "removed": torch.zeros(T, F),
        "feature_masks": torch.arange(T * F).reshape(1, T, F) // 5,
        "spectrogram_attr": torch.rand(K, T, F, generator=generator),
        "token_attr": previous,
        "instruction_tokens": ["write", " it"],
        "instruction_attr": torch.rand(K, 2, generator=generator),
        "frame_times": torch.arange(T) / 100,
        "mel_frequencies": torch.linspace(30, 7900, F),
        "words": [Word("so", (0,)), Word("what", (1,), 0.02, 0.1)],
        "text": "so what",
        "output_ids": [5, 6, 0],
        "previous_ids": [1, 2, 5, 6],
        "seconds": 0.12,
        "seed": 3,
        "method": "SPES",
        "model_id": "tiny",
        "parameters": {
            "n_samples": 5,
            "patches_per_level": [3, 4],
            "distinct_levels": 2,
            "n_samples_evaluated": 5,
            "n_token_samples_evaluated": 4,
            "n_instruction_samples_evaluated": 3,
            "sequence": {
                "ids": [1, 2, 5, 6, 0], "explained": [2, 3, 4], "previous": None, "instruction": [],
            },
            "reliability": {
                "tokens": [0.5, 0.6, 0.7],
                "words": [0.5, float("nan")],
                "previous_tokens": [0.1, 0.2, 0.3],
                "instruction": [0.4, 0.5, float("nan")],
                "sentence": 0.8,
                "standard_error": [0.1, 0.1, 0.1],
            },
        },
        "probabilities": torch.tensor([0.5, 0.25, 1.0]),
        "ranks": torch.tensor([1, 2, 1]),
        "runners_up": ["a", "b", "c"],
        "settings": Settings.efficient(n_samples=5, baselines=torch.zeros(T, F)),
    }  # fmt: skip
    return SpeechToTextAttributionResult(**{**values, **changes})


def saved(result):
    with tempfile.TemporaryDirectory() as folder:
        result.save(Path(folder) / "a.npz")
        return (Path(folder) / "a.npz").read_bytes()


CONTENT = saved(make())


def parts(content=CONTENT):
    """Arrays and metadata of a file."""
    with np.load(io.BytesIO(content)) as file:
        arrays = {name: file[name] for name in file.files}
    return arrays, json.loads(str(arrays.pop("metadata")))


def joined(arrays, metadata):
    content = io.BytesIO()
    text = metadata if isinstance(metadata, str) else json.dumps(metadata)
    np.savez(content, metadata=np.array(text), **arrays)
    return content.getvalue()


def load(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.npz"
        path.write_bytes(content)
        return SpeechToTextAttributionResult.load(path)


def is_usable(content, draw=False):
    """False where the file is refused in one line that names it; whatever loads must work."""
    try:
        result = load(content)
    except ArgumentError as error:
        refused = str(error)
    else:
        refused = ""
    if refused:
        assert "a.npz" in refused
        assert "\n" not in refused
        assert len(refused) < 1000
        return False
    assert repr(result)
    assert explanation_text(result)
    result.normalized(), result.sentence_attr(), result.word_attr()
    if "reliability" in result.parameters:
        result.reliability()
    if result.token_attr is not None:
        result.speech_share()
    assert saved(result)
    if draw:
        figures = [result.plot_spectrogram_attr(over_spectrogram=True)]
        figures += [result.plot_spectrogram_attrs()]
        figures += [] if result.token_attr is None else [result.plot_token_attr()]
        for figure in figures:
            figure.savefig(io.BytesIO(), dpi=20)
    return True


def test_the_file_itself_is_usable():
    assert is_usable(CONTENT, draw=True)


@FUZZ
@given(st.lists(st.tuples(st.integers(0, len(CONTENT) * 8 - 1)), min_size=1, max_size=4))
def test_flipped_bits(positions):
    content = bytearray(CONTENT)
    for (position,) in positions:
        content[position // 8] ^= 1 << (position % 8)
    is_usable(bytes(content))


@FUZZ
@given(st.integers(0, len(CONTENT) - 1), st.binary(max_size=40))
def test_cut_and_continued(length, rest):
    is_usable(CONTENT[:length] + rest)


values = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**65), 2**65), st.floats(), st.text(max_size=5),
    st.lists(st.one_of(st.integers(-5, 9), st.text(max_size=3), st.none()), max_size=5),
    st.dictionaries(st.sampled_from(["word", "tokens", "ids", "items"]), st.none(), max_size=2),
)  # fmt: skip


def places(value, place=()):
    """Every key and index inside a value of JSON."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield (*place, key)
            yield from places(value[key], (*place, key))


PLACES = list(places(parts()[1]))


@settings(FUZZ, max_examples=250)
@given(st.sampled_from(PLACES), values, st.sampled_from(["change", "remove", "double"]))
@example(("settings",), None, "change")
def test_changed_metadata(place, value, how):
    arrays, metadata = parts()
    inside = metadata
    for key in place[:-1]:
        inside = inside[key]
    if how == "change":
        inside[place[-1]] = value
    elif how == "remove":
        del inside[place[-1]]
    elif isinstance(inside, list):
        inside.append(inside[place[-1]])
    is_usable(joined(arrays, metadata))


DTYPES = ["f2", "f4", ">f4", "f8", "f16", "i1", "i8", "u8", "?", "U3", "c8", "M8[s]"]
FILLS = [0.0, 1.0, -1.0, 1e38, -3e38, np.nan, np.inf]


@settings(FUZZ, max_examples=120)
@given(
    st.sampled_from(list(ARRAYS)),
    st.lists(st.integers(0, 13), max_size=4),
    st.sampled_from(DTYPES),
    st.sampled_from(FILLS),
)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_changed_arrays(name, shape, dtype, fill):
    arrays, metadata = parts()
    try:
        arrays[name] = np.full(shape, fill).astype(dtype)
    except (TypeError, ValueError):
        return
    is_usable(joined(arrays, metadata))


@settings(FUZZ, max_examples=30)
@given(
    st.sampled_from([name for name, array in ARRAYS.items() if array.kind == "f"]),
    st.sampled_from(FILLS),
    st.booleans(),
)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_changed_values(name, fill, is_one):
    arrays, metadata = parts()
    if is_one:
        arrays[name].flat[-1] = fill
    else:
        arrays[name][...] = fill
    is_usable(joined(arrays, metadata), draw=name == "spectrogram_attr")


NAMED = {
    "too few tokens": lambda a, m: m["output_tokens"].pop(),
    "too few ids": lambda a, m: m["output_ids"].pop(),
    "a word beyond the tokens": lambda a, m: m["words"][0].update(token_indices=[3]),
    "a word before the tokens": lambda a, m: m["words"][0].update(token_indices=[-1]),
    "a word that ends before it starts": lambda a, m: m["words"][1].update(start=0.2),
    "another length of frames": lambda a, m: a.update(frame_times=a["frame_times"][:-1]),
    "maps of two axes": lambda a, m: a.update(spectrogram_attr=a["spectrogram_attr"][0]),
    "NaN in a map": lambda a, m: a["spectrogram_attr"].__setitem__((0, 0, 0), np.nan),
    "text for numbers": lambda a, m: a.update(ranks=np.array(["1", "2", "3"])),
    "objects": lambda a, m: a.update(removed=np.array([[None]])),
    "a seed of words": lambda a, m: m.update(seed="3"),
    "a seed that is true": lambda a, m: m.update(seed=True),
    "no seconds": lambda a, m: m.pop("seconds"),
    "settings that are null": lambda a, m: m.update(settings=None),
    "settings of unknown objects": lambda a, m: m["settings"].update(estimator={"object": "os"}),
    "settings of no dtype": lambda a, m: m["settings"].update(dtype={"dtype": "manual_seed"}),
    "parameters as a list": lambda a, m: m.update(parameters=[]),
    "a reliability above 1": lambda a, m: m["parameters"]["reliability"].update(sentence=1.5),
    "a token's reliability above 1": lambda a, m: m["parameters"]["reliability"]["tokens"].append(
        m["parameters"]["reliability"]["tokens"].pop() + 2
    ),
    "a reliability of no word": lambda a, m: m["parameters"]["reliability"].update(words=[]),
    "a reliability of no instruction": lambda a, m: m["parameters"]["reliability"].update(
        instruction=[0.5]
    ),
    "samples of an instruction in words": lambda a, m: m["parameters"].update(
        n_instruction_samples_evaluated="3"
    ),
    "a sequence beyond its ids": lambda a, m: m["parameters"]["sequence"].update(
        explained=[2, 3, 9]
    ),
}
TOLD = (
    "output_tokens|output_ids|token_indices|start and end|frame|spectrogram_attr|ranks|removed|"
    "seed|seconds|settings|parameters|reliability|sequence|n_instruction_samples_evaluated"
)


@pytest.mark.parametrize("change", NAMED.values(), ids=NAMED)
def test_what_does_not_belong_together_is_refused_by_name(change):
    arrays, metadata = parts()
    change(arrays, metadata)
    with pytest.raises(ArgumentError, match=TOLD):
        load(joined(arrays, metadata))


def test_what_a_later_version_may_add_is_ignored():
    arrays, metadata = parts()
    metadata["mood"] = "good"
    assert load(joined({**arrays, "more": np.zeros(3)}, metadata)).text == "so what"


@pytest.mark.parametrize("shape", ["(2000000000000,)", "(3, 100000000, 80000)", "(-1, 12, 8)"])
def test_a_header_that_lies_of_its_size_reserves_no_memory(shape):
    content = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(CONTENT)) as old, zipfile.ZipFile(content, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "spectrogram_attr.npy":
                header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
                header = header.ljust(117) + "\n"
                data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
            new.writestr(name, data)
    with pytest.raises(ArgumentError, match="spectrogram_attr"):
        load(content.getvalue())


def test_deeply_nested_metadata_is_damage():
    with pytest.raises(ArgumentError, match=r"a\.npz"):
        load(joined(parts()[0], "[" * 100_000))


class TestPlaces:
    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
    def test_a_pipe_does_not_hang(self, tmp_path):
        os.mkfifo(tmp_path / "a.npz")
        with pytest.raises(ArgumentError, match="pipe or device"):
            SpeechToTextAttributionResult.load(tmp_path / "a.npz")

    def test_folders_devices_and_what_is_no_path(self, tmp_path):
        with pytest.raises(ArgumentError, match="is a folder"):
            SpeechToTextAttributionResult.load(tmp_path)
        with pytest.raises(ArgumentError, match="can be no path"):
            SpeechToTextAttributionResult.load("a\0.npz")
        for path in (None, 0, b"a.npz"):
            with pytest.raises(ArgumentTypeError, match="by its path"):
                SpeechToTextAttributionResult.load(path)
        if os.path.exists("/dev/zero"):
            with pytest.raises(ArgumentError, match="pipe or device"):
                SpeechToTextAttributionResult.load("/dev/zero")


def test_version_1_loads_as_before():
    arrays, metadata = parts()
    metadata["format"] = metadata["format"].replace("2", "1")
    for name in ("settings", "runners_up"):
        del metadata[name]
    metadata["parameters"] |= {"n_samples": 7, "scheme": "efficient", "dtype": "bfloat16"}
    reliability = metadata["parameters"]["reliability"]
    reliability["spectrogram"] = reliability.pop("tokens")
    reliability["tokens"] = reliability.pop("previous_tokens")
    del arrays["probabilities"], arrays["ranks"], reliability["words"], reliability["instruction"]
    del metadata["parameters"]["n_instruction_samples_evaluated"]
    content = joined(arrays, metadata)
    assert is_usable(content)
    result = load(content)
    assert result.settings.n_samples == 7
    assert result.settings.dtype == torch.bfloat16
    assert result.reliability().tokens.tolist() == pytest.approx([0.5, 0.6, 0.7])
    assert result.reliability().instruction is None
    assert result.reliability().n_instruction_samples is None
