"""Moving average of the weights during training (`Recipe.ema`)."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from ..vit.vit import VisionTransformer

_Tensors = tuple[Tensor, ...] | list[Tensor]


class Ema:
    """An average of a model's parameters that forgets exponentially; buffers are those of the last step.

    The decay after step t is at most ``(1 + t) / (10 + t)``, so that the first, random weights are soon forgotten.

    Parameters
    ----------
    model : VisionTransformer
        Copied at once.
    decay : float
        0 .. 1, share of the average that a step keeps.
    """

    def __init__(self, model: VisionTransformer, decay: float) -> None:
        self.decay = decay
        self.averaged = AveragedModel(model, multi_avg_fn=self._average)

    @property
    def model(self) -> VisionTransformer:
        """The model whose weights are the average."""
        return cast(VisionTransformer, self.averaged.module)

    def update(self, model: VisionTransformer) -> None:
        """Take in the weights after an optimizer step."""
        self.averaged.update_parameters(model)

    def _average(self, average: _Tensors, current: _Tensors, steps: Tensor | int) -> None:
        decay = min(self.decay, (1 + int(steps)) / (10 + int(steps)))
        torch._foreach_lerp_(average, current, 1 - decay)

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` restores."""
        return self.averaged.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state of `state_dict`."""
        self.averaged.load_state_dict(state)
