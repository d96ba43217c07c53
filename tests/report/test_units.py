"""A row for each word or token, with what the explanation itself says."""

import math

import pandas as pd
import pytest
import torch

from captum_spes import SPES, SpeechToTextAttribution
from captum_spes.corpus import ExplanationStore
from captum_spes.demo import load_demo
from captum_spes.errors import ArgumentError
from captum_spes.forward import Contrast
from captum_spes.report import summarize_tokens, unit_table

pytestmark = pytest.mark.filterwarnings("ignore:.*sampling noise")
SETTINGS = {"scheme": "efficient", "n_samples": 100, "n_token_samples": 60, "seed": 0}


@pytest.fixture(scope="module")
def explained():
    model, processor, (example, *_) = load_demo()
    explainer = SpeechToTextAttribution(SPES(model), processor)
    contrast = explainer.attribute(example.path, contrast=Contrast("drawer", "door"), **SETTINGS)
    return explainer.attribute(example.path, **SETTINGS), contrast


def empty_or(value):
    return (
        pytest.approx(value, nan_ok=True)
        if value is not None
        else pytest.approx(math.nan, nan_ok=True)
    )


def test_tokens(explained):
    result = explained[0]
    table = unit_table({"a": result}, of="tokens")
    assert table["text"].tolist() == [token.strip() for token in result.output_tokens]
    for row, summary in zip(table.itertuples(), summarize_tokens(result), strict=True):
        assert row.salient_peak == empty_or(summary.time and summary.time.peak)
        assert row.strongest == empty_or(summary.band and summary.band.peak)
        assert row.speech_share == pytest.approx(summary.speech_share)
        assert (row.probability, row.rank) == (pytest.approx(summary.probability), summary.rank)
        assert row.reliability == empty_or(summary.reliability)
        assert row.rests_on_audio == summary.rests_on_audio
    assert torch.allclose(
        torch.tensor(table["impact"].to_numpy()), result.spectrogram_attr.mean((1, 2)).double()
    )
    assert table["salient_peak"].isna().any(), "some map says nothing"


def test_words_of_a_store(explained, tmp_path):
    result = explained[0]
    with ExplanationStore(tmp_path / "maps.h5") as store:
        store.add("a", result)
        store.add("b", result)
        table = unit_table(store.items())
    assert table["utterance"].tolist() == ["a"] * len(result.words) + ["b"] * len(result.words)
    first = table[table["utterance"] == "a"]
    assert first["text"].tolist() == [word.word.strip() for word in result.words]
    sure = result.word_certainty()
    assert first["probability"].to_numpy() == pytest.approx(sure.probabilities.numpy())
    assert first["reliability"].to_numpy() == pytest.approx(result.reliability().words.numpy())
    table.to_csv(tmp_path / "words.csv", index=False)
    assert pd.read_csv(tmp_path / "words.csv").columns.tolist() == table.columns.tolist()


def test_contrasts_and_what_is_refused(explained):
    table = unit_table([("a", explained[1])])
    assert table["text"].tolist() == ["drawer / door"]
    with pytest.raises(ArgumentError, match="of must be 'words' or 'tokens'"):
        unit_table({"a": explained[0]}, of="phones")
    assert len(unit_table({})) == 0
