"""Random changes of images: by hand, for any division of a batch, and what is refused (model/train/augment.py)."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from models import random_images
from shapes import TINY
from torch import Tensor

from bivit.model.train.augment import Augmentation, Draws, augment, colour_operations, mix
from bivit.sim.errors import BivitError

#: Equalisation counts whole steps of 255 pixels, so that images need a few hundred.
CONFIG = replace(TINY, img_size=32, in_chans=3)
LIMITS = [
    Augmentation(flip=0.5),
    Augmentation(shift=1.0, rotation=20, zoom=0.2, shear=0.2),
    Augmentation(operations=2),
    Augmentation(erase=0.7),
]


def some_images(count: int, channels: int = 3) -> Tensor:
    return torch.from_numpy(random_images(replace(CONFIG, in_chans=channels), count))


def draws(total: int, start: int = 0, images: int | None = None, seed: int = 0) -> Draws:
    return Draws(torch.Generator().manual_seed(seed), total, start, total if images is None else images)


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_images_change_and_stay_images(limits: Augmentation, channels: int) -> None:
    images = some_images(20, channels)
    changed = augment(images, limits, draws(20))
    assert (changed.dtype, changed.shape) == (images.dtype, images.shape)
    moved = (changed != images).flatten(1).any(1)
    assert 4 <= int(moved.sum()) <= 20
    assert torch.equal(changed, augment(images, limits, draws(20)))
    assert not torch.equal(changed, augment(images, limits, draws(20, seed=1)))


def test_no_limits_leave_images_as_they_are() -> None:
    images = some_images(3)
    assert torch.equal(augment(images, Augmentation(), draws(3)), images)


@pytest.mark.parametrize("limits", [*LIMITS, Augmentation(mixup=1.0, cutmix=1.0)])
def test_a_divided_batch_sees_the_same_changes(limits: Augmentation) -> None:
    images, labels = some_images(12), torch.arange(12) % 3

    def changed(start: int, count: int) -> tuple[Tensor, Tensor]:
        part, own = slice(start, start + count), draws(12, start, count)
        result, shares = augment(images[part], limits, own), labels[part]
        return mix(result, shares, 3, limits, own) if limits.mixes else (result, shares)

    whole, parts = changed(0, 12), [changed(0, 4), changed(4, 8)]
    assert torch.equal(whole[0], torch.cat([part[0] for part in parts]))
    assert torch.equal(whole[1], torch.cat([part[1] for part in parts]))


@pytest.mark.parametrize(
    ("limits", "numbers", "expected"),
    [
        (Augmentation(shift=1.0), [0, 0, 0, 1, 0], lambda x: np.pad(x[:, 1:], ((0, 0), (0, 1)))),
        (Augmentation(shift=2.0), [0, 0, 0, 0, -1], lambda x: np.pad(x[:-2], ((2, 0), (0, 0)))),
        (Augmentation(rotation=90.0), [1, 0, 0, 0, 0], lambda x: np.rot90(x)),
        (Augmentation(zoom=1.0, shear=1.0, rotation=3.0), [0, 0, 0, 1, 1], lambda x: x),
    ],
    ids=["left", "down", "turn", "nothing"],
)
def test_affine_maps_by_hand(
    monkeypatch: pytest.MonkeyPatch, limits: Augmentation, numbers: list[float], expected: Callable[[Any], Any]
) -> None:
    image = np.arange(1, 17, dtype=np.uint8).reshape(4, 4)
    monkeypatch.setattr(Draws, "uniform", lambda self, count: (torch.tensor(numbers)[:, None] + 1) / 2)
    moved = augment(torch.from_numpy(image)[None, :, :, None], limits, draws(1))
    assert moved[0, :, :, 0].tolist() == expected(image).tolist()


@pytest.mark.parametrize("channels", [1, 3])
def test_colour_operations_without_strength_change_nothing(channels: int) -> None:
    planes = (some_images(6, channels) // 2).permute(0, 3, 1, 2)
    operations = colour_operations(channels)
    assert ("hue" in operations) == (channels == 3)
    for name, operation in operations.items():
        same = (255 * operation(planes / 255, torch.zeros(6))).round()
        assert torch.equal(same, planes.float()), name
        strong = operation(planes / 255, torch.linspace(-1, 1, 6))
        assert not torch.allclose(strong, planes / 255, atol=0.02), name


def test_erased_rectangles_have_one_colour_and_a_bounded_size() -> None:
    images = torch.zeros(200, 20, 20, 1, dtype=torch.uint8)
    erased = augment(images, Augmentation(erase=1.0), draws(200)).squeeze(-1)
    for image in erased:
        rows, columns = image.nonzero(as_tuple=True)
        if len(rows):
            box = image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
            assert len(box.unique()) == 1
            assert box.numel() <= 0.4 * 400


@pytest.mark.parametrize("limits", [Augmentation(mixup=1.0), Augmentation(cutmix=1.0)])
def test_mixed_pairs_by_hand(limits: Augmentation) -> None:
    images = torch.stack([torch.full((8, 8, 1), value, dtype=torch.uint8) for value in (0, 200, 40)])
    mixed, shares = mix(images, torch.tensor([0, 1, 2]), 3, limits, draws(3))
    assert torch.equal(mixed[2], images[2])
    assert shares.sum(1).tolist() == pytest.approx([1, 1, 1])
    assert shares[2].tolist() == [0, 0, 1]
    # What an image has of its neighbour is what its label says, to the rounding of a byte.
    assert float(mixed[0].float().mean()) == pytest.approx(200 * float(shares[0, 1]), abs=0.51)
    assert float(mixed[1].float().mean()) == pytest.approx(200 * float(shares[1, 1]), abs=0.51)


def test_what_is_out_of_range_is_refused() -> None:
    with pytest.raises(BivitError, match="shear is a largest magnitude, 0 or more, got -1"):
        Augmentation(shear=-1)
    with pytest.raises(BivitError, match="flip must be 0 to 1, got 2"):
        Augmentation(flip=2)
