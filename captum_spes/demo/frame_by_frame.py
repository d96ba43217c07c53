"""Small models that write as the speech goes on: CTC, a transducer, CTC on samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from captum_spes.speech.models import load_model
from captum_spes.speech.models.loading import check_complete

_HERE = Path(__file__).parent
CTC_FOLDER = _HERE / "ctc_model"
TRANSDUCER_FOLDER = _HERE / "transducer_model"
WAVEFORM_FOLDER = _HERE / "waveform_model"


def ctc_on(bundled: Any) -> tuple[Any, Any]:
    """The CTC layer on the encoder of the bundled model, and its processor."""
    from transformers import ParakeetCTCConfig, ParakeetForCTC

    model = ParakeetForCTC(ParakeetCTCConfig.from_pretrained(CTC_FOLDER))
    return with_encoder(model, CTC_FOLDER, bundled), _processor(CTC_FOLDER)


def transducer_on(bundled: Any) -> tuple[Any, Any]:
    """The transducer on the encoder of the bundled model, and its processor."""
    from transformers import GenerationConfig, ParakeetForTDT, ParakeetTDTConfig

    model = ParakeetForTDT(ParakeetTDTConfig.from_pretrained(TRANSDUCER_FOLDER))
    model.generation_config = GenerationConfig.from_pretrained(TRANSDUCER_FOLDER)
    return with_encoder(model, TRANSDUCER_FOLDER, bundled), _processor(TRANSDUCER_FOLDER)


def of_samples(device: str | None) -> tuple[Any, Any]:
    """The model that reads samples, and its processor."""
    return load_model(WAVEFORM_FOLDER, device)


def with_encoder(model: Any, folder: Path, bundled: Any, tied: tuple[str, ...] = ()) -> Any:
    """A model with its own weights from a folder and the encoder of the bundled one.

    Args:
        model: with an ``encoder``, of any weights.
        folder: of the other weights.
        bundled: the bundled model.
        tied: names of weights that are others'.
    """
    from safetensors.torch import load_file

    own = load_file(folder / "model.safetensors")
    encoder = bundled.model.encoder.state_dict()
    state = {**own, **{f"encoder.{name}": value for name, value in encoder.items()}}
    known = set(model.state_dict())
    check_complete(
        str(folder),
        {
            "missing_keys": known - set(state) - set(tied),
            "unexpected_keys": set(state) - known,
            "mismatched_keys": [],
        },
    )
    model.load_state_dict(state, strict=False)
    if tied:
        model.tie_weights()
    return model.to(bundled.device).eval()


def _processor(folder: Path) -> Any:
    from transformers import ParakeetProcessor

    return ParakeetProcessor.from_pretrained(folder)
