"""Random integer networks for tests, co-simulation and estimates: every tensor random, every stage alive.

Magnitudes follow those of a trained network: the residual stream spreads over a few units, bits are balanced, attention
rows have some ones and some zeros, and nothing saturates on images of uniform noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bits import pack
from .config import Formats, ViTConfig
from .fixed import signed_range
from .network import IntNetwork

_PIXEL_MEAN = 128
_PIXEL_STD = 74  # of uniform noise
_WEIGHT_LIMIT = 63  # of the patch embedding and the classifier
_WEIGHT_STD = _WEIGHT_LIMIT / sqrt(3)


def random_network(config: ViTConfig, formats: Formats | None = None, seed: int = 0) -> IntNetwork:
    """Draw a network of the given shape.

    Parameters
    ----------
    config : ViTConfig
    formats : Formats, optional
        The default formats when left out.
    seed : int
        The same arguments give the same network.

    Returns
    -------
    IntNetwork
    """
    draw = _Draw(config, formats or Formats(), seed)
    provenance = {"source": "bivit.sim.random_network", "seed": seed}
    return IntNetwork(config, draw.formats, dict(draw.tensors()), provenance)


class _Draw:
    def __init__(self, config: ViTConfig, formats: Formats, seed: int) -> None:
        self.config = config
        self.formats = formats
        self.random = np.random.default_rng(seed)
        # One unit of the residual stream; the range holds 32 of them, which many standard deviations do not reach.
        self.unit = min(1 << formats.residual_frac_bits, (1 << (formats.residual_bits - 1)) / 32)

    def tensors(self) -> Iterator[tuple[str, NDArray[Any]]]:
        yield from self._patch_embed()
        for index in range(self.config.depth):
            yield from self._block(f"blocks.{index}")
        yield from self._head()

    def _integers(self, std: float, shape: tuple[int, ...], low: int, high: int) -> NDArray[np.int32]:
        return np.clip(np.rint(self.random.normal(0, std, shape)), low, high).astype(np.int32)

    def _weight(self, rows: int, length: int) -> NDArray[np.uint64]:
        return pack(self.random.integers(0, 2, (rows, length), dtype=np.uint8))

    def _patch_embed(self) -> Iterator[tuple[str, NDArray[Any]]]:
        config = self.config
        width = config.embed_dim
        weight = self.random.integers(-_WEIGHT_LIMIT, _WEIGHT_LIMIT + 1, (width, config.patch_dim), dtype=np.int8)
        scale = self.random.integers(1 << 13, 1 << 15, width, dtype=np.int32)
        acc_std = sqrt(config.patch_dim) * _PIXEL_STD * _WEIGHT_STD
        shift = int(np.clip(np.rint(np.log2(1.25 * (1 << 14) * acc_std / self.unit)), 1, 40))
        yield "patch_embed.proj.weight", weight
        yield "patch_embed.proj.scale", scale
        yield "patch_embed.proj.bias", -_PIXEL_MEAN * weight.sum(axis=1, dtype=np.int64) * scale
        yield "patch_embed.proj.shift", np.array([shift], dtype=np.int32)
        limits = signed_range(self.formats.residual_bits)
        yield "pos_embed", self._integers(0.5 * self.unit, (config.num_tokens, width), *limits)

    def _block(self, block: str) -> Iterator[tuple[str, NDArray[Any]]]:
        width, hidden = self.config.embed_dim, self.config.hidden_dim
        yield from self._sign_norm(f"{block}.norm1")
        yield f"{block}.attn.qkv.weight", self._weight(3 * width, width)
        yield from self._head_norm(f"{block}.attn.q_norm")
        yield from self._head_norm(f"{block}.attn.k_norm")
        yield f"{block}.attn.v_sign.theta", self._acc_threshold((width,))
        yield from self._attn_sign(f"{block}.attn.attn_sign")
        yield from self._product(f"{block}.attn.proj", width)
        yield from self._sign_norm(f"{block}.norm2")
        yield f"{block}.mlp.fc1.weight", self._weight(hidden, width)
        yield f"{block}.mlp.act.theta", self._acc_threshold((hidden,))
        yield from self._product(f"{block}.mlp.fc2", hidden)

    def _sign_norm(self, name: str) -> Iterator[tuple[str, NDArray[Any]]]:
        formats, width = self.formats, self.config.embed_dim
        std = 0.5 * (1 << formats.theta_frac_bits)
        if self.config.norm_mode == "mean":
            std = 0.5 * width * self.unit / (1 << (formats.norm_shift + formats.mean_shift))
        yield f"{name}.theta", self._integers(std, (width,), *signed_range(formats.theta_bits))
        if self.config.norm_mode == "layernorm":
            yield f"{name}.eps", self._residual_eps()

    def _residual_eps(self) -> NDArray[np.int64]:
        step = 2.0 ** (self.formats.residual_frac_bits - self.formats.norm_shift)
        return np.array([max(1, round((self.config.embed_dim * step) ** 2 * self.config.eps))], dtype=np.int64)

    def _head_norm(self, name: str) -> Iterator[tuple[str, NDArray[Any]]]:
        config, formats = self.config, self.formats
        shape = (config.num_heads, config.head_dim)
        if config.qk_mode == "threshold":
            yield f"{name}.theta", self._acc_threshold(shape)
            return
        largest = (1 << formats.qk_scale_bits) - 1
        std = 0.5 * (1 << formats.theta_frac_bits)
        yield f"{name}.theta", self._integers(std, shape, *signed_range(formats.theta_bits))
        yield f"{name}.scale", self.random.integers(largest // 2 + 1, largest + 1, shape, dtype=np.int32)
        yield f"{name}.eps", self.random.integers(1, config.head_dim**2, config.num_heads, dtype=np.int64)

    def _acc_threshold(self, shape: tuple[int, ...]) -> NDArray[np.int32]:
        width = self.config.embed_dim
        return self._integers(0.5 * sqrt(width), shape, -width, width + 2)

    def _attn_sign(self, name: str) -> Iterator[tuple[str, NDArray[Any]]]:
        config = self.config
        heads, head_dim = config.num_heads, config.head_dim
        if config.attn_mode == "score":
            offsets = self._integers(0.1 * sqrt(head_dim), (heads,), -head_dim // 2, head_dim // 2)
            yield f"{name}.theta", head_dim // 2 + offsets
            return
        # One standard deviation of a score, sqrt(E) / 2 agreements, changes Exp by a factor of e^0.5 to e^1.
        decay = self.random.uniform(1.0, 2.0, (heads, 1)) / sqrt(head_dim)
        yield f"{name}.exp", np.rint((1 << 15) * np.exp(-decay * np.arange(head_dim + 1))).astype(np.int32)
        # Around one N-th, the mean of a row of the softmax, some elements are above and some below.
        tau = self.random.uniform(0.6, 1.4, heads) * (1 << 16) / config.num_tokens
        yield f"{name}.tau", np.clip(np.rint(tau), 0, 1 << 16).astype(np.int32)

    def _product(self, name: str, inputs: int) -> Iterator[tuple[str, NDArray[Any]]]:
        width = self.config.embed_dim
        yield f"{name}.weight", self._weight(width, inputs)
        # All the additions together give the stream a variance of about one unit squared.
        step = self.unit / sqrt(2 * self.config.depth * inputs)
        _, high = signed_range(self.formats.scale_bits)
        magnitude = np.clip(np.rint(step * self.random.uniform(0.5, 1.5, width)), 1, high)
        yield f"{name}.scale", (magnitude * self.random.choice([-1, 1], width)).astype(np.int32)
        yield f"{name}.bias", self._integers(0.1 * self.unit, (width,), *signed_range(self.formats.residual_bits))

    def _head(self) -> Iterator[tuple[str, NDArray[Any]]]:
        config = self.config
        shape = (config.num_classes, config.head_rows * config.embed_dim)
        yield "norm.eps", self._residual_eps()
        yield "head.weight", self.random.integers(-_WEIGHT_LIMIT, _WEIGHT_LIMIT + 1, shape, dtype=np.int8)
        bias_limit = 64 * _WEIGHT_LIMIT
        yield "head.bias", self.random.integers(-bias_limit, bias_limit + 1, config.num_classes, dtype=np.int32)
