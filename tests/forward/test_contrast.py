"""Probabilities of words and contrastive scores: the official arrays, and closed forms."""

import numpy as np
import pytest
import torch

from captum_spes.errors import ArgumentError
from captum_spes.forward import Contrast, contrastive_score, word_probability
from captum_spes.forward.contrast import ContrastScore, OfWords
from tests.conftest import need, shared_folder

RULES = ("chain_rule", "length_norm", "first_only", "word_boundary")
# By the names of the official arrays.
KINDS = {
    "predicted_difference": "predicted_diff",
    "predicted_ratio": "predicted_ratio",
    "raw_difference": "contrastive_raw_difference",
    "parity_ratio": "contrastive_parity_ratio",
    "cross_ratio": "contrastive_cross_ratio",
    "ratio_difference": "contrastive_ratio_difference",
}


@pytest.fixture(scope="module")
def golden():
    with np.load(need(shared_folder() / "golden" / "contrastive.npz")) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def words(golden, rule):
    """The word before and after, then the foil."""
    found = []
    for kind in ("", "swapped_"):
        for state in ("orig", "pert"):
            found.append(
                word_probability(
                    golden[f"{kind}{state}"], golden[f"{kind}target"], golden["start"],
                    golden[f"{kind}end"], rule, golden["bow_mask"].bool(),
                )
            )  # fmt: skip
    return found


@pytest.mark.parametrize("rule", RULES)
def test_probabilities_are_the_official_ones(golden, rule):
    names = ("orig", "pert", "swapped_orig", "swapped_pert")
    for name, found in zip(names, words(golden, rule), strict=True):
        assert torch.allclose(found, golden[f"{rule}_{name}"].float(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_the_official_ones(golden, rule, kind):
    word, perturbed, foil, foil_perturbed = words(golden, rule)
    found = contrastive_score(kind, word, perturbed, foil, foil_perturbed)
    expected = golden[f"{rule}_gender_term_{KINDS[kind]}"].float()
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-9)


def test_a_word_and_its_foil_change_places():
    generator = torch.Generator().manual_seed(0)
    p, q, s, t = torch.rand(4, 20, generator=generator)
    for kind in ("raw_difference", "parity_ratio", "ratio_difference"):
        one = contrastive_score(kind, p, q, s, t)
        other = contrastive_score(kind, s, t, p, q)
        if kind == "parity_ratio":  # shares of the word and of its foil sum to 1
            assert torch.allclose(one, -other, atol=1e-6)
        else:
            assert torch.equal(one, -other)


def test_of_a_word_of_one_token_all_rules_but_the_boundaries_are_alike():
    probabilities = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(0)).softmax(-1)
    tokens, place = torch.tensor([[0, 1, 2, 3]] * 3), torch.tensor([1, 1, 1])
    for rule in ("chain_rule", "length_norm", "first_only"):
        found = word_probability(probabilities, tokens, place, place, rule)
        assert torch.allclose(found, probabilities[:, 1, 1])


def test_words_of_all_lengths_sum_to_one():
    """Which the product alone does not: "a" is the beginning of "ab"."""
    # Tokens: "_a", "b", and the end; after "_a" comes "b" or another word, or the end.
    begins = torch.tensor([True, False, True])
    first, behind_a = torch.tensor([0.9, 0.0, 0.1]), torch.tensor([0.2, 0.7, 0.1])
    behind_ab = torch.tensor([0.5, 0.0, 0.5])
    probabilities = torch.stack([first, behind_a, behind_ab])[None].repeat(2, 1, 1)
    tokens = torch.tensor([[0, 2, 2], [0, 1, 2]])
    start, end = torch.tensor([0, 0]), torch.tensor([0, 1])
    words = word_probability(probabilities, tokens, start, end, begins_word=begins)
    assert float(words.sum() + first[2]) == pytest.approx(1, abs=1e-6)
    product = word_probability(probabilities, tokens, start, end, "chain_rule")
    assert float(product.sum() + first[2]) > 1.5


class TestBadInput:
    ARRAYS = (torch.full((1, 3, 2), 0.5), torch.zeros(1, 3, dtype=torch.int64))

    def test_words_outside(self):
        for start, end in ((2, 1), (0, 3), (-1, 0)):
            with pytest.raises(ArgumentError, match="each word must lie within its text"):
                word_probability(*self.ARRAYS, torch.tensor([start]), torch.tensor([end]))

    def test_the_end_of_the_text(self):
        begins = torch.tensor([True, False])
        with pytest.raises(ArgumentError, match="give the end of sentence, too"):
            word_probability(*self.ARRAYS, torch.tensor([1]), torch.tensor([2]), begins_word=begins)

    def test_names_and_shapes(self):
        place = torch.tensor([0])
        with pytest.raises(ArgumentError, match="rule must be one of chain_rule"):
            word_probability(*self.ARRAYS, place, place, rule="mean")
        with pytest.raises(ArgumentError, match="needs begins_word"):
            word_probability(*self.ARRAYS, place, place)
        with pytest.raises(ArgumentError, match=r"probabilities must be \(batch, length, vocab\)"):
            word_probability(self.ARRAYS[0][0], self.ARRAYS[1], place, place)
        with pytest.raises(ArgumentError, match="kind must be one of predicted_difference"):
            contrastive_score("ratio", place, place)
        with pytest.raises(ArgumentError, match="compares with a foil"):
            contrastive_score("cross_ratio", place, place)


def test_each_reference_is_compared_with_itself():
    """Also where one score is given one after the other."""
    begins = torch.ones(3, dtype=torch.bool)
    score = ContrastScore(
        Contrast("a", "b", score="log_ratio"),
        OfWords("chain_rule", (1, 1), lambda _: begins, False),
    )
    logits = torch.randn(2, 2, 3, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([0, 1])
    for reference in logits:
        assert score(reference[None], reference, ids).abs().max() == 0
    moved = logits[1].log_softmax(-1)
    before = logits[0].log_softmax(-1)
    ratios = [own[0, 0] - own[1, 1] for own in (moved, before)]
    found = score(logits[1:], logits[0], ids)
    assert torch.allclose(found, (ratios[0] - ratios[1]).reshape(1, 1), atol=1e-6)
