"""What a worker does that explains a corpus."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from captum_spes.corpus.store_layout import packed
from captum_spes.errors import optional_library
from captum_spes.speech import Settings, SpeechToTextAttribution, named_methods
from captum_spes.speech.identity import model_digest
from captum_spes.speech.models import load_model


class Job(NamedTuple):
    """What every utterance is explained with.

    Attributes:
        model: name or folder, or a function that returns ``(model, processor)``.
        method: a key of ``METHODS``.
        settings: as asked for.
        precision: of the maps in the store.
        device: where a model that is named is put.
    """

    model: str | Callable[[], tuple[Any, Any]]
    method: str
    settings: Settings
    precision: str
    device: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """What of it decides the explanations, in JSON's types."""
        (method,) = named_methods([self.method])
        return {"method": self.method, "settings": method.settings(self.settings).to_dict()}

    def load(self) -> tuple[Any, Any]:
        """The model and its processor."""
        if isinstance(self.model, str):
            return load_model(self.model, self.device)
        return self.model()


class Explain:
    """A model that explains."""

    def __init__(self, job: Job) -> None:
        model, processor = job.load()
        (method,) = named_methods([job.method])
        self._h5py = optional_library("h5py", "a store of explanations", "store")
        self._precision = job.precision
        self._digest = model_digest(model, processor)
        self._explainer = SpeechToTextAttribution(method.make(model), processor)
        self._settings = method.settings(job.settings)

    def identity(self) -> dict[str, Any]:
        """What makes the model the same as another one, and what it takes."""
        adapter = self._explainer.adapter
        return {
            "digest": self._digest,
            "sampling_rate": adapter.sampling_rate,
            "max_seconds": adapter.max_seconds,
        }

    def __call__(self, task: tuple[str, Any, int]) -> bytes:
        """Explain a recording: its id, the audio and the seed; returns what a store takes."""
        id_, audio, seed = task
        result = self._explainer.attribute(
            audio, settings=self._settings, seed=seed, show_progress=False
        )
        return packed(self._h5py, id_, *result._stored(), self._precision)
