"""One pass of a few images through the network: the kernels composed in hardware order, with taps between them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import kernels, norms
from .bits import pack
from .config import Formats, ViTConfig

Bits = NDArray[np.uint8]
Int64s = NDArray[np.int64]
Words = NDArray[np.uint64]


class Forward:
    """A pass and what it counts; made anew for every few images.

    Parameters
    ----------
    config : ViTConfig
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
        self, config: ViTConfig, formats: Formats, tensors: Mapping[str, NDArray[Any]], wanted: Collection[str]
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
        for index in range(self.config.depth):
            x = self._block(f"blocks.{index}", x)
        return self._head(x)

    def _tap(self, name: str, tensor: NDArray[Any]) -> None:
        if name in self._wanted:
            self.taps[name] = tensor.astype(np.int64)

    def _patch_embed(self, images: Bits) -> Int64s:
        name = "patch_embed.proj"
        x, saturated = norms.patch_embed(
            image_patches(images, self.config),
            self._tensors[f"{name}.weight"],
            self._tensors[f"{name}.scale"],
            self._tensors[f"{name}.bias"],
            int(self._tensors[f"{name}.shift"][0]),
            self._tensors["pos_embed"],
            self.formats.residual_bits,
        )
        self.saturations += saturated
        self._tap("patch_embed", x)
        return x

    def _block(self, block: str, x: Int64s) -> Int64s:
        bits = self._attention(f"{block}.attn", self._sign_norm(f"{block}.norm1", x))
        x = self._product_add(f"{block}.attn.proj", f"{block}.add1", bits, x)
        bits = self._sign_norm(f"{block}.norm2", x)
        hidden = self._threshold_sign(f"{block}.mlp.act", self._linear(f"{block}.mlp.fc1", bits))
        self._tap(f"{block}.mlp.act", hidden)
        return self._product_add(f"{block}.mlp.fc2", f"{block}.add2", hidden, x)

    def _sign_norm(self, name: str, x: Int64s) -> Bits:
        eps = int(self._tensors[f"{name}.eps"][0]) if self.config.norm_mode == "layernorm" else None
        return self._tap_norm(name, norms.sign_norm(x, self._tensors[f"{name}.theta"], eps, self.formats))

    def _tap_norm(self, name: str, result: norms.SignNormResult) -> Bits:
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

    def _attention(self, attn: str, bits: Bits) -> Bits:
        acc_q, acc_k, acc_v = np.split(self._linear(f"{attn}.qkv", bits), 3, axis=2)
        q = self._query_or_key(f"{attn}.q_norm", acc_q)
        k = self._query_or_key(f"{attn}.k_norm", acc_k)
        v = self._heads(self._threshold_sign(f"{attn}.v_sign", np.ascontiguousarray(acc_v)))
        self._tap(f"{attn}.v_sign", v)
        a = self._attention_bits(attn, q, k)
        return self._context(f"{attn}.context", a, v)

    def _query_or_key(self, name: str, acc: Int64s) -> Bits:
        theta = self._tensors[f"{name}.theta"]
        if self.config.qk_mode == "threshold":
            bits = self._heads(self._threshold_sign(name, np.ascontiguousarray(acc)))
            self._tap(name, bits)
            return bits
        scale, eps = self._tensors[f"{name}.scale"], self._tensors[f"{name}.eps"]
        result = norms.head_norm(self._heads(acc), theta, scale, eps, self.formats.theta_frac_bits)
        return self._tap_norm(name, result)

    def _attention_bits(self, attn: str, q: Bits, k: Bits) -> Bits:
        batch, heads, tokens, head_dim = q.shape
        p = kernels.scores(_groups(pack(q)), _groups(pack(k)), head_dim).reshape(batch, heads, tokens, tokens)
        self._tap(f"{attn}.scores", p)
        name = f"{attn}.attn_sign"
        if self.config.attn_mode == "score":
            bits = kernels.score_threshold(p, self._tensors[f"{name}.theta"])
        else:
            bits, m, z = kernels.attention_threshold(p, self._tensors[f"{name}.exp"], self._tensors[f"{name}.tau"])
            self._tap(f"{name}.m", m)
            self._tap(f"{name}.z", z)
        self.empty_rows += int(np.count_nonzero(~bits.any(axis=-1)))
        self._tap(name, bits)
        return bits

    def _context(self, name: str, a: Bits, v: Bits) -> Bits:
        columns = pack(np.ascontiguousarray(v.swapaxes(2, 3)))
        c, bits = kernels.context(_groups(pack(a)), _groups(columns))
        c, bits = self._merge_heads(c.reshape(v.shape)), self._merge_heads(bits.reshape(v.shape))
        self._tap(f"{name}.c", c)
        self._tap(name, bits)
        return bits

    def _head(self, x: Int64s) -> Int64s:
        pooled = norms.pool(x, self.config.head_rows, self.config.pool_shift if self.config.pool == "mean" else None)
        self._tap("pool", pooled)
        weight, bias = self._tensors["head.weight"], self._tensors["head.bias"]
        result = norms.head(pooled, int(self._tensors["norm.eps"][0]), weight, bias, self.formats)
        self._tap("norm.s1", result.s1)
        self._tap("norm.r", result.r)
        self._tap("norm.q", result.q)
        self._tap("norm", result.y)
        self._tap("head", result.logits)
        return result.logits

    def _heads(self, rows: NDArray[Any]) -> NDArray[Any]:
        """[B, N, D] to [B, H, N, E]."""
        batch, tokens, _ = rows.shape
        split = rows.reshape(batch, tokens, self.config.num_heads, self.config.head_dim)
        return np.ascontiguousarray(split.swapaxes(1, 2))

    def _merge_heads(self, heads: NDArray[Any]) -> NDArray[Any]:
        """[B, H, N, E] to [B, N, D]."""
        batch, _, tokens, _ = heads.shape
        return np.ascontiguousarray(heads.swapaxes(1, 2)).reshape(batch, tokens, self.config.embed_dim)


def _groups(words: Words) -> Words:
    """[B, H, rows, words] to [B * H, rows, words]."""
    return words.reshape(-1, *words.shape[2:])


def image_patches(images: NDArray[np.uint8], config: ViTConfig) -> NDArray[np.uint8]:
    """Cut images into patches in raster order, each in the order (row, column, channel).

    Parameters
    ----------
    images : uint8[B, img_size, img_size, in_chans]
    config : ViTConfig

    Returns
    -------
    uint8[B, grid_size**2, patch_dim]
    """
    grid, side = config.grid_size, config.patch_size
    tiles = images.reshape(len(images), grid, side, grid, side, config.in_chans).swapaxes(2, 3)
    return np.ascontiguousarray(tiles).reshape(len(images), grid**2, config.patch_dim)
