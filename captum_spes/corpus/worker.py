"""What a worker does that explains a corpus."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from captum_spes.attr.loop import AUTO
from captum_spes.corpus.store_layout import packed
from captum_spes.errors import optional_library
from captum_spes.speech import Settings, SpeechToTextAttribution, named_methods
from captum_spes.speech.identity import model_digest
from captum_spes.speech.models import load_model

Loader = Callable[[], tuple[Any, Any]]
# In the place of "auto": a batch size that is found anew changes the last bits of maps.
_BATCH = 16


def fixed_batches(settings: Settings) -> Settings:
    """Settings with which results do not depend on the machine."""
    if settings.perturbations_per_eval != AUTO:
        return settings
    return settings.replace(perturbations_per_eval=_BATCH)


def described_run(
    method: str, settings: Settings, seed: int, digest: str | None = None
) -> dict[str, Any]:
    """What decides the explanations of a store, in JSON's types.

    Args:
        method: its name.
        settings: those that it runs with.
        seed: that the seeds of utterances are made of.
        digest: of the model; None where it is not loaded yet.
    """
    found = {"method": method, "settings": settings.to_dict(), "seed": seed}
    return found if digest is None else {**found, "model": {"digest": digest}}


def loaded(model: str | Loader, device: str | None) -> tuple[Any, Any]:
    """A model and its processor, from a name, a folder or a function that returns them."""
    return load_model(model, device) if isinstance(model, str) else model()


def identity_of(adapter: Any, digest: str) -> dict[str, Any]:
    """What makes a model the same as another one, and what recordings it takes."""
    return {
        "digest": digest,
        "sampling_rate": adapter.sampling_rate,
        "max_seconds": adapter.max_seconds,
    }


class Job(NamedTuple):
    """What every utterance is explained with.

    Attributes:
        model: name or folder, or a function that returns ``(model, processor)``.
        method: a key of ``METHODS``.
        settings: as asked for.
        precision: of the maps in the store.
        device: where a model that is named is put.
    """

    model: str | Loader
    method: str
    settings: Settings
    precision: str
    device: str | None = None

    def described(self, seed: int, digest: str | None = None) -> dict[str, Any]:
        """What of it decides the explanations; see :func:`described_run`."""
        (method,) = named_methods([self.method])
        return described_run(self.method, method.settings(self.settings), seed, digest)


class Explain:
    """A model that explains."""

    def __init__(self, job: Job) -> None:
        model, processor = loaded(job.model, job.device)
        (method,) = named_methods([job.method])
        self._h5py = optional_library("h5py", "a store of explanations", "store")
        self._precision = job.precision
        self._digest = model_digest(model, processor)
        self._explainer = SpeechToTextAttribution(method.make(model), processor)
        self._settings = method.settings(job.settings)

    def identity(self) -> dict[str, Any]:
        """What makes the model the same as another one, and what it takes."""
        return identity_of(self._explainer.adapter, self._digest)

    def __call__(self, task: tuple[str, Any, int]) -> bytes:
        """Explain a recording: its id, the audio and the seed; returns what a store takes."""
        id_, audio, seed = task
        result = self._explainer.attribute(
            audio, settings=self._settings, seed=seed, show_progress=False
        )
        return packed(self._h5py, id_, *result._stored(), self._precision)
