"""An integer network as one QONNX graph, whose tensors have the names of docs/network.md (docs/qonnx.md).

ONNX Runtime and qonnx run the same file, and share no arithmetic with the kernels of `sim`: they are independent judges
of the reference.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import EncodeError
from numpy.typing import NDArray

from .. import __version__
from .artefact import network_hash
from .bits import unpack
from .blocks import BlockShape, MergeShape
from .errors import BivitError, check
from .fixed import signed_range
from .network import IntNetwork
from .onnx_graph import OnnxGraph
from .onnx_operators import (
    binary_weight,
    check_length,
    column,
    integer_linear,
    normalise,
    permute,
    reduce_sum,
    reshape,
    saturate,
    shift,
    sign_norm,
    threshold_sign,
    to_float,
    to_int64,
)
from .windows import MASKED, relative_positions, window_mask, window_tokens

FORMAT = "bivit-qonnx"
VERSION = 1
#: Names of the graph's input and output.
INPUT, OUTPUT = "images", "head"

#: Largest file that protobuf can hold.
_LARGEST_FILE = (1 << 31) - 1


def export_qonnx(network: IntNetwork, batch: int = 1) -> onnx.ModelProto:
    """Return a network as a QONNX graph.

    Parameters
    ----------
    network : IntNetwork
    batch : int
        Images that the graph takes at a time; QONNX wants a fixed number.

    Returns
    -------
    onnx.ModelProto
        Input `images`, uint8[batch, img_size, img_size, in_chans]; output `head`, int64[batch, classes].

    Raises
    ------
    BivitError
        When a product is too long for float32, or the graph too large for a file.
    """
    check(batch >= 1, f"batch must be 1 or more, got {batch}")
    export = _Export(network, batch)
    export.walk()
    header = {"format": FORMAT, "version": VERSION, "network_sha256": network_hash(network)}
    model = export.graph.model([OUTPUT], __version__, {"bivit": json.dumps(header)})
    size = model.ByteSize()
    check(size <= _LARGEST_FILE, f"the graph has {size:,} bytes; an ONNX file holds up to {_LARGEST_FILE:,}")
    return model


def save_qonnx(model: onnx.ModelProto, path: str | os.PathLike[str]) -> None:
    """Write a graph; the file appears whole or not at all.

    Parameters
    ----------
    model : onnx.ModelProto
    path : path
        Its folder must exist.

    Raises
    ------
    BivitError
        When the folder cannot be written.
    """
    target = Path(path)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
            temporary = Path(folder) / "graph"
            temporary.write_bytes(model.SerializeToString())
            temporary.replace(target)
    except (OSError, EncodeError) as error:
        raise BivitError(f"cannot write the graph {target}: {error}; choose a folder that can be written") from error


class _Export:
    """Walks a network in hardware order and adds its operators to a graph."""

    def __init__(self, network: IntNetwork, batch: int) -> None:
        self.graph = OnnxGraph("bivit")
        self._config, self._formats, self._tensors = network.config, network.formats, network.tensors
        self._batch = batch

    def walk(self) -> None:
        x = self._patch_embed()
        for stage in self._config.stages:
            if stage.merge is not None:
                x = self._merge(stage.merge, x)
            for block in stage.blocks:
                x = self._block(block, x)
        self._head(x)

    def _parameter(self, name: str, *shape: int) -> str:
        """Add a tensor of the network as int64, under its own name, with axes that fit where it is used."""
        values = self._tensors[name].astype(np.int64)
        return self.graph.constant(values.reshape(shape) if shape else values, name)

    def _threshold(self, name: str, *shape: int) -> str:
        """Add thresholds of products, which are float32."""
        return self.graph.constant(self._tensors[name].astype(np.float32).reshape(shape or -1), name)

    def _patch_embed(self) -> str:
        graph, config, name = self.graph, self._config, "patch_embed.proj"
        side, grid, chans, width = config.patch_size, config.grid_size, config.in_chans, config.embed_dim
        graph.input(INPUT, np.uint8, (self._batch, config.img_size, config.img_size, chans))
        graph.set_datatype(INPUT, "UINT8")
        with graph.scope(name):
            tiles = permute(graph, reshape(graph, INPUT, self._batch, grid, side, grid, side, chans), 0, 1, 3, 2, 4, 5)
            patches = to_int64(graph, reshape(graph, tiles, self._batch, grid**2, config.patch_dim))
            acc = integer_linear(graph, patches, f"{name}.weight", self._tensors[f"{name}.weight"])
            bits = int(self._tensors[f"{name}.shift"][0])
            scaled = graph.op("Mul", acc, self._parameter(f"{name}.scale"))
            scaled = graph.op("Add", scaled, self._parameter(f"{name}.bias"))
            x = shift(graph, graph.op("Add", scaled, 1 << (bits - 1)), bits)
            if config.patch_norm:
                return self._patch_norm(saturate(graph, x, self._formats.residual_bits, name))
            if config.num_prefix_tokens:
                prefix = np.zeros((self._batch, config.num_prefix_tokens, width), dtype=np.int64)
                x = graph.op("Concat", prefix, x, axis=1)
            x = graph.op("Add", x, self._parameter("pos_embed"))
            return saturate(graph, x, self._formats.residual_bits, "patch_embed")

    def _patch_norm(self, x: str) -> str:
        graph, name, frac_bits = self.graph, "patch_embed.norm", self._formats.residual_frac_bits
        with graph.scope(name):
            eps = self._parameter(f"{name}.eps")
            y = normalise(graph, name, x, eps, frac_bits, self._formats, f"{name}/y")
            scaled = graph.op("Mul", y, self._parameter(f"{name}.scale"))
            rounded = shift(graph, graph.op("Add", scaled, 1 << (frac_bits - 1)), frac_bits)
            moved = graph.op("Add", rounded, self._parameter(f"{name}.bias"))
            return saturate(graph, moved, self._formats.residual_bits, "patch_embed")

    def _merge(self, merge: MergeShape, x: str) -> str:
        graph, half, width = self.graph, merge.grid // 2, merge.embed_dim
        with graph.scope(merge.name):
            squares = permute(graph, reshape(graph, x, self._batch, half, 2, half, 2, width), 0, 1, 3, 4, 2, 5)
            rows = reshape(graph, squares, self._batch, merge.tokens, merge.in_dim)
        bits = self._sign_norm(f"{merge.name}.norm", rows, merge.norm_mode)
        return self._product_add(f"{merge.name}.reduction", merge.name, bits, None)

    def _block(self, block: BlockShape, x: str) -> str:
        name, mlp = block.name, f"{block.name}.mlp"
        context = self._attention(f"{name}.attn", block, self._sign_norm(f"{name}.norm1", x, block.norm_mode))
        x = self._product_add(f"{name}.attn.proj", f"{name}.add1", context, x)
        acc = self._linear(f"{mlp}.fc1", self._sign_norm(f"{name}.norm2", x, block.norm_mode))
        with self.graph.scope(f"{mlp}.act"):
            hidden = threshold_sign(self.graph, acc, self._threshold(f"{mlp}.act.theta"), f"{mlp}.act")
        return self._product_add(f"{mlp}.fc2", f"{name}.add2", hidden, x)

    def _sign_norm(self, name: str, x: str, mode: str) -> str:
        formats = self._formats
        with self.graph.scope(name):
            shifted = shift(self.graph, x, formats.norm_shift)
            theta = self._parameter(f"{name}.theta")
            eps = None if mode == "mean" else self._parameter(f"{name}.eps")
            return sign_norm(self.graph, name, shifted, theta, eps, formats, 1 << (formats.norm_bits - 1))

    def _linear(self, name: str, bits: str) -> str:
        length = self.graph.shape(bits)[-1]
        check_length(name, length)
        with self.graph.scope(name):
            weight = unpack(self._tensors[f"{name}.weight"], length)
            return self._product(bits, binary_weight(self.graph, f"{name}.weight", weight), length, name)

    def _product(self, left: str, right: str, bound: int, name: str | None = None) -> str:
        acc = self.graph.op("MatMul", left, right, name=name)
        self.graph.set_range(acc, -bound, bound)
        return acc

    def _product_add(self, name: str, add: str, bits: str, x: str | None) -> str:
        acc = self._linear(name, bits)
        with self.graph.scope(add):
            total = self.graph.op("Mul", to_int64(self.graph, acc), self._parameter(f"{name}.scale"))
            if x is not None:
                total = self.graph.op("Add", x, total)
            total = self.graph.op("Add", total, self._parameter(f"{name}.bias"))
            return saturate(self.graph, total, self._formats.residual_bits, add)

    def _attention(self, attn: str, block: BlockShape, bits: str) -> str:
        q, k, v = self._heads(attn, block, self._linear(f"{attn}.qkv", bits))
        q = self._query_or_key(f"{attn}.q_norm", block, q)
        k = self._query_or_key(f"{attn}.k_norm", block, k)
        with self.graph.scope(f"{attn}.v_sign"):
            theta = self._threshold(f"{attn}.v_sign.theta", block.num_heads, 1, block.head_dim)
            v = threshold_sign(self.graph, v, theta, f"{attn}.v_sign")
        p, allowed = self._scores(attn, block, q, k)
        with self.graph.scope(f"{attn}.attn_sign"):
            ones = self._attention_bits(f"{attn}.attn_sign", block, p, allowed)
        return self._context(f"{attn}.context", block, ones, v)

    def _heads(self, attn: str, block: BlockShape, acc: str) -> list[str]:
        """Split [B, N, 3 * D] into q, k and v, [B, H, n, E] or [B, W, H, n, E]."""
        graph, heads, size, members = self.graph, block.num_heads, block.head_dim, block.window_tokens
        with graph.scope(f"{attn}.qkv"):
            if block.window is None:
                split = reshape(graph, acc, self._batch, members, 3, heads, size)
                parts = permute(graph, split, 2, 0, 3, 1, 4)
            else:
                rows = graph.op("Gather", acc, window_tokens(block).reshape(-1), axis=1)
                split = reshape(graph, rows, self._batch, block.windows, members, 3, heads, size)
                parts = permute(graph, split, 3, 0, 1, 4, 2, 5)
            return [graph.op("Gather", parts, part) for part in map(np.array, range(3))]

    def _query_or_key(self, name: str, block: BlockShape, acc: str) -> str:
        graph, shape = self.graph, (block.num_heads, 1, block.head_dim)
        with graph.scope(name):
            if block.qk_mode == "threshold":
                return threshold_sign(graph, acc, self._threshold(f"{name}.theta", *shape), name)
            theta, scale = (self._parameter(f"{name}.{key}", *shape) for key in ("theta", "scale"))
            x = graph.op("Mul", to_int64(graph, acc), scale)
            limit = block.embed_dim * ((1 << self._formats.qk_scale_bits) - 1)
            eps = self._parameter(f"{name}.eps", block.num_heads, 1)
            return sign_norm(graph, name, x, theta, eps, self._formats, limit)

    def _scores(self, attn: str, block: BlockShape, q: str, k: str) -> tuple[str, str | None]:
        """Return p (paragraph 7) and which pairs may attend, None when all may."""
        graph, name, mask = self.graph, f"{attn}.scores", window_mask(block)
        allowed, last = None, len(graph.shape(k)) - 1
        with graph.scope(name):
            keys = permute(graph, k, *range(last - 1), last, last - 1)
            dot = to_int64(graph, self._product(q, keys, block.head_dim))
            whole, plain = graph.op("Add", dot, block.head_dim), block.window is None
            p = graph.op("Div", whole, 2, name=name if plain else None)
            if not plain:
                table = self._parameter(f"{attn}.relative_position_bias_table")
                bias = graph.op("Gather", table, relative_positions(block.window or 0))
                p = graph.op("Add", p, permute(graph, bias, 2, 0, 1), name=name if mask is None else None)
            if mask is not None:
                allowed = graph.constant(mask[:, np.newaxis], f"{name}.allowed")
                p = graph.op("Where", allowed, p, np.array(MASKED), name=name)
        graph.set_range(p, MASKED if mask is not None else 0, block.largest_score)
        return p, allowed

    def _attention_bits(self, name: str, block: BlockShape, p: str, allowed: str | None) -> str:
        graph, heads = self.graph, block.num_heads
        if block.attn_mode == "score":
            above = graph.op("GreaterOrEqual", p, self._parameter(f"{name}.theta", heads, 1, 1))
        else:
            weights = self._exponentials(name, block, p, allowed)
            z = reduce_sum(graph, weights, f"{name}.z")
            graph.set_range(z, 0, block.window_tokens << 15)
            limit = graph.op("Mul", column(graph, z), self._parameter(f"{name}.tau", heads, 1, 1))
            above = graph.op("GreaterOrEqual", graph.op("Mul", weights, 1 << 16), limit)
            # With a Tau of 0 the weight 0 of a pair that may not attend would be enough.
            above = above if allowed is None else graph.op("And", above, allowed)
        ones = to_float(graph, above, name)
        graph.set_datatype(ones, "BINARY")
        return ones

    def _exponentials(self, name: str, block: BlockShape, p: str, allowed: str | None) -> str:
        """Exp[h][m - p], 0 for pairs that may not attend."""
        graph, heads = self.graph, block.num_heads
        m = graph.op("ReduceMax", p, np.array([-1]), keepdims=0, name=f"{name}.m")
        graph.set_range(m, 0, block.largest_score)
        table = self._parameter(f"{name}.exp")
        entries = graph.shape(table)[1]
        distance = graph.op("Sub", column(graph, m), p)
        if allowed is not None:
            distance = graph.op("Where", allowed, distance, np.array(0))
        first = entries * np.arange(heads).reshape(heads, 1, 1)
        weights = graph.op("Gather", reshape(graph, table, -1), graph.op("Add", distance, first))
        return weights if allowed is None else graph.op("Where", allowed, weights, np.array(0))

    def _context(self, name: str, block: BlockShape, ones: str, v: str) -> str:
        graph, bound = self.graph, block.window_tokens
        check_length(name, bound)
        with graph.scope(name):
            c = self._product(ones, v, bound)
            last = len(graph.shape(c)) - 1
            rows = permute(graph, c, *range(last - 2), last - 1, last - 2, last)
            shape = (self._batch, block.tokens, block.embed_dim)
            order = np.argsort(window_tokens(block).reshape(-1))
            if block.window is None:
                joined = graph.op("Reshape", rows, np.array(shape), name=f"{name}.c")
            else:
                joined = graph.op("Gather", reshape(graph, rows, *shape), order, axis=1, name=f"{name}.c")
            graph.set_range(joined, -bound, bound)
            return graph.bipolar_quant(joined, name)

    def _head(self, x: str) -> None:
        graph, config, formats = self.graph, self._config, self._formats
        with graph.scope("pool"):
            if config.mean_pool:
                total = graph.op("ReduceSum", x, np.array([1]), keepdims=1)
                pooled = shift(graph, total, config.pool_shift, "pool")
            else:
                pooled = graph.op("Gather", x, np.arange(config.head_rows), axis=1, name="pool")
            graph.set_range(pooled, *signed_range(formats.residual_bits))
        with graph.scope("norm"):
            eps = self._parameter("norm.eps")
            y = normalise(graph, "norm", pooled, eps, formats.head_frac_bits, formats, "norm")
        with graph.scope("head"):
            rows = reshape(graph, y, self._batch, config.head_rows * config.num_features)
            products = integer_linear(graph, rows, "head.weight", self._tensors["head.weight"])
            logits = graph.op("Add", products, self._parameter("head.bias"), name=OUTPUT)
            graph.set_range(logits, -(1 << 31), (1 << 31) - 1)
