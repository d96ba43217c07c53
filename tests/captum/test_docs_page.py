"""docs/captum.md: its examples run, and say what the page says."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from tests.captum.language_models import tiny_gpt2, word_tokenizer

PAGE = Path(__file__).parents[2] / "docs" / "captum.md"


@pytest.fixture(scope="module")
def page():
    """The names that the examples define, run from top to bottom as a reader does.

    A small random model stands in the place of the hub's.
    """
    import transformers

    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    names = {"__name__": PAGE.stem}
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        hub = {"AutoModelForCausalLM": tiny_gpt2(), "AutoTokenizer": word_tokenizer()}
        for name, found in hub.items():
            kind = getattr(transformers, name)
            patch.setattr(kind, "from_pretrained", _of_hub(found, kind.from_pretrained))
        for number, block in enumerate(blocks, 1):
            exec(compile(block, f"{PAGE.name}, block {number}", "exec"), names)
    yield names
    plt.close("all")


def _of_hub(found, load):
    """What stands on the hub; what is bundled is loaded as ever."""
    return lambda name, *args, **kwargs: found if name == "gpt2" else load(name, *args, **kwargs)


@pytest.fixture
def _seeded(page):
    """The examples set the seed of the global generator, for Captum's tools."""
    with torch.random.fork_rng():
        yield


def test_closed_forms(page):
    ones, many = page["ones"], page["many"]
    found = {name: page[name].attribute(ones, **many)[0] for name in ("mean", "difference")}
    assert torch.equal(page["ablation"].attribute(ones)[0], page["weights"])
    assert torch.allclose(found["mean"], torch.tensor([1.5, 2.0, 1.0, 0.5]), atol=0.05)
    assert torch.allclose(found["difference"], page["weights"], atol=0.05)


def test_maps(page):
    """All is green with the mean; with the difference the map is that of ablation."""
    ablation, mean, difference = page["maps"].values()
    assert bool((mean > 0).all())
    assert bool((ablation[0, 0, page["is_burst"]] < 0).all())
    together = torch.stack([ablation.flatten(), difference.flatten()])
    assert float(torch.corrcoef(together)[0, 1]) > 0.98


def test_mean_of_the_other_class_is_all_red(page):
    asked = {**page["asked"], "target": 1}
    mean = page["SPES"](page["detector"]).attribute(page["spectrogram"], **asked, **page["many"])
    assert bool((mean < 0).all())


@pytest.mark.usefixtures("_seeded")
def test_infidelity(page):
    of, ones, many = page["infidelity_of"], page["ones"], page["many"]
    assert of(page["ablation"].attribute(ones)) < 1e-10
    assert 2.5 < of(page["mean"].attribute(ones, **many)) < 3.5
    assert of(page["difference"].attribute(ones, **many)) < 0.001


def test_sensitivity(page):
    ablation, mean, difference, unseeded = page["sensitivities"].values()
    assert max(ablation, mean, difference) < unseeded / 3


def test_noise_tunnel(page):
    smooth = page["smooth"][0, 0]
    assert float(smooth[page["is_tone"]].min()) > 0
    assert float(smooth[page["is_burst"]].max()) < 0


def test_language_model(page):
    assert page["result"].seq_attr.shape == (3,)
    assert page["result"].token_attr.shape == (6, 3)
    assert bool(page["result"].token_attr.any())


@pytest.mark.parametrize("kwargs", [{"device": "cpu"}, {"device": torch.device("cpu")}, {}])
def test_explain_func(page, kwargs):
    """Called as Quantus does: arrays by name, its device among the rest; an array comes back."""
    inputs = np.repeat(page["spectrogram"].numpy().astype(np.float64), 2, 0)
    found = page["explain_func"](
        model=page["detector"],
        inputs=inputs,
        targets=np.array([0, 1]),
        n_samples=2000,
        perturbations_per_eval=100,
        seed=0,
        feature_mask=page["patches"],
        **kwargs,
    )
    assert isinstance(found, np.ndarray)
    assert found.shape == inputs.shape
    assert found[0].ravel() @ found[1].ravel() < 0  # what speaks for one class is against the other


def test_a_language_model_that_hears(page):
    of_speech, heard = page["of_speech"], page["heard"]
    assert page["maps_of_speech"].shape == (len(of_speech.output_tokens), *heard.shape)
    # By a patch: which word is where was checked elsewhere; here that words differ.
    peaks = page["maps_of_speech"].flatten(1).argmax(1)
    assert len(set(peaks.tolist())) > 3
