"""An integer network as one QONNX graph, whose tensors have the names of docs/network.md (docs/qonnx.md).

ONNX Runtime and qonnx run the same file, and share no arithmetic with the kernels of `sim`: they are independent judges
of the reference.
"""

from __future__ import annotations

import json
import os

import numpy as np
import onnx

from ... import __version__
from ..bits import signed_range
from ..errors import check
from ..network.blocks import BlockShape, MergeShape
from ..network.file import network_hash
from ..network.network import IntNetwork
from ..system.files import whole_file
from .attention import attention
from .layers import NetworkGraph
from .operators import integer_linear, normalise, permute, reshape, saturate, shift, threshold_sign, to_int64

QONNX_FORMAT = "bivit-qonnx"
QONNX_VERSION = 1
#: Names of the graph's input and output.
INPUT, OUTPUT = "images", "head"

#: Largest size of the constants: protobuf holds 2^31 bytes, and nodes need some.
LARGEST_CONSTANTS = 2_000_000_000


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
    graph = NetworkGraph(network, batch)
    _walk(graph)
    check(
        graph.constant_bytes <= LARGEST_CONSTANTS,
        f"the graph has constants of {graph.constant_bytes:,} bytes and an ONNX file holds up to "
        f"{LARGEST_CONSTANTS:,}; such a network runs with `bivit run` only",
    )
    header = {"format": QONNX_FORMAT, "version": QONNX_VERSION, "network_sha256": network_hash(network)}
    return graph.model([OUTPUT], __version__, {"bivit": json.dumps(header)})


def save_qonnx(model: onnx.ModelProto, path: str | os.PathLike[str]) -> None:
    """Write a graph; the file appears whole or not at all.

    Parameters
    ----------
    model : onnx.ModelProto
    path : path
        Its folder is made when it does not exist.

    Raises
    ------
    BivitError
        When the file cannot be written.
    """
    with whole_file(path) as partial:
        partial.write_bytes(model.SerializeToString())


def _walk(graph: NetworkGraph) -> None:
    x = _patch_embed(graph)
    for stage in graph.config.stages:
        if stage.merge is not None:
            x = _merge(graph, stage.merge, x)
        for block in stage.blocks:
            x = _block(graph, block, x)
    _head(graph, x)


def _patch_embed(graph: NetworkGraph) -> str:
    config, name = graph.config, "patch_embed.proj"
    side, grid, chans, width = config.patch_size, config.grid_size, config.in_chans, config.embed_dim
    graph.input(INPUT, np.uint8, (graph.batch, config.img_size, config.img_size, chans))
    graph.set_datatype(INPUT, "UINT8")
    with graph.scope(name):
        tiles = permute(graph, reshape(graph, INPUT, graph.batch, grid, side, grid, side, chans), 0, 1, 3, 2, 4, 5)
        patches = to_int64(graph, reshape(graph, tiles, graph.batch, grid**2, config.patch_dim))
        acc = integer_linear(graph, patches, f"{name}.weight", graph.tensors[f"{name}.weight"])
        bits = int(graph.tensors[f"{name}.shift"][0])
        scaled = graph.op("Mul", acc, graph.parameter(f"{name}.scale"))
        scaled = graph.op("Add", scaled, graph.parameter(f"{name}.bias"))
        x = shift(graph, graph.op("Add", scaled, 1 << (bits - 1)), bits)
        if config.patch_norm:
            return _patch_norm(graph, saturate(graph, x, graph.formats.residual_bits, name))
        if config.num_prefix_tokens:
            prefix = np.zeros((graph.batch, config.num_prefix_tokens, width), dtype=np.int64)
            x = graph.op("Concat", prefix, x, axis=1)
        x = graph.op("Add", x, graph.parameter("pos_embed"))
        return saturate(graph, x, graph.formats.residual_bits, "patch_embed")


def _patch_norm(graph: NetworkGraph, x: str) -> str:
    name, frac_bits = "patch_embed.norm", graph.formats.residual_frac_bits
    with graph.scope(name):
        eps = graph.parameter(f"{name}.eps")
        y = normalise(graph, name, x, eps, frac_bits, graph.formats, f"{name}/y")
        scaled = graph.op("Mul", y, graph.parameter(f"{name}.scale"))
        rounded = shift(graph, graph.op("Add", scaled, 1 << (frac_bits - 1)), frac_bits)
        moved = graph.op("Add", rounded, graph.parameter(f"{name}.bias"))
        return saturate(graph, moved, graph.formats.residual_bits, "patch_embed")


def _merge(graph: NetworkGraph, merge: MergeShape, x: str) -> str:
    half, width = merge.grid // 2, merge.embed_dim
    with graph.scope(merge.name):
        squares = permute(graph, reshape(graph, x, graph.batch, half, 2, half, 2, width), 0, 1, 3, 4, 2, 5)
        rows = reshape(graph, squares, graph.batch, merge.tokens, merge.in_dim)
    bits = graph.residual_sign_norm(f"{merge.name}.norm", rows, merge.norm_mode)
    return graph.product_add(f"{merge.name}.reduction", merge.name, bits, None)


def _block(graph: NetworkGraph, block: BlockShape, x: str) -> str:
    name, mlp = block.name, f"{block.name}.mlp"
    context = attention(graph, f"{name}.attn", block, graph.residual_sign_norm(f"{name}.norm1", x, block.norm_mode))
    x = graph.product_add(f"{name}.attn.proj", f"{name}.add1", context, x)
    acc = graph.linear(f"{mlp}.fc1", graph.residual_sign_norm(f"{name}.norm2", x, block.norm_mode))
    with graph.scope(f"{mlp}.act"):
        hidden = threshold_sign(graph, acc, graph.threshold(f"{mlp}.act.theta"), f"{mlp}.act")
    return graph.product_add(f"{mlp}.fc2", f"{name}.add2", hidden, x)


def _head(graph: NetworkGraph, x: str) -> None:
    config, formats = graph.config, graph.formats
    with graph.scope("pool"):
        if config.mean_pool:
            total = graph.op("ReduceSum", x, np.array([1]), keepdims=1)
            pooled = shift(graph, total, config.pool_shift, "pool")
        else:
            pooled = graph.op("Gather", x, np.arange(config.head_rows), axis=1, name="pool")
        graph.set_range(pooled, *signed_range(formats.residual_bits))
    with graph.scope("norm"):
        eps = graph.parameter("norm.eps")
        y = normalise(graph, "norm", pooled, eps, formats.head_frac_bits, formats, "norm")
    with graph.scope("head"):
        rows = reshape(graph, y, graph.batch, config.head_rows * config.num_features)
        products = integer_linear(graph, rows, "head.weight", graph.tensors["head.weight"])
        logits = graph.op("Add", products, graph.parameter("head.bias"), name=OUTPUT)
        graph.set_range(logits, -(1 << 31), (1 << 31) - 1)
