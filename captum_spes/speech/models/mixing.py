"""What the attention of single layers takes from each source: the modules of transformers that read
it, the pass that is taken down, and layers run again without some values."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from captum_spes.errors import ArgumentTypeError
from captum_spes.speech.models.attention import attention_reader
from captum_spes.speech.models.capabilities import SpeechInput, TargetSequence
from captum_spes.speech.models.encoder_decoder import HuggingFaceSpeechModel

# Which attention: that of the decoder to the encoder, the decoder's own, the encoder's own.
PARTS = ("cross", "decoder", "encoder")
_ATTENTION = {"cross": "encoder_attn", "decoder": "self_attn", "encoder": "self_attn"}
_VALUES, _OUTPUTS = "v_proj", ("out_proj", "o_proj")
# Numbers that are held at once where vectors are made of every pair of target and source.
_MOST_NUMBERS = 20_000_000


@dataclass
class AttentionLayer:
    """A layer and what one pass showed of it.

    Attributes:
        layer: the whole layer: attention, what else it has, and residual connections.
        attention: the attention in it.
        args: what the layer was given by place.
        kwargs: what it was given by name.
        output: ``(1, targets, width)``: what it gave.
        values: ``(1, sources, width)``: value vectors, heads side by side.
        weights: ``(1, heads, targets, sources)``; None where fast attention gives none.
    """

    layer: nn.Module
    attention: nn.Module
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    output: Any = None
    values: Any = None
    weights: Any = None

    @property
    def value_projection(self) -> nn.Module:
        """What makes value vectors."""
        found: nn.Module = getattr(self.attention, _VALUES)
        return found

    def without(self, removed: Tensor) -> Tensor:
        """Run the layer again on what it was given, with the value vectors of some sources zeroed.

        Args:
            removed: bool ``(batch, sources)``, True where a value vector becomes 0.

        Returns:
            ``(batch, targets, width)``.
        """
        owner, kept = threading.get_ident(), ~removed

        def zero(module: Any, args: Any, output: Tensor) -> Tensor | None:
            if threading.get_ident() != owner:
                return None
            return output * kept[:, :, None].to(output.device, output.dtype)

        handle = self.value_projection.register_forward_hook(zero)
        try:
            with torch.no_grad():
                args = _for_batch(self.args, len(removed))
                return _first(self.layer(*args, **_for_batch(self.kwargs, len(removed))))
        finally:
            handle.remove()


def check_layers(adapter: Any, part: str) -> None:
    """Raise, before the model runs, where it has no layers whose values can be read."""
    is_encoder_decoder: bool = isinstance(adapter, HuggingFaceSpeechModel)
    if not is_encoder_decoder:
        raise ArgumentTypeError(
            "context mixing is read from encoder-decoders of transformers, such as Whisper; "
            f"{type(adapter).__name__} is none."
        )
    _layers_of(adapter.model, part)


def read_layers(
    adapter: Any,
    part: str,
    speech: SpeechInput,
    target: TargetSequence | None,
    *,
    weights: bool = False,
) -> list[AttentionLayer]:
    """Run the intact speech once and take down what the layers of a part were given and gave.

    Args:
        adapter: of an encoder-decoder.
        part: one of ``PARTS``.
        speech: the utterance.
        target: what the decoder reads; None where only the encoder runs.
        weights: whether to read attention weights, which a copy of the model with slow attention
            gives; its layers are of the copy.
    """
    with torch.no_grad(), adapter.evaluation_mode():
        reader = adapter
        if weights:
            reader = copy.copy(adapter)
            reader.model = attention_reader(adapter.model)
        found = _layers_of(reader.model, part)
        with _watched(found):
            states = reader.encode(speech, speech.spectrogram[None].to(adapter.device))
            if target is not None:
                reader.decode(states, target)
    return found


def contributions(layer: AttentionLayer, rows: Tensor, groups: Tensor) -> Tensor:
    """Norms of what attention adds to each target from each group of sources, ``(rows, groups)``:
    the sum over its sources and all heads of weight times value times output projection.

    Args:
        layer: with weights.
        rows: indices of the targets.
        groups: ``(sources,)`` the group of each of the first sources; others are left out.
    """
    weights = layer.weights[0][:, rows, : len(groups)].float()
    n_heads = len(weights)
    values = layer.values[0, : len(groups)].float()
    project = _output_projection(layer.attention).weight.detach().float()  # (width, heads * size)
    size = project.shape[1] // n_heads
    values = values.unflatten(-1, (-1, size))  # some models share values between heads
    values = values.repeat_interleave(n_heads // values.shape[1], 1)
    written = torch.einsum("shk,dhk->shd", values, project.unflatten(1, (n_heads, size)))
    n_groups = int(groups.max()) + 1
    step = max(1, _MOST_NUMBERS // written[:, 0].numel())
    norms = []
    for first in range(0, len(rows), step):
        each = torch.einsum("hts,shd->tsd", weights[:, first : first + step], written)
        summed = each.new_zeros(len(each), n_groups, each.shape[-1])
        norms.append(summed.index_add_(1, groups.to(each.device), each).norm(dim=-1))
    return torch.cat(norms).cpu()


def _layers_of(model: Any, part: str) -> list[AttentionLayer]:
    stack = model.get_encoder() if part == "encoder" else model.get_decoder()
    name = _ATTENTION[part]
    layers: Any = getattr(stack, "layers", None)
    if layers is None:  # some wrap the decoder once more
        layers = getattr(getattr(stack, "decoder", None), "layers", [])
    found = [AttentionLayer(layer, attention) for layer in layers
             if (attention := getattr(layer, name, None)) is not None]  # fmt: skip
    known = all(
        hasattr(one.attention, _VALUES) and _output_projection(one.attention) is not None
        for one in found
    )
    if not found or not known:
        raise ArgumentTypeError(
            f"the context mixing of {type(model).__name__} ({part}) cannot be read: it needs "
            f"layers whose {name} has {_VALUES} and {' or '.join(_OUTPUTS)}, as Whisper's have."
        )
    return found


def _output_projection(attention: nn.Module) -> Any:
    found = (getattr(attention, name, None) for name in _OUTPUTS)
    return next((own for own in found if own is not None), None)


@contextmanager
def _watched(layers: list[AttentionLayer]) -> Iterator[None]:
    """Take down what this thread's pass gives to layers, and what they make of it."""
    owner, handles = threading.get_ident(), list[Any]()

    def watch(one: AttentionLayer) -> None:
        def given(module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
            if threading.get_ident() == owner:
                one.args, one.kwargs = _kept(args), _kept(dict(kwargs))

        def made(module: Any, args: Any, output: Any) -> None:
            if threading.get_ident() == owner:
                one.output = _first(output).detach().clone()

        def valued(module: Any, args: Any, output: Tensor) -> None:
            if threading.get_ident() == owner:
                one.values = output.detach().clone()

        def attended(module: Any, args: Any, output: Any) -> None:
            if threading.get_ident() == owner and isinstance(output, tuple):
                one.weights = output[1]

        handles.append(one.layer.register_forward_pre_hook(given, with_kwargs=True))
        handles.append(one.layer.register_forward_hook(made))
        handles.append(one.value_projection.register_forward_hook(valued))
        handles.append(one.attention.register_forward_hook(attended))

    try:
        for one in layers:
            watch(one)
        yield
    finally:
        for handle in handles:
            handle.remove()


def _first(output: Any) -> Tensor:
    found = output[0] if isinstance(output, tuple) else output
    assert isinstance(found, Tensor)
    return found


def _mapped(change: Any, value: Any) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, tuple | list):
        return type(value)(_mapped(change, own) for own in value)
    if isinstance(value, dict):
        return {name: _mapped(change, own) for name, own in value.items()}
    return value


def _kept(value: Any) -> Any:
    # A copy: layers may change what they are given in place.
    return _mapped(lambda own: own.detach().clone(), value)


def _for_batch(value: Any, size: int) -> Any:
    """What was given for one example, for a batch of equal ones."""

    def expanded(own: Tensor) -> Tensor:
        is_of_one = own.dim() > 1 and len(own) == 1
        return own.expand(size, *own.shape[1:]) if is_of_one else own

    return _mapped(expanded, value)
