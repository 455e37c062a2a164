"""AdamW with the right groups of parameters, and the course of its learning rate."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from .parts import WeightLinear
from .recipe import Recipe
from .vit import VisionTransformer


def make_optimizer(model: VisionTransformer, recipe: Recipe) -> torch.optim.AdamW:
    """Return AdamW over the parameters of a model that have a gradient; the loop sets its learning rate."""
    return torch.optim.AdamW(parameter_groups(model, recipe.weight_decay), lr=recipe.lr, betas=recipe.betas)


def parameter_groups(model: VisionTransformer, weight_decay: float) -> list[dict[str, Any]]:
    """Decay real-valued weight matrices only.

    Decay of latent weights would only make their signs flip more easily; norms, biases, scales, embeddings and tokens
    are no matrices.
    """
    decayed = {
        id(module.weight)
        for module in model.modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and not isinstance(module, WeightLinear)
    }
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in parameters if id(p) in decayed], "weight_decay": weight_decay},
        {"params": [p for p in parameters if id(p) not in decayed], "weight_decay": 0.0},
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
