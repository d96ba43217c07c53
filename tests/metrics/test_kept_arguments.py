"""Measuring explanations that were made with arguments of generation, before and after saving."""

import copy
import pickle

import numpy as np
import pytest
import torch

from captum_spes import SPES, Settings, SpeechToTextAttribution, SpeechToTextAttributionResult
from captum_spes.errors import ArgumentError
from captum_spes.metrics import deletion_curve, insertion_curve

pytestmark = pytest.mark.filterwarnings("ignore")
QUICK = {"n_samples": 6, "n_token_samples": 4, "seed": 0, "patches_per_second": (40,)}


@pytest.mark.parametrize("kind", ["pt", "np"])
def test_ids_of_a_prompt_are_kept_and_given_back(whisper, speech_clips, tmp_path, kind):
    model, processor = whisper
    clip = speech_clips["so-000360314"]
    explainer = SpeechToTextAttribution(SPES(model), processor)
    ids = processor.get_prompt_ids("Captum, SPES", return_tensors=kind)
    few = {**QUICK, "n_samples": 2, "n_token_samples": 2}
    result = explainer.attribute(clip["path"], gen_args={"prompt_ids": ids}, **few)
    assert result.parameters["gen_args"] == {"prompt_ids": list(map(int, ids))}
    result.save(tmp_path / "a.npz")
    loaded = SpeechToTextAttributionResult.load(tmp_path / "a.npz")
    for kept in (result, loaded):  # tensors both, which either kind is from here on
        assert torch.equal(kept.settings.gen_args["prompt_ids"], torch.as_tensor(ids))
    if kind == "np":
        return
    for curve in (deletion_curve, insertion_curve):
        found = [
            curve(explainer, [(clip["path"], result.text, r)], step=1).y for r in (result, loaded)
        ]
        assert found[0] == found[1]
        assert 0.0 in found[0]


def test_arrays_of_ids_become_tensors_and_can_be_read():
    settings = Settings(gen_args={"prompt_ids": np.array([5, 6])})
    assert torch.equal(settings.gen_args["prompt_ids"], torch.tensor([5, 6]))
    assert settings.described()["gen_args"] == {"prompt_ids": [5, 6]}
    assert Settings.from_dict(settings.to_dict()) == settings


class Processor:
    """An object that a file does not hold."""

    def __call__(self, input_ids, scores):
        return scores


@pytest.mark.parametrize("nested", [False, True])
def test_what_cannot_be_kept_is_named(tiny_whisper, audio, tmp_path, nested):
    model, processor = tiny_whisper
    explainer = SpeechToTextAttribution(SPES(model), processor)
    from transformers import LogitsProcessorList

    own = LogitsProcessorList([Processor()])
    result = explainer.attribute(audio, gen_args={"logits_processor": own}, **QUICK)
    assert len(deletion_curve(explainer, [(audio, "the cat", result)], step=0.5).y) == 3
    result.save(tmp_path / "a.npz")
    loaded = SpeechToTextAttributionResult.load(tmp_path / "a.npz")
    with pytest.raises(ArgumentError, match=r"logits_processor=.*Processor.*: give gen_args"):
        deletion_curve(explainer, [(audio, "the cat", loaded)], step=0.5)
    given = {"logits_processor": own}
    deletion_curve(explainer, [(audio, "the cat", loaded)], step=0.5, gen_args=given)
    with pytest.raises(ArgumentError, match=r"settings\.gen_args was .*Processor"):
        loaded.settings.check_runnable()


class Stream:
    def __init__(self):
        import threading

        self.lock = threading.Lock()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"score": lambda perturbed, reference, ids: perturbed},
        {"gen_args": {"streamer": Stream()}},
        {"baselines": torch.zeros(3, 4)},
        {"gen_args": {"prompt_ids": np.array([1, 2])}},
    ],
)
def test_all_that_a_result_keeps_can_be_pickled_and_copied(changes):
    from tests.speech.test_result import make

    result = make(settings=Settings(**changes))
    again = pickle.loads(pickle.dumps(result))
    assert torch.equal(again.spectrogram_attr, result.spectrogram_attr)
    assert again.settings.n_samples == result.settings.n_samples
    copied = copy.deepcopy(result)
    assert copied.settings == result.settings
    assert copied.spectrogram_attr is not result.spectrogram_attr
    if isinstance(changes.get("baselines"), torch.Tensor):
        assert copied.settings.baselines is not result.settings.baselines
    assert copy.copy(result.settings) == result.settings
