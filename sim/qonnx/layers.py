"""Layers of an integer network in a QONNX graph: the operators of `sim.qonnx.operators` with a network's tensors."""

from __future__ import annotations

import numpy as np

from ..bits import unpack
from ..network.network import IntNetwork
from .graph import OnnxGraph
from .operators import binary_weight, check_length, saturate, shift, sign_norm, to_int64


class NetworkGraph(OnnxGraph):
    """A graph that takes its constants from a network, under the network's names.

    Parameters
    ----------
    network : IntNetwork
    batch : int
        Images at a time.
    """

    def __init__(self, network: IntNetwork, batch: int) -> None:
        super().__init__("bivit")
        self.config = network.config
        self.formats = network.formats
        self.tensors = network.tensors
        self.batch = batch

    def parameter(self, name: str, *shape: int) -> str:
        """Add a tensor of the network as int64; `shape` adds the axes that are needed where it is used."""
        values = self.tensors[name].astype(np.int64)
        return self.constant(values.reshape(shape) if shape else values, name)

    def threshold(self, name: str, *shape: int) -> str:
        """Add thresholds of products, which are float32."""
        return self.constant(self.tensors[name].astype(np.float32).reshape(shape or -1), name)

    def product(self, left: str, right: str, bound: int, name: str | None = None) -> str:
        """Multiply float32 matrices of +-1 or 0 and 1, whose products are -bound to bound."""
        acc = self.op("MatMul", left, right, name=name)
        self.set_range(acc, -bound, bound)
        return acc

    def linear(self, name: str, bits: str) -> str:
        """BinaryLinear (paragraph 3): +1 and -1, float32[..., K], to products, float32[..., O].

        Raises
        ------
        BivitError
            When the rows are too long for float32.
        """
        length = self.shape(bits)[-1]
        check_length(name, length)
        with self.scope(name):
            weight = unpack(self.tensors[f"{name}.weight"], length)
            return self.product(bits, binary_weight(self, f"{name}.weight", weight), length, name)

    def product_add(self, name: str, add: str, bits: str, x: str | None) -> str:
        """BinaryLinear and ResidualAdd (paragraph 4), whose sum is called `add`; without `x` it is the new X."""
        acc = self.linear(name, bits)
        with self.scope(add):
            total = self.op("Mul", to_int64(self, acc), self.parameter(f"{name}.scale"))
            if x is not None:
                total = self.op("Add", x, total)
            total = self.op("Add", total, self.parameter(f"{name}.bias"))
            return saturate(self, total, self.formats.residual_bits, add)

    def residual_sign_norm(self, name: str, x: str, mode: str) -> str:
        """SignNorm of the residual stream (paragraph 2)."""
        with self.scope(name):
            shifted, theta = shift(self, x, self.formats.norm_shift), self.parameter(f"{name}.theta")
            eps = None if mode == "mean" else self.parameter(f"{name}.eps")
            return sign_norm(self, name, shifted, theta, eps, self.formats, 1 << (self.formats.norm_bits - 1))
