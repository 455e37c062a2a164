"""The streams of the linear layers behind attention: proj, fc1 and fc2."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib.wiring import Out

from ...sim.flow.operation import ColumnMemory, Done, RowMemory, Way
from ...sim.flow.residual_add import ResidualAddUnit
from ...sim.flow.streams import Stream
from ..parts.connect import connect
from .stream_unit import StreamUnit


def tile_place(record: Any, offset: Value) -> Value:
    """Return where the places of a tile's rows begin, and behind it the bank of x.

    Parameters
    ----------
    record : View
        Of the window.
    offset : Value
        The tile's first row.
    """
    return Cat((record.place + offset)[: len(record.place)], record.bank)


class ResidualStream(StreamUnit):
    """A layer whose sums are added to x: what its jobs of ResidualAdd need.

    Members
    -------
    number : Out
        The column group.
    x_addr, tile_offset : Out
        First word of the tile of x, and that in its bank; with windows the place of its first row, and its first row.
    param_addr, theta_addr : Out
        First words of the group's parameters, and of those of the norm behind the layer.
    tile_end : Out(1)
        The tile is the image's last one.
    """

    #: Layers of a block before this one, and row operand.
    layer: int

    def _more(self) -> dict[str, Any]:
        add = ResidualAddUnit(self.flow)
        return {
            "number": Out(add.job["group"]),
            "x_addr": Out(add.tile_addr_bits),
            "param_addr": Out(add.job["param_addr"]),
            "theta_addr": Out(add.theta_addr_bits),
            "tile_offset": Out(add.place_bits if self.flow.windows else add.x_addr_bits),
            "tile_end": Out(1),
        }

    def _residual(self, m: Module, step: Value) -> None:
        """Weights, and places of x and of the parameters."""
        walk, op, add = self.walk, self.op, ResidualAddUnit(self.flow)
        self._weights(m, step)
        layers = self.settings.layer_step
        layer = self.record.layer
        # The norm behind this layer has the parameters of the next layer's place.
        base = layers if self.layer else 0
        self.flags["drains"] = Const(1)
        param = self._linear(m, step, layer, base, add.parts, "param")
        theta, offset = Signal(len(layer), reset_less=True), Signal.like(self.tile_offset)
        m.d.sync += theta.eq(layer + base + layers)
        place = self._place(m, add, offset)
        with m.If(step & walk.end):
            m.d.sync += offset.eq(Mux(walk.tile_end, 0, offset + self._tile_size(add)))
        m.d.comb += [
            *(op.w_mem.eq(ColumnMemory.WEIGHTS), op.way.eq(Way.RESIDUAL)),
            *(self.number.eq(walk.number[: len(self.number)]), self.x_addr.eq(place)),
            *(connect(self.tile_offset, offset), connect(self.tile_end, walk.tile_end)),
            *(self.param_addr.eq(param[: len(self.param_addr)]), self.theta_addr.eq(theta[: len(self.theta_addr)])),
        ]

    def _place(self, m: Module, add: ResidualAddUnit, offset: Signal) -> Value:
        """Where the tile of x is that begins so far behind the image's first one."""
        if self.flow.windows:
            return tile_place(self.record, offset)
        bank = Signal.like(self.x_addr)
        m.d.sync += bank.eq(self.record.bank * add.bank_words)
        return bank + offset

    def _tile_size(self, add: ResidualAddUnit) -> Any:
        """From one tile to the next: words of places, or of x."""
        return self.settings.tile_places if self.flow.windows else add.tile_words


class ProjStream(ResidualStream):
    """proj of a tile's context."""

    stream = Stream.PROJ
    layer = 0

    def _stream(self, m: Module, step: Value, works: Value) -> None:
        """Context in the ring's order."""
        operands = self.operands
        self._residual(m, step)
        at, _ = self._ring(m, works & self.walk.end, self.flow.context_slots, operands.context_words, "context")
        m.d.comb += [self.op.a_mem.eq(RowMemory.BITS), connect(self.op.a_addr, at)]


class Fc1Stream(StreamUnit):
    """fc1 of a tile's second norm: hidden bits."""

    stream = Stream.FC1

    def _stream(self, m: Module, step: Value, works: Value) -> None:
        """The second norm in its ring's order; bits side by side."""
        flow, operands, op = self.flow, self.operands, self.op
        self._weights(m, step)
        size = operands.embed_words
        norm, _ = self._ring(m, works & self.walk.end, flow.norm_slots, size, "norm", flow.norm_slots * size)
        word, chunk = self._chunks(m, works, flow.hidden_slots, operands.hidden_words, "hidden", operands.hidden_base)
        m.d.comb += [
            *(op.a_mem.eq(RowMemory.NORM), connect(op.a_addr, norm), op.w_mem.eq(ColumnMemory.WEIGHTS)),
            *(op.way.eq(Way.SIGN), op.dst_mem.eq(RowMemory.BITS)),
            *(connect(op.dst_addr, word), connect(op.dst_chunk, chunk)),
        ]
        self.done[Done.HIDDEN] = self.walk.end


class Fc2Stream(ResidualStream):
    """fc2 of a tile's hidden bits."""

    stream = Stream.FC2
    layer = 1

    def _stream(self, m: Module, step: Value, works: Value) -> None:
        """Hidden bits in the ring's order."""
        flow, operands = self.flow, self.operands
        self._residual(m, step)
        size = operands.hidden_words
        at, _ = self._ring(m, works & self.walk.end, flow.hidden_slots, size, "hidden", operands.hidden_base)
        m.d.comb += [self.op.a_mem.eq(RowMemory.BITS), connect(self.op.a_addr, at)]
