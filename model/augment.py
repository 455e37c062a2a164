"""Random distortions of training images: what a scanned digit may undergo without becoming another."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..sim.errors import check


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Limits of the distortions; each image draws its own, uniformly within them. All 0 leaves images as they are.

    Raises
    ------
    BivitError
        When a limit is negative.
    """

    #: Pixels, in each direction.
    shift: float = 0.0
    #: Degrees.
    rotation: float = 0.0
    #: Natural logarithm of the largest magnification.
    zoom: float = 0.0
    #: Columns by which a row moves for each row further down.
    shear: float = 0.0

    def __post_init__(self) -> None:
        for name in ("shift", "rotation", "zoom", "shear"):
            check(getattr(self, name) >= 0, f"{name} is a largest magnitude, 0 or more, got {getattr(self, name)}")

    @property
    def is_identity(self) -> bool:
        """Whether images stay as they are."""
        return self == Augmentation()


def augment(images: Tensor, limits: Augmentation, generator: torch.Generator) -> Tensor:
    """Distort each image by its own random affine map, with bilinear interpolation; what appears is 0.

    Parameters
    ----------
    images : uint8[B, H, W, C]
    limits : Augmentation
    generator : torch.Generator
        Source of the draws.

    Returns
    -------
    uint8[B, H, W, C]
    """
    if limits.is_identity:
        return images
    draws = 2 * torch.rand(5, len(images), generator=generator) - 1
    angle, zoom = draws[0] * math.radians(limits.rotation), torch.exp(draws[1] * limits.zoom)
    cos, sin, shear = zoom * angle.cos(), zoom * angle.sin(), draws[2] * limits.shear
    # Coordinates run over -1 .. 1, so one pixel is 2 / size.
    right, down = draws[3] * limits.shift * 2 / images.shape[2], draws[4] * limits.shift * 2 / images.shape[1]
    maps = torch.stack([torch.stack([cos, shear - sin, right], -1), torch.stack([sin, cos, down], -1)], 1)
    planes = images.permute(0, 3, 1, 2).float()
    grid = F.affine_grid(maps, list(planes.shape), align_corners=False)
    moved = F.grid_sample(planes, grid, align_corners=False)
    return moved.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
