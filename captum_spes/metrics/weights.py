"""A model's weights, permuted for a while: stage by stage, and back again bit for bit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import Module, ModuleList

from captum_spes.errors import ArgumentError, ArgumentTypeError, several

# Of modules, or parameters, that a message names.
_SHOWN = 12


class Stage(NamedTuple):
    """Weights that are permuted together.

    Attributes:
        name: what they are called.
        tensors: the parameters, by their names.
    """

    name: str
    tensors: dict[str, Tensor]


def weight_stages(model: object, modules: Sequence[Any] | None = None) -> list[Stage]:
    """The stages of a model, in the order in which it registers its modules, which is that from
    input to output as far as families keep to it.

    Each layer of a stack of layers is a stage; what stands between stacks is one together (the
    convolutions and positions before an encoder's layers, for example).

    Args:

        model (Module): The model.
        modules (sequence, optional): Names of modules, as ``model.named_modules()`` has them, or
                    sequences of names for what is to be permuted together.
                    Default: None, the model's own structure

    Returns:
        *list* of :class:`Stage`; none is empty.

    Raises:
        ArgumentError: there is no such module, or it has no weights; or weights are not in memory.
        ArgumentTypeError: the model is no Module.
    """
    if not isinstance(model, Module):
        raise ArgumentTypeError(
            f"permuting weights needs a torch.nn.Module, got {type(model).__name__}: make the "
            "method with the model itself."
        )
    stages = _own_stages(model, "") if modules is None else _given_stages(model, modules)
    if not stages:
        raise ArgumentError(f"{type(model).__name__} has no weights to permute.")
    for stage in stages:
        absent = [name for name, tensor in stage.tensors.items() if tensor.device.type == "meta"]
        if absent:
            raise ArgumentError(
                f"{absent[0]} is not in memory (it was offloaded, or never loaded): load the whole "
                "model onto one device to permute its weights."
            )
    return stages


class WeightKeeper:
    """Permutes weights and remembers what they were.

    Every tensor is changed in place, so that what shares its memory (tied weights, the caller's own
    references) sees the same values, and is permuted once however often it occurs.
    """

    def __init__(self) -> None:
        self._kept: list[tuple[Tensor, Tensor]] = []
        self._places: set[tuple[Any, ...]] = set()

    def permute(self, stage: Stage, generator: torch.Generator) -> float:
        """Permute the values of each tensor of a stage among themselves; return the share of the
        stage's values that are others than before."""
        n_changed = n_values = 0
        for tensor in stage.tensors.values():
            n_values += tensor.numel()
            place = _place(tensor)
            if place in self._places:  # tied to what was permuted before
                n_changed += tensor.numel()
                continue
            values = tensor.detach()
            before = values.clone()
            self._kept.append((values, before))
            self._places.add(place)
            order = torch.randperm(values.numel(), generator=generator, device="cpu")
            flat = before.reshape(-1)[order.to(values.device)]
            _write(values, flat.reshape(values.shape))
            n_changed += int((values != before).sum())
        return n_changed / max(1, n_values)

    def restore(self) -> None:
        """Write back what was there, the last change first, also where Ctrl-C is pressed while it
        goes on: the exception then comes at the end."""
        interrupt: KeyboardInterrupt | None = None
        while self._kept:
            try:
                _write(*self._kept[-1])
                self._kept.pop()
            except KeyboardInterrupt as pressed:
                interrupt = pressed
        self._places.clear()
        if interrupt is not None:
            raise interrupt


@contextmanager
def kept_weights() -> Iterator[WeightKeeper]:
    """Weights that are permuted inside the context are what they were after it."""
    keeper = WeightKeeper()
    try:
        yield keeper
    finally:
        keeper.restore()


def _write(tensor: Tensor, values: Tensor) -> None:
    # Weights that were made in inference mode can only be written there.
    with torch.inference_mode(tensor.is_inference()), torch.no_grad():
        tensor.copy_(values)


def _place(tensor: Tensor) -> tuple[Any, ...]:
    storage = tensor.untyped_storage().data_ptr()
    return storage, tensor.storage_offset(), tuple(tensor.shape), tensor.stride()


# Stages ----------------------------------------------------------------------------------


def _given_stages(model: Module, modules: Sequence[Any]) -> list[Stage]:
    known = dict(model.named_modules(remove_duplicate=False))
    stages = []
    for entry in several("modules", modules, "a sequence of names of modules"):
        names = [entry] if isinstance(entry, str) else several("modules", entry, "names")
        tensors: dict[str, Tensor] = {}
        for name in names:
            if name not in known or not name:
                shown = ", ".join(name for name in list(known)[1 : _SHOWN + 1])
                raise ArgumentError(
                    f"the model has no module {name!r}; model.named_modules() lists them: {shown}, "
                    "..."
                )
            tensors |= _tensors(known[name], f"{name}.")
        if not tensors:
            raise ArgumentError(f"{', '.join(names)}: there are no weights to permute.")
        stages.append(Stage(" + ".join(names), tensors))
    return stages


def _own_stages(module: Module, path: str) -> list[Stage]:
    stages: list[Stage] = []
    between: dict[str, Tensor] = {
        f"{path}{name}": tensor for name, tensor in module.named_parameters(recurse=False)
    }
    members = list(between)

    def close() -> None:
        if between:
            stages.append(Stage(_joined(members), dict(between)))
        between.clear()
        members.clear()

    for name, child in module.named_children():
        own = f"{path}{name}"
        tensors = _tensors(child, f"{own}.")
        if not tensors:
            continue
        if _is_stack(child):
            close()
            stages += [
                Stage(f"{own}.{number}", layer)
                for number, each in child.named_children()
                if (layer := _tensors(each, f"{own}.{number}."))
            ]
        elif any(_is_stack(part) for part in child.modules()):
            close()
            stages += _own_stages(child, f"{own}.")
        else:
            between |= tensors
            members.append(own)
    close()
    return stages


def _is_stack(module: Module) -> bool:
    """Whether a module is a list of layers, and not of single operations."""
    return isinstance(module, ModuleList) and any(
        any(True for _ in layer.children()) for layer in module
    )


def _tensors(module: Module, prefix: str) -> dict[str, Tensor]:
    return dict(module.named_parameters(prefix.removesuffix("."), remove_duplicate=False))


def _joined(members: list[str]) -> str:
    """What stands side by side is named by its last part: a.b.c, d, e."""
    first, *others = members
    return ", ".join([first, *(name.rpartition(".")[2] for name in others)])
