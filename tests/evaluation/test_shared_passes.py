"""What several methods are scored by is heard once, and gives the same scores."""

from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from captum_spes import EnergyMap, Settings, SpeechToTextAttribution
from captum_spes.corpus import Utterance
from captum_spes.corpus.runner import seed_of
from captum_spes.evaluation import EvaluationSettings, compare_methods, measured_cost
from captum_spes.evaluation.comparison import PERCENTAGES, n_copies
from captum_spes.metrics.perturbation import Hearing, explained_sequence, perturbed
from captum_spes.speech import METHODS, named_methods, patches

pytestmark = pytest.mark.filterwarnings("ignore:.*perturbed by no sample")

QUICK = Settings.paper(
    n_samples=4, n_token_samples=0, patches_per_second=40, gen_args={"max_new_tokens": 6}
)
SETTINGS = EvaluationSettings("tiny", QUICK)
NAMES = ("saliency", "energy", "random")


@pytest.fixture
def utterance(tmp_path, audio):
    soundfile.write(tmp_path / "tone.flac", audio, 16_000)
    return Utterance("tone", tmp_path / "tone.flac", "the cat")


@pytest.fixture
def compare(tiny_speech2text, utterance, tmp_path):
    folders = iter(range(100))

    def compare(methods=NAMES, settings=SETTINGS, **options):
        found = compare_methods(
            *tiny_speech2text, [utterance], named_methods(methods), settings,
            tmp_path / str(next(folders)), **options,
        )  # fmt: skip
        assert not found.failures
        return {name: of_ids["tone"] for name, of_ids in found.records.items()}

    return compare


@pytest.fixture
def one_by_one(tiny_speech2text, utterance):
    """The measures of a method on its own, without anything that is shared."""

    def one_by_one(name, settings=SETTINGS):
        network, processor = tiny_speech2text
        explainer = SpeechToTextAttribution(METHODS[name].make(network), processor)
        result = explainer.attribute(
            utterance.audio, settings=settings.of(METHODS[name]), seed=seed_of(0, "tone")
        )
        adapter = explainer.adapter
        saliency = result.sentence_attr(normalized=METHODS[name].normalized).spectrogram_attr
        speech = adapter.from_audio(soundfile.read(utterance.audio, dtype="float32")[0])
        found, gen_args = {}, settings.settings.gen_args
        for measure, is_insertion in (("deletion", False), ("insertion", True)):
            copies = perturbed(speech, saliency, result.removed, PERCENTAGES, is_insertion)
            hearing = Hearing(adapter, speech, copies)
            found[measure] = hearing.transcripts(gen_args, result.seed)
            if not is_insertion:
                graded = hearing.graded(explained_sequence(result))
                found |= {own: values.mean(1) for own, values in graded.items()}
        return found

    return one_by_one


@pytest.fixture
def generations(tiny_speech2text, monkeypatch):
    """A list that grows with every call of the model's own generation."""
    kind, calls = type(tiny_speech2text[0]), []
    generate = kind.generate

    def counted(self, *args, **kwargs):
        calls.append(1)
        return generate(self, *args, **kwargs)

    monkeypatch.setattr(kind, "generate", counted)
    return calls


def assert_alike(first, second):
    for measure in ("deletion", "insertion"):
        assert first[measure] == second[measure]
    for measure in ("kl", "token_accuracy"):
        assert np.allclose(first[measure], second[measure], atol=2e-6)


@pytest.fixture
def with_method(monkeypatch):
    """Register a method like that of the loudest cells."""

    def with_method(name, **changes):
        monkeypatch.setitem(METHODS, name, replace(METHODS["energy"], name=name, **changes))
        return name

    return with_method


class TestPasses:
    def test_copies_that_methods_have_in_common_are_heard_once(
        self, compare, tiny_speech2text, generations
    ):
        with measured_cost(tiny_speech2text[0]) as cost:
            compare(("energy", "random"))
        # Two methods, 19 steps of deletion and of insertion; nothing and everything removed.
        assert n_copies(2) == 2 * 2 * 19 + 2
        # To write what is explained, and to grade the intact copy among the others.
        assert cost.encoder_passes == n_copies(2) + 2
        # The former, the intact copy, and each side of each method.
        assert len(generations) == 2 + 2 * 2

    def test_patches_are_cut_once(self, compare, monkeypatch):
        cut, calls = patches.slic_feature_mask, []
        monkeypatch.setattr(
            patches, "slic_feature_mask", lambda *a, **kw: calls.append(1) or cut(*a, **kw)
        )
        compare(("energy", "random", "saliency"))
        assert len(calls) == 1
        compare(("spes", "spes-fixed-patches"))  # of other sizes
        assert len(calls) == 3

    def test_equal_maps_are_heard_once(self, compare, tiny_speech2text, with_method):
        costs = []
        for names in (("energy",), ("energy", with_method("energy-again"))):
            with measured_cost(tiny_speech2text[0]) as cost:
                compare(names)
            costs.append((cost.encoder_passes, cost.decoder_passes))
        assert costs[0] == costs[1]
        assert costs[0][0] == n_copies(1) + 2

    def test_a_method_costs_what_it_would_alone(self, compare):
        together = compare()
        for name in NAMES:
            alone = compare((name,))[name]["cost"]
            for kind in ("encoder_passes", "decoder_passes"):
                assert together[name]["cost"][kind] == alone[kind] > 0


def test_patches_that_are_remembered_stay_what_they_were():
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.rand(60, 20, generator=generator) for _ in range(2))
    scales = {"patches_per_second": (40, 80), "frame_rate": 100.0}
    expected = [patches.feature_masks(own, "slic", **scales) for own in (one, other)]
    with patches.remembered_patches([]):
        for _ in range(3):
            for own, of_own in zip((one, other), expected, strict=True):
                found = patches.feature_masks(own, "slic", **scales)
                assert all(torch.equal(a, b) for a, b in zip(found, of_own, strict=True))
                found[0].fill_(-1)  # a method's own business
        (finer,) = patches.feature_masks(one, "slic", **{**scales, "patches_per_second": 160})
        assert finer.max() > expected[0][0].max()


class TestScores:
    def test_are_those_of_each_method_alone(self, compare, one_by_one):
        together = compare()
        for name in NAMES:
            assert_alike(together[name], one_by_one(name))
        assert together["energy"]["kl"] != together["random"]["kl"]

    @pytest.mark.parametrize("batch_size", [1, 5, None])
    def test_are_the_same_in_other_batches(self, compare, batch_size):
        found = compare(settings=replace(SETTINGS, batch_size=batch_size))
        for name, expected in compare().items():
            assert_alike(found[name], expected)

    def test_are_the_same_where_methods_are_added_later(self, compare, tmp_path):
        for name, expected in compare().items():
            assert_alike(compare((name,))[name], expected)

    def test_what_is_drawn_is_not_shared(self, compare, one_by_one):
        """Equal copies give different texts, and each method's are those of its own draws."""
        gen_args = {"max_new_tokens": 6, "do_sample": True}
        settings = replace(SETTINGS, settings=QUICK.replace(gen_args=gen_args), batch_size=None)
        found = compare(settings=settings)
        for name in NAMES:
            assert_alike(found[name], one_by_one(name, settings))
        assert found["energy"]["deletion"][-1] != found["energy"]["insertion"][0]

    def test_insertion_of_one_method_is_deletion_of_another(
        self, compare, one_by_one, with_method, tiny_speech2text
    ):
        """Its copies were not graded when they were heard first."""

        class UpsideDown(EnergyMap):
            def maps(self, *args):
                maps = super().maps(*args)
                return maps._replace(spectrogram_attr=-maps.spectrogram_attr)

        name = with_method("upside-down", make=UpsideDown, normalized=False)
        found = compare(("energy", name))
        assert found[name]["deletion"] == found["energy"]["insertion"][::-1]
        assert_alike(found[name], one_by_one(name))
