"""Word error rate and BLEU of a corpus, against the official implementation's values."""

import pytest

from captum_spes.errors import ArgumentError
from captum_spes.metrics import corpus_score


def test_word_error_rate_is_the_corpus_s():
    references = ["the cat sat on the mat", "yes"]
    # One substitution and one deletion, then two insertions: 4 errors in 7 words.
    hypotheses = ["the dog sat on mat", "yes of course"]
    assert corpus_score(references, hypotheses) == pytest.approx(400 / 7)


def test_case_and_punctuation_count():
    assert corpus_score(["The cat."], ["the cat"]) == 100.0


def test_cap():
    assert corpus_score(["yes"], ["no not that one"], "wer") == 400.0
    assert corpus_score(["yes"], ["no not that one"], "wer_capped") == 100.0


def test_bleu_of_equal_texts():
    texts = ["the cat sat on the mat and slept", "a dog ran home in the rain"]
    assert corpus_score(texts, texts, "bleu") == pytest.approx(100)


@pytest.mark.parametrize(
    ("metric", "official"), [("wer", "wer"), ("wer_capped", "wer_max"), ("bleu", "sacrebleu")]
)
def test_official_values(golden, metric, official):
    data = golden("deletion_auc.json")
    of_all = data["results"][f"{official}|None|None"]["scores_per_file"]
    assert of_all
    for hypotheses_of_steps, scores in zip(data["hyps_file_step_sentence"], of_all, strict=True):
        for hypotheses, score in zip(hypotheses_of_steps, scores, strict=True):
            assert corpus_score(data["refs"], hypotheses, metric) == pytest.approx(score, abs=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["a"], ["a"], "cer"), "metric must be one of wer"),
        ((["a"], []), "1 references and 0"),
        (([], []), "0 references"),
        ((["", ""], ["a", ""]), "no word"),
        (("a b", "a b"), "not one text"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        corpus_score(*arguments)
