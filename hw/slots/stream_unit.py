"""One stream: where it is, and the operation that its next slot gives the array."""

from __future__ import annotations

from typing import Any, NamedTuple

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from ...sim.engine.words import WORD
from ...sim.flow.config import FlowConfig
from ...sim.flow.operation import Done, Operands
from ...sim.flow.settings import setting_bits
from ...sim.flow.streams import Stream
from ..flow.jobs import following
from ..parts.component import Component
from ..parts.connect import connect
from .records import record_layout, turns
from .stream_walk import EARLY, StreamWalk

#: Flags that a walk knows, and those of a slot that has something to do: with a register each.
OF_WALK = ("lagging", "ready", "settled", "first", "end", "fresh")
OF_WORK = ("works", "begins", "ends", "opens", "head_begins", "head_ends", "drains", "rows")


class Pair(NamedTuple):
    """A head's group: its number, whether it is the first or the last, and whether the next slot's is."""

    number: Signal
    first: Signal
    last: Signal
    first_next: Signal
    last_next: Signal


def foreseen(m: Module, register: Signal, value: Value) -> Signal:
    """Let a register take a value in each cycle; return what it holds in the next one.

    Parameters
    ----------
    m : Module
    register : Signal
    value : Value
    """
    following = Signal.like(register, name=f"{register.name}_next")
    m.d.comb += following.eq(value)
    m.d.sync += register.eq(following)
    return following


class StreamUnit(Component):
    """A stream's registers, moved on by each of its slots.

    Timing: as of `StreamWalk`; what comes out belongs to the slot that passes next. What decides whether it does comes
    out of registers.

    Numerics: none; counts are exact.

    Parameters
    ----------
    flow : FlowConfig

    Members
    -------
    settings : In
        Of the network.
    hold, take, skip : In(1)
        Begin again; a slot of this stream passes; a tile is left out.
    record, valid : In
        What the lane of `turn` works on, a cycle after it; whether it works, at once.
    turn : Out
        The turn in the ring of records.
    lagging, ready, settled : Out(1)
        As of `StreamWalk`.
    works, spare : Out(1)
        The slot has something to do; neither it nor any of the next two tiles has.
    first, end, fresh, turn_end : Out(1)
        The slot is a tile's first or last; a turn's first or last; none of these, while it is one of those.
    begins, ends, opens, closes : Out(1)
        The same of a slot that has something to do.
    head_begins, head_ends : Out(1)
        A slot that has something to do is the first or last of a job: of a head's scores, context, q or k.
    in_last_tile : Out(1)
        The slot is one of a turn's last tile; only with a ring of weights.
    drains, rows : Out(1)
        Its sums leave by the drain; its bits row by row.
    coming : Out
        Those of `EARLY` and `OF_WORK`, a cycle early.
    op : Out
        The operation.
    """

    stream: Stream

    def __init__(self, flow: FlowConfig):
        self.flow, self.operands = flow, Operands(flow)
        bits = setting_bits(flow)
        name = self.stream.name.lower()
        begin = flow.images if self.stream is Stream.QKV else 0
        self._walk = {
            "operations": bits[f"{name}_last"],
            "tiles": bits["tiles_last"],
            "tokens": self.operands.fields["token"],
            "rows": flow.engine.rows,
            "lags": bits[f"{name}_lag"],
            "turns": turns(flow),
            "begin": begin,
        }
        super().__init__(
            {
                "settings": In(data.StructLayout(bits)),
                "hold": In(1),
                "take": In(1),
                "skip": In(1),
                "record": In(record_layout(flow)),
                "valid": In(1),
                "turn": Out(range(turns(flow))),
                **{flag: Out(1) for flag in (*OF_WALK, *OF_WORK, "spare", "turn_end", "closes")},
                **({"in_last_tile": Out(1)} if flow.weight_ring else {}),
                "coming": Out(data.StructLayout(dict.fromkeys((*EARLY, *OF_WORK), 1))),
                "op": Out(data.StructLayout(self.operands.fields)),
                **self._more(),
            }
        )

    def _more(self) -> dict[str, Any]:
        """Return further ports."""
        return {}

    def elaborate(self, platform: object) -> Module:
        """Build the walk and what all streams have; the rest is the stream's own."""
        m = Module()
        m.submodules.walk = self.walk = walk = StreamWalk(**self._walk)
        engine = self.flow.engine
        self.done: dict[Done, Value] = {}
        m.d.comb += [
            *(connect(getattr(walk, name), getattr(self, name)) for name in ("hold", "take", "skip")),
            *(connect(getattr(walk, name), self.setting(name)) for name in ("last", "lag")),
            connect(walk.tiles_last, self.settings.tiles_last),
            *(connect(getattr(self, name), getattr(walk, name)) for name in (*OF_WALK, "turn")),
            self.turn_end.eq(walk.end & walk.tile_end),
            self.closes.eq(self.ends & walk.tile_end),
            self.spare.eq(walk.far & ~self._working() & ~walk.lagging & ~walk.fresh),
            connect(self.op.steps, self.setting("steps")),
            connect(self.op.token, walk.token),
            self.op.rows.eq(Mux(walk.tile_end, self.settings.rows_last, engine.rows)),
        ]
        if self.flow.weight_ring:
            m.d.comb += connect(self.in_last_tile, walk.tile_end)
        step = self.take & ~walk.lagging
        m.d.comb += connect(
            self.op.preload_addr, self._linear(m, step, self.record.preload, self.setting("preload"), 1, "preload")
        )
        coming = walk.coming
        self.flags: dict[str, Value] = {
            **{"works": Const(1), "begins": coming.first, "ends": coming.end, "opens": coming.fresh}
        }
        self._stream(m, step, self.take & self.works)
        works = self.valid & ~coming.lagging
        m.d.comb += [connect(self.coming[name], coming[name]) for name in EARLY]
        for name in OF_WORK:
            m.d.comb += self.coming[name].eq(works & self.flags.get(name, 0))
            m.d.sync += connect(getattr(self, name), self.coming[name])
        m.d.comb += self.op.done.eq(Cat(self.done.get(what, 0) for what in Done))
        return m

    def _stream(self, m: Module, step: Value, works: Value) -> None:
        """Build what is the stream's own: `step` is a slot that moves on, `works` one that has something to do.

        Flags of the next slot, that are of use where it has something to do, go into `flags`.
        """
        raise NotImplementedError

    def _working(self) -> Value:
        """Whether the lane works on something that this stream has work for; a patch merging has for QKV alone."""
        if self.flow.windows is None or self.stream is Stream.QKV:
            return self.record.valid
        return self.record.valid & ~self.settings.merges

    def setting(self, name: str) -> Value:
        """Return a setting of this stream, or one that all streams have.

        Parameters
        ----------
        name : str
        """
        return self.settings[f"{self.stream.name.lower()}_{name}"]

    def _weights(self, m: Module, step: Value) -> None:
        """Let the column operand be weights: operation after operation, a word a step."""
        steps = self.setting("steps")
        address = self._linear(m, step, self.record.weights, self.setting("weights"), steps, "weights")
        m.d.comb += connect(self.op.w_addr, address)

    def _linear(self, m: Module, step: Value, block: Value, base: Value, by: Any, name: str) -> Signal:
        """An address that begins anew with each tile, and with a turn at its block's first word."""
        address = Signal(len(block), name=f"{name}_addr", reset_less=True)
        start = Signal(len(block), name=f"{name}_start", reset_less=True)
        m.d.sync += address.eq(address)
        with m.If(step):
            m.d.sync += address.eq(Mux(self.walk.end, start, address + by))
        with m.Elif(self.walk.fresh | self.walk.lagging):
            m.d.sync += [address.eq(block + base), start.eq(block + base)]
        return address

    def _ring(self, m: Module, advance: Value, slots: int, size: int, name: str, base: int = 0) -> tuple[Signal, Value]:
        """First word of a ring's slot at hand, and of the one behind it."""
        at = Signal(range(base + slots * size), init=base, name=f"{name}_slot")
        after = Mux(at == base + (slots - 1) * size, base, at + size)
        with m.If(advance):
            m.d.sync += at.eq(after)
        return at, after

    def _chunks(
        self, m: Module, works: Value, slots: int, size: int, name: str, base: int = 0
    ) -> tuple[Signal, Signal]:
        """Word and part of the bits of a tile's operations, side by side in a slot of a ring."""
        per_word = WORD // self.flow.engine.columns
        _, after = self._ring(m, works & self.walk.end, slots, size, name, base)
        word = Signal(range(base + slots * size), init=base, name=f"{name}_word")
        chunk = Signal(range(per_word), name=f"{name}_chunk")
        with m.If(works):
            m.d.sync += chunk.eq(following(chunk, per_word))
            with m.If(chunk == per_word - 1):
                m.d.sync += word.eq(word + 1)
            with m.If(self.walk.end):
                m.d.sync += [word.eq(after), chunk.eq(0)]
        return word, chunk

    def _pair(self, m: Module, step: Value, inner_last: Value, name: str) -> Pair:
        """A counter of a head's groups."""
        inner = Signal(len(inner_last), name=f"{name}_group")
        first, last = Signal(init=1, name=f"{name}_first"), Signal(name=f"{name}_last")
        with m.If(step):
            m.d.sync += inner.eq(Mux(last, 0, inner + 1))
        over = Mux(last, inner_last == 0, inner + 1 == inner_last)
        return Pair(
            *(inner, first, last),
            foreseen(m, first, Mux(step, last, first)),
            foreseen(m, last, Mux(self.hold, inner_last == 0, Mux(step, over, last))),
        )
