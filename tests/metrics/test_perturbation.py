"""Deletion and insertion curves: models whose answer is known, and real ones."""

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from captum.attr import Saliency

from captum_spes import SPES, SpeechToTextAttribution
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.evaluation import measured_cost
from captum_spes.metrics import Example, deletion_curve, insertion_curve
from captum_spes.metrics.perturbation import Hearing, explained_sequence, perturbed
from tests.speech.explaining import QUICK, explain

WORDS = ["one", "two", "three", "four"]
BOTH = pytest.mark.parametrize("curve", [deletion_curve, insertion_curve])


class WordPerCell:
    """A model that hears four cells and writes a word for each that is left."""

    sampling_rate = 16_000
    max_seconds = None
    device = torch.device("cpu")

    def is_features(self, value):
        return True

    def from_features(self, features):
        return SimpleNamespace(spectrogram=features, features=features, seconds=1.0)

    def removed_value(self, speech, name):
        return torch.zeros(1, 1)

    def evaluation_mode(self):
        return nullcontext()

    def encode(self, speech, spectrograms):
        return spectrograms

    def transcribe(self, speech, states, gen_args):
        self.gen_args = gen_args
        return [
            " ".join(word for word, cell in zip(WORDS, row.flatten(), strict=True) if cell)
            for row in states
        ]


def example(*scores):
    return (torch.ones(4, 1), " ".join(WORDS), torch.tensor(scores).reshape(4, 1))


class TestKnownAnswers:
    def test_every_cell_is_worth_a_word(self):
        curve = deletion_curve(WordPerCell(), [example(3.0, 1.0, 2.0, 0.0)], 0.25)
        assert curve.x == (0, 25, 50, 75, 100)
        assert curve.y == (0, 25, 50, 75, 100)
        assert curve.auc == 50

    def test_insertion_is_the_mirror(self):
        curve = insertion_curve(WordPerCell(), [example(3.0, 1.0, 2.0, 0.0)], 0.25)
        assert curve.y == (100, 75, 50, 25, 0)

    def test_the_order_decides(self):
        class OneCellDecides(WordPerCell):
            def transcribe(self, speech, states, gen_args):
                return ["one two three four" if row[2] else "" for row in states]

        right = deletion_curve(OneCellDecides(), [example(0.0, 1.0, 9.0, 2.0)], 0.25)
        wrong = deletion_curve(OneCellDecides(), [example(9.0, 2.0, 0.0, 1.0)], 0.25)
        assert right.y == (0, 100, 100, 100, 100)
        assert wrong.y == (0, 0, 0, 0, 100)

    def test_bleu(self):
        curve = deletion_curve(WordPerCell(), [example(3.0, 1.0, 2.0, 0.0)], 0.5, metric="bleu")
        assert curve.y[0] == pytest.approx(100)
        assert curve.y[1] < 60
        assert curve.y[2] == 0

    def test_characters_where_words_have_no_spaces(self):
        class CharacterPerCell(WordPerCell):
            def transcribe(self, speech, states, gen_args):
                texts = super().transcribe(speech, states, gen_args)
                numbers = {"one": "一", "two": "二", "three": "三", "four": "四"}
                return ["".join(numbers[word] for word in text.split()) for text in texts]

        given = (torch.ones(4, 1), "一二三四", torch.arange(4.0).reshape(4, 1))
        for metric in ("cer", "cer_capped"):
            curve = deletion_curve(CharacterPerCell(), [given], 0.25, metric=metric)
            assert (curve.metric, curve.y) == (metric, (0, 25, 50, 75, 100))
        curve = deletion_curve(CharacterPerCell(), [given], 0.5, metric="bleu-zh")
        assert curve.y[0] == pytest.approx(100)
        assert curve.y[1] < 60

    def test_texts_are_normalised_on_both_sides(self):
        given = (torch.ones(4, 1), "One, TWO three. four", torch.arange(4.0).reshape(4, 1))
        kept = deletion_curve(WordPerCell(), [given], 1.0)
        assert kept.y[0] == 75
        curve = deletion_curve(
            WordPerCell(), [given], 1.0,
            text_normalizer=lambda text: text.lower().replace(",", "").replace(".", ""),
        )  # fmt: skip
        assert curve.y[0] == 0

    def test_arguments_of_generation_reach_the_model(self):
        model = WordPerCell()
        deletion_curve(model, [example(3.0, 1.0, 2.0, 0.0)], gen_args={"num_beams": 5})
        assert model.gen_args == {"num_beams": 5}

    @pytest.mark.parametrize(
        "form", [lambda e: e, lambda e: Example(*e), lambda e: Example(*e)._asdict()]
    )
    def test_examples_as_tuples_and_dictionaries(self, form):
        given = [form(example(3.0, 1.0, 2.0, 0.0))]
        assert deletion_curve(WordPerCell(), given, 0.5).y == (0, 50, 100)


@pytest.mark.filterwarnings("ignore")
class TestRealModels:
    @BOTH
    @pytest.mark.parametrize("metric", ["kl", "token_accuracy", "wer_capped"])
    def test_batches_do_not_matter(self, tiny_model, audio, curve, metric):
        result = explain(tiny_model, audio)
        explainer = SpeechToTextAttribution(SPES(tiny_model[0]), tiny_model[1])
        given = [(audio, "the cat", result)]
        at_once = curve(explainer, given, 0.25, metric=metric)
        one_by_one = curve(explainer.adapter, given, 0.25, metric=metric, batch_size=1)
        assert np.allclose(at_once.y, one_by_one.y, atol=1e-4)

    def test_graded_curves_start_at_the_original(self, tiny_model, audio):
        explainer = SpeechToTextAttribution(SPES(tiny_model[0]), tiny_model[1])
        written = explainer.attribute(audio, **{**QUICK, "target": None})
        given = [(audio, None, written)]
        deletion = deletion_curve(explainer, given, 0.25, metric="kl")
        insertion = insertion_curve(explainer, given, 0.25, metric="kl")
        assert (deletion.y[0], insertion.y[-1]) == pytest.approx((0, 0), abs=1e-6)
        assert deletion.y[-1] == pytest.approx(insertion.y[0], abs=1e-5)
        assert deletion.y[-1] > 1e-4

    @pytest.mark.parametrize("name", ["tiny_speech2text", "tiny_canary"])
    def test_greedy_search_wrote_the_tokens_that_rank_first(self, name, audio, request):
        # Not so of Whisper, which is kept from writing some tokens.
        network, processor = request.getfixturevalue(name)
        explainer = SpeechToTextAttribution(SPES(network), processor)
        written = explainer.attribute(audio, **{**QUICK, "target": None})
        given = [(audio, None, written)]
        accuracy = deletion_curve(explainer, given, 0.5, metric="token_accuracy")
        # But for an end of sentence that the limit on the length put there.
        assert accuracy.y[0] >= 100 * (1 - 1 / len(written.output_tokens)) - 1e-9
        forced = explain((network, processor), audio)
        accuracy = deletion_curve(explainer, [(audio, None, forced)], 0.5, metric="token_accuracy")
        assert accuracy.y[0] < 100  # a random model would not have written "the cat"

    def test_logits_are_made_once_for_all_measures(self, tiny_speech2text, audio):
        network, processor = tiny_speech2text
        explainer = SpeechToTextAttribution(SPES(network), processor)
        adapter = explainer.adapter
        speech = adapter.from_audio(audio)
        output = adapter.force(speech, "the cat", {})
        copies = speech.spectrogram[None] * torch.linspace(0.1, 0.9, 5)[:, None, None]
        with measured_cost(network) as cost:
            hearing = Hearing(adapter, speech, copies, batch_size=3)
            hearing.graded(output)
            hearing.graded(output)
        # The copies and the intact speech, which is encoded once for both.
        assert (cost.encoder_passes, cost.decoder_passes) == (6, 2 * 6)

    def test_divergence_is_that_of_the_definition(self, tiny_model, audio):
        result = explain(tiny_model, audio)
        explainer = SpeechToTextAttribution(SPES(tiny_model[0]), tiny_model[1])
        adapter = explainer.adapter
        speech = adapter.from_audio(audio)
        target = adapter.force(speech, "the cat", {})
        with torch.no_grad():
            batch = torch.stack([speech.spectrogram, result.removed])
            log_probs = adapter.logits(adapter.encode(speech, batch), target).log_softmax(-1)
        divergence = (log_probs[0].exp() * (log_probs[0] - log_probs[1])).sum(-1).mean()
        curve = deletion_curve(explainer, [(audio, None, result)], 1.0, metric="kl")
        assert curve.y[-1] == pytest.approx(float(divergence), abs=1e-5)

    def test_each_token_by_its_own_map(self, tiny_whisper, audio):
        """Per token: that token's map decides what is removed, that token is looked at."""
        result = explain(tiny_whisper, audio)
        explainer = SpeechToTextAttribution(SPES(tiny_whisper[0]), tiny_whisper[1])
        given = [(audio, None, result)]
        curve = deletion_curve(explainer, given, 0.5, metric="kl", per_token=True)
        adapter = explainer.adapter
        speech = adapter.from_audio(audio)
        sequence = adapter.force(speech, result.output_ids, {})
        expected = []
        for token in range(len(result.output_tokens)):
            saliency_map = result.spectrogram_attr[token]
            steps = perturbed(speech, saliency_map, result.removed, [0, 50, 100])
            expected.append(Hearing(adapter, speech, steps).graded(sequence)["kl"][:, token])
        assert curve.y == pytest.approx(np.mean(expected, 0), abs=1e-6)
        sentence = deletion_curve(explainer, given, 0.5, metric="kl")
        assert curve.y[1] != sentence.y[1]
        assert (curve.y[0], curve.y[2]) == pytest.approx((sentence.y[0], sentence.y[2]), abs=1e-5)

    def test_the_original_text_comes_first(self, tiny_model, audio):
        explainer = SpeechToTextAttribution(SPES(tiny_model[0]), tiny_model[1])
        result = explainer.attribute(audio, **{**QUICK, "target": None})
        if not result.text.split():
            pytest.skip("this random model writes no word")
        curve = deletion_curve(explainer, [(audio, result.text, result)], 0.5)
        assert curve.y[0] == 0

    def test_explains_what_brings_no_attribution(self, tiny_whisper, audio):
        explainer = SpeechToTextAttribution(Saliency(tiny_whisper[0]), tiny_whisper[1])
        target = {k: v for k, v in QUICK.items() if k not in ("n_samples", "n_token_samples")}
        curve = deletion_curve(explainer, [(audio, "the cat")], 0.5, metric="kl", **target)
        result = explain(tiny_whisper, audio, Saliency)
        given = deletion_curve(explainer, [(audio, "the cat", result)], 0.5, metric="kl")
        assert curve.y == given.y

    def test_removed_cells_become_what_the_explanation_removed(self, tiny_whisper, audio):
        explainer = SpeechToTextAttribution(SPES(tiny_whisper[0]), tiny_whisper[1])
        results = {b: explain(tiny_whisper, audio, baselines=b) for b in ("mean", "silence")}
        curves = {
            b: deletion_curve(explainer, [(audio, None, r)], 1.0, metric="kl").y[-1]
            for b, r in results.items()
        }
        assert curves["mean"] != curves["silence"]
        named = deletion_curve(
            explainer, [(audio, None, results["mean"])], 1.0, metric="kl", baselines="silence"
        )
        assert named.y[-1] == curves["silence"]

    def test_map_without_normalisation_ranks_differently(self, tiny_whisper, audio):
        result = explain(tiny_whisper, audio)
        explainer = SpeechToTextAttribution(SPES(tiny_whisper[0]), tiny_whisper[1])
        given = [(audio, None, result)]
        y = [
            deletion_curve(explainer, given, 0.1, metric="kl", normalized=n).y
            for n in (True, False)
        ]
        assert y[0] != y[1]

    def test_sampled_texts_are_seeded_and_the_global_generator_is_not_touched(
        self, tiny_speech2text, audio
    ):
        network, processor = tiny_speech2text
        explainer = SpeechToTextAttribution(SPES(network), processor)
        result = explain(tiny_speech2text, audio, gen_args={"do_sample": True})
        written = []
        transcribe = explainer.adapter.transcribe
        explainer.adapter.transcribe = lambda *a: written.append(transcribe(*a)) or written[-1]
        state = torch.get_rng_state()
        for seed in (result.seed, result.seed, result.seed + 1):
            deletion_curve(explainer, [(audio, "the cat", replace(result, seed=seed))], 0.25)
        assert torch.equal(torch.get_rng_state(), state)
        assert written[0] == written[1] != written[2]

    def test_graded_measures_look_at_the_sequence_that_was_explained(self, tiny_whisper, audio):
        """Timestamps are read by the decoder and not explained; a cut output has no end."""
        network, processor = tiny_whisper
        explainer = SpeechToTextAttribution(SPES(network), processor)
        adapter = explainer.adapter
        speech = adapter.from_audio(audio)
        first = adapter.first_timestamp
        prompt = adapter.prompt_ids(speech, {})
        for ids in ([first, 116, 104, first + 5, 256], [116, 104, 101], [116, 116, first, 116]):
            sequence = adapter.sequence_of(prompt, ids)
            explainer.adapter.generate = lambda speech, gen_args, s=sequence: s
            result = explainer.attribute(audio, **{**QUICK, "target": None})
            found = explained_sequence(result)
            assert found.explained == sequence.explained
            assert torch.equal(found.ids, sequence.ids)

    def test_model_comes_back_as_it_was(self, tiny_model, audio):
        result = explain(tiny_model, audio)
        tiny_model[0].train()
        explainer = SpeechToTextAttribution(SPES(tiny_model[0]), tiny_model[1])
        deletion_curve(explainer, [(audio, "the cat", result)], 0.5)
        assert all(module.training for module in tiny_model[0].modules())
        assert all(p.grad is None for p in tiny_model[0].parameters())


class TestBadInput:
    @pytest.mark.parametrize(
        ("given", "options", "error", "message"),
        [
            ([], {}, ArgumentError, "at least one example"),
            ([(torch.ones(4, 1), "", torch.ones(4, 1))], {}, ArgumentError, "no reference text"),
            ([(torch.ones(4, 1),)], {}, ArgumentError, "no reference text"),
            ([(torch.ones(4, 1), "one")], {}, ArgumentError, "give an explainer"),
            ([(torch.ones(4, 1), "one", torch.ones(3, 1))], {}, ArgumentError, "another recording"),
            ([{"sound": 1}], {}, ArgumentTypeError, "an example is"),
            ([example(1.0, 2.0, 3.0, 4.0)], {"step": 0.3}, ArgumentError, "equal parts"),
            ([example(1.0, 2.0, 3.0, 4.0)], {"step": 1 / 30}, ArgumentError, "whole number"),
            ([example(1.0, 2.0, 3.0, 4.0)], {"metric": "ter"}, ArgumentError, "metric must be"),
            (
                [example(1.0, 2.0, 3.0, 4.0)],
                {"per_token": True},
                ArgumentError,
                "needs a metric of",
            ),
            ([example(1.0, 2.0, 3.0, 4.0)], {"batch_size": 0}, ArgumentError, "batch_size"),
        ],
    )
    @BOTH
    def test_says_what_is_wrong(self, curve, given, options, error, message):
        with pytest.raises(error, match=message):
            curve(WordPerCell(), given, **options)

    @BOTH
    def test_misspelt_options_are_not_swallowed(self, curve):
        with pytest.raises(ArgumentTypeError, match="unexpected arguments: normalised"):
            curve(WordPerCell(), [example(1.0, 2.0, 3.0, 4.0)], normalised=False)

    def test_a_bare_model_is_no_explainer(self, tiny_whisper):
        with pytest.raises(ArgumentTypeError, match="give an explainer"):
            deletion_curve(tiny_whisper[0], [example(1.0, 2.0, 3.0, 4.0)])
