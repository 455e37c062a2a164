"""From one token to the next in engines with windows, where a token's words are its own, and may lie anywhere."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from ...sim.flow.edge import EdgeUnit
from ...sim.flow.edge_settings import EDGE_SETTINGS
from ...sim.flow.residual_add import ResidualAddUnit
from ..parts.component import Component
from ..parts.connect import connect
from ..parts.memory import LoadableMemory
from ..parts.stream import LOAD_BUS
from .token_walk import STEPS, places, take_place


class StrideWalk(Component):
    """Tokens one after the other, in the last stage; in the parts of a bank in turn, where it has several.

    Timing: the place follows by one cycle.

    Numerics: none.

    Parameters
    ----------
    unit : EdgeUnit

    Members
    -------
    start, base, step, back, keep : In
        Of `TokenWalk`.
    stride : In
        Words from one token to the next.
    addr, row : Out
        First word of the token, and 0: a word is of one token.
    """

    def __init__(self, unit: EdgeUnit):
        self.unit = unit
        super().__init__(
            {
                **{name: In(1) for name in STEPS},
                "base": In(unit.x_addr_bits),
                "stride": In(dict(EDGE_SETTINGS)["row_stride"]),
                "addr": Out(unit.x_addr_bits),
                "row": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Count words."""
        m = Module()
        add = ResidualAddUnit(self.unit.flow)
        parts, size = add.parts_of_bank, add.part_words
        now, following, kept = places(m, {"addr": len(self.addr)})
        with m.If(self.step):
            m.d.comb += following["addr"].eq(next_token(now["addr"], self.stride, parts, size))
        with m.If(self.start):
            m.d.comb += connect(following["addr"], self.base)
        take_place(m, self, now, following, kept)
        m.d.comb += connect(self.addr, now["addr"])
        return m


def next_token(addr: Value, stride: Value, parts: int, size: int) -> Value:
    """Return the first word of the token behind one: in the next part of the bank, or behind it in the first part.

    Parameters
    ----------
    addr, stride : Value
        First word of the token; words of a token.
    parts, size : int
        Parts of a bank, and addresses of each, powers of two.
    """
    if parts == 1:
        return addr + stride
    low, high = (size - 1).bit_length(), (parts - 1).bit_length()
    part = addr[low : low + high]
    slot = addr[:low] + Mux(part == parts - 1, stride, 0)
    return Cat(slot[:low], (part + 1)[:high], addr[low + high :])


class PlaceWalk(Component):
    """Tokens of the first stage in raster order, each where the memory of places says.

    Timing: the place follows by `place_cycles`.

    Numerics: none.

    Parameters
    ----------
    unit : EdgeUnit

    Members
    -------
    start, base, step, back, keep : In
        Of `TokenWalk`.
    addr : Out
        First word of the token.
    load, bank : In
        Load bus, and the bank in use.
    """

    #: From a step to the place: its number, and the memory.
    place_cycles = 2

    def __init__(self, unit: EdgeUnit):
        self.unit = unit
        super().__init__(
            {
                **{name: In(1) for name in STEPS},
                "base": In(unit.x_addr_bits),
                "addr": Out(unit.x_addr_bits),
                "load": In(LOAD_BUS),
                "bank": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Count tokens, and look up where they lie in the bank, whose first word is a multiple of all its words."""
        m = Module()
        m.submodules.patch_places = memory = LoadableMemory(self.unit.load_memories["patch_places"])
        base = Signal.like(self.base, reset_less=True)
        now, following, kept = places(m, {"token": len(memory.r_addr)})
        with m.If(self.step):
            m.d.comb += following["token"].eq(now["token"] + 1)
        with m.If(self.start):
            m.d.comb += following["token"].eq(0)
            m.d.sync += connect(base, self.base)
        take_place(m, self, now, following, kept)
        m.d.comb += [
            *(connect(memory.load, self.load), connect(memory.bank, self.bank), connect(memory.r_addr, now["token"])),
            connect(self.addr, base | memory.r_data),
        ]
        return m
