"""Previous tokens: every beginning is scored once, and the scores are those of a full pass."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from captum_spes.forward import KLDivergenceForward
from captum_spes.speech.prefixes import PrefixScores

N_PREVIOUS, HIDDEN, VOCABULARY = 7, 5, 11
# Two tokens of a prompt; one output token (a timestamp) is not explained.
N_BEFORE = (2, 3, 5, 6, 7)


class Decoder:
    """Reads from left to right, as every decoder; remembers what it was asked."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.embeddings = torch.randn(N_PREVIOUS, HIDDEN, generator=generator)
        self.weight = torch.randn(HIDDEN, VOCABULARY, generator=generator)
        self.read, self.n_written = [], 0

    def hidden(self, keep):
        self.read += keep.tolist()
        states = (keep[..., None] * self.embeddings).cumsum(1).sin()
        return states[:, torch.tensor(N_BEFORE) - 1]

    def output_layer(self, hidden):
        self.n_written += hidden.shape[:-1].numel()
        return hidden @ self.weight


def scores(decoder, **options):
    unperturbed = torch.ones(1, N_PREVIOUS)
    full = KLDivergenceForward(decoder.hidden, unperturbed, output_layer=decoder.output_layer)
    decoder.read, decoder.n_written = [], 0
    return full, PrefixScores(full, N_BEFORE, **options)


def masks(seed, size):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(size, N_PREVIOUS, generator=generator) < 0.6).float()


def distinct_prefixes(keep):
    return {tuple(row[:n]) for row in keep.tolist() for n in N_BEFORE}


@given(seed=st.integers(0, 10**6), sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4))
def test_scores_are_those_of_a_full_pass_however_the_samples_are_batched(seed, sizes):
    full, shared = scores(Decoder())
    keep = masks(seed, sum(sizes))
    found = torch.cat([shared(batch) for batch in keep.split(sizes)])
    assert torch.allclose(found, full(keep), atol=1e-6)


@given(seed=st.integers(0, 10**6), sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4))
def test_every_prefix_is_written_once_and_every_input_read_once(seed, sizes):
    decoder = Decoder()
    _, shared = scores(decoder)
    keep = masks(seed, sum(sizes))
    for batch in keep.split(sizes):
        shared(batch)
    assert decoder.n_written == len(distinct_prefixes(keep))
    assert sorted(decoder.read) == [list(row) for row in sorted(set(map(tuple, keep.tolist())))]


def test_an_input_that_was_scored_costs_nothing():
    decoder = Decoder()
    _, shared = scores(decoder)
    keep = masks(0, 3)
    first = shared(keep)
    decoder.read, decoder.n_written = [], 0
    assert torch.equal(shared(keep.flip(0)), first.flip(0))
    assert (decoder.read, decoder.n_written) == ([], 0)


def test_the_unperturbed_input_scores_exactly_zero():
    _, shared = scores(Decoder())
    assert torch.equal(shared(torch.ones(2, N_PREVIOUS)), torch.zeros(2, len(N_BEFORE)))


def test_memory_is_bounded_and_scores_stay_right():
    full, shared = scores(Decoder(), most_scores=20)
    keep = masks(1, 200)
    found = torch.cat([shared(batch) for batch in keep.split(4)])
    assert torch.allclose(found, full(keep), atol=1e-6)
    assert shared.n_known <= 20 + 4 * len(N_BEFORE)


def test_rows_of_several_projections_stay_with_their_inputs(monkeypatch):
    full, shared = scores(Decoder())
    keep = masks(2, 50)
    expected = full(keep)
    monkeypatch.setattr(
        "captum_spes.forward.kl_divergence.LOGITS_PER_PROJECTION", {"cpu": 7 * VOCABULARY}
    )
    assert torch.allclose(shared(keep), expected, atol=1e-6)
