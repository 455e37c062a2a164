"""Predictions and Top-1 accuracy of the torch models."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..sim.network import check_images
from .data import Dataset
from .vit import VisionTransformer


@torch.no_grad()
def predict(model: VisionTransformer, images: NDArray[np.uint8], batch_size: int = 256) -> Tensor:
    """Return the predicted classes, int64[n], of images uint8[n, img_size, img_size, in_chans].

    Raises
    ------
    BivitError
        When the images do not fit the model's config.
    """
    check_images(images, model.config)
    model.eval()
    return torch.cat([first_largest(model(batch)) for batch in torch.from_numpy(images).split(batch_size)])


def first_largest(logits: Tensor) -> Tensor:
    """Return the lowest index of the largest logit, int64[n], as the hardware does; `argmax` does not promise it."""
    return (logits == logits.amax(-1, keepdim=True)).int().cumsum(-1).eq(0).sum(-1)


def evaluate(model: VisionTransformer, data: Dataset) -> float:
    """Return the share of images whose label is predicted, 0 .. 1."""
    return float((predict(model, data.images) == torch.as_tensor(data.labels)).double().mean())
