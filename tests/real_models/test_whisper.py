"""Whisper tiny.en on real speech: the maps mean something."""

import numpy as np
import pytest
import torch

from captum_spes import SPES, SpeechToTextAttribution

pytestmark = [
    pytest.mark.slow,
    # As few samples as tell what is asked here.
    pytest.mark.filterwarnings("ignore:.*sampling noise"),
    pytest.mark.filterwarnings("ignore:.*perturbed by no sample"),
]

# Every pass costs the encoder 30 s of audio; of few patches a few passes tell more than of many.
SETTINGS = {"n_samples": 16, "n_token_samples": 0, "patches_per_second": 20}


def explainer(whisper):
    model, processor = whisper
    return SpeechToTextAttribution(SPES(model), processor)


@pytest.fixture(scope="module")
def two_seeds(whisper, speech_clips):
    clip = speech_clips["so-022440139"]
    explain = explainer(whisper).attribute
    return clip, [explain(clip["path"], seed=s, **SETTINGS) for s in (0, 1)]


def test_words_are_explained_by_the_time_at_which_they_are_spoken(two_seeds):
    clip, results = two_seeds
    spoken = {word["word"]: word for word in clip["words"]}
    higher = []
    for result in results:
        maps = result.word_attr().spectrogram_attr
        for word, saliency in zip(result.words, maps, strict=True):
            times = spoken.get(word.word.lower())
            if times is None or len(word.word) < 3:
                continue
            profile = saliency.amax(1)
            inside = (result.frame_times >= times["start"]) & (result.frame_times <= times["end"])
            higher.append(bool(profile[inside].mean() > profile[~inside].mean()))
    assert len(higher) >= 6
    assert sum(higher) / len(higher) >= 0.8


def test_maps_of_two_seeds_agree_more_than_maps_of_two_tokens(two_seeds):
    _, results = two_seeds
    a, b = (result.normalized().spectrogram_attr.flatten(1) for result in results)
    both = torch.corrcoef(torch.cat([a, b]))[: len(a), len(a) :]
    others = both[~torch.eye(len(a)).bool()]
    assert both.diagonal().mean() > others.mean() + 0.1


def test_batch_size_changes_nothing(whisper, speech_clips):
    clip = speech_clips["so-022440139"]
    explain = explainer(whisper).attribute
    one, many = (
        explain(
            clip["path"], n_samples=3, n_token_samples=5, seed=0, perturbations_per_eval=n,
            patches_per_second=20,
        )
        for n in (1, 4)
    )  # fmt: skip
    scale = one.spectrogram_attr.abs().max()
    assert (one.spectrogram_attr - many.spectrogram_attr).abs().max() < 1e-5 * scale
    difference = torch.nan_to_num(one.token_attr - many.token_attr).abs().max()
    assert difference < 1e-5 * torch.nan_to_num(one.token_attr).max()


@pytest.mark.parametrize("target", [None, "Pop it on the list."])
def test_output_is_the_models_own(whisper, speech_clips, target):
    clip = speech_clips["so-022440139"]
    result = explainer(whisper).attribute(
        clip["path"],
        target=target,
        n_samples=2,
        n_token_samples=2,
        seed=0,
        patches_per_second=20,
    )
    assert result.text == clip["whisper_tiny_en"]
    assert result.output_tokens == [" Pop", " it", " on", " the", " list", ".", "<|endoftext|>"]
    assert result.previous_tokens[:2] == ["<|startoftranscript|>", "<|notimestamps|>"]
    assert [word.word for word in result.words] == ["Pop", "it", "on", "the", "list", "."]


def test_timestamps(whisper, speech_clips):
    result = explainer(whisper).attribute(
        speech_clips["so-022440139"]["path"], gen_args={"return_timestamps": True},
        n_samples=2, n_token_samples=2, seed=0, patches_per_second=20,
    )  # fmt: skip
    assert result.previous_tokens[1] == "<|0.00|>"
    assert not any(token.startswith("<|0") for token in result.output_tokens)


def test_command_line(whisper_folder, speech_clips, tmp_path, capsys):
    from captum_spes.cli import main

    clip = speech_clips["so-022440139"]
    status = main(
        [
            "explain", str(clip["path"]), "--model", str(whisper_folder), "--samples", "3",
            "--token-samples", "3", "--out", str(tmp_path), "--quiet",
        ]
    )  # fmt: skip
    assert status == 0
    shown = capsys.readouterr()
    assert clip["whisper_tiny_en"] in shown.out
    assert (tmp_path / clip["id"] / "tokens.png").stat().st_size > 10_000
    assert "Traceback" not in shown.err


def test_words_of_a_transcript_are_where_they_are_spoken(whisper, speech_clips):
    """Beside times of an aligner; borders are off by a seventh of a second in the median."""
    known = speech_clips["jfk"]["words"]
    words = explainer(whisper).transcribe(speech_clips["jfk"]["path"]).words
    assert [w.word.lower().strip(",.") for w in words] == [w["word"] for w in known]
    for name in ("start", "end"):
        errors = [abs(getattr(w, name) - k[name]) for w, k in zip(words, known, strict=True)]
        assert np.median(errors) < 0.25
        # A word before a pause can be given the pause.
        assert np.quantile(errors, 0.8) < 0.4
