"""Given texts are what the model would have written, and added words are words."""

import copy
import unicodedata

import pytest
import torch
from transformers import AddedToken

from captum_spes import SPES, SpeechToTextAttribution
from captum_spes.errors import ArgumentError
from captum_spes.speech.models import adapt

STAMPS = [AddedToken(f"<|{i * 0.02:.2f}|>", special=True) for i in range(1501)]


def ids_of(adapter, speech, text, **gen_args):
    return adapter.force(speech, text, gen_args).ids.tolist()


# White space and characters --------------------------------------------------------------


class TestTidiness:
    @pytest.mark.parametrize(
        "text",
        [
            "the cat\n",
            "  the cat  ",
            "\t the cat\r\n",
            "\ufeffthe cat",
            "\ufeff the cat \ufeff",
            "\u00a0the cat\u3000",
            "\u200bthe cat\u2060",
            "the  cat",
            "the\ncat",
            "the \t\n cat",
            "the\u00a0cat",
            "the\u2028cat",
        ],
    )
    def test_white_space_changes_nothing(self, adapter, speech, text):
        assert ids_of(adapter, speech, text) == ids_of(adapter, speech, "the cat")

    def test_composed_characters(self, tiny_whisper, audio):
        adapter = adapt(*tiny_whisper)
        speech = adapter.from_audio(audio)
        for text in ("café", "Zürich", "한국"):
            decomposed = unicodedata.normalize("NFD", text)
            assert decomposed != text
            assert ids_of(adapter, speech, decomposed) == ids_of(adapter, speech, text)

    @pytest.mark.parametrize("text", ["", " ", "\n", "\ufeff", "\u00a0\u200b\n", "\u3000"])
    def test_nothing_but_white_space(self, adapter, speech, text):
        with pytest.raises(ArgumentError, match="empty text"):
            adapter.force(speech, text, {})

    def test_half_a_character(self, adapter, speech):
        with pytest.raises(ArgumentError, match="holds half of a character"):
            adapter.force(speech, "the \ud83d cat", {})

    def test_what_is_shown_is_what_is_given(self, adapter, speech):
        target = adapter.force(speech, "  the cat\n", {})
        assert adapter.text(target.explained_ids) == "the cat"

    def test_marks_inside_a_word_stay(self, tiny_whisper, audio):
        """Persian and Indian scripts need them."""
        adapter = adapt(*tiny_whisper)
        target = adapter.force(adapter.from_audio(audio), "mi\u200cram", {})
        assert adapter.text(target.explained_ids) == "mi\u200cram"


# Special tokens and timestamps -----------------------------------------------------------


@pytest.fixture
def stamped(tiny_whisper):
    """The random Whisper with room for all timestamps; its tokenizer knows none of them."""
    model, processor = tiny_whisper
    model.resize_token_embeddings(259 + 1501)
    return adapt(model, processor)


def with_tokens(adapter, tokens, **how):
    """Let an adapter have a tokenizer of its own, as other tests have the shared one, too."""
    adapter.tokenizer = copy.deepcopy(adapter.tokenizer)
    adapter.tokenizer.add_tokens(tokens, **how)


class TestSpecialTokens:
    def test_end_of_sentence_in_the_text(self, adapter, speech):
        end = adapter.tokenizer.convert_ids_to_tokens(adapter.end_of_sentence)
        expected = ids_of(adapter, speech, "the cat")
        for text in (f"the cat{end}", f"the cat {end}", f"the cat{end}\n"):
            assert ids_of(adapter, speech, text) == expected

    def test_whole_output_of_the_model(self, tiny_whisper, audio):
        """As ``decode`` gives it, prompt included."""
        adapter = adapt(*tiny_whisper)
        special = ["<|startoftranscript|>", "<|notimestamps|>"]
        with_tokens(adapter, special, special_tokens=True)
        speech = adapter.from_audio(audio)
        ids = adapter.force(speech, "the cat", {}).ids
        text = adapter.tokenizer.decode(ids.tolist())
        assert text.startswith("<|startoftranscript|>")
        assert ids_of(adapter, speech, text) == ids.tolist()

    @pytest.mark.parametrize(
        "text",
        [
            "<|0.00|> the cat<|2.00|>",
            "<|0.00|>the cat<|2.00|>",
            "<|0.00|> the cat <|2.00|>\n",
            " <|0.00|> the cat<|2.00|>",
        ],
    )
    @pytest.mark.parametrize("knows", [False, True])
    def test_timestamps(self, stamped, audio, text, knows):
        if knows:
            with_tokens(stamped, STAMPS)
        speech = stamped.from_audio(audio)
        written = [stamped.tokenizer.convert_tokens_to_ids(c) for c in "ĠtheĠcat"]
        expected = [257, 259, *written, 259 + 100, 256]
        assert ids_of(stamped, speech, text, return_timestamps=True) == expected
        target = stamped.force(speech, text, {"return_timestamps": True})
        assert stamped.text(target.explained_ids) == "the cat"
        assert stamped.token_strings(target.previous_ids)[1] == "<|0.00|>"

    def test_several_segments(self, stamped, audio):
        speech = stamped.from_audio(audio)
        text = "<|0.00|> the<|0.50|><|0.50|> cat<|1.00|>"
        ids = ids_of(stamped, speech, text, return_timestamps=True)
        assert [i - 259 for i in ids if i >= 259] == [0, 25, 25, 50]
        # A segment's first word begins with a blank, as the model writes it.
        assert ids.count(stamped.tokenizer.convert_tokens_to_ids("Ġ")) == 2

    def test_timestamps_that_the_model_does_not_write(self, stamped, audio):
        speech = stamped.from_audio(audio)
        with pytest.raises(ArgumentError, match="return_timestamps"):
            stamped.force(speech, "<|0.00|> the cat<|2.00|>", {})
        for text in ("<|30.02|> the", "<|0.01|> the", "<|99.00|> the"):
            with pytest.raises(ArgumentError, match=r"from <\|0\.00\|> to <\|30\.00\|>"):
                stamped.force(speech, text, {"return_timestamps": True})

    def test_there_are_1501(self, stamped):
        ids = [i for i in range(259 + 1501 + 50) if stamped.is_timestamp(i)]
        assert ids == list(range(259, 259 + 1501))
        ends = stamped.token_strings(torch.tensor([ids[0], ids[-1]]))
        assert ends == ["<|0.00|>", "<|30.00|>"]


# Words that were added -------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
class TestAddedWords:
    @pytest.fixture(params=["behind the timestamps", "in their place"])
    def grown(self, request, tiny_whisper):
        """Whisper that learned a word and a sound."""
        model, processor = tiny_whisper
        processor = copy.deepcopy(processor)
        if request.param == "behind the timestamps":
            processor.tokenizer.add_tokens(STAMPS)
        processor.tokenizer.add_tokens([" captum", AddedToken("<|laugh|>", special=True)])
        model.resize_token_embeddings(len(processor.tokenizer))
        return model, processor

    def test_are_explained_shown_and_spelled(self, grown, audio):
        model, processor = grown
        result = SpeechToTextAttribution(SPES(model), processor).attribute(
            audio, target="the captum sat", n_samples=20, n_token_samples=20,
            patches_per_second=40, seed=0,
        )  # fmt: skip
        assert result.output_tokens == [*" the", " captum", *" sat", "<|endoftext|>"]
        assert " captum" in result.previous_tokens
        assert result.text == "the captum sat"
        assert [word.word for word in result.words] == ["the", "captum", "sat"]
        assert result.spectrogram_attr[4].isfinite().all()

    def test_at_the_beginning(self, grown, audio):
        adapter = adapt(*grown)
        target = adapter.force(adapter.from_audio(audio), "captum sat", {})
        assert adapter.token_strings(target.explained_ids)[0] == " captum"

    def test_special_ones_stay_special(self, grown, audio):
        adapter = adapt(*grown)
        target = adapter.force(adapter.from_audio(audio), "the <|laugh|> cat", {})
        strings = adapter.token_strings(target.explained_ids)
        assert strings == [*" the", "<|laugh|>", *" cat", "<|endoftext|>"]
        is_text = adapter.is_text(target.explained_ids)
        others = [s for s, own in zip(strings, is_text, strict=True) if not own]
        assert others == ["<|laugh|>", "<|endoftext|>"]
        words = "".join(text for text, _ in adapter.spelled(target.explained_ids))
        assert words == " the cat"

    def test_are_no_prompt(self, grown, audio):
        adapter = adapt(*grown)
        word = adapter.tokenizer.convert_tokens_to_ids(" captum")
        target = adapter.force(adapter.from_audio(audio), [word], {})
        assert target.ids.tolist() == [257, 258, word, 256]
        assert adapter.text(target.explained_ids) == "captum"

    @pytest.mark.parametrize("family", ["tiny_speech2text", "tiny_canary"])
    def test_of_other_families(self, request, audio, family):
        model, processor = request.getfixturevalue(family)
        processor = copy.deepcopy(processor)
        processor.tokenizer.add_tokens(["captum", AddedToken("<laugh>", special=True)])
        model.resize_token_embeddings(len(processor.tokenizer))
        adapter = adapt(model, processor)
        speech = adapter.from_audio(audio)
        for text in ("the captum cat", "captum", "captum cat"):
            target = adapter.force(speech, text, {})
            assert adapter.text(target.explained_ids) == text
            strings = adapter.token_strings(target.explained_ids)[:-1]
            assert "".join(strings).strip() == text
            assert all(adapter.is_text(target.explained_ids)[:-1])
        laugh = adapter.tokenizer.convert_tokens_to_ids("<laugh>")
        assert adapter.is_text(torch.tensor([laugh])) == [False]
        with torch.no_grad():
            states = adapter.encode(speech, speech.spectrogram[None])
            logits = adapter.output_layer(adapter.decode(states, target))
        assert logits.shape[-1] == len(processor.tokenizer)
