"""A small real speech model with recordings, for use without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from captum_spes.alignment import Interval
from captum_spes.demo.examples import DemoExample, read_examples
from captum_spes.demo.frame_by_frame import ctc_on, of_samples, transducer_on, with_encoder
from captum_spes.speech.models import load_model

_HERE = Path(__file__).parent
MODEL_FOLDER = _HERE / "model"
SPEECH_LLM_FOLDER = _HERE / "speech_llm_model"
MANIFEST = _HERE / "recordings" / "manifest.jsonl"
# Attributions of models that differ in their seed, for `captum_spes.stability.StabilityStudy.load`.
STUDIES = _HERE / "studies"

__all__ = [
    "DEMOS",
    "MANIFEST",
    "MODEL_FOLDER",
    "SPEECH_LLM_FOLDER",
    "STUDIES",
    "Demo",
    "DemoExample",
    "Interval",
    "load_ctc",
    "load_demo",
    "load_examples",
    "load_speech_llm",
    "load_transducer",
    "load_waveform_ctc",
]


class Demo(NamedTuple):
    """The bundled model, its processor, and recordings that it has not heard in training."""

    model: Any
    processor: Any
    examples: list[DemoExample]


def load_demo(device: str | None = None) -> Demo:
    r"""
    Load the bundled model and recordings. It needs no network.

    The model (3.4 million parameters, a Conformer encoder and a Transformer decoder in
    Hugging Face's Canary architecture) writes what is said in a small English, and
    translates it into German or Spanish. ``captum_spes/demo/README.md`` describes it.

    Args:

        device (str, optional): "cpu", "cuda" or "mps".
                    Default: None, the CPU

    Returns:
        *tuple* of model (in evaluation mode), processor, and a list of
        :class:`DemoExample`.

    Raises:
        ArgumentError: the device is not there.
        ImportError: transformers is not installed, or too old to know the architecture.

    Examples::

        >>> model, processor, examples = load_demo()
        >>> explainer = SpeechToTextAttribution(SPES(model), processor)
        >>> result = explainer.attribute(
        ...     examples[0].path, gen_args={"target_language": "de"},
        ...     n_samples=200, n_token_samples=100, patches_per_second=(60, 120),
        ... )
    """
    _check_transformers()
    model, processor = load_model(MODEL_FOLDER, device)
    return Demo(model, processor, load_examples())


def load_speech_llm(device: str | None = None) -> Demo:
    r"""
    Load the small speech LLM and the bundled recordings. It needs no network.

    The encoder of the bundled model, a projector, and a decoder of Qwen3's kind (2 million
    parameters more) that reads the speech in its prompt, together with what it is asked: to
    transcribe, or to translate into German. ``captum_spes.demo.speech_llm.INSTRUCTIONS`` holds the
    wordings that it was trained on.

    Args:

        device (str, optional): "cpu", "cuda" or "mps".
                    Default: None, the CPU

    Returns:
        *tuple* of model (in evaluation mode), processor, and a list of
        :class:`DemoExample`.

    Raises:
        ArgumentError: the device is not there.
        ImportError: transformers is not installed, or too old to know the architecture.

    Examples::

        >>> model, processor, examples = load_speech_llm()
        >>> explainer = SpeechToTextAttribution(SPES(model), processor)
        >>> result = explainer.attribute(
        ...     examples[0].path, gen_args={"instruction": "Translate the speech into German."},
        ...     n_samples=60, n_token_samples=50, patches_per_second=60,
        ... )
        >>> result.side_shares().shape == (len(result.output_tokens), 3)
        True
    """
    from transformers import PreTrainedTokenizerFast

    bundled = load_demo(device)
    from captum_spes.demo.speech_llm import SpeechLLM, SpeechLLMConfig, SpeechLLMProcessor

    model = SpeechLLM(SpeechLLMConfig.from_pretrained(SPEECH_LLM_FOLDER))
    # The output layer is the embeddings'.
    model = with_encoder(model, SPEECH_LLM_FOLDER, bundled.model, ("lm_head.weight",))
    tokenizer = PreTrainedTokenizerFast.from_pretrained(SPEECH_LLM_FOLDER)
    processor = SpeechLLMProcessor(bundled.processor.feature_extractor, tokenizer)
    model.name_or_path = "captum_spes speech LLM"
    return Demo(model, processor, bundled.examples)


def load_ctc(device: str | None = None) -> Demo:
    r"""
    Load a CTC model and the bundled recordings. It needs no network.

    One layer on the encoder of the bundled model (Hugging Face's ``ParakeetForCTC``), which writes
    what is said in the bundled model's subwords.

    Args:

        device (str, optional): "cpu", "cuda" or "mps".
                    Default: None, the CPU

    Returns:
        *tuple* of model (in evaluation mode), processor, and a list of
        :class:`DemoExample`.

    Raises:
        ArgumentError: the device is not there.
        ImportError: transformers is not installed, or too old to know the architecture.

    Examples::

        >>> model, processor, examples = load_ctc()
        >>> explainer = SpeechToTextAttribution(SPES(model), processor)
        >>> result = explainer.attribute(
        ...     examples[0].path, n_samples=200, patches_per_second=(60, 120), score="kl"
        ... )
        >>> result.token_attr is None  # it reads no previous tokens
        True
    """
    bundled = load_demo(device)
    model, processor = ctc_on(bundled.model)
    model.name_or_path = "captum_spes CTC"
    return Demo(model, processor, bundled.examples)


def load_transducer(device: str | None = None) -> Demo:
    r"""
    Load a transducer and the bundled recordings. It needs no network.

    A prediction network over the text so far and a joint network, on the encoder of the bundled
    model (Hugging Face's ``ParakeetForTDT``: tokens and their durations).

    Args:

        device (str, optional): "cpu", "cuda" or "mps".
                    Default: None, the CPU

    Returns:
        *tuple* of model (in evaluation mode), processor, and a list of
        :class:`DemoExample`.

    Raises:
        ArgumentError: the device is not there.
        ImportError: transformers is not installed, or too old to know the architecture.

    Examples::

        >>> model, processor, examples = load_transducer()
        >>> explainer = SpeechToTextAttribution(SPES(model), processor)
        >>> result = explainer.attribute(
        ...     examples[0].path, n_samples=200, n_token_samples=100, patches_per_second=(60, 120)
        ... )
    """
    bundled = load_demo(device)
    model, processor = transducer_on(bundled.model)
    model.name_or_path = "captum_spes transducer"
    return Demo(model, processor, bundled.examples)


def load_waveform_ctc(device: str | None = None) -> Demo:
    r"""
    Load a model that reads samples, and the bundled recordings. It needs no network.

    Of wav2vec 2.0's form (2.3 million weights, trained from scratch), it writes what is said in
    capital letters, without punctuation.

    Args:

        device (str, optional): "cpu", "cuda" or "mps".
                    Default: None, the CPU

    Returns:
        *tuple* of model (in evaluation mode), processor, and a list of
        :class:`DemoExample`.

    Raises:
        ArgumentError: the device is not there.
        ImportError: transformers is not installed.

    Examples::

        >>> model, processor, examples = load_waveform_ctc()
        >>> explainer = SpeechToTextAttribution(SPES(model), processor)
        >>> result = explainer.attribute(
        ...     examples[0].path, n_samples=50, patches_per_second=60
        ... )
    """
    model, processor = of_samples(device)
    return Demo(model, processor, load_examples())


def load_examples() -> list[DemoExample]:
    r"""
    The bundled recordings alone, with texts, translations and the times of words and phones.

    Returns:
        *list* of :class:`DemoExample`.

    Examples::

        >>> words = [word.label for word in load_examples()[0].words]
    """
    return read_examples(MANIFEST)


def _check_transformers() -> None:
    try:
        import transformers
    except ImportError as error:
        raise ImportError(
            "the bundled model needs transformers: pip install 'captum-spes[transformers]'"
        ) from error
    if not hasattr(transformers, "CanaryForConditionalGeneration"):
        raise ImportError(
            f"the bundled model needs a transformers that knows Canary; {transformers.__version__} "
            "does not: pip install --upgrade transformers"
        )


# What --model calls them on the command line.
DEMOS = {
    "demo": load_demo,
    "demo-speech-llm": load_speech_llm,
    "demo-ctc": load_ctc,
    "demo-transducer": load_transducer,
    "demo-samples": load_waveform_ctc,
}
