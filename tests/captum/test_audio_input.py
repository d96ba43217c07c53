"""AudioMaskInput: patches of a spectrogram as features of Captum's own wrapper."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from captum.attr import FeatureAblation, ImageMaskInput
from captum.attr import LLMAttribution as CaptumLLMAttribution

from captum_spes import SPES, AudioMaskInput, LLMAttribution, SpeechToTextAttribution
from captum_spes.demo import load_speech_llm
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.masks import slic_feature_mask
from tests.attr.designs import FixedMasks

# One forward pass for all tokens; Captum's cache is wrong with models of transformers 5.
AT_ONCE = {"forward_in_tokens": False, "use_cached_outputs": False}


@pytest.fixture(scope="module")
def heard():
    """A speech LLM, its tokenizer, a recording as it hears it, its patches, and the input."""
    model, processor, examples = load_speech_llm()
    samples = examples[0].audio
    read = processor(text=processor.apply_transcription_request([samples]), audio=[samples])
    spectrogram = read["input_features"][0]
    mask = slic_feature_mask(spectrogram, patches_per_second=3)[0]
    recording = AudioMaskInput(
        spectrogram, mask, processor_fn=lambda cells: {**read, "input_features": cells[None]}
    )
    return model, processor, examples[0], mask, recording


def cells(*shape):
    return torch.arange(float(np.prod(shape))).reshape(shape)


class TestWithCaptum:
    def test_captum_itself_finds_what_our_wrapper_finds(self, heard):
        model, processor, example, mask, recording = heard
        explainer = CaptumLLMAttribution(FeatureAblation(model), processor.tokenizer)
        theirs = explainer.attribute(recording, target=example.text, **AT_ONCE)
        own = SpeechToTextAttribution(FeatureAblation(model), processor).attribute(
            example.audio, target=example.text, feature_mask=[mask], score="log_probability",
            baselines="mean", n_token_samples=0, seed=0,
        )  # fmt: skip
        maps = recording.format_spectrogram_attr(theirs.token_attr)
        expected = own.spectrogram_attr[:-1]  # Captum's target has no end of sentence
        assert len(theirs.output_tokens) == len(maps) > 10
        assert float(expected.abs().max()) > 1
        torch.testing.assert_close(maps, expected, rtol=1e-3, atol=1e-4)

    def test_spes_removes_what_captum_removes(self, heard):
        model, processor, example, _, recording = heard
        explainer = CaptumLLMAttribution(FeatureAblation(model), processor.tokenizer)
        ablated = explainer.attribute(recording, target=example.text, **AT_ONCE)
        n_features = recording.n_itp_features
        found = LLMAttribution(SPES(model), processor.tokenizer).attribute(
            recording, target=example.text, n_samples=n_features,
            design=FixedMasks(torch.eye(n_features)),
        )  # fmt: skip
        torch.testing.assert_close(found.token_attr, ablated.token_attr, rtol=1e-3, atol=1e-4)

    def test_captum_draws_it_on_the_spectrogram(self, heard):
        model, processor, example, _, recording = heard
        explainer = CaptumLLMAttribution(FeatureAblation(model), processor.tokenizer)
        result = explainer.attribute(recording, target=example.text, **AT_ONCE)
        figure, axes = result.plot_image_heatmap(show_legends=False)
        heatmap = np.asarray(axes.images[1].get_array())
        expected = recording.format_spectrogram_attr(result.seq_attr).T.flip(0).numpy()
        np.testing.assert_allclose(heatmap, expected, rtol=1e-5)
        assert result.input_tokens == [f"patch_{n}" for n in range(recording.n_itp_features)]
        plt.close(figure)


class TestWhatTheModelReads:
    def test_it_is_one_of_captums_with_time_to_the_right(self):
        found = AudioMaskInput(cells(4, 3), torch.zeros(4, 3, dtype=torch.long))
        assert isinstance(found, ImageMaskInput)
        grey = np.asarray(found.image)[..., 0]
        assert grey.shape == (3, 4)  # frequencies by time
        assert grey[-1, 0] == 0  # the lowest frequency of the first frame
        assert grey[0, -1] == 255

    def test_removed_patches_become_the_mean_of_each_frequency(self):
        spectrogram, mask = cells(4, 3), torch.tensor([[7] * 3, [7] * 3, [2] * 3, [-1] * 3])
        found = AudioMaskInput(spectrogram, mask)
        assert found.n_itp_features == 2  # in the order of their labels, without padding
        assert torch.equal(found.to_tensor(), torch.ones(1, 2))
        assert torch.equal(found.to_model_input(), spectrogram)
        assert torch.equal(found.to_model_input(torch.ones(1, 2)), spectrogram)
        expected = spectrogram.clone()
        expected[2] = spectrogram[:3].mean(0)
        assert torch.equal(found.to_model_input(torch.tensor([[0, 1]])), expected)
        expected[:2] = spectrogram[:3].mean(0)
        assert torch.equal(found.to_model_input(torch.zeros(1, 2)), expected)
        of_cells = found.format_spectrogram_attr(torch.tensor([[1.0, 2.0]]))
        assert of_cells[0, :, 0].tolist() == [2, 2, 1, 0]

    @pytest.mark.parametrize(
        ("baseline", "expected"),
        [(5, [5.0] * 3), (torch.tensor([1, 2, 3]), [1.0, 2.0, 3.0]), ("mean", [4.5, 5.5, 6.5])],
    )
    def test_baselines(self, baseline, expected):
        found = AudioMaskInput(cells(4, 3), baseline=baseline)
        read = found.to_model_input(torch.zeros(1, 1))
        assert read.tolist() == [expected] * 4

    def test_features_that_overlap(self):
        first = torch.tensor([[True, True], [False, False]])
        second = torch.tensor([[False, True], [False, True]])
        found = AudioMaskInput(cells(2, 2), mask_list=[first, second], baseline=-1)
        assert found.to_model_input(torch.tensor([[0, 0]])).tolist() == [[-1, -1], [2, -1]]
        assert found.to_model_input(torch.tensor([[1, 0]])).tolist() == [[0, -1], [2, -1]]
        maps = found.format_spectrogram_attr(torch.tensor([1.0, 10.0]))
        assert maps.tolist() == [[1, 11], [0, 10]]

    def test_infinite_cells(self):
        spectrogram = cells(2, 2)
        spectrogram[0, 0] = -torch.inf
        found = AudioMaskInput(spectrogram, baseline=0)
        assert found.to_model_input(torch.zeros(1, 1)).tolist() == [[0, 0], [0, 0]]
        assert np.asarray(found.image).min() == 0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.zeros((2, 2)),), ArgumentTypeError, "spectrogram must be a Tensor"),
        ((torch.zeros(1, 2, 2),), ArgumentError, r"shape \(time, freq\), got \(1, 2, 2\)"),
        ((cells(2, 2), torch.zeros(2, 3).long()), ArgumentError, r"\(2, 2\), got \(2, 3\)"),
        ((cells(2, 2), torch.zeros(2, 2)), ArgumentTypeError, "integers, got torch.float32"),
        ((cells(2, 2), [[0, 0]]), ArgumentTypeError, "masks must be Tensors, got list"),
        ((cells(2, 2), -torch.ones(2, 2).long()), ArgumentError, "there must be a feature"),
        ((cells(2, 2), None, [torch.zeros(2, 2)]), ArgumentError, "at least one cell"),
        ((cells(2, 2), None, None, "silence"), ArgumentError, "'silence'"),
        ((cells(2, 2), None, None, torch.zeros(3)), ArgumentError, r"broadcast to \(2, 2\)"),
    ],
)
def test_bad_input_is_one_line(arguments, error, message):
    with pytest.raises(error, match=message) as raised:
        AudioMaskInput(*arguments)
    assert "\n" not in str(raised.value)
