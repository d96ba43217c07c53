"""A trained model and its recordings get into the package, which knows nothing of recipes."""

import ast
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import captum_spes
from captum_spes.demo import MANIFEST, MODEL_FOLDER
from captum_spes.demo.examples import read_examples
from captum_spes.errors import ArgumentError
from captum_spes.speech.models import load_model
from recipes.bundled.bundle import TRAINING_LOG, bundle, write_in_half_precision


def stored(weights):
    with safe_open(weights, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


@pytest.fixture
def trained(tiny_canary, tmp_path):
    """What training leaves behind: the model, its log, and what only training needs."""
    model, processor = tiny_canary
    folder = tmp_path / "trained"
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    (folder / "training.log").write_text('{"epoch": 1}\n')
    (folder / "training.pt").write_text("state of the optimizer")
    return folder


@pytest.fixture
def corpus(tmp_path):
    """The bundled recordings as the test part of a corpus."""
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "test").symlink_to(MANIFEST.parent)
    return tmp_path / "corpus"


def test_model_log_and_recordings_are_put_where_they_are_looked_for(trained, corpus, tmp_path):
    names = [example.name for example in read_examples(MANIFEST)][2:0:-1]
    places = {
        "model_folder": tmp_path / "model",
        "recordings": tmp_path / "recordings",
        "training_log": tmp_path / "training.jsonl",
    }
    for _ in range(2):  # what is there already is replaced
        bundle(corpus, trained, names, **places)
    examples = read_examples(tmp_path / "recordings" / MANIFEST.name)
    assert [example.name for example in examples] == names
    assert all(example.path.exists() for example in examples)
    assert (tmp_path / "training.jsonl").read_text() == '{"epoch": 1}\n'
    assert not list((tmp_path / "model").glob("training.*"))

    halved, original = load_model(tmp_path / "model")[0], load_model(trained)[0]
    for one, other in zip(halved.parameters(), original.parameters(), strict=True):
        assert torch.equal(one, other.half().float())


def test_an_unknown_recording_stops_it_before_anything_is_replaced(trained, corpus, tmp_path):
    kept = tmp_path / "model"
    kept.mkdir()
    (kept / "config.json").write_text("{}")
    with pytest.raises(ArgumentError, match="no recording 'test-99999'"):
        bundle(corpus, trained, ["test-99999"], model_folder=kept,
               recordings=tmp_path / "recordings", training_log=tmp_path / "log")  # fmt: skip
    assert (kept / "config.json").read_text() == "{}"


def test_half_precision_keeps_whole_numbers_and_refuses_what_does_not_fit(tmp_path):
    weights = tmp_path / "weights.safetensors"
    count = torch.tensor(2**31 + 1)
    save_file({"weight": torch.tensor([1 / 3, -2.0]), "count": count}, weights)
    write_in_half_precision(weights, tmp_path / "half.safetensors")
    found = stored(tmp_path / "half.safetensors")
    assert torch.equal(found["weight"], torch.tensor([1 / 3, -2.0]).half())
    assert torch.equal(found["count"], count)
    save_file({"weight": torch.tensor([1e5])}, weights)
    with pytest.raises(ArgumentError, match=r"weight in .* is too large"):
        write_in_half_precision(weights, tmp_path / "half.safetensors")


def test_the_bundled_weights_are_in_half_precision():
    types = {tensor.dtype for tensor in stored(MODEL_FOLDER / "model.safetensors").values()}
    assert types == {torch.float16, torch.int64}


def test_the_log_of_the_bundled_model_lies_with_the_recipe():
    assert TRAINING_LOG.exists()


def test_the_package_imports_no_recipe():
    for file in Path(captum_spes.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] != "recipes", file
            elif isinstance(node, ast.Import):
                assert all(alias.name.split(".")[0] != "recipes" for alias in node.names), file
