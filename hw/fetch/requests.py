"""Asks the memory for weights: burst after burst, as far ahead as there is room for them."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib.wiring import In
from amaranth.utils import exact_log2

from ...sim.flow.config import BURST_BEATS, FlowConfig
from ...sim.flow.settings import WEIGHT_PARTS
from ...sim.flow.weight_stream import ADDRESS_BITS, OPEN_BURSTS, WeightStreamUnit
from ..flow.jobs import Credits
from ..parts.component import Component, reset_by
from ..parts.connect import connect
from ..parts.stream import LOAD_BUS
from .axi import read_master
from .part_walk import PartWalk
from .ring_room import RingRoom, weights_read

#: Bits of an address that a burst's place is added in; the others are those of the image's address.
_COUNTED = 32


class Requests(Component):
    """The address channel of a master of AXI4 reads.

    A part is asked for when there is room for it, which is at first for two blocks; a stream that begins with a block's
    part gives back the room of the one before. Of a ring each burst is asked for when that has room (`RingRoom`). A
    request that was made stays until it is taken, whatever comes.

    Timing: a burst a cycle at most, of a ring every three, two cycles between parts; at most `OPEN_BURSTS` are open.

    Numerics: addresses are added in 32 bits, so the image must not cross a multiple of 4 GiB.

    Parameters
    ----------
    flow : FlowConfig

    Members
    -------
    load, bank : In
        Load bus, and the bank in use.
    start, active : In(1)
        Begin with the first part; whether anything may be asked for.
    base, run : In
        Address of the image, and number of the reads; constant from `start` on.
    opened : In
        By `WEIGHT_PARTS`: a stream has begun with a block's weights; without a ring.
    read : In
        Words that have been read for the last time; with a ring.
    arrived : In(1)
        Pulse: the last beat of a burst of these reads came.
    arid, araddr, arlen, arvalid, arready : Out, In
        Of AXI4.
    """

    def __init__(self, flow: FlowConfig):
        self.flow, self.unit = flow, WeightStreamUnit(flow)
        ports = read_master(flow.memory_bits)
        super().__init__(
            {
                "load": In(LOAD_BUS),
                "bank": In(1),
                "start": In(1),
                "active": In(1),
                "base": In(ADDRESS_BITS),
                "run": In(ports["arid"].shape),
                **(weights_read(flow) or {"opened": In(len(WEIGHT_PARTS))}),
                "arrived": In(1),
                **{name: ports[name] for name in ("arid", "araddr", "arlen", "arvalid", "arready")},
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Take a part, then ask for its bursts."""
        m = Module()
        m.submodules.walk = walk = PartWalk(self.flow)
        take, asks, goes = Signal(), Signal(), Signal()
        m.d.comb += [
            *(connect(walk.load, self.load), connect(walk.bank, self.bank)),
            *(connect(walk.start, self.start), connect(walk.step, take)),
        ]
        room = self._settled(m, Signal(3, name="settling")) if self.flow.weight_ring else self._room(m, walk, take)
        asked = Signal()  # a part has bursts that are not asked for
        left, last, final = Signal.like(walk.entry.beats), Signal(), Signal()
        free = self._open(m, asks)
        if self.flow.weight_ring:
            free = free & self._ring(m, asks, left, last)
        m.d.comb += [
            goes.eq(self.active & ~self.start),
            take.eq(room & ~asked & goes),
            asks.eq(asked & free & goes & (~self.arvalid | self.arready)),
        ]
        with m.If(take):
            m.d.sync += [
                *(asked.eq(1), connect(left, walk.entry.beats), last.eq(walk.entry.beats <= BURST_BEATS)),
                connect(final, walk.entry.final),
            ]
        with m.If(asks):
            m.d.sync += [left.eq(left - BURST_BEATS), last.eq(left <= 2 * BURST_BEATS), asked.eq(~last)]
        with m.If(self.start):
            m.d.sync += asked.eq(0)
        self._address(m, asks, last, final)
        with m.If(self.arready):
            m.d.sync += self.arvalid.eq(0)
        with m.If(asks):
            m.d.sync += [
                *(self.arvalid.eq(1), connect(self.arid, self.run)),
                self.arlen.eq(Mux(last, left - 1, BURST_BEATS - 1)),
            ]
        return m

    def _settled(self, m: Module, settling: Signal) -> Value:
        """Whether the list has been looked up since `start`."""
        m.d.sync += settling.eq(Mux(self.start, -1, settling >> 1))
        return ~settling[0]

    def _ring(self, m: Module, asks: Signal, left: Signal, last: Signal) -> Value:
        """Whether the ring has room for a burst."""
        m.submodules.ring = ring = RingRoom(self.flow)
        m.d.comb += [
            *(connect(ring.start, self.start), connect(ring.read, self.read)),
            # The beat that checks a part takes no room.
            *(connect(ring.asks, asks), ring.beats.eq(Mux(last, left - 1, BURST_BEATS))),
        ]
        return ring.some

    def _room(self, m: Module, walk: PartWalk, take: Signal) -> Signal:
        """Whether there is room for the next part, which has been looked up."""
        some, settling = Signal(len(WEIGHT_PARTS)), Signal(3)
        for number, part in enumerate(WEIGHT_PARTS):
            name = f"room_{part.name.lower()}"
            m.submodules[name] = reset_by(self.start, credits := Credits(2, 2))
            used = Signal(name=f"used_{part.name.lower()}")  # a block before is given back
            with m.If(self.opened[number]):
                m.d.sync += used.eq(1)
            with m.If(self.start):
                m.d.sync += used.eq(0)
            m.d.comb += [
                credits.take.eq(take & (walk.entry.kind == number)),
                credits.give.eq(self.opened[number] & used),
                connect(some[number], credits.some),
            ]
        settled = self._settled(m, settling)
        mine = Cat(some, Const(1, 1)).bit_select(walk.entry.kind, 1)
        room = Signal()
        m.d.comb += room.eq(Mux(walk.entry.begins, some.all(), mine) & settled)
        return room

    def _open(self, m: Module, asks: Signal) -> Signal:
        """Count the bursts that are open; return whether there may be another one."""
        count, free = Signal(range(OPEN_BURSTS + 1)), Signal(init=1)
        with m.If(asks & ~self.arrived):
            m.d.sync += [count.eq(count + 1), free.eq(count != OPEN_BURSTS - 1)]
        with m.If(self.arrived & ~asks):
            m.d.sync += [count.eq(count - 1), free.eq(1)]
        with m.If(self.start):
            m.d.sync += [count.eq(0), free.eq(1)]
        return free

    def _address(self, m: Module, asks: Signal, last: Signal, final: Signal) -> None:
        """The next burst's address: one burst behind the other, and from the last one back to the first."""
        burst = exact_log2(BURST_BEATS * self.unit.beat_bytes)
        place = Signal(_COUNTED - burst, name="burst")
        first = self.base[burst:_COUNTED]
        with m.If(asks):
            m.d.sync += [
                self.araddr.eq(Cat(self.base[:burst], place, self.base[_COUNTED:])),
                place.eq(Mux(last & final, first, place + 1)),
            ]
        with m.If(self.start):
            m.d.sync += connect(place, first)
