"""Word error rate and BLEU of a corpus, against the official implementation's values."""

import sys
import unicodedata

import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st

from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.metrics import corpus_score
from captum_spes.metrics.text import METRICS, suitable_metric

# Those of Japanese and Korean need a dictionary.
AVAILABLE = [name for name in METRICS if not name.endswith("mecab")]


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
        ((["a"], ["a"], "ter"), "metric must be one of wer, .*, cer, .*, bleu, bleu-zh"),
        ((["a"], ["a"], ["wer"]), "metric must be one of wer"),
        ((["a"], []), "1 references and 0"),
        (([], []), "0 references"),
        ((["", ""], ["a", ""]), "no word"),
        (("a b", "a b"), "not one text"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        corpus_score(*arguments)


def test_texts_are_texts():
    with pytest.raises(ArgumentTypeError, match="got None"):
        corpus_score(["a"], [None])


@pytest.mark.parametrize(
    ("reference", "hypothesis", "rate"),
    [
        ("今天天气很好", "今天天气好", 100 / 6),
        ("สวัสดี", "สวัดดี", 100 / 6),
        ("the cat", "the cut", 100 / 7),
        # Blanks at the ends do not count, those inside do.
        (" the cat\n", "the cat", 0),
        ("thecat", "the cat", 100 / 6),
        ("好", "不好吗", 200),
        ("好", "", 100),
    ],
)
def test_character_error_rate(reference, hypothesis, rate):
    assert corpus_score([reference], [hypothesis], "cer") == pytest.approx(rate)
    assert corpus_score([reference], [hypothesis], "cer_capped") == pytest.approx(min(rate, 100))


def test_character_error_rate_is_the_corpus_s():
    # 1 error in 2 characters, none in 8: not the mean of the two rates.
    assert corpus_score(["今天", "我们走在大路上吧"], ["今", "我们走在大路上吧"], "cer") == 10


@pytest.mark.parametrize("metric", AVAILABLE)
@pytest.mark.parametrize(
    "text", ["Ångström grüßte die Schäfer früh", "ガギグゲゴ が好き", "각하 안녕 한국어 좋아요"]
)
def test_the_form_of_unicode_is_no_error(metric, text):
    forms = [unicodedata.normalize(form, text) for form in ("NFC", "NFD")]
    assert forms[0] != forms[1]
    for one in forms:
        for other in forms:
            assert corpus_score([one], [other], metric) == corpus_score([one], [one], metric)


@given(st.lists(st.text(alphabet="ab 今天é", min_size=1), min_size=1, max_size=4))
def test_equal_texts_have_no_error(texts):
    texts = [f"{text}a" for text in texts]
    assert corpus_score(texts, texts, "cer") == corpus_score(texts, texts, "wer") == 0


def test_bleu_of_chinese_needs_its_tokenizer():
    reference, hypothesis = ["今天天气很好我们出去走走吧"], ["今天天气很好我们出去玩玩吧"]
    assert corpus_score(reference, hypothesis, "bleu") == 0
    assert 50 < corpus_score(reference, hypothesis, "bleu-zh") < 100
    assert corpus_score(reference, reference, "bleu-zh") == pytest.approx(100)
    official = sacrebleu.corpus_bleu(hypothesis, [reference], tokenize="zh").score
    assert corpus_score(reference, hypothesis, "bleu-zh") == pytest.approx(official)


@pytest.mark.parametrize(
    ("metric", "module"), [("bleu-ja-mecab", "MeCab"), ("bleu-ko-mecab", "mecab_ko")]
)
def test_a_dictionary_that_is_missing_is_named(monkeypatch, metric, module):
    monkeypatch.setitem(sys.modules, module, None)
    extra = metric.split("-")[1]
    with pytest.raises(
        ImportError, match=rf"needs its dictionary: pip install 'sacrebleu\[{extra}\]'"
    ):
        corpus_score(["a"], ["a"], metric)


@pytest.mark.parametrize(
    ("texts", "language", "metric"),
    [
        (["the cat"], None, "wer_capped"),
        (["今天用Python写。"], None, "cer_capped"),
        (["안녕하세요 여러분"], None, "wer_capped"),
        (["สวัสดีครับ", "ok"], None, "cer_capped"),
        (["the word 猫 means cat"], None, "wer_capped"),
        (["1 2 3"], None, "wer_capped"),
        (["x"], "de", "bleu"),
        (["x"], "zh", "bleu-zh"),
        (["x"], "zh-TW", "bleu-zh"),
        (["x"], "ja", "bleu-ja-mecab"),
        (["x"], "ko", "bleu-ko-mecab"),
        (["x"], "th", "bleu-char"),
    ],
)
def test_the_metric_that_fits(texts, language, metric):
    assert suitable_metric(texts, language) == metric
