"""The attention of a block in a QONNX graph: paragraphs 6 to 9 of docs/semantics.md.

Heads are [B, H, n, E], in a Swin [B, W, H, n, E], as the taps.
"""

from __future__ import annotations

import numpy as np

from ..network.blocks import BlockShape
from ..network.windows import MASKED, relative_positions, window_mask, window_tokens
from .layers import NetworkGraph
from .operators import check_length, column, permute, reduce_sum, reshape, sign_norm, threshold_sign, to_float, to_int64


def attention(graph: NetworkGraph, attn: str, block: BlockShape, bits: str) -> str:
    """Attention inside windows, from the bits of norm1 to those of the context.

    Parameters
    ----------
    graph : NetworkGraph
    attn : str
        Name of the attention, the stem of its tensors' names.
    block : BlockShape
    bits : str
        +1 and -1, float32[B, N, D].

    Returns
    -------
    str
        +1 and -1, float32[B, N, D].
    """
    q, k, v = _heads(graph, attn, block, graph.linear(f"{attn}.qkv", bits))
    q = _query_or_key(graph, f"{attn}.q_norm", block, q)
    k = _query_or_key(graph, f"{attn}.k_norm", block, k)
    with graph.scope(f"{attn}.v_sign"):
        theta = graph.threshold(f"{attn}.v_sign.theta", block.num_heads, 1, block.head_dim)
        v = threshold_sign(graph, v, theta, f"{attn}.v_sign")
    p, allowed = _scores(graph, attn, block, q, k)
    with graph.scope(f"{attn}.attn_sign"):
        ones = _attention_bits(graph, f"{attn}.attn_sign", block, p, allowed)
    return _context(graph, f"{attn}.context", block, ones, v)


def _heads(graph: NetworkGraph, attn: str, block: BlockShape, acc: str) -> list[str]:
    """Split [B, N, 3 * D] into q, k and v, [B, H, n, E] or [B, W, H, n, E]."""
    heads, size, members = block.num_heads, block.head_dim, block.window_tokens
    with graph.scope(f"{attn}.qkv"):
        if block.window is None:
            split = reshape(graph, acc, graph.batch, members, 3, heads, size)
            parts = permute(graph, split, 2, 0, 3, 1, 4)
        else:
            rows = graph.op("Gather", acc, window_tokens(block).reshape(-1), axis=1)
            split = reshape(graph, rows, graph.batch, block.windows, members, 3, heads, size)
            parts = permute(graph, split, 3, 0, 1, 4, 2, 5)
        return [graph.op("Gather", parts, part) for part in map(np.array, range(3))]


def _query_or_key(graph: NetworkGraph, name: str, block: BlockShape, acc: str) -> str:
    shape = (block.num_heads, 1, block.head_dim)
    with graph.scope(name):
        if block.qk_mode == "threshold":
            return threshold_sign(graph, acc, graph.threshold(f"{name}.theta", *shape), name)
        theta, scale = (graph.parameter(f"{name}.{key}", *shape) for key in ("theta", "scale"))
        x = graph.op("Mul", to_int64(graph, acc), scale)
        limit = block.embed_dim * ((1 << graph.formats.qk_scale_bits) - 1)
        eps = graph.parameter(f"{name}.eps", block.num_heads, 1)
        return sign_norm(graph, name, x, theta, eps, graph.formats, limit)


def _scores(graph: NetworkGraph, attn: str, block: BlockShape, q: str, k: str) -> tuple[str, str | None]:
    """Return p (paragraph 7) and which pairs may attend, None when all may."""
    name, mask = f"{attn}.scores", window_mask(block)
    allowed, last = None, len(graph.shape(k)) - 1
    with graph.scope(name):
        keys = permute(graph, k, *range(last - 1), last, last - 1)
        dot = to_int64(graph, graph.product(q, keys, block.head_dim))
        whole, plain = graph.op("Add", dot, block.head_dim), block.window is None
        p = graph.op("Div", whole, 2, name=name if plain else None)
        if not plain:
            table = graph.parameter(f"{attn}.relative_position_bias_table")
            bias = graph.op("Gather", table, relative_positions(block.window or 0))
            p = graph.op("Add", p, permute(graph, bias, 2, 0, 1), name=name if mask is None else None)
        if mask is not None:
            allowed = graph.constant(mask[:, np.newaxis], f"{name}.allowed")
            p = graph.op("Where", allowed, p, np.array(MASKED), name=name)
    graph.set_range(p, MASKED if mask is not None else 0, block.largest_score)
    return p, allowed


def _attention_bits(graph: NetworkGraph, name: str, block: BlockShape, p: str, allowed: str | None) -> str:
    heads = block.num_heads
    if block.attn_mode == "score":
        above = graph.op("GreaterOrEqual", p, graph.parameter(f"{name}.theta", heads, 1, 1))
    else:
        weights = _exponentials(graph, name, block, p, allowed)
        z = reduce_sum(graph, weights, f"{name}.z")
        graph.set_range(z, 0, block.window_tokens << 15)
        limit = graph.op("Mul", column(graph, z), graph.parameter(f"{name}.tau", heads, 1, 1))
        above = graph.op("GreaterOrEqual", graph.op("Mul", weights, 1 << 16), limit)
        # With a Tau of 0 the weight 0 of a pair that may not attend would be enough.
        above = above if allowed is None else graph.op("And", above, allowed)
    ones = to_float(graph, above, name)
    graph.set_datatype(ones, "BINARY")
    return ones


def _exponentials(graph: NetworkGraph, name: str, block: BlockShape, p: str, allowed: str | None) -> str:
    """Exp[h][m - p], 0 for pairs that may not attend."""
    heads = block.num_heads
    m = graph.op("ReduceMax", p, np.array([-1]), keepdims=0, name=f"{name}.m")
    graph.set_range(m, 0, block.largest_score)
    table = graph.parameter(f"{name}.exp")
    entries = graph.shape(table)[1]
    distance = graph.op("Sub", column(graph, m), p)
    if allowed is not None:
        distance = graph.op("Where", allowed, distance, np.array(0))
    first = entries * np.arange(heads).reshape(heads, 1, 1)
    weights = graph.op("Gather", reshape(graph, table, -1), graph.op("Add", distance, first))
    return weights if allowed is None else graph.op("Where", allowed, weights, np.array(0))


def _context(graph: NetworkGraph, name: str, block: BlockShape, ones: str, v: str) -> str:
    bound = block.window_tokens
    check_length(name, bound)
    with graph.scope(name):
        c = graph.product(ones, v, bound)
        last = len(graph.shape(c)) - 1
        rows = permute(graph, c, *range(last - 2), last - 1, last - 2, last)
        shape = (graph.batch, block.tokens, block.embed_dim)
        order = np.argsort(window_tokens(block).reshape(-1))
        if block.window is None:
            joined = graph.op("Reshape", rows, np.array(shape), name=f"{name}.c")
        else:
            joined = graph.op("Gather", reshape(graph, rows, *shape), order, axis=1, name=f"{name}.c")
        graph.set_range(joined, -bound, bound)
        return graph.bipolar_quant(joined, name)
