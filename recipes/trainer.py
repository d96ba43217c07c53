"""What every training here has in common: a step, an average of the weights, a run that goes on."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Pace:
    """How fast a model learns.

    Attributes:
        peak: the highest learning rate.
        warm_up: steps until it is reached.
        decay: of the average of the weights, from step to step.
    """

    peak: float
    warm_up: int = 400
    decay: float = 0.998


class Trainer:
    """A model, what trains it, and where it has come to.

    Args:
        model: weights that need a gradient are trained.
        loss: of the model, on a batch.
        pace: how fast it learns.
        folder: where the model is saved.
    """

    def __init__(
        self, model: Any, loss: Callable[[Any, Any], Tensor], pace: Pace, folder: Path
    ) -> None:
        self.model, self.loss, self.pace, self.folder = model, loss, pace, folder
        self.trained = [own for own in model.parameters() if own.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, pace.peak, (0.9, 0.98), weight_decay=0.01)
        self.average = torch.optim.swa_utils.AveragedModel(
            model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(pace.decay)
        )
        self.step = 0

    @property
    def averaged(self) -> Any:
        """The model with averaged weights."""
        return self.average.module

    def learn(self, batch: Any, progress: float) -> Tensor:
        """From one batch, at a share of the whole run; returns the loss, still on its device."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.pace.peak * self._share(progress)
        self.model.train()
        with half_precision(self.model.device):
            loss = self.loss(self.model, batch)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.average.update_parameters(self.model)
        self.step += 1
        return loss.detach()

    def save(self, record: dict[str, Any]) -> None:
        """Write the averaged model, the log, and what a stopped run needs to go on."""
        self.averaged.save_pretrained(self.folder)
        state = {name: part.state_dict() for name, part in self._parts().items()}
        unfinished = self.folder / "training.pt.part"
        torch.save({**state, "step": self.step}, unfinished)
        unfinished.replace(self.folder / "training.pt")
        with (self.folder / "training.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(record) + "\n")
        print(json.dumps(record), flush=True)

    def resume(self) -> None:
        """Go on where a run into the same folder was stopped."""
        saved = self.folder / "training.pt"
        if not saved.exists():
            return
        state = torch.load(saved, weights_only=True)
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.step = state["step"]

    def _share(self, progress: float) -> float:
        """Of the learning rate: rise in a line, then fall along a cosine to a hundredth."""
        if self.step < self.pace.warm_up:
            return (self.step + 1) / self.pace.warm_up
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

    def _parts(self) -> dict[str, Any]:
        return {"model": self.model, "optimizer": self.optimizer, "average": self.average}


def half_precision(device: torch.device) -> AbstractContextManager[Any]:
    """Multiply in bfloat16; what needs more stays in float32."""
    return torch.autocast(device.type, torch.bfloat16)
