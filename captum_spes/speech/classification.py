"""Explaining the class that an audio classifier tells."""

from __future__ import annotations

from typing import Any

from captum.attr import Attribution

from captum_spes.errors import ArgumentTypeError
from captum_spes.speech.attribution import SpeechToTextAttribution
from captum_spes.speech.models.classifiers import ClassifierModel


class SpeechClassificationAttribution(SpeechToTextAttribution):
    r"""
    Explains the class that an audio classifier tells: which time-frequency patterns it rested on.

    It is :class:`SpeechToTextAttribution` with a class in the place of the tokens, and takes the
    same methods, scores and settings: the divergence is that of the distribution over the classes,
    ``target`` is the name of a class or its number, and there are no previous tokens.
    """

    def __init__(self, attr_method: Attribution, extractor: Any) -> None:
        r"""
        Args:

            attr_method (Attribution): A Captum method made with the model, for example
                        ``SPES(model)``. The model is one of Hugging Face's audio classifiers:
                        wav2vec 2.0, HuBERT, WavLM and their kin, wav2vec2-BERT, AST; or one of the
                        seed study, :class:`captum_spes.stability.SpeechClassifier`.
            extractor (FeatureExtractor or str): The model's feature extractor, or a processor that
                        holds one; of a classifier of the seed study the name of the task.

        Raises:
            ArgumentTypeError: the model is no such classifier, or the extractor another model's.

        Examples::

            >>> # Of Hugging Face: AutoModelForAudioClassification, AutoFeatureExtractor.
            >>> classifier = SpeechClassifier(ClassifierConfig({"answer": ("no", "yes")})).eval()
            >>> explainer = SpeechClassificationAttribution(SPES(classifier), "answer")
            >>> result = explainer.attribute("speech.flac", n_samples=100, seed=0)
            >>> len(result.spectrogram_attr)
            1
        """
        super().__init__(attr_method, extractor)
        if not isinstance(self.adapter, ClassifierModel):
            raise ArgumentTypeError(
                f"a {type(attr_method.forward_func).__name__} tells no class: explain it with "
                "SpeechToTextAttribution."
            )
