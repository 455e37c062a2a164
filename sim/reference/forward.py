"""One pass of a few images through the network: the kernels composed in hardware order, with taps between them.

Bits stay packed from one kernel to the next, in arrays of a workspace that later steps overwrite. A tap copies what it
names, unpacked and as int64; without taps nothing is unpacked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bits import signed_range, unpack, word_count
from ..network.blocks import BlockShape, MergeShape
from ..network.config import ModelConfig
from ..network.formats import Formats
from ..network.windows import merge_neighbours, to_raster, to_windows
from . import attention, context, patches, sign_norms
from . import numbers as norms
from . import products as kernels
from .prepare import Heads, acc_type
from .workspace import Workspace

Ints = NDArray[np.signedinteger[Any]]
Int32s = NDArray[np.int32]
Int64s = NDArray[np.int64]
Words = NDArray[np.uint64]

_NO_TAP = {axes: np.empty((0,) * axes, dtype=np.int16) for axes in (2, 4)}


class Forward:
    """A pass and what it counts; made anew for every few images.

    Parameters
    ----------
    config : ModelConfig
    formats : Formats
    prepared : mapping
        `sim.reference.prepare.prepare` of tensors that `sim.network.tensors.check_tensors` has checked.
    wanted : collection of str
        Taps to keep.
    workspace : Workspace
        Used by nobody else meanwhile.

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
        self,
        config: ModelConfig,
        formats: Formats,
        prepared: Mapping[str, Any],
        wanted: Collection[str],
        workspace: Workspace,
    ) -> None:
        self.config = config
        self.formats = formats
        self.taps: dict[str, Int64s] = {}
        self.saturations = 0
        self.empty_rows = 0
        self._prepared = prepared
        self._wanted = frozenset(wanted)
        self._workspace = workspace
        self._batch = 0
        self._low, self._high = signed_range(formats.residual_bits)

    def __call__(self, images: NDArray[np.uint8]) -> Int64s:
        """Return the logits [B, classes] of uint8[B, img_size, img_size, in_chans]."""
        self._batch = len(images)
        x = self._patch_embed(images)
        for stage in self.config.stages:
            if stage.merge is not None:
                x = self._merge(stage.merge, x)
            for block in stage.blocks:
                self._block(block, x)
        return self._head(x)

    def _tap(self, name: str, tensor: NDArray[Any], *shape: int) -> None:
        """Keep a copy of a tensor as [B, *shape]; without a shape its own axes after the first."""
        if name in self._wanted:
            self.taps[name] = tensor.astype(np.int64).reshape(self._batch, *(shape or tensor.shape[1:]))

    def _tap_rows(self, name: str, rows: Words, length: int) -> None:
        """Keep the bits of rows [B * N, words] as [B, N, length]."""
        if name in self._wanted:
            self._tap(name, unpack(rows, length).reshape(self._batch, -1, length))

    def _patch_embed(self, images: NDArray[np.uint8]) -> Int32s:
        config, name = self.config, "patch_embed.proj"
        x = self._workspace("x", (self._batch, config.num_tokens, config.embed_dim), np.int32)
        weight, scale, bias, shift = (self._prepared[f"{name}.{key}"] for key in ("weight", "scale", "bias", "shift"))
        cut, position = patches.image_patches(images, config), self._prepared["pos_embed"]
        self.saturations += patches.patch_embed(
            cut, weight, scale, bias, int(shift[0]), position, self._low, self._high, x
        )
        if config.patch_norm:
            self._tap(name, x)
            self._patch_norm("patch_embed.norm", x)
        self._tap("patch_embed", x)
        return x

    def _patch_norm(self, name: str, x: Int32s) -> None:
        eps, frac = int(self._prepared[f"{name}.eps"][0]), self.formats.residual_frac_bits
        s1, r, q, y = norms.normalise(x, eps, frac, self.formats)
        for row, values in (("s1", s1), ("r", r), ("q", q)):
            self._tap(f"{name}.{row}", values)
        scale, bias = self._prepared[f"{name}.scale"], self._prepared[f"{name}.bias"]
        width = x.shape[-1]
        rows, out = y.reshape(-1, width), x.reshape(-1, width)
        self.saturations += norms.affine(rows, scale, bias, frac, self._low, self._high, out)

    def _merge(self, merge: MergeShape, x: Int32s) -> Int32s:
        neighbours = merge_neighbours(x, merge.grid)
        rows = self._sign_norm(f"{merge.name}.norm", neighbours, merge.norm_mode)
        merged = self._workspace(merge.name, (self._batch, merge.tokens, merge.out_dim), np.int32)
        merged[:] = 0
        self._product_add(f"{merge.name}.reduction", merge.name, rows, merge.in_dim, merged)
        return merged

    def _block(self, block: BlockShape, x: Int32s) -> None:
        name, width = block.name, block.embed_dim
        rows = self._attention(block, self._sign_norm(f"{name}.norm1", x, block.norm_mode))
        self._product_add(f"{name}.attn.proj", f"{name}.add1", rows, width, x)
        rows = self._sign_norm(f"{name}.norm2", x, block.norm_mode)
        acc = self._linear(f"{name}.mlp.fc1", rows, width, block.hidden_dim)
        self._tap(f"{name}.mlp.fc1", acc, block.tokens, block.hidden_dim)
        hidden = self._workspace("hidden", (len(acc), word_count(block.hidden_dim)), np.uint64)
        kernels.threshold_sign(acc, self._prepared[f"{name}.mlp.act.theta"], hidden)
        self._tap_rows(f"{name}.mlp.act", hidden, block.hidden_dim)
        self._product_add(f"{name}.mlp.fc2", f"{name}.add2", hidden, block.hidden_dim, x)

    def _sign_norm(self, name: str, x: Int32s, mode: str) -> Words:
        formats, (batch, tokens, channels) = self.formats, x.shape
        constant = 1 << (formats.theta_frac_bits + formats.mean_shift) if mode == "mean" else 0
        eps = 0 if mode == "mean" else int(self._prepared[f"{name}.eps"][0])
        rows = self._workspace("rows", (batch * tokens, word_count(channels)), np.uint64)
        (s1, r), theta = self._two((batch * tokens,)), self._prepared[f"{name}.theta"]
        x = x.reshape(batch * tokens, channels)
        sign_norms.sign_norm(x, formats.norm_shift, theta, formats.theta_frac_bits, eps, constant, rows, s1, r)
        if self._wanted:
            self._tap(f"{name}.s1", s1, tokens)
            self._tap(f"{name}.r", r, tokens)
            self._tap_rows(name, rows, channels)
        return rows

    def _two(self, shape: tuple[int, ...]) -> tuple[Int64s, Int64s]:
        """Memory for two numbers of each row: S1 and R of a norm, m and Z of a softmax."""
        return self._workspace("s1", shape, np.int64), self._workspace("r", shape, np.int64)

    def _linear(self, name: str, rows: Words, length: int, outputs: int) -> Ints:
        weight = self._prepared[f"{name}.weight"]
        acc = self._workspace("acc", (len(rows), outputs), acc_type(length))
        kernels.binary_linear(rows, weight, length, acc)
        return acc

    def _product_add(self, name: str, add: str, rows: Words, length: int, x: Int32s) -> None:
        acc = self._linear(name, rows, length, x.shape[-1])
        if self._wanted:
            self._tap(name, acc, *x.shape[1:])
        scale, bias = self._prepared[f"{name}.scale"], self._prepared[f"{name}.bias"]
        self.saturations += norms.residual_add(x.reshape(acc.shape), acc, scale, bias, self._low, self._high)
        self._tap(add, x)

    def _attention(self, block: BlockShape, rows: Words) -> Words:
        """Context rows for rows of norm1; between the two, tokens lie window by window."""
        attn, width, heads = f"{block.name}.attn", block.embed_dim, self._prepared[f"{block.name}.attn"]
        acc = self._linear(f"{attn}.qkv", to_windows(rows, heads.members, self._batch), width, 3 * width)
        if f"{attn}.qkv" in self._wanted:
            self._tap(f"{attn}.qkv", to_raster(acc, heads.members, self._batch), block.tokens, 3 * width)
        q = self._query_or_key(f"{attn}.q_norm", block, acc, 0)
        k = self._query_or_key(f"{attn}.k_norm", block, acc, width)
        v = self._values(f"{attn}.v_sign", block, acc, 2 * width)
        ones = self._attention_bits(attn, block, heads, q, k)
        return to_raster(self._context(f"{attn}.context", block, heads, ones, v), heads.members, self._batch)

    def _groups(self, name: str, block: BlockShape, *shape: int) -> Words:
        """Packed bits of every head of every window."""
        return self._workspace(name, (self._batch * block.windows, block.num_heads, *shape), np.uint64)

    def _tap_heads(self, name: str, block: BlockShape, values: NDArray[Any]) -> None:
        """Keep what each head of each window has, [B * W, H, ...]."""
        windows = () if block.window is None else (block.windows,)
        self._tap(name, values, *windows, *values.shape[1:])

    def _query_or_key(self, name: str, block: BlockShape, acc: Ints, start: int) -> Words:
        tokens, channels, theta = block.window_tokens, block.head_dim, self._prepared[f"{name}.theta"]
        bits = self._groups(name[-6:], block, tokens)
        if block.qk_mode == "threshold":
            kernels.head_signs(acc, start, theta, bits)
        else:
            scale, eps = self._prepared[f"{name}.scale"], self._prepared[f"{name}.eps"]
            s1, r = self._two(bits.shape)
            sign_norms.head_norm(acc, start, scale, theta, self.formats.theta_frac_bits, eps, bits, s1, r)
            if self._wanted:
                self._tap_heads(f"{name}.s1", block, s1)
                self._tap_heads(f"{name}.r", block, r)
        if name in self._wanted:
            self._tap_heads(name, block, unpack(bits[..., np.newaxis], channels))
        return bits

    def _values(self, name: str, block: BlockShape, acc: Ints, start: int) -> Words:
        bits = self._groups("v", block, word_count(block.window_tokens), block.head_dim)
        context.value_signs(acc, start, self._prepared[f"{name}.theta"], bits)
        if name in self._wanted:
            self._tap_heads(name, block, unpack(bits.swapaxes(2, 3), block.window_tokens).swapaxes(2, 3))
        return bits

    def _attention_bits(self, attn: str, block: BlockShape, heads: Heads, q: Words, k: Words) -> Words:
        tokens, name = block.window_tokens, f"{attn}.attn_sign"
        bits = self._groups("ones", block, tokens, word_count(tokens))
        (m, z), p = self._two(bits.shape[:3]), _NO_TAP[4]
        if f"{attn}.scores" in self._wanted:
            p = np.empty((*bits.shape[:2], tokens, tokens), dtype=np.int16)
        self.empty_rows += attention.attention(
            q, k, heads.start, heads.mask, heads.exp, heads.pairs, heads.limits, bits, m, z, p
        )
        if p.size:
            self._tap_heads(f"{attn}.scores", block, p)
        if block.attn_mode == "softmax" and self._wanted:
            self._tap_heads(f"{name}.m", block, m)
            self._tap_heads(f"{name}.z", block, z)
        if name in self._wanted:
            self._tap_heads(name, block, unpack(bits, tokens))
        return bits

    def _context(self, name: str, block: BlockShape, heads: Heads, ones: Words, v: Words) -> Words:
        count, width = self._batch * block.tokens, block.embed_dim
        bits, c = self._workspace("context", (count, word_count(width)), np.uint64), _NO_TAP[2]
        if f"{name}.c" in self._wanted:
            c = np.empty((count, width), dtype=acc_type(block.window_tokens))
        context.context(ones, v, bits, c)
        if c.size:
            self._tap(f"{name}.c", to_raster(c, heads.members, self._batch), block.tokens, width)
        if name in self._wanted:
            self._tap_rows(name, to_raster(bits, heads.members, self._batch), width)
        return bits

    def _head(self, x: Int32s) -> Int64s:
        rows = x.astype(np.int64) if self.config.mean_pool else x[:, : self.config.head_rows].astype(np.int64)
        pooled = norms.pool(rows, self.config.head_rows, self.config.pool_shift if self.config.mean_pool else None)
        self._tap("pool", pooled)
        eps, frac = int(self._prepared["norm.eps"][0]), self.formats.head_frac_bits
        s1, r, q, y = norms.normalise(pooled, eps, frac, self.formats)
        logits = norms.classify(y, self._prepared["head.weight"], self._prepared["head.bias"])
        for name, values in (("norm.s1", s1), ("norm.r", r), ("norm.q", q), ("norm", y), ("head", logits)):
            self._tap(name, values)
        return logits
