"""AdamW with the right groups of parameters, and the course of its learning rate."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from ..vit.parts import WeightLinear
from ..vit.vit import VisionTransformer
from .recipe import Recipe, Stage


def make_optimizer(model: VisionTransformer, recipe: Recipe) -> torch.optim.AdamW:
    """Return AdamW over the parameters of a model that have a gradient; `set_learning_rate` comes before each step."""
    share = recipe.scale_lr if isinstance(recipe, Stage) else 1.0
    return torch.optim.AdamW(parameter_groups(model, recipe.weight_decay, share), lr=recipe.lr, betas=recipe.betas)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give each group its share of the learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["share"]


def parameter_groups(model: VisionTransformer, weight_decay: float, scale_share: float) -> list[dict[str, Any]]:
    """Decay real-valued weight matrices only, and let the scaling factors of the attention learn slowly.

    Decay of latent weights would only make their signs flip more easily; norms, biases, scales, embeddings and tokens
    are no matrices. A scaling factor is about 2 / n for n tokens, and a step of Adam has the size of the learning rate
    whatever the gradient is: scaling that, as learned step sizes do for plain gradient descent, changes nothing.

    Returns
    -------
    list of dict
        Groups of `torch.optim`, `share` being the group's part of the learning rate: decayed, plain, scaling factors.
    """
    decayed = {
        id(module.weight)
        for module in model.modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and not isinstance(module, WeightLinear)
    }
    scales = {id(parameter) for name, parameter in model.named_parameters() if name.endswith("attn_sign.scale")}
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    plain = [p for p in parameters if id(p) not in decayed | scales]
    return [
        {"params": [p for p in parameters if id(p) in decayed], "weight_decay": weight_decay, "share": 1.0},
        {"params": plain, "weight_decay": 0.0, "share": 1.0},
        {"params": [p for p in parameters if id(p) in scales], "weight_decay": 0.0, "share": scale_share},
    ]


def learning_rate(step: int, steps: int, warmup: float) -> float:
    """Share of the largest learning rate at a step: a linear rise, then a cosine to 0.

    >>> [round(learning_rate(step, 6, 0.3), 2) for step in range(6)]
    [0.5, 1.0, 1.0, 0.85, 0.5, 0.15]
    """
    rise = max(1, round(warmup * steps))
    if step < rise:
        return (step + 1) / rise
    return (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise))) / 2
