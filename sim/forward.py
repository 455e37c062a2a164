"""One pass of a few images through the network: the kernels composed in hardware order, with taps between them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import kernels, norms
from .bits import pack
from .blocks import BlockShape, MergeShape
from .config import Formats, ModelConfig
from .fixed import saturate_signed
from .windows import Windows, merge_neighbours

Bits = NDArray[np.uint8]
Int64s = NDArray[np.int64]
Words = NDArray[np.uint64]


class Forward:
    """A pass and what it counts; made anew for every few images.

    Parameters
    ----------
    config : ModelConfig
    formats : Formats
    tensors : mapping of str to ndarray
        Checked by `sim.tensors.check_tensors`.
    wanted : collection of str
        Taps to keep.

    Attributes
    ----------
    taps : dict[str, int64[B, ...]]
        The taps that were wanted, in hardware order.
    saturations : int
        Clamped elements of the residual stream.
    empty_rows : int
        Attention rows without a 1.
    """

    def __init__(
        self, config: ModelConfig, formats: Formats, tensors: Mapping[str, NDArray[Any]], wanted: Collection[str]
    ) -> None:
        self.config = config
        self.formats = formats
        self.taps: dict[str, Int64s] = {}
        self.saturations = 0
        self.empty_rows = 0
        self._tensors = tensors
        self._wanted = frozenset(wanted)

    def __call__(self, images: Bits) -> Int64s:
        """Return the logits [B, classes] of uint8[B, img_size, img_size, in_chans]."""
        x = self._patch_embed(images)
        for stage in self.config.stages:
            if stage.merge is not None:
                x = self._merge(stage.merge, x)
            for block in stage.blocks:
                x = self._block(block, x)
        return self._head(x)

    def _tap(self, name: str, tensor: NDArray[Any]) -> None:
        if name in self._wanted:
            self.taps[name] = tensor.astype(np.int64)

    def _patch_embed(self, images: Bits) -> Int64s:
        name = "patch_embed.proj"
        config, bits = self.config, self.formats.residual_bits
        x = norms.patch_embed(
            image_patches(images, config),
            self._tensors[f"{name}.weight"],
            self._tensors[f"{name}.scale"],
            self._tensors[f"{name}.bias"],
            int(self._tensors[f"{name}.shift"][0]),
        )
        if config.patch_norm:
            x = self._saturate(x)
            self._tap(name, x)
            x = self._saturate(self._patch_norm("patch_embed.norm", x))
        else:
            x, saturated = norms.add_position(x, self._tensors["pos_embed"], bits)
            self.saturations += saturated
        self._tap("patch_embed", x)
        return x

    def _saturate(self, x: Int64s) -> Int64s:
        x, saturated = saturate_signed(x, self.formats.residual_bits)
        self.saturations += saturated
        return x

    def _patch_norm(self, name: str, x: Int64s) -> Int64s:
        eps = int(self._tensors[f"{name}.eps"][0])
        frac = self.formats.residual_frac_bits
        s1, r, q, y = norms.normalise(x, eps, frac, self.formats)
        for row, values in (("s1", s1), ("r", r), ("q", q)):
            self._tap(f"{name}.{row}", values)
        return norms.affine(y, self._tensors[f"{name}.scale"], self._tensors[f"{name}.bias"], frac)

    def _merge(self, merge: MergeShape, x: Int64s) -> Int64s:
        neighbours = merge_neighbours(x, merge.grid)
        bits = self._sign_norm(f"{merge.name}.norm", neighbours, merge.norm_mode)
        nothing = np.zeros((len(x), merge.tokens, merge.out_dim), dtype=np.int64)
        return self._product_add(f"{merge.name}.reduction", merge.name, bits, nothing)

    def _block(self, block: BlockShape, x: Int64s) -> Int64s:
        name = block.name
        bits = self._attention(block, self._sign_norm(f"{name}.norm1", x, block.norm_mode))
        x = self._product_add(f"{name}.attn.proj", f"{name}.add1", bits, x)
        bits = self._sign_norm(f"{name}.norm2", x, block.norm_mode)
        hidden = self._threshold_sign(f"{name}.mlp.act", self._linear(f"{name}.mlp.fc1", bits))
        self._tap(f"{name}.mlp.act", hidden)
        return self._product_add(f"{name}.mlp.fc2", f"{name}.add2", hidden, x)

    def _sign_norm(self, name: str, x: Int64s, mode: str) -> Bits:
        eps = int(self._tensors[f"{name}.eps"][0]) if mode == "layernorm" else None
        result = norms.sign_norm(x, self._tensors[f"{name}.theta"], eps, self.formats)
        self._tap(f"{name}.s1", result.s1)
        self._tap(f"{name}.r", result.r)
        self._tap(name, result.bits)
        return result.bits

    def _linear(self, name: str, bits: Bits) -> Int64s:
        batch, tokens, length = bits.shape
        rows = pack(bits.reshape(batch * tokens, length))
        acc = kernels.binary_linear(rows, self._tensors[f"{name}.weight"], length).reshape(batch, tokens, -1)
        self._tap(name, acc)
        return acc

    def _product_add(self, name: str, add: str, bits: Bits, x: Int64s) -> Int64s:
        acc = self._linear(name, bits)
        scale, bias = self._tensors[f"{name}.scale"], self._tensors[f"{name}.bias"]
        x, saturated = norms.residual_add(x, acc, scale, bias, self.formats.residual_bits)
        self.saturations += saturated
        self._tap(add, x)
        return x

    def _threshold_sign(self, name: str, acc: Int64s) -> Bits:
        theta = self._tensors[f"{name}.theta"].reshape(-1)
        return kernels.threshold_sign(acc.reshape(-1, len(theta)), theta).reshape(acc.shape)

    def _attention(self, block: BlockShape, bits: Bits) -> Bits:
        attn, windows = f"{block.name}.attn", Windows(block)
        acc_q, acc_k, acc_v = np.split(self._linear(f"{attn}.qkv", bits), 3, axis=2)
        q = self._query_or_key(f"{attn}.q_norm", acc_q, windows)
        k = self._query_or_key(f"{attn}.k_norm", acc_k, windows)
        v = windows.split(self._threshold_sign(f"{attn}.v_sign", np.ascontiguousarray(acc_v)))
        self._tap(f"{attn}.v_sign", windows.tap(v))
        a = self._attention_bits(attn, q, k, windows)
        return self._context(f"{attn}.context", a, v, windows)

    def _query_or_key(self, name: str, acc: Int64s, windows: Windows) -> Bits:
        theta = self._tensors[f"{name}.theta"]
        if windows.block.qk_mode == "threshold":
            bits = windows.split(self._threshold_sign(name, np.ascontiguousarray(acc)))
        else:
            scale, eps = self._tensors[f"{name}.scale"], self._tensors[f"{name}.eps"]
            bits, s1, r = norms.head_norm(windows.split(acc), theta, scale, eps, self.formats.theta_frac_bits)
            self._tap(f"{name}.s1", windows.tap(s1))
            self._tap(f"{name}.r", windows.tap(r))
        self._tap(name, windows.tap(bits))
        return bits

    def _attention_bits(self, attn: str, q: Bits, k: Bits, windows: Windows) -> Bits:
        batch, heads, tokens, head_dim = q.shape
        p = kernels.scores(_groups(pack(q)), _groups(pack(k)), head_dim).reshape(batch, heads, tokens, tokens)
        if windows.block.window is not None:
            p = windows.biased(p, self._tensors[f"{attn}.relative_position_bias_table"])
        self._tap(f"{attn}.scores", windows.tap(p))
        name = f"{attn}.attn_sign"
        if windows.block.attn_mode == "score":
            bits = kernels.score_threshold(p, self._tensors[f"{name}.theta"])
        else:
            bits, m, z = kernels.attention_threshold(p, self._tensors[f"{name}.exp"], self._tensors[f"{name}.tau"])
            self._tap(f"{name}.m", windows.tap(m))
            self._tap(f"{name}.z", windows.tap(z))
        self.empty_rows += int(np.count_nonzero(~bits.any(axis=-1)))
        self._tap(name, windows.tap(bits))
        return bits

    def _context(self, name: str, a: Bits, v: Bits, windows: Windows) -> Bits:
        columns = pack(np.ascontiguousarray(v.swapaxes(2, 3)))
        c, bits = kernels.context(_groups(pack(a)), _groups(columns))
        c, bits = windows.join(c.reshape(v.shape)), windows.join(bits.reshape(v.shape))
        self._tap(f"{name}.c", c)
        self._tap(name, bits)
        return bits

    def _head(self, x: Int64s) -> Int64s:
        pooled = norms.pool(x, self.config.head_rows, self.config.pool_shift if self.config.mean_pool else None)
        self._tap("pool", pooled)
        eps, frac = int(self._tensors["norm.eps"][0]), self.formats.head_frac_bits
        s1, r, q, y = norms.normalise(pooled, eps, frac, self.formats)
        logits = norms.classify(y, self._tensors["head.weight"], self._tensors["head.bias"])
        for name, values in (("norm.s1", s1), ("norm.r", r), ("norm.q", q), ("norm", y), ("head", logits)):
            self._tap(name, values)
        return logits


def _groups(words: Words) -> Words:
    """[B, H, rows, words] to [B * H, rows, words]."""
    return words.reshape(-1, *words.shape[2:])


def image_patches(images: NDArray[np.uint8], config: ModelConfig) -> NDArray[np.uint8]:
    """Cut images into patches in raster order, each in the order (row, column, channel).

    Parameters
    ----------
    images : uint8[B, img_size, img_size, in_chans]
    config : ModelConfig

    Returns
    -------
    uint8[B, grid_size**2, patch_dim]
    """
    grid, side = config.grid_size, config.patch_size
    tiles = images.reshape(len(images), grid, side, grid, side, config.in_chans).swapaxes(2, 3)
    return np.ascontiguousarray(tiles).reshape(len(images), grid**2, config.patch_dim)
