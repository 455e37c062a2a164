"""Swin in torch: names, gradients, masked pairs, and what a changed tensor does."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from models import images_of, random_images, random_model
from shapes import SWIN, SWIN_MODES, SWINS
from torch import Tensor

from bivit.model.integer.run import run_integer
from bivit.model.vit.heads import MASKED_SCORE
from bivit.model.vit.vit import BinaryWeightViT, BiViT, RealViT, VisionTransformer, forward_taps
from bivit.sim.network.config import SwinConfig
from bivit.sim.network.network import IntNetwork
from bivit.sim.network.random import random_network
from bivit.sim.reference.run import run_reference

#: The second block of the first stage, whose windows are shifted.
SHIFTED = "layers.0.blocks.1.attn"
SHAPES = SWINS | SWIN_MODES


def step(model: VisionTransformer) -> VisionTransformer:
    """One backward pass, in training mode as `model.train.fit` does it."""
    logits = model.train()(images_of(model.config, 32))
    F.cross_entropy(logits, torch.arange(32) % model.config.num_classes).backward()
    return model


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("kind", [RealViT, BinaryWeightViT, BiViT])
def test_every_parameter_gets_a_finite_gradient(kind: type[VisionTransformer], name: str) -> None:
    model = random_model(SHAPES[name]) if kind is BiViT else kind(SHAPES[name])
    for key, parameter in step(model).named_parameters():
        assert parameter.grad is not None, key
        assert bool(torch.isfinite(parameter.grad).all()), key
        assert bool((parameter.grad != 0).any()), key


@pytest.mark.parametrize("config", [SWIN, SWINS["three_stages"]])
def test_all_kinds_share_names_and_shapes(config: SwinConfig) -> None:
    real, weights, binary = (
        {key: tuple(tensor.shape) for key, tensor in kind(config).state_dict().items()}
        for kind in (RealViT, BinaryWeightViT, BiViT)
    )
    assert real == weights
    missing = set(real) - set(binary)
    assert {key.split(".", 4)[-1] for key in missing} == {"attn.qkv.bias", "mlp.fc1.bias"}
    assert all(binary[key] == shape for key, shape in real.items() if key not in missing)


@pytest.mark.parametrize("attn_mode", ["softmax", "score"])
def test_pairs_that_may_not_attend_have_no_bit_and_no_gradient(attn_mode: str) -> None:
    model = random_model(replace(SWIN, attn_mode=attn_mode))
    scores: list[Tensor] = []
    block = model.get_submodule(SHIFTED.removesuffix(".attn"))
    block.register_forward_hook(lambda module, inputs, output: scores.append(output[1]))
    _, taps = forward_taps(model, images_of(SWIN, 3), [f"{SHIFTED}.attn_sign"])
    masked = scores[0] == MASKED_SCORE
    # Windows of 2 x 2 of each of three images: half of the pairs of two of them, all but the diagonal's in the corner.
    assert masked.unflatten(0, (3, 4)).sum((0, 2, 3, 4)).tolist() == [0, 24, 24, 36]
    assert not bool((taps[f"{SHIFTED}.attn_sign"][masked] != 0).any())


def first_difference(one: IntNetwork, other: IntNetwork) -> str | None:
    """First tap in which one network in numba differs from another in torch."""
    images = random_images(one.config, 3)
    expected, found = run_reference(one, images, taps="all"), run_integer(other, images)
    assert list(expected.taps) == list(found.taps)
    return next((tap for tap in expected.taps if not np.array_equal(expected.taps[tap], found.taps[tap])), None)


@pytest.mark.parametrize(
    ("key", "tap"),
    [
        ("patch_embed.norm.bias", "patch_embed"),
        ("layers.0.blocks.0.attn.qkv.weight", "layers.0.blocks.0.attn.qkv"),
        (f"{SHIFTED}.relative_position_bias_table", f"{SHIFTED}.scores"),
        ("layers.1.downsample.reduction.weight", "layers.1.downsample.reduction"),
        ("layers.1.blocks.0.mlp.fc1.weight", "layers.1.blocks.0.mlp.fc1"),
        ("head.weight", "head"),
    ],
)
def test_a_changed_tensor_shows_at_its_tap(key: str, tap: str) -> None:
    network = random_network(SWIN, seed=9)
    assert first_difference(network, network) is None
    changed = dict(network.tensors)
    changed[key] = changed[key].copy()
    changed[key].flat[changed[key].size // 2] ^= changed[key].dtype.type(1)
    assert first_difference(network, replace(network, tensors=changed)) == tap
