"""The wrapper: every port bit behind a register, seen by simulation and in the netlist's own terms."""

import pytest
from amaranth.hdl import Cat, Fragment, Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from small_flow import small_flow

from bivit.hw.synthesis.calibrated import FITTED_ENGINES
from bivit.hw.synthesis.synth import component, synthesised
from bivit.hw.synthesis.wrapper import PinWrapper, port_bits
from bivit.sim.flow.config import FlowConfig

BITS = 7


class Twist(wiring.Component):
    """All kinds of ports: plain, an array, a structure, and an interface in both directions."""

    def __init__(self) -> None:
        bus = wiring.Signature({"give": Out(2), "take": In(1)})
        super().__init__(
            {
                "plain": In(1),
                "several": In(1).array(2),
                "shaped": In(data.StructLayout({"a": 2, "b": 1})),
                "bus": Out(bus),
                "held": Out(3),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.bus.give.eq(Cat(self.plain, self.several[0]))
        m.d.sync += self.held.eq(Cat(self.several[1], self.shaped.a[0], self.bus.take))
        return m


def test_all_bits_of_all_ports_are_found() -> None:
    inputs, outputs = port_bits(Twist())
    assert (len(inputs), len(outputs)) == (1 + 2 + 3 + 1, 2 + 3)
    assert len(inputs) == BITS


def test_inputs_come_from_the_chain_and_every_output_bit_reaches_the_pin() -> None:
    """A one walks through the chain; each bit of the outputs that it changes changes the parity at some time."""
    inner = Twist()
    wrapper = PinWrapper(inner, "twist")
    seen: list[tuple[int, ...]] = []
    parities: list[int] = []

    async def bench(ctx: object) -> None:
        inputs, _ = port_bits(inner)
        for cycle in range(BITS + 6):
            ctx.set(wrapper.serial, cycle == 0)
            ctx.set(wrapper.clk, 0)
            await ctx.delay(1e-9)
            ctx.set(wrapper.clk, 1)
            await ctx.delay(1e-9)
            seen.append(tuple(ctx.get(bit) for bit in inputs))
            parities.append(ctx.get(wrapper.parity))

    simulator = Simulator(wrapper)
    simulator.add_testbench(bench)
    simulator.run()
    assert seen[:BITS] == [tuple(int(k == cycle) for k in range(BITS)) for cycle in range(BITS)]
    # plain, several[0] at once; several[1], shaped.a[0], bus.take one cycle later: two levels of the tree behind them.
    assert sum(parities) == 5


@pytest.mark.parametrize(
    ("unit", "flow"),
    [(unit, flow) for flow in (small_flow(rows=1), FITTED_ENGINES["4x8-windows"]) for unit in synthesised(flow)],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_unit_and_the_engine_can_be_wrapped(unit: str, flow: FlowConfig) -> None:
    inner = component(unit, flow)
    inputs, outputs = port_bits(inner)
    assert len(inputs) > 0
    assert len(outputs) > 0
    Fragment.get(PinWrapper(inner, unit), None)
