"""Predictions and Top-1 accuracy of the torch models."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..sim.errors import check
from ..sim.network.run_result import check_images
from .data.loader import batches
from .data.source import Source, check_source
from .vit.vit import VisionTransformer


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


@torch.no_grad()
def count_right(
    model: VisionTransformer,
    data: Source,
    batch_size: int = 256,
    rank: int = 0,
    world: int = 1,
    advance: Callable[[int], None] | None = None,
) -> tuple[int, int]:
    """Count the images whose label is predicted.

    Parameters
    ----------
    model : VisionTransformer
        Put into evaluation mode.
    data : Source
    batch_size : int
    rank, world : int
        Take the share of one of several processes.
    advance : callable, optional
        Called after each batch with the number of images so far.

    Returns
    -------
    right, images : int
        Of all that this process has read.
    """
    model.eval()
    device, right, seen = next(model.parameters()).device, 0, 0
    for images, labels in batches(data, batch_size, shuffle=False, rank=rank, world=world):
        if len(images):
            right += int((first_largest(model(images.to(device))) == labels.to(device)).sum())
        seen += len(images)
        if advance is not None:
            advance(seen)
    return right, seen


def evaluate(model: VisionTransformer, data: Source, batch_size: int = 256) -> float:
    """Return the share of images whose label is predicted, 0 .. 1; of those that can be read where others are left out.

    Raises
    ------
    BivitError
        When the images do not fit the model's config, or none can be read.
    """
    check_source(data, model.config)
    right, seen = count_right(model, data, batch_size)
    check(seen > 0, f"none of the {len(data)} images of {data.name} can be read")
    return right / seen
