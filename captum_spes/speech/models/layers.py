"""What the layers of an encoder make of a recording, whatever the architecture."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from captum_spes.errors import ArgumentTypeError
from captum_spes.speech.models.capabilities import HearsAudio, SpeechInput, require

# By what name layers are given their input where they are not given it by place.
_INPUT = "hidden_states"
# By convolutions without padding, at the ends.
_LOST_POSITIONS = 2


class LayerStates(NamedTuple):
    """States of one utterance, padding left out.

    Attributes:
        states: ``(positions, width)`` each, float32, on the CPU: what the first layer is given, and
            then what each layer gives.
        stride: frames of the spectrogram from one position to the next.
    """

    states: list[Tensor]
    stride: float


@dataclass
class _Stack:
    """What was seen of layers that run one after another; ``weights`` counts theirs."""

    size: int
    weights: int
    given: Any = None
    made: dict[int, list[Any]] = field(default_factory=dict)

    def states(self) -> list[Any]:
        """Input and outputs; none where these are not the layers of an encoder, which keeps one
        state per position from the first to the last."""
        outputs = [made[0] for made in self.made.values() if len(made) == 1]
        states = [_sequence(one) for one in (self.given, *outputs)]
        is_whole = len(outputs) == self.size and all(one is not None for one in states)
        return states if is_whole and len({one.shape for one in outputs}) == 1 else []


def layer_states(adapter: Any, speech: SpeechInput) -> LayerStates:
    """Run the encoder once and take down what its layers make of the intact speech.

    Layers are a ``ModuleList`` of which each runs once and gives one state per position; of several
    such lists the one with the most weights (convolutions can stand in lists, too).

    Args:
        adapter: of the model; it must hold the model as a Module, ``adapter.model``.
        speech: the utterance.

    Raises:
        ArgumentTypeError: the model does not hear in such layers.
    """
    require(adapter, HearsAudio, "reading its layers")
    model = getattr(adapter, "model", None)
    if not isinstance(model, nn.Module):
        raise ArgumentTypeError(
            f"reading layers needs an adapter whose .model is a torch Module; {type(adapter)} has "
            f"{type(model).__name__}."
        )
    with torch.no_grad(), adapter.evaluation_mode(), _watched(model) as stacks:
        adapter.encode(speech, speech.spectrogram[None].to(adapter.device))
    by_weights = sorted(stacks, key=lambda stack: stack.weights, reverse=True)
    found = next((states for stack in by_weights if (states := stack.states())), [])
    if not found:
        raise ArgumentTypeError(
            f"{type(model).__name__} cannot be read layer by layer: it has no torch ModuleList of "
            "layers that each run once and give one state per position. Give states that were "
            "got in another way: EncoderStates(...)."
        )
    n_heard = getattr(adapter, "n_frames", None)
    n_frames = len(speech.spectrogram)
    covered = n_frames if n_heard is None else max(n_frames, int(n_heard(speech.features)))
    stride = _stride(covered, len(found[1]))
    kept = min(len(found[1]), math.ceil(n_frames / stride))
    return LayerStates([one[:kept].float().cpu() for one in found], stride)


@contextmanager
def _watched(model: nn.Module) -> Iterator[list[_Stack]]:
    """Fill what this thread's passes make of every list of modules."""
    owner, handles, stacks = threading.get_ident(), [], list[_Stack]()

    def watch(module: nn.Module, stack: _Stack, index: int) -> Any:
        def see(module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> None:
            if threading.get_ident() != owner:
                return
            if index == 0:
                stack.given = _detached(args[0] if args else kwargs.get(_INPUT))
            made = output[0] if isinstance(output, tuple) and output else output
            stack.made[index].append(_detached(made))

        return module.register_forward_hook(see, with_kwargs=True)

    try:
        for module in model.modules():
            if isinstance(module, nn.ModuleList) and len(module):
                weights = sum(own.numel() for own in module.parameters())
                stack = _Stack(len(module), weights, made={i: [] for i in range(len(module))})
                stacks.append(stack)
                handles += [watch(one, stack, index) for index, one in enumerate(module)]
        yield stacks
    finally:
        for handle in handles:
            handle.remove()


def _detached(value: Any) -> Any:
    # A copy: layers may change what they are given in place.
    return value.detach().clone() if isinstance(value, Tensor) else None


def _sequence(value: Any) -> Any:
    """``(positions, width)``; None for what is no such sequence. Some encoders have no batch."""
    if not isinstance(value, Tensor):
        return None
    if value.dim() == 3 and len(value) == 1:
        return value[0]
    return value if value.dim() == 2 else None


def _stride(n_frames: int, n_positions: int) -> float:
    """A whole number where one fits: convolutions with padding make ``ceil(frames / stride)``
    positions, those without one or two fewer. Otherwise positions are spread evenly."""
    nearest = max(1, round(n_frames / n_positions))
    for stride in (nearest, nearest + 1):
        if math.ceil(n_frames / stride) == n_positions:
            return float(stride)
    is_near = abs(n_frames / nearest - n_positions) <= _LOST_POSITIONS
    return float(nearest) if is_near else n_frames / n_positions
