"""Whisper tiny.en on real speech: what its maps say can be told from what they do not."""

import pytest

from captum_spes import SPES, SpeechToTextAttribution
from captum_spes.alignment import read_alignments
from captum_spes.analysis import align_results, roc_auc, word_evidence
from captum_spes.io.audio import load_audio

pytestmark = [
    pytest.mark.slow,
    # As few samples as tell what is asked here.
    pytest.mark.filterwarnings("ignore:.*sampling noise"),
    pytest.mark.filterwarnings("ignore:.*perturbed by no sample"),
]


def test_words_after_the_end_of_the_audio_have_little_evidence(whisper, speech_clips):
    """A recording that ends half-way, explained with its whole text."""
    model, processor = whisper
    clip = speech_clips["so-022510190"]
    samples = load_audio(clip["path"], 16_000)
    explainer = SpeechToTextAttribution(SPES(model), processor)
    result = explainer.attribute(
        samples[: len(samples) // 2], target=clip["whisper_tiny_en"], n_samples=12,
        n_token_samples=0, patches_per_second=20, seed=0,
    )  # fmt: skip
    alignments = read_alignments(clip["path"].parent / "manifest.jsonl")
    aligned = align_results({clip["id"]: result}, alignments).results
    words = word_evidence(aligned).table
    times = [aligned[clip["id"]].words[place] for place in words["position"]]
    # A word that is cut in two belongs to neither.
    heard = [word.end <= result.seconds for word in times]
    unheard = [word.start >= result.seconds for word in times]
    assert min(sum(heard), sum(unheard)) >= 3
    impact = words["impact"].to_numpy()
    assert roc_auc(impact[heard], impact[unheard]) > 0.9
