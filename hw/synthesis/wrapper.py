"""Puts registers around a component, so that a place and route tool can be given it alone, whatever ports it has."""

from __future__ import annotations

from amaranth.hdl import Cat, ClockDomain, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import Flow, In, Out

from ..parts.component import Component

#: Outputs that one register of the tree sums up: the inputs of the smallest look-up table there is.
_TREE = 4


#: Pins of a wrapped component.
PINS = ("clk", "rst", "serial", "parity")


class PinWrapper(Component):
    """A component with registers at all its ports and four pins, whatever its signature.

    Every bit of an input comes from a register of a shift chain, and every bit of an output goes into a register; a
    tree of exclusive ors, registered at each level, reduces these to one bit. So each path of the component begins and
    ends at a register, and nothing of it can be optimised away. Its reset comes from a register as well.

    Timing: a bit of the chain and one of the parity a cycle.

    Numerics: none.

    Parameters
    ----------
    inner : wiring.Component
        What is wrapped.
    name : str
        Of its submodule: begins the names of its nets.

    Members
    -------
    clk, rst, serial : In(1)
        Clock, reset, and what is shifted into the chain.
    parity : Out(1)
        Exclusive or of all outputs, some cycles later.
    """

    def __init__(self, inner: wiring.Component, name: str):
        self._inner, self._name = inner, name
        super().__init__({"clk": In(1), "rst": In(1), "serial": In(1), "parity": Out(1)})

    def elaborate(self, platform: object) -> Module:
        """Build chain and tree."""
        m = Module()
        m.submodules[self._name] = self._inner
        m.domains.sync = inside = ClockDomain("sync")
        m.domains.pins = pins = ClockDomain("pins", reset_less=True)
        m.d.comb += [inside.clk.eq(self.clk), pins.clk.eq(self.clk)]
        m.d.pins += inside.rst.eq(self.rst)

        inputs, outputs = port_bits(self._inner)
        chain = Signal(len(inputs), name="chain")
        m.d.pins += chain.eq(Cat(self.serial, chain)[: len(chain)])
        m.d.comb += inputs.eq(chain)

        level = Signal(len(outputs), name="captured")
        m.d.pins += level.eq(outputs)
        depth = 0
        while len(level) > 1:
            groups = [level[k : k + _TREE].xor() for k in range(0, len(level), _TREE)]
            level = Signal(len(groups), name=f"tree_{depth}")
            m.d.pins += level.eq(Cat(groups))
            depth += 1
        m.d.comb += self.parity.eq(level)
        return m


def port_bits(component: wiring.Component) -> tuple[Cat, Cat]:
    """Return all bits of a component's inputs, and all bits of its outputs, in the order of its signature.

    Parameters
    ----------
    component : wiring.Component
    """
    values: dict[Flow, list[Value]] = {In: [], Out: []}
    for _, member, value in component.signature.flatten(component):
        values[member.flow].append(Value.cast(value))
    return Cat(values[In]), Cat(values[Out])
