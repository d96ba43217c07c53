"""The arrays that the official implementation computed come out of the public API."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from captum_spes import (
    SPES,
    KLDivergenceForward,
    SpeechToTextAttributionResult,
    TokenProbabilityForward,
    Word,
    slic_feature_mask,
)
from captum_spes.maps import (
    Band,
    band_mean,
    group_words,
    paired_min_max,
    sentence_mean,
    span_mean,
    standardize,
    time_mean,
)
from captum_spes.masks.scales import requested_patches
from captum_spes.metrics import deletion_masks
from captum_spes.metrics.perturbation import perturbed
from tests.attr.designs import FixedMasks


def causal(maps):
    """Invalid cells of a (K, K) map, zero in the golden files, as NaN."""
    maps = maps.reshape(maps.shape[:2]).clone()
    maps[torch.ones_like(maps).triu(1).bool()] = torch.nan
    return maps


def golden_result(spectrogram_attr, token_attr, fed):
    """A result whose maps are golden ones, of the tokens that were fed."""
    tokens = [token.replace("▁", " ") for token in (*fed[1:], fed[0])]
    words = [Word(word, tuple(rows)) for word, rows in group_words(tokens[:-1])]
    ids = list(range(len(tokens)))
    n_frames, n_bins = spectrogram_attr.shape[1:]
    cells = torch.zeros(n_frames, n_bins)
    return SpeechToTextAttributionResult(
        output_tokens=tokens,
        previous_tokens=[token.replace("▁", " ") for token in fed],
        spectrogram=cells,
        removed=cells,
        feature_masks=cells[None].long(),
        spectrogram_attr=spectrogram_attr,
        token_attr=causal(token_attr),
        frame_times=torch.arange(n_frames) / 100,
        mel_frequencies=torch.arange(n_bins) * 100.0,
        words=words,
        text="".join(tokens[:-1]).strip(),
        output_ids=ids,
        previous_ids=ids,
        seconds=0.1,
        seed=0,
        method="golden",
        model_id="golden",
    )


def close(actual, expected, atol, rtol=0.0):
    expected = expected.reshape(actual.shape)
    assert torch.allclose(actual, expected, atol=atol, rtol=rtol), (actual - expected).abs().max()


class Replay:
    """Logits of a model that was run elsewhere: first the original, then each perturbed."""

    def __init__(self, original, perturbed, n_original_calls):
        self._original, self._perturbed = original, perturbed
        self._n_original_calls, self._next = n_original_calls, 0

    def __call__(self, x):
        if self._n_original_calls:
            self._n_original_calls -= 1
            return self._original.log()[None]
        rows = self._perturbed[self._next : self._next + len(x)]
        self._next += len(x)
        return rows.log()


def spes_of(keep_masks, forward, perturbations_per_eval):
    """SPES on an input of ones whose cells are perturbed as the golden masks say."""
    inputs = torch.ones(1, *keep_masks.shape[1:])
    design = FixedMasks(keep_masks.flatten(1) == 0)
    return SPES(forward(inputs)).attribute(
        inputs,
        n_samples=len(keep_masks),
        design=design,
        perturbations_per_eval=perturbations_per_eval,
    )[0]


def scores(arrays, case, kind):
    original, perturbed = arrays[f"{case}_orig"], arrays[f"{case}_pert"]
    if kind == "kl":
        # The reference of the divergence, and the unperturbed input of SPES.
        return lambda inputs: KLDivergenceForward(Replay(original, perturbed, 2), inputs)
    target = arrays[f"{case}_target"]
    return lambda inputs: TokenProbabilityForward(Replay(original, perturbed, 1), target)


class TestSegmentation:
    @pytest.mark.parametrize("case", range(6))
    def test_label_maps(self, golden, case):
        arrays, settings = golden("slic.npz"), golden("slic.json")[case]
        spectrogram = arrays[f"spec{case}"]
        if settings["kind"] == "dynamic":
            reference = settings["reference_duration"] / 100
            threshold = settings["threshold_duration"]
            scale = {
                "patches_per_second": [n / reference for n in settings["n_segments"]],
                "max_seconds": None if threshold is None else threshold / 100,
            }
        else:
            scale = {"n_patches": settings["n_segments"]}
        masks = slic_feature_mask(
            spectrogram, sigma=settings["sigma"], compactness=settings["compactness"], **scale
        )
        assert [int(mask.max()) + 1 for mask in masks] == settings["obtained_k"]
        for level, mask in enumerate(masks):
            assert torch.equal(mask, arrays[f"labels{case}_L{level}"].long() - 1)

    def test_requested_patches(self, golden):
        for case in golden("segments_and_schedule.json")["n_segments"]:
            reference = (case["reference_duration"] or 500) / 100
            for frames, expected in case["requested_k"].items():
                threshold = case["threshold_duration"]
                found = requested_patches(
                    int(frames),
                    seconds=None,
                    frame_rate=100.0,
                    patches_per_second=[n / reference for n in case["n_segments"]],
                    max_seconds=None if threshold is None else threshold / 100,
                    n_patches=None if case["reference_duration"] else case["n_segments"],
                )
                assert found == expected

    def test_masks_per_level(self, golden):
        """As the official schedule, but for its remainder, which we spend on the first levels."""
        for case in golden("segments_and_schedule.json")["mask_schedule"]:
            asked = case["n_masks_asked"]
            if not isinstance(asked, int):
                continue
            counts = []

            class Counting:
                def sample(self, n_samples, n_features, generator, counts=counts):
                    counts.append(n_features)
                    return torch.ones(n_samples, n_features).bool()

            levels = case["levels"]
            labels = [torch.arange(levels)[None] % (level + 1) for level in range(levels)]
            SPES(lambda x: x.sum(1)).attribute(
                torch.ones(1, levels), feature_mask=labels, n_samples=asked, design=Counting()
            )
            spent = [counts.count(level + 1) for level in range(levels)]
            assert sum(spent) == asked
            extra = asked - case["n_masks_effective"]
            official = case["masks_per_level"]
            assert spent == [n + (level < extra) for level, n in enumerate(official)]


class TestMasks:
    def test_perturbed_spectrograms(self, golden):
        arrays = golden("masks.npz")
        spectrogram, labels = arrays["spec"], arrays["labels"].long()
        keep, level_of_mask = arrays["keep_of_patch"], arrays["level_of_mask"]
        seen = []

        def forward(x):
            seen.append(x)
            return x.sum((1, 2))

        SPES(forward).attribute(
            spectrogram[None],
            feature_mask=[level[None] for level in labels],
            n_samples=len(level_of_mask),
            design=FixedMasks(keep == 0),
            perturbations_per_eval=3,
        )
        assert torch.equal(level_of_mask, level_of_mask.sort().values)
        assert torch.equal(torch.cat(seen[1:]), arrays["perturbed_spec"])

    def test_zeroed_embeddings(self, golden, tiny_whisper):
        """The hook on the decoder's embedding multiplies as the official decoder does."""
        from captum_spes.speech.models import adapt

        arrays = golden("masks.npz")
        adapter = adapt(*tiny_whisper)
        embedding = adapter.model.get_decoder().get_input_embeddings()
        embeddings, masks = arrays["emb"], arrays["tok_mask"]
        width = embedding.embedding_dim
        with torch.no_grad():
            embedding.weight[: embeddings[..., 0].numel(), : embeddings.shape[2]] = (
                embeddings.flatten(0, 1)
            )
        ids = torch.arange(embeddings[..., 0].numel()).reshape(masks.shape)
        with adapter.keep_previous_tokens(masks):
            found = embedding(ids)
        assert width >= embeddings.shape[2]
        assert torch.equal(found[..., : embeddings.shape[2]], arrays["emb_discrete"])


class TestScores:
    @pytest.mark.parametrize("utterance", ["u0", "u1"])
    def test_divergence(self, golden, utterance):
        arrays = golden("scores.npz")
        replay = Replay(arrays[f"{utterance}_orig"], arrays[f"{utterance}_pert"], 1)
        found = -KLDivergenceForward(replay, torch.ones(1, 1))(torch.zeros(10, 1))
        close(found, arrays[f"{utterance}_kl"], atol=1e-6, rtol=1e-5)
        close(found.double(), arrays[f"{utterance}_kl_float64"], atol=1e-6, rtol=1e-5)

    @pytest.mark.parametrize("utterance", ["u0", "u1"])
    def test_probability_difference(self, golden, utterance):
        arrays = golden("scores.npz")
        replay = Replay(arrays[f"{utterance}_orig"], arrays[f"{utterance}_pert"], 1)
        forward = TokenProbabilityForward(replay, arrays[f"{utterance}_target"])
        found = forward(torch.ones(1, 1)) - forward(torch.zeros(10, 1))
        close(found, arrays[f"{utterance}_probdiff"], atol=2e-7)

    def test_zero_probabilities_are_finite(self, golden):
        """The official code returns nan, nan, inf, 0, nan."""
        arrays = golden("scores.npz")
        forward = KLDivergenceForward(lambda x: x.log(), arrays["edge_p"])
        found = -forward(arrays["edge_q"])
        p, q = arrays["edge_p"].double(), arrays["edge_q"].double()
        terms = torch.where(p > 0, p * (p.log() - q.log()), 0.0).sum(1)
        assert torch.isfinite(found).all()
        finite = torch.isfinite(terms)
        close(found[finite].double(), terms[finite], atol=1e-6)
        # 0.1 of the mass where the perturbed probability is 0: counted as the least float32.
        assert 0.1 * 100 < found[2] < 0.1 * 104
        assert found[3] == found[4] == 0


@pytest.mark.parametrize("perturbations_per_eval", [1, 7, 200])
class TestHeatMaps:
    @pytest.mark.parametrize("kind", ["kl", "probdiff"])
    def test_spectrogram(self, golden, kind, perturbations_per_eval):
        arrays = golden("heatmaps.npz")
        found = spes_of(arrays["A_mask"], scores(arrays, "A", kind), perturbations_per_eval)
        close(found, arrays[f"A_heat_{kind}"], atol=1e-6, rtol=1e-5)

    @pytest.mark.parametrize("kind", ["kl", "probdiff"])
    def test_previous_tokens(self, golden, kind, perturbations_per_eval):
        arrays = golden("heatmaps.npz")
        found = spes_of(arrays["B_tokmask"], scores(arrays, "B", kind), perturbations_per_eval)
        close(found.tril(), arrays[f"B_heat_tok_{kind}"], atol=1e-6, rtol=1e-5)

    @pytest.mark.parametrize("case", ["C0", "C1"])
    def test_joint_perturbation(self, golden, case, perturbations_per_eval):
        arrays = golden("heatmaps.npz")
        forward = scores(arrays, case, "kl")
        spectrogram = spes_of(arrays[f"{case}_mask"], forward, perturbations_per_eval)
        tokens = spes_of(arrays[f"{case}_tokmask"], forward, perturbations_per_eval)
        close(spectrogram, arrays[f"{case}_heat_kl"], atol=1e-6, rtol=1e-5)
        close(tokens.tril(), arrays[f"{case}_heat_tok_kl"], atol=1e-6, rtol=1e-5)
        with golden("explanations_official.h5") as file:
            group = file[{"C0": "3", "C1": "4"}[case]]
            close(spectrogram, torch.tensor(group["fbank_heatmap"][()]), atol=1e-6, rtol=1e-5)
            close(tokens.tril(), torch.tensor(group["tgt_embed_heatmap"][()]), 1e-6, 1e-5)

    @pytest.mark.filterwarnings("ignore:.*perturbed by no sample")
    def test_never_and_always_perturbed(self, golden, perturbations_per_eval):
        arrays = golden("heatmaps.npz")
        found = spes_of(arrays["D_mask"], scores(arrays, "D", "kl"), perturbations_per_eval)
        close(found, arrays["D_heat_kl"], atol=1e-6, rtol=1e-5)
        never = arrays["D_mask"].bool().all(0)
        assert never.any()
        assert (found[:, never] == 0).all()

    def test_frames_and_embedding_values(self, golden, perturbations_per_eval):
        arrays = golden("heatmaps.npz")
        frames = spes_of(arrays["E_timemask"], scores(arrays, "E", "kl"), perturbations_per_eval)
        close(frames, arrays["E_heat_kl"], atol=1e-6, rtol=1e-5)
        values = spes_of(arrays["E_embmask"], scores(arrays, "E", "kl"), perturbations_per_eval)
        rows, columns = torch.ones(4, 4).triu(1).nonzero(as_tuple=True)
        values[rows, columns] = 0
        close(values, arrays["E_heat_emb_kl"], atol=1e-6, rtol=1e-5)


class TestNormalization:
    @pytest.mark.parametrize("case", range(3))
    def test_standardize_and_paired_min_max(self, golden, case):
        arrays = golden("normalization.npz")
        raw = (arrays[f"{case}_spec"], causal(arrays[f"{case}_tok"]))
        standard = standardize(*raw)
        for found, name, atol in (
            (standard, "std", 2e-5),
            (paired_min_max(*standard), "std_pair", 2e-6),
            (paired_min_max(*raw), "pair", 2e-6),
        ):
            close(found.spectrogram_attr, arrays[f"{case}_{name}_spec"], atol)
            close(torch.nan_to_num(found.token_attr), arrays[f"{case}_{name}_tok"], atol)

    def test_constant_map_is_zero_where_the_official_code_has_nan(self, golden):
        arrays = golden("normalization.npz")
        standard = standardize(arrays["const_spec"], causal(arrays["const_tok"]))
        close(standard.spectrogram_attr, arrays["const_std_spec"], 2e-5)
        found = paired_min_max(*standard)
        official = arrays["const_std_pair_spec_official"]
        assert torch.isnan(official[1]).all()
        assert (found.spectrogram_attr[1] == 0).all()
        close(found.spectrogram_attr[[0, 2]], official[[0, 2]], 2e-6)


class TestAggregation:
    @pytest.mark.parametrize("case", ["0", "1", "2"])
    def test_sentence(self, golden, case):
        arrays = golden("aggregation.npz")
        found = sentence_mean(arrays[f"{case}_spec"], causal(arrays[f"{case}_tok"]))
        close(found.spectrogram_attr, arrays[f"{case}_sentence_spec"], 1e-6)
        close(found.token_attr, arrays[f"{case}_sentence_tok"], 1e-6)

    @pytest.mark.parametrize("case", ["0", "1", "2"])
    @pytest.mark.parametrize("kind", ["phrase_and_token", "custom_noeos"])
    def test_spans(self, golden, case, kind):
        """Golden spans index the fed tokens, whose first is the start; rows explain the next."""
        arrays, texts = golden("aggregation.npz"), golden("aggregation.json")[case]
        n_tokens = len(texts["tgt_text"])
        if kind == "custom_noeos":
            spans = [list(range(a - 1, b)) for a, b in texts["custom_spans_noeos"]]
        else:
            spans = [list(range(a - 1, b)) for a, b in texts["word_indices"][1:]]
            spans.append([n_tokens - 1])
        found = span_mean(arrays[f"{case}_spec"], causal(arrays[f"{case}_tok"]), spans)
        close(found.spectrogram_attr, arrays[f"{case}_{kind}_spec"], 1e-6)
        close(torch.nan_to_num(found.token_attr), arrays[f"{case}_{kind}_tok"], 1e-6)

    @pytest.mark.parametrize("case", ["0", "1", "2"])
    def test_columns_by_word(self, golden, case):
        arrays, texts = golden("aggregation.npz"), golden("aggregation.json")[case]
        fed = [list(range(a, b + 1)) for a, b in texts["word_indices"]]
        written = [[place - 1 for place in span] for span in fed[1:]]
        spans = [*written, [len(texts["tgt_text"]) - 1]]
        found = span_mean(arrays[f"{case}_spec"], causal(arrays[f"{case}_tok"]), spans, fed)
        close(found.spectrogram_attr, arrays[f"{case}_phrase_and_word_spec"], 1e-6)
        close(torch.nan_to_num(found.token_attr), arrays[f"{case}_phrase_and_word_tok"], 1e-6)

    @pytest.mark.parametrize("case", ["0", "1"])
    @pytest.mark.parametrize("previous", ["words", "tokens"])
    def test_rows_and_columns_of_a_result(self, golden, case, previous):
        """All golden rows but the last, the end of sentence, which is no word."""
        arrays, texts = golden("aggregation.npz"), golden("aggregation.json")[case]
        result = golden_result(arrays[f"{case}_spec"], arrays[f"{case}_tok"], texts["tgt_text"])
        found = result.phrase_attr(previous=previous, normalized=False)
        assert found.phrases == texts["words"][1:]
        kind = f"{case}_phrase_and_{previous[:-1]}"
        close(found.spectrogram_attr, arrays[f"{kind}_spec"][:-1], 1e-6)
        close(torch.nan_to_num(found.token_attr), arrays[f"{kind}_tok"][:-1], 1e-6)
        if previous == "words":
            assert found.previous == texts["words"]

    def test_a_phrase_of_a_result(self, golden):
        arrays, texts = golden("aggregation.npz"), golden("aggregation.json")["0"]
        result = golden_result(arrays["0_spec"], arrays["0_tok"], texts["tgt_text"])
        found = result.phrase_attr("so what", previous="tokens", normalized=False)
        close(found.spectrogram_attr, arrays["0_custom_noeos_spec"][:1], 1e-6)
        close(torch.nan_to_num(found.token_attr), arrays["0_custom_noeos_tok"][:1], 1e-6)

    @pytest.mark.parametrize("case", ["0", "1"])
    def test_words(self, golden, case):
        texts = golden("aggregation.json")[case]
        words = group_words(texts["tgt_text"][1:])
        assert [word for word, _ in words] == texts["words"][1:]
        spans = [[indices[0] + 1, indices[-1] + 1] for _, indices in words]
        assert spans == texts["word_indices"][1:]

    @pytest.mark.parametrize("case", ["0", "1", "2"])
    def test_spans_of_time_and_the_whole_frequency_range(self, golden, case):
        """Golden spans hold their last frame; a frame of index i lasts from i to i + 1 here."""
        arrays, texts = golden("aggregation.npz"), golden("aggregation.json")[case]
        maps = arrays[f"{case}_spec"]
        times, frequencies = (torch.arange(n) + 0.5 for n in maps.shape[1:])
        spans = [(first, last + 1) for first, last in texts["time_spans"]]
        close(time_mean(maps, times, spans), arrays[f"{case}_timespans_spec"], 1e-6)
        whole = [Band("all", 0, 1e6)]
        close(band_mean(maps, frequencies, whole), arrays[f"{case}_freqmean_spec"], 1e-6)


class TestDeletionOrder:
    @pytest.mark.parametrize("case", range(4))
    def test_first_step_at_which_a_cell_is_removed(self, golden, case):
        arrays, settings = golden("deletion_order.npz"), golden("deletion_order.json")[case]
        percentages = range(0, settings["max_percent"] + 1, settings["perc_step"])
        removed = deletion_masks(arrays[f"{case}_map"][0], percentages)
        assert torch.equal(removed.flatten(1).sum(1), arrays[f"{case}_deletion_count"])
        never = torch.full(removed.shape[1:], len(removed))
        first = torch.where(removed.any(0), removed.int().argmax(0), never)
        assert torch.equal(first, arrays[f"{case}_deletion_first_step"].long())

    @pytest.mark.parametrize("case", [0, 1, 2, 3])
    def test_order_of_insertion(self, golden, case):
        arrays, settings = golden("deletion_order.npz"), golden("deletion_order.json")[case]
        percentages = range(0, settings["max_percent"] + 1, settings["perc_step"])
        spectrogram = arrays[f"{case}_spec"]
        speech = SimpleNamespace(spectrogram=torch.ones_like(spectrogram))
        steps = perturbed(
            speech, arrays[f"{case}_map"][0], torch.zeros(1, 1), percentages, insertion=True
        )
        present = steps == 1
        assert torch.equal(present.flatten(1).sum(1), arrays[f"{case}_insertion_count"])
        never = torch.full(present.shape[1:], len(present))
        first = torch.where(present.any(0), present.int().argmax(0), never)
        assert torch.equal(first, arrays[f"{case}_insertion_first_step"].long())

    def test_chain(self, golden):
        heatmaps, chain = golden("heatmaps.npz"), golden("chain.npz")
        spectrogram = spes_of(heatmaps["C0_mask"], scores(heatmaps, "C0", "kl"), 5)
        tokens = spes_of(heatmaps["C0_tokmask"], scores(heatmaps, "C0", "kl"), 5)
        normalized = paired_min_max(*standardize(spectrogram, causal(tokens)))
        close(normalized.spectrogram_attr, chain["norm_spec"], 2e-5)
        close(torch.nan_to_num(normalized.token_attr), chain["norm_tok"], 2e-5)
        sentence = sentence_mean(*normalized)
        close(sentence.spectrogram_attr, chain["sentence_spec"], 2e-5)
        close(sentence.token_attr, chain["sentence_tok"], 2e-5)
        removed = deletion_masks(sentence.spectrogram_attr)
        assert torch.equal(removed.flatten(1).sum(1), chain["removed_count"])
        bits = torch.tensor(_unpacked(chain["removed"])).reshape(removed.shape).bool()
        assert torch.equal(removed, bits)


def _unpacked(packed):
    import numpy as np

    return np.unpackbits(packed.numpy(), axis=1)[:, :300]
