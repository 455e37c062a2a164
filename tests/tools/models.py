"""Untrained models in which every stage is alive, models whose parameters are extreme, and images for them."""

import torch
from shapes import random_images
from torch import Tensor

from bivit.model.vit.binarize import Binarization
from bivit.model.vit.vit import BiViT, VisionTransformer
from bivit.sim.network.config import ModelConfig
from bivit.sim.network.formats import Formats

__all__ = ["images_of", "nasty_model", "random_images", "random_model", "randomise"]


def images_of(config: ModelConfig, count: int = 6, seed: int = 0) -> Tensor:
    """Uniform noise, uint8[count, img_size, img_size, in_chans]."""
    return torch.from_numpy(random_images(config, count, seed))


@torch.no_grad()
def randomise(model: VisionTransformer) -> None:
    """Draw norms, biases and tokens: some gammas become negative."""
    for name, parameter in model.named_parameters():
        if name.endswith(("bias", "bias_table", "token")):
            parameter.normal_(std=0.3)
        elif "norm" in name and name.endswith("weight"):
            parameter.add_(0.6 * torch.randn_like(parameter))


def random_model(config: ModelConfig, seed: int = 0, binarization: Binarization | None = None) -> BiViT:
    """A Bi-ViT in evaluation mode with random norms, biases, bias tables and tokens."""
    torch.manual_seed(seed)
    model = BiViT(config, binarization=binarization)
    randomise(model)
    model.project()
    return model.eval()


@torch.no_grad()
def nasty_model(config: ModelConfig, seed: int, formats: Formats | None = None) -> BiViT:
    """A Bi-ViT in evaluation mode whose parameters reach every end of their number formats.

    Gammas of every sign and 0, thresholds that saturate, rows of weights that are 0, bias tables above the largest that
    whole popcounts hold, scales over a factor of ten.
    """
    torch.manual_seed(seed)
    model = BiViT(config, formats=formats)
    randomise(model)
    for name, parameter in model.named_parameters():
        rare = torch.rand_like(parameter) < 0.1
        if name.endswith("bias_table"):
            parameter.mul_(5)
        elif name.endswith(("attn_sign.scale", "attn_sign.threshold")):
            parameter.mul_(torch.empty_like(parameter).uniform_(0.3, 1.5))
        elif name.endswith("scale"):
            parameter.uniform_(0.2, 2)
        elif name.endswith("bias"):
            parameter[rare] *= 30
        elif "norm" in name:
            parameter[rare] = 0
        elif parameter.ndim == 2:
            parameter[rare[:, 0]] = 0
    model.project()
    return model.eval()
