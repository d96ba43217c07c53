"""What runs in each process that explains a corpus."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from numpy.typing import NDArray

from captum_spes.speech import Settings, SpeechToTextAttribution, named_methods
from captum_spes.speech.identity import model_digest
from captum_spes.speech.models import load_model


class Job(NamedTuple):
    """What every utterance is explained with.

    Attributes:
        model: name or folder, or a function that returns ``(model, processor)``.
        method: a key of ``METHODS``.
        settings: as asked for.
    """

    model: str | Callable[[], tuple[Any, Any]]
    method: str
    settings: Settings


_job: Job | None = None


def begin(job: Job) -> None:
    """Called once in each process; the model is loaded when it is first needed, where what goes
    wrong can be told."""
    global _job
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # each would be told for each utterance and worker
    _job = job


def describe(job: Job) -> dict[str, Any]:
    """What of a job decides the explanations, in JSON's types."""
    (method,) = named_methods([job.method])
    return {"method": job.method, "settings": method.settings(job.settings).to_dict()}


def identity() -> dict[str, str]:
    """What makes the model that is loaded here the same as another one."""
    _, model, processor, _ = _loaded()
    return {"digest": model_digest(model, processor)}


def explain(audio: Any, seed: int) -> tuple[dict[str, NDArray[Any]], str]:
    """The arrays and the text of an explanation, which a store keeps as they are."""
    explainer, _, _, settings = _loaded()
    return explainer.attribute(audio, settings=settings, seed=seed, show_progress=False)._stored()


@cache
def _loaded() -> tuple[SpeechToTextAttribution, Any, Any, Settings]:
    assert _job is not None
    if isinstance(_job.model, str):
        model, processor = load_model(_job.model)
    else:
        model, processor = _job.model()
    (method,) = named_methods([_job.method])
    explainer = SpeechToTextAttribution(method.make(model), processor)
    return explainer, model, processor, method.settings(_job.settings)
