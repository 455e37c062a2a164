"""One binary dot product three times: plain Python, the numba reference, and the hardware's dot unit in simulation.

python examples/dot.py
"""

import numpy as np
from amaranth.hdl import Cat, Module, Signal
from amaranth.sim import Simulator

from bivit.hw.parts.popcount import Features
from bivit.hw.parts.xnor_dot import XnorDot
from bivit.sim.bits import pack
from bivit.sim.engine.pipeline import XNOR_DOT_CYCLES
from bivit.sim.reference.prepare import grouped
from bivit.sim.reference.products import binary_linear

STEPS = 3
LENGTH = 64 * STEPS


def in_python(a: np.ndarray, w: np.ndarray) -> int:
    """Sum of products of +1 and -1; bit 1 stands for +1, bit 0 for -1."""
    return sum((2 * int(x) - 1) * (2 * int(y) - 1) for x, y in zip(a, w, strict=True))


def in_hardware(a: np.ndarray, w: np.ndarray) -> int:
    """Feed `STEPS` words to one dot unit and turn its popcount p into the dot product 2p - K."""
    m = Module()
    m.submodules.dot = dot = XnorDot("lut6", acc_bits=12)
    operands = [Signal(64), Signal(64)]
    features = Features("lut6")
    for name, operand, port in (("a", operands[0], dot.a), ("w", operands[1], dot.w)):
        levels, rest = features.first_stage(m, operand, name, weights=name == "w")
        m.d.comb += port.eq(features.second_stage(m, levels, rest, name, weights=name == "w"))
    both = Cat(*operands)

    async def bench(ctx) -> None:
        for cycle in range(STEPS + XNOR_DOT_CYCLES):
            if cycle < STEPS:
                ctx.set(both, int(a[cycle]) | int(w[cycle]) << 64)
            ctx.set(dot.first, cycle == XNOR_DOT_CYCLES - 1)
            await ctx.tick()
            if cycle == STEPS + XNOR_DOT_CYCLES - 2:
                result.append(2 * ctx.get(dot.o) - LENGTH)

    result: list[int] = []
    simulator = Simulator(m)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    return result[0]


def main() -> None:
    """Compute all three and compare them."""
    a, w = np.random.default_rng(7).integers(0, 2, (2, LENGTH), dtype=np.uint8)
    packed_a, packed_w, acc = pack(a), pack(w), np.empty((1, 1), dtype=np.int16)
    binary_linear(packed_a[None], grouped(packed_w[None]), LENGTH, acc)
    reference = int(acc[0, 0])
    print(f"plain Python {in_python(a, w)}, reference {reference}, dot unit {in_hardware(packed_a, packed_w)}")
    assert in_python(a, w) == reference == in_hardware(packed_a, packed_w)


if __name__ == "__main__":
    main()
