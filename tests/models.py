"""Untrained models in which every stage is alive, and images for them."""

import numpy as np
import torch
from numpy.typing import NDArray

from bivit.model.vit import BiViT
from bivit.sim.config import ViTConfig


def random_model(config: ViTConfig, seed: int = 0) -> BiViT:
    """A Bi-ViT with random norms, biases and tokens: some gammas of the block norms are negative."""
    torch.manual_seed(seed)
    model = BiViT(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("bias", "token")):
                parameter.normal_(std=0.3)
            elif "norm" in name and name.endswith("weight"):
                parameter.add_(0.6 * torch.randn_like(parameter))
    model.project()
    return model.eval()


def random_images(config: ViTConfig, count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Uniform noise, uint8[count, img_size, img_size, in_chans]."""
    shape = (count, config.img_size, config.img_size, config.in_chans)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
