"""The text of a contrast: word and foil, how likely they are, and where each has its evidence."""

import torch

from captum_spes.report import explanation_text
from tests.plotting.test_contrast import contrast_result


def lines_of(result):
    text = explanation_text(result)
    word, foil = text.split("\n")[-2:]
    return text, word, foil


def test_word_and_foil_and_how_likely_they_are():
    text, _, _ = lines_of(contrast_result())
    assert "why drawer and not door?" in text
    assert "probability of drawer 0.8, of door 0.02: drawer is 40 times as likely" in text


def test_without_the_foils_probability_that_of_the_word_is_told():
    result = contrast_result()
    del (
        result.parameters["contrast"]["probability"],
        result.parameters["contrast"]["foil_probability"],
    )
    text, _, _ = lines_of(result)
    assert "probability of drawer 0.8\n" in text
    assert "likely" not in text


def test_likely_and_unlikely_foils():
    for foil, told in ((0.0, "of door 0\n"), (1.0, "is 0.8 times"), (8e-6, "is 100,000 times")):
        result = contrast_result()
        result.parameters["contrast"]["foil_probability"] = foil
        assert told in lines_of(result)[0]


def test_where_each_side_is_strongest():
    """Planted: frames 5 to 8 and bins 40 to 59 for the word, frames 20 to 22 and bins 10 to 19 for
    the foil; smoothing widens both a little."""
    _, word, foil = lines_of(contrast_result())
    assert word.split()[:2] == ["for", "drawer"]
    assert foil.split()[:2] == ["for", "door"]
    for line, (first, last), (low, high) in (
        (word, (0.05, 0.08), (4000, 5900)), (foil, (0.20, 0.22), (1000, 1900)),
    ):  # fmt: skip
        start, end = map(float, line.split()[2].split("-"))
        assert first - 0.05 <= start <= first
        assert last <= end <= last + 0.05
        low_hz, high_hz = map(float, line.split()[3].split("-"))
        assert low - 300 <= low_hz <= low + 300
        assert high - 300 <= high_hz <= high + 300
    assert float(word.split()[4]) > 0
    assert float(foil.split()[4]) < 0


def test_previous_tokens_of_each_side():
    result = contrast_result(token_attr=torch.tensor([[0.30, 0.52, 0.30, 0.12]]))
    _, word, foil = lines_of(result)
    assert "<|notimestamps|> +0." in word
    assert "what" not in word
    assert "what -0." in foil
    assert "<|notimestamps|>" not in foil


def test_a_side_without_evidence_has_dashes():
    values = torch.zeros(30, 80)
    values[5:9, 40:60] = 0.3
    result = contrast_result(values - 0.2, method="Feature Ablation", token_attr=None)
    text, _, foil = lines_of(result)
    assert foil.split()[2:] == ["-", "-", "-"]
    assert "previous tokens" not in text


def test_texts_keep_the_table_a_table():
    result = contrast_result()
    result.parameters["contrast"].update(word="a\nb\x1b[2J", foil="x" * 300)
    text = explanation_text(result)
    assert "\x1b" not in text
    assert len(text.split("\n")) == len(explanation_text(contrast_result()).split("\n"))


def test_no_place_is_read_off_a_map_that_is_mostly_noise():
    result = contrast_result()
    for reliability, is_told in ((0.4, False), (0.6, True)):
        result.parameters["n_samples_evaluated"] = 20
        result.parameters["n_token_samples_evaluated"] = 20
        result.parameters["reliability"] = {
            "tokens": [reliability], "words": [reliability], "previous_tokens": None,
            "sentence": reliability, "standard_error": [0.1],
        }  # fmt: skip
        text, *sides = lines_of(result)
        assert f"sampling noise: {1 - reliability:.0%} of the map's variance" in text
        for side in sides:
            assert ("mostly noise" not in side) == is_told
