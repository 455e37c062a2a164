"""First values of the learnable scales, from statistics of the first batches (docs/model.md).

A scale a head starts as the mean magnitude of what it scales: of normalised q and k, and twice the mean probability of
the attention. The statistics stay in registered buffers (`attn.q_norm.statistic`, ...), so that a checkpoint tells
where its scales started, and resuming does not start them again.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ...sim.errors import check
from ..vit.heads import SMALLEST_SCALE, AttentionBinarizer, HeadNorm
from ..vit.vit import BiViT


def is_calibrated(model: BiViT) -> bool:
    """Whether the scales have been started from statistics."""
    return any(int(part.statistic.batches) > 0 for part in _parts(model, HeadNorm))


@torch.no_grad()
def calibrate(model: BiViT, batches: Iterable[Tensor]) -> None:
    """Start the learnable scales of every head from statistics, q and k first, then the attention that they shape.

    Parameters
    ----------
    model : BiViT
        Its scales and statistics are changed. Fixed attention keeps its scales.
    batches : iterable of uint8[B, H, W, C]
        At least one; a few hundred images are enough.

    Raises
    ------
    BivitError
        When there are no batches, or the scales have been started before.
    """
    check(not is_calibrated(model), "the scales of this model have been started from statistics before; train on")
    images = list(batches)
    check(len(images) > 0, "calibration needs at least one batch of images, got none")
    norms, attentions = _parts(model, HeadNorm), _parts(model, AttentionBinarizer)
    _collect(model, norms, images)
    for part in (norm for norm in norms if norm.scale.requires_grad):
        part.scale.copy_(part.statistic.mean().clamp(min=SMALLEST_SCALE))
    learned = [part for part in attentions if part.block.attn_mode == "softmax" and part.scale.requires_grad]
    _collect(model, learned, images)
    for part in learned:
        part.scale.copy_((2 * part.statistic.mean()).clamp(min=SMALLEST_SCALE))


def _parts(model: BiViT, kind: type) -> list:
    return [module for module in model.modules() if isinstance(module, kind)]


def _collect(model: BiViT, parts: list, batches: list[Tensor]) -> None:
    was_training = model.training
    model.train()
    for part in parts:
        part.statistic.collecting = True
    try:
        for images in batches:
            model(images)
    finally:
        for part in parts:
            part.statistic.collecting = False
        model.train(was_training)
