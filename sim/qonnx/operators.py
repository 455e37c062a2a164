"""The operators of docs/semantics.md as nodes of an ONNX graph, all exact (docs/qonnx.md).

Numbers are int64. Bits are float32, +1 and -1, as QONNX has them, and so are their products, which float32 holds
exactly up to 2^24. The operators share no arithmetic with the kernels of `sim`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from ..bits import signed_range
from ..errors import check
from ..network.formats import Formats
from .graph import OnnxGraph

#: Longest row of bits whose products and thresholds float32 holds: all integers up to 2^24 are float32 numbers.
LONGEST_ROW = (1 << 24) - 2

_LAST_AXIS = np.array([-1])


def check_length(name: str, length: int) -> None:
    """Refuse a product of rows that are too long for float32.

    Raises
    ------
    BivitError
        Naming the product, its length and what is allowed.
    """
    check(
        length <= LONGEST_ROW,
        f"{name} multiplies rows of {length:,} bits; QONNX carries their sums in float32, which is exact up to "
        f"{LONGEST_ROW:,}; such a network runs with `bivit run` only",
    )


def to_int64(graph: OnnxGraph, x: str) -> str:
    """Cast a tensor of integers to int64."""
    return graph.op("Cast", x, to=TensorProto.INT64)


def to_float(graph: OnnxGraph, x: str, name: str | None = None) -> str:
    """Cast a tensor to float32."""
    return graph.op("Cast", x, to=TensorProto.FLOAT, name=name)


def reshape(graph: OnnxGraph, x: str, *shape: int) -> str:
    """Give a tensor another shape."""
    return graph.op("Reshape", x, np.array(shape, dtype=np.int64))


def permute(graph: OnnxGraph, x: str, *axes: int) -> str:
    """Transpose a tensor."""
    return graph.op("Transpose", x, perm=axes)


def column(graph: OnnxGraph, x: str) -> str:
    """Add a last axis of 1."""
    return graph.op("Unsqueeze", x, _LAST_AXIS)


def reduce_sum(graph: OnnxGraph, x: str, name: str | None = None) -> str:
    """Sum over the last axis."""
    return graph.op("ReduceSum", x, _LAST_AXIS, keepdims=0, name=name)


def square(graph: OnnxGraph, x: str) -> str:
    """Multiply a tensor by itself; Pow would go through a double."""
    # Through a copy: qonnx renames only one input of a node, and its clean-up renames every tensor.
    return graph.op("Mul", x, graph.op("Identity", x))


def shift(graph: OnnxGraph, x: str, bits: int, name: str | None = None) -> str:
    """Shift right arithmetically, rounding to minus infinity; ONNX's shift is of unsigned numbers only."""
    # The remainder of integers has the divisor's sign, so what is left is a multiple and the division exact.
    multiple = graph.op("Sub", x, graph.op("Mod", x, 1 << bits))
    return graph.op("Div", multiple, 1 << bits, name=name)


def saturate(graph: OnnxGraph, x: str, bits: int, name: str | None = None) -> str:
    """Clamp to `bits` bits, two's complement."""
    low, high = signed_range(bits)
    clamped = graph.op("Clip", x, low, high, name=name)
    graph.set_range(clamped, low, high)
    return clamped


def isqrt(graph: OnnxGraph, v: str, name: str | None = None) -> str:
    """Floor of the square root of 0 .. 2^62 - 1: double's root, at most one off, corrected by integer comparisons."""
    root = graph.op("Floor", graph.op("Sqrt", graph.op("Cast", v, to=TensorProto.DOUBLE)))
    guess = to_int64(graph, root)
    above = graph.op("Add", guess, 1)
    too_large = to_int64(graph, graph.op("Greater", square(graph, guess), v))
    too_small = to_int64(graph, graph.op("LessOrEqual", square(graph, above), v))
    return graph.op("Sub", graph.op("Add", guess, too_small), too_large, name=name)


def binary_weight(graph: OnnxGraph, name: str, bits: NDArray[np.uint8]) -> str:
    """Add weights of bits [outputs, inputs] as +1 and -1, [inputs, outputs], through BipolarQuant."""
    signs = 2 * bits.T.astype(np.float32) - 1
    return graph.bipolar_quant(graph.constant(signs, name), f"{name}.quantized")


def threshold_sign(graph: OnnxGraph, acc: str, theta: str, name: str) -> str:
    """Compare float32 products with their thresholds: ``acc >= theta``, as +1 and -1 (paragraph 5)."""
    return graph.bipolar_quant(graph.op("Sub", acc, theta), name)


def sign_norm(graph: OnnxGraph, name: str, x: str, theta: str, eps: str | None, formats: Formats, limit: int) -> str:
    """LayerNorm followed by sign over the last axis (paragraphs 2 and 6).

    Parameters
    ----------
    graph : OnnxGraph
    name : str
        Of the bits; S1 and R are named after it.
    x : str
        int64[..., C].
    theta : str
        int64, with the axes of `x`.
    eps : str or None
        int64, with the axes of `x` but the last; None takes the constant of mode `mean` for the root.
    formats : Formats
    limit : int
        Bound of the magnitude of `x`.

    Returns
    -------
    str
        +1 and -1, float32[..., C].
    """
    channels = graph.shape(x)[-1]
    s1 = _sum(graph, name, x, limit)
    if eps is None:
        constant = 1 << (formats.theta_frac_bits + formats.mean_shift)
        r = graph.op("Expand", np.array(constant), np.array(graph.shape(s1)), name=f"{name}.r")
        graph.set_range(r, 0, constant)
    else:
        r = _root_of_variance(graph, name, x, s1, eps)
    left = graph.op("Mul", _centred(graph, x, s1, channels), 1 << formats.theta_frac_bits)
    difference = graph.op("Sub", left, graph.op("Mul", theta, column(graph, r)))
    # A conversion to float32 rounds, but never across 0.
    return graph.bipolar_quant(to_float(graph, difference), name)


def normalise(graph: OnnxGraph, name: str, x: str, eps: str, frac_bits: int, formats: Formats, y_name: str) -> str:
    """LayerNorm to numbers by a reciprocal root (paragraphs 1 and 11); S1, R and Q are named after `name`.

    Parameters
    ----------
    graph : OnnxGraph
    name : str
    x : str
        X, int64[..., C].
    eps : str
        int64[1].
    frac_bits : int
        Of y.
    formats : Formats
    y_name : str
        Name of the result.

    Returns
    -------
    str
        y, int64[..., C].
    """
    shifted, channels = shift(graph, x, formats.norm_shift), graph.shape(x)[-1]
    s1 = _sum(graph, name, shifted, 1 << (formats.norm_bits - 1))
    r = _root_of_variance(graph, name, shifted, s1, eps)
    q = graph.op("Div", np.array(1 << formats.head_m), r, name=f"{name}.q")
    graph.set_range(q, 0, 1 << formats.head_m)
    product = graph.op("Mul", _centred(graph, shifted, s1, channels), column(graph, q))
    y = shift(graph, product, formats.head_m - frac_bits, y_name)
    # A row's elements stay within sqrt(C) standard deviations (`sim.network.tensors`).
    bound = 2 * (math.isqrt(channels) + 1) << frac_bits
    graph.set_range(y, -bound, bound)
    return y


def integer_linear(graph: OnnxGraph, x: str, name: str, weight: NDArray[Any]) -> str:
    """Multiply rows of int64 by int8 weights [outputs, inputs], stored as [inputs, outputs]."""
    stored = graph.constant(weight.T, name)
    graph.set_range(stored, *signed_range(8))
    return graph.op("MatMul", x, to_int64(graph, stored))


def _sum(graph: OnnxGraph, name: str, x: str, limit: int) -> str:
    s1 = reduce_sum(graph, x, f"{name}.s1")
    bound = graph.shape(x)[-1] * limit
    graph.set_range(s1, -bound, bound)
    return s1


def _root_of_variance(graph: OnnxGraph, name: str, x: str, s1: str, eps: str) -> str:
    squares = graph.op("Mul", reduce_sum(graph, square(graph, x)), graph.shape(x)[-1])
    v = graph.op("Add", graph.op("Sub", squares, square(graph, s1)), eps)
    r = isqrt(graph, v, f"{name}.r")
    graph.set_range(r, 0, (1 << 31) - 1)
    return r


def _centred(graph: OnnxGraph, x: str, s1: str, channels: int) -> str:
    return graph.op("Sub", graph.op("Mul", x, channels), column(graph, s1))
