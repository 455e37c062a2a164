"""Random changes of training images: flips, affine maps, colour operations, erased rectangles, mixed pairs.

Every image draws its own. All draws of one batch come from one generator that is made anew for each (seed, epoch,
step), in the order of the global batch, so that a resumed or a distributed training sees the same images.

The colour operations (as in RandAugment, Cubuk et al., arXiv 1909.13719: some operations a image, each chosen evenly,
with a strength) are kornia's; mixing is that of mixup (arXiv 1710.09412) and CutMix (arXiv 1905.04899).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from ...sim.errors import check


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Limits and probabilities; each image draws its own within them. All 0 leaves images as they are.

    Raises
    ------
    BivitError
        When a limit is negative, or a probability not 0 to 1.
    """

    #: Probability of a mirror image.
    flip: float = 0.0
    #: Pixels, in each direction.
    shift: float = 0.0
    #: Degrees.
    rotation: float = 0.0
    #: Natural logarithm of the largest magnification.
    zoom: float = 0.0
    #: Columns by which a row moves for each row further down.
    shear: float = 0.0
    #: Colour operations, one after the other.
    operations: int = 0
    #: Largest strength of a colour operation, 0 .. 1.
    strength: float = 0.5
    #: Probability that a rectangle of 2 to 33 % of the image becomes noise.
    erase: float = 0.0
    #: Parameter of the beta distribution of mixup's and CutMix's shares; 0 is off. With both, a batch takes either.
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        for name in (f.name for f in fields(self)):
            check(getattr(self, name) >= 0, f"{name} is a largest magnitude, 0 or more, got {getattr(self, name)}")
        for name in ("flip", "erase", "strength"):
            check(getattr(self, name) <= 1, f"{name} must be 0 to 1, got {getattr(self, name)}")
        most = 100
        check(isinstance(self.operations, int), f"operations must be a whole number, got {self.operations!r}")
        check(self.operations <= most, f"operations must be at most {most}, got {self.operations}")

    @property
    def mixes(self) -> bool:
        """Whether images are mixed in pairs, which makes labels shares of classes."""
        return self.mixup > 0 or self.cutmix > 0


class Draws:
    """Uniform random numbers for the rows of one batch, the same for any division of it among processes.

    Parameters
    ----------
    generator : torch.Generator
        On the CPU, so that every device sees the same numbers.
    total : int
        Images of the global batch.
    start : int
        Where this process's images begin in it.
    images : int
        How many are this process's.
    """

    def __init__(self, generator: torch.Generator, total: int, start: int, images: int) -> None:
        self.generator, self.total = generator, total
        self.own = slice(start, start + images)

    def uniform(self, count: int) -> Tensor:
        """Return float32[count, images] in 0 .. 1; every process draws for the global batch and keeps its own."""
        return torch.rand(count, self.total, generator=self.generator)[:, self.own]

    def beta(self, concentration: float) -> float:
        """Return one draw of Beta(a, a) for the whole batch."""
        gammas = torch._standard_gamma(torch.full((2,), concentration, dtype=torch.float64), generator=self.generator)
        return float(gammas[0] / gammas.sum())


def augment(images: Tensor, limits: Augmentation, draws: Draws) -> Tensor:
    """Change each image at random.

    Parameters
    ----------
    images : uint8[B, H, W, C]
    limits : Augmentation
    draws : Draws

    Returns
    -------
    uint8[B, H, W, C]
        On the images' device.
    """
    planes = images.permute(0, 3, 1, 2)
    if limits.flip > 0:
        mirrored = (draws.uniform(1)[0] < limits.flip).to(images.device)
        planes = torch.where(mirrored.view(-1, 1, 1, 1), planes.flip(-1), planes)
    if limits.shift or limits.rotation or limits.zoom or limits.shear:
        planes = _affine(planes, limits, draws)
    for _ in range(limits.operations):
        planes = _colour(planes, limits, draws)
    if limits.erase > 0:
        planes = _erase(planes, limits, draws)
    return planes.permute(0, 2, 3, 1)


def _affine(planes: Tensor, limits: Augmentation, draws: Draws) -> Tensor:
    """Map each image by its own affine map, with bilinear interpolation; what appears is 0."""
    height, width = planes.shape[2:]
    numbers = (2 * draws.uniform(5) - 1).to(planes.device)
    angle, zoom = numbers[0] * math.radians(limits.rotation), torch.exp(numbers[1] * limits.zoom)
    cos, sin, shear = zoom * angle.cos(), zoom * angle.sin(), numbers[2] * limits.shear
    # Coordinates run over -1 .. 1, so one pixel is 2 / size.
    right, down = numbers[3] * limits.shift * 2 / width, numbers[4] * limits.shift * 2 / height
    maps = torch.stack([torch.stack([cos, shear - sin, right], -1), torch.stack([sin, cos, down], -1)], 1)
    grid = F.affine_grid(maps, list(planes.shape), align_corners=False)
    return _to_bytes(F.grid_sample(planes.float(), grid, align_corners=False))


def _to_bytes(planes: Tensor) -> Tensor:
    return planes.round().clamp(0, 255).to(torch.uint8)


#: An operation takes float32[B, C, H, W] in 0 .. 1 and strengths float32[B] in -1 .. 1, 0 changing nothing.
Operation = Callable[[Tensor, Tensor], Tensor]


def colour_operations(channels: int) -> dict[str, Operation]:
    """Colour operations by name; `saturation` and `hue` exist for three channels."""
    from kornia import enhance

    operations: dict[str, Operation] = {
        "brightness": lambda x, s: enhance.adjust_brightness(x, 0.6 * s),
        "contrast": lambda x, s: enhance.adjust_contrast_with_mean_subtraction(x, 1 + 0.9 * s),
        "sharpness": lambda x, s: enhance.sharpness(x, 1 + 0.9 * s),
        "posterize": lambda x, s: enhance.posterize(x, (8 - 5 * s.abs()).round().int()),
        "solarize": lambda x, s: torch.where(x <= (1 - s.abs()).view(-1, 1, 1, 1), x, 1 - x),
        "equalize": lambda x, s: torch.lerp(x, enhance.equalize(x), s.abs().view(-1, 1, 1, 1)),
    }
    if channels == 3:
        operations["saturation"] = lambda x, s: enhance.adjust_saturation(x, 1 + 0.9 * s)
        operations["hue"] = lambda x, s: enhance.adjust_hue(x, 0.5 * math.pi * s)
    return operations


def _colour(planes: Tensor, limits: Augmentation, draws: Draws) -> Tensor:
    """Let each image go through one colour operation, chosen evenly."""
    operations = colour_operations(planes.shape[1]).values()
    choice, number = draws.uniform(2)
    chosen = (choice * len(operations)).long().to(planes.device)
    strength = ((2 * number - 1) * limits.strength).to(planes.device)
    result = planes.clone()
    for index, operation in enumerate(operations):
        rows = (chosen == index).nonzero().flatten()
        if len(rows):
            result[rows] = _to_bytes(255 * operation(planes[rows] / 255, strength[rows]))
    return result


def _erase(planes: Tensor, limits: Augmentation, draws: Draws) -> Tensor:
    """Fill a rectangle with one random byte a channel (random erasing, arXiv 1708.04896)."""
    erased, area, ratio, top, left = draws.uniform(5).to(planes.device)
    side, stretch = (0.02 + 0.31 * area).sqrt(), torch.exp((2 * ratio - 1) * math.log(1 / 0.3) / 2)
    inside = _rectangle(planes, top, left, side * stretch, side / stretch) & (erased < limits.erase).view(-1, 1, 1, 1)
    colours = (256 * draws.uniform(planes.shape[1])).to(planes.device, torch.uint8)
    return torch.where(inside, colours.t()[:, :, None, None], planes)


def _rectangle(planes: Tensor, top: Tensor, left: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """Masks bool[B, 1, H, W] of rectangles; sizes and positions in 0 .. 1 of the image and of the room that is left."""

    def inside(pixels: int, start: Tensor, size: Tensor) -> Tensor:
        length = (size.clamp(max=1) * pixels).round()
        first = (start * (pixels - length + 1)).floor().clamp(max=pixels - 1)
        at = torch.arange(pixels, device=planes.device)
        return (at >= first[:, None]) & (at < (first + length)[:, None])

    rows, columns = inside(planes.shape[2], top, height), inside(planes.shape[3], left, width)
    return (rows[:, None, :, None] & columns[:, None, None, :]).expand(-1, 1, -1, -1)


def mix(images: Tensor, labels: Tensor, classes: int, limits: Augmentation, draws: Draws) -> tuple[Tensor, Tensor]:
    """Mix each image with its neighbour in the batch, by mixup or CutMix.

    Neighbours are 0 and 1, 2 and 3, ...; a last odd one stays as it is. A division of the batch at even places does
    not change the pairs.

    Parameters
    ----------
    images : uint8[B, H, W, C]
    labels : int64[B]
    classes : int
    limits : Augmentation
    draws : Draws

    Returns
    -------
    images : uint8[B, H, W, C]
    shares : float32[B, classes]
        Of each class in each image; they sum to 1.
    """
    index = torch.arange(len(images), device=images.device)
    partner = index ^ 1
    partner = torch.where(partner < len(images), partner, partner ^ 1)
    cut = limits.cutmix > 0 and (limits.mixup == 0 or float(torch.rand((), generator=draws.generator)) < 0.5)
    share = draws.beta(limits.cutmix if cut else limits.mixup)
    planes = images.permute(0, 3, 1, 2)
    if cut:
        # One rectangle a pair, whose area is the neighbour's share.
        place = draws.uniform(2).to(images.device)[:, torch.minimum(partner, index)]
        side = torch.full((len(images),), math.sqrt(1 - share), device=images.device)
        inside = _rectangle(planes, place[0], place[1], side, side)
        planes = torch.where(inside, planes[partner], planes)
        own = 1 - inside.float().mean((1, 2, 3))
    else:
        planes = _to_bytes(torch.lerp(planes[partner].float(), planes.float(), share))
        own = torch.full((len(images),), share, device=images.device)
    one_hot = F.one_hot(labels, classes).float()
    shares = own[:, None] * one_hot + (1 - own)[:, None] * one_hot[partner]
    return planes.permute(0, 2, 3, 1), shares
