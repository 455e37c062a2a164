"""q, k and v, or what a patch merging makes of four neighbours."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal, Value
from amaranth.lib.wiring import Out

from ...sim.flow.operation import Way
from ...sim.flow.pass_settings import NEIGHBOURS
from ...sim.flow.residual_add import ResidualAddUnit
from .attention_streams import QkvStream
from .layer_streams import tile_place


class MergeStream(QkvStream):
    """The stream qkv of an engine with windows: in a patch merging all of its sums are a new x.

    Members
    -------
    number, x_addr, layer_addr : Out
        Of a patch merging: column group, where the places of the tile's new tokens begin, first word of the group's
        parameters of ResidualAdd.
    """

    def _more(self) -> dict[str, Any]:
        add = ResidualAddUnit(self.flow)
        return {
            **super()._more(),
            "number": Out(add.job["group"]),
            "x_addr": Out(add.tile_addr_bits),
            "layer_addr": Out(add.job["param_addr"]),
        }

    def _of_values(self, comes: Value) -> Value:
        """Whether values are made next: never in a patch merging."""
        return comes & ~self.settings.merges

    def _stream(self, m: Module, step: Value, works: Value) -> None:
        """As q, k and v; where tokens are merged sums leave for x."""
        super()._stream(m, step, works)
        merges, walk, add = self.settings.merges, self.walk, ResidualAddUnit(self.flow)
        with m.If(merges):
            m.d.comb += self.op.way.eq(Way.RESIDUAL)
        self.done = {what: value & ~merges for what, value in self.done.items()}
        for name in ("head_begins", "rows"):
            self.flags[name] = self.flags[name] & ~merges
        self.flags["drains"] = self.flags["drains"] | merges
        offset = Signal(add.place_bits)
        with m.If(step & walk.end):
            m.d.sync += offset.eq(offset + self.settings.tile_places)
            with m.If(walk.tile_end):
                m.d.sync += offset.eq(0)
        layer = self._linear(m, step, self.record.layer, 0, add.parts, "layer")
        m.d.comb += [
            self.number.eq(walk.number[: len(self.number)]),
            self.x_addr.eq(tile_place(self.record, offset + NEIGHBOURS * add.most_groups)),
            self.layer_addr.eq(layer[: len(self.layer_addr)]),
        ]
