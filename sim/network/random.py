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

from ..bits import pack, signed_range
from .blocks import BlockShape, MergeShape
from .config import ModelConfig
from .formats import Formats
from .network import IntNetwork

Named = Iterator[tuple[str, NDArray[Any]]]

_PIXEL_MEAN = 128
_PIXEL_STD = 74  # of uniform noise
_WEIGHT_LIMIT = 63  # of the patch embedding and the classifier
_WEIGHT_STD = _WEIGHT_LIMIT / sqrt(3)


def random_network(config: ModelConfig, formats: Formats | None = None, seed: int = 0) -> IntNetwork:
    """Draw a network of the given shape.

    Parameters
    ----------
    config : ModelConfig
    formats : Formats, optional
        The default formats when left out.
    seed : int
        The same arguments give the same network.

    Returns
    -------
    IntNetwork
    """
    draw = _Draw(config, formats or Formats(), seed)
    provenance = {"source": "bivit.sim.network.random", "seed": seed}
    return IntNetwork(config, draw.formats, dict(draw.tensors()), provenance)


class _Draw:
    def __init__(self, config: ModelConfig, formats: Formats, seed: int) -> None:
        self.config = config
        self.formats = formats
        self.random = np.random.default_rng(seed)
        # One unit of the residual stream; the range holds 32 of them, which many standard deviations do not reach.
        self.unit = min(1 << formats.residual_frac_bits, (1 << (formats.residual_bits - 1)) / 32)

    def tensors(self) -> Named:
        yield from self._patch_embed()
        for stage in self.config.stages:
            if stage.merge is not None:
                yield from self._sign_norm(f"{stage.merge.name}.norm", stage.merge.in_dim, stage.merge)
                # The product replaces the residual stream, so it has the spread of a whole one.
                yield from self._product(f"{stage.merge.name}.reduction", stage.merge.in_dim, stage.merge.out_dim, 1)
            for block in stage.blocks:
                yield from self._block(block, 2 * len(stage.blocks))
        yield from self._head()

    def _integers(self, std: float, shape: tuple[int, ...], low: int, high: int) -> NDArray[np.int32]:
        return np.clip(np.rint(self.random.normal(0, std, shape)), low, high).astype(np.int32)

    def _weight(self, rows: int, length: int) -> NDArray[np.uint64]:
        return pack(self.random.integers(0, 2, (rows, length), dtype=np.uint8))

    def _patch_embed(self) -> Named:
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
        if config.patch_norm:
            gamma = self.random.uniform(0.5, 1.5, width) * self.unit
            yield (
                "patch_embed.norm.scale",
                np.rint(gamma).clip(max=signed_range(self.formats.scale_bits)[1]).astype("i4"),
            )
            yield "patch_embed.norm.bias", self._integers(0.5 * self.unit, (width,), *limits)
            yield "patch_embed.norm.eps", self._residual_eps(width)
        else:
            yield "pos_embed", self._integers(0.5 * self.unit, (config.num_tokens, width), *limits)

    def _block(self, block: BlockShape, additions: int) -> Named:
        name, width, hidden = block.name, block.embed_dim, block.hidden_dim
        yield from self._sign_norm(f"{name}.norm1", width, block)
        yield f"{name}.attn.qkv.weight", self._weight(3 * width, width)
        yield from self._head_norm(f"{name}.attn.q_norm", block)
        yield from self._head_norm(f"{name}.attn.k_norm", block)
        yield f"{name}.attn.v_sign.theta", self._acc_threshold((width,), width)
        yield from self._attn_sign(f"{name}.attn", block)
        yield from self._product(f"{name}.attn.proj", width, width, additions)
        yield from self._sign_norm(f"{name}.norm2", width, block)
        yield f"{name}.mlp.fc1.weight", self._weight(hidden, width)
        yield f"{name}.mlp.act.theta", self._acc_threshold((hidden,), width)
        yield from self._product(f"{name}.mlp.fc2", hidden, width, additions)

    def _sign_norm(self, name: str, channels: int, part: BlockShape | MergeShape) -> Named:
        formats = self.formats
        std = 0.5 * (1 << formats.theta_frac_bits)
        if part.norm_mode == "mean":
            std = 0.5 * channels * self.unit / (1 << (formats.norm_shift + formats.mean_shift))
        yield f"{name}.theta", self._integers(std, (channels,), *signed_range(formats.theta_bits))
        if part.norm_mode == "layernorm":
            yield f"{name}.eps", self._residual_eps(channels)

    def _residual_eps(self, channels: int) -> NDArray[np.int64]:
        step = 2.0 ** (self.formats.residual_frac_bits - self.formats.norm_shift)
        return np.array([max(1, round((channels * step) ** 2 * self.config.blocks[0].eps))], dtype=np.int64)

    def _head_norm(self, name: str, block: BlockShape) -> Named:
        formats = self.formats
        shape = (block.num_heads, block.head_dim)
        if block.qk_mode == "threshold":
            yield f"{name}.theta", self._acc_threshold(shape, block.embed_dim)
            return
        largest = (1 << formats.qk_scale_bits) - 1
        std = 0.5 * (1 << formats.theta_frac_bits)
        yield f"{name}.theta", self._integers(std, shape, *signed_range(formats.theta_bits))
        yield f"{name}.scale", self.random.integers(largest // 2 + 1, largest + 1, shape, dtype=np.int32)
        yield f"{name}.eps", self.random.integers(1, block.head_dim**2, block.num_heads, dtype=np.int64)

    def _acc_threshold(self, shape: tuple[int, ...], inputs: int) -> NDArray[np.int32]:
        return self._integers(0.5 * sqrt(inputs), shape, -inputs, inputs + 2)

    def _attn_sign(self, attn: str, block: BlockShape) -> Named:
        heads, head_dim = block.num_heads, block.head_dim
        middle = head_dim // 2
        if block.window is not None:
            # Around one score's standard deviation from pair to pair.
            middle += head_dim // 4
            bias = head_dim // 4 + self._integers(
                0.5 * sqrt(head_dim), (block.bias_entries, heads), -head_dim // 4, head_dim - head_dim // 4
            )
            yield f"{attn}.relative_position_bias_table", bias
        name = f"{attn}.attn_sign"
        if block.attn_mode == "score":
            yield f"{name}.theta", middle + self._integers(0.1 * sqrt(head_dim), (heads,), -middle, head_dim // 2)
            return
        # One standard deviation of a score, sqrt(E) / 2 agreements, changes Exp by a factor of e^0.5 to e^1.
        decay = self.random.uniform(1.0, 2.0, (heads, 1)) / sqrt(head_dim)
        yield f"{name}.exp", np.rint((1 << 15) * np.exp(-decay * np.arange(block.largest_score + 1))).astype(np.int32)
        # Around one n-th, the mean of a row of the softmax, some elements are above and some below.
        tau = self.random.uniform(0.6, 1.4, heads) * (1 << 16) / block.window_tokens
        yield f"{name}.tau", np.clip(np.rint(tau), 0, 1 << 16).astype(np.int32)

    def _product(self, name: str, inputs: int, outputs: int, additions: int) -> Named:
        yield f"{name}.weight", self._weight(outputs, inputs)
        # All the additions together give the stream a variance of about one unit squared.
        step = self.unit / sqrt(additions * inputs)
        _, high = signed_range(self.formats.scale_bits)
        magnitude = np.clip(np.rint(step * self.random.uniform(0.5, 1.5, outputs)), 1, high)
        yield f"{name}.scale", (magnitude * self.random.choice([-1, 1], outputs)).astype(np.int32)
        yield f"{name}.bias", self._integers(0.1 * self.unit, (outputs,), *signed_range(self.formats.residual_bits))

    def _head(self) -> Named:
        config, width = self.config, self.config.num_features
        shape = (config.num_classes, config.head_rows * width)
        yield "norm.eps", self._residual_eps(width)
        yield "head.weight", self.random.integers(-_WEIGHT_LIMIT, _WEIGHT_LIMIT + 1, shape, dtype=np.int8)
        bias_limit = 64 * _WEIGHT_LIMIT
        yield "head.bias", self.random.integers(-bias_limit, bias_limit + 1, config.num_classes, dtype=np.int32)
