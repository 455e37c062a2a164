"""ResidualAdd of an engine with windows: each row of x lies where its place says."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ...sim.flow.residual_add import ResidualAddUnit
from ..parts.arithmetic import delay_flag, delayed
from ..parts.connect import connect, connect_address
from ..parts.memory import LoadableMemory
from .group_walk import GroupWalk
from .residual_add import ResidualAdd
from .staged import staged_base


class ResidualRows(ResidualAdd):
    """As `ResidualAdd`, with rows side by side whose first words are looked up; sums may be a new x.

    Timing: that of `ResidualAddUnit`, whose stages are `late_cycles` later with windows.

    Numerics: as of `ResidualAdd`; ``X = saturate(Scale * acc + Bias)`` where a job is `fresh`.

    Parameters
    ----------
    unit : ResidualAddUnit
        With windows.

    Members
    -------
    put, job, sums_en, sums_last, sums, staged, stats, tile_put, tile, tile_ready : In, Out
        Of `ResidualAdd`.
    sums_read, written, finished, saturations, load, bank : Out, In
        Of `ResidualAdd`.
    x_read, x_write : Out
        Rows of x side by side, an address each; data `ResidualAddUnit.read_cycles` after the address. `en` of the
        writer has a bit for each row.
    """

    def _x_ports(self, unit: ResidualAddUnit) -> dict[str, wiring.Member]:
        """Return the ports of x by name."""
        word, addr = unit.lanes * self.engine.formats.residual_bits, Out(unit.x_addr_bits).array(unit.side)
        return {
            "x_read": Out(wiring.Signature({"en": Out(1), "addr": addr, "data": In(word)})),
            "x_write": Out(wiring.Signature({"en": Out(unit.side), "addr": addr, "data": Out(word)})),
        }

    def _late(self, m: Module, value: Value, name: str) -> Value:
        """What is needed beside x, which is looked up first."""
        return delayed(m, value, self.unit.late_cycles, name)

    def _alone(self, m: Module, held: data.View) -> Value | None:
        """Whether sums are a new x, beside the word of the old one."""
        unit = self.unit
        return delayed(m, held.fresh & ~held.load, unit.x_read_stage + unit.read_cycles, "fresh_delay")

    def _row_enables(self, m: Module, adds: Value, row_mask: Value) -> Value:
        """Which rows of x are written, in `write_stage`: those that the tile has."""
        written = delay_flag(m, adds, self.unit.write_stage, "x_write_en")
        return row_mask & written.replicate(self.unit.side)

    @property
    def _written(self) -> Value:
        """Whether x is written: every tile has a first row."""
        return self.x_write.en[0]

    def _phase(self, m: Module, job: data.View, take: Value) -> tuple[data.View, Value]:
        """Of a tile that is read, count the column groups of a token, and the places of the tokens beside it."""
        head, through = super()._phase(m, job, take)
        group, first = Signal.like(job.group, name="token_group"), Signal(self.unit.place_bits, name="neighbour")
        last = group == job.token_groups
        self._group = Signal.like(job.group, name="held_group", reset_less=True)
        self._first = Signal.like(first, name="held_first", reset_less=True)
        with m.If(take):
            m.d.sync += [
                self._group.eq(Mux(head.load, group, head.group)),
                self._first.eq(Mux(head.load, first, 0)),
            ]
            with m.If(head.load):
                m.d.sync += group.eq(Mux(last | through, 0, group + 1))
                with m.If(last):
                    m.d.sync += first.eq(first + self.unit.most_groups)
                with m.If(through):
                    m.d.sync += first.eq(0)
        return head, through

    def _addresses(self, m: Module, walk: GroupWalk, held: data.View, offset: Value) -> None:
        """Places of the rows (stage 2), addresses of x (read in `x_read_stage`, written later), and of the staged x."""
        u = self.unit
        m.submodules.places = places = LoadableMemory(u.load_memories["places"])
        place, start = Signal(len(places.r_data), reset_less=True), Signal(u.place_bits, reset_less=True)
        of_tile, bank = held.x_addr[: u.place_bits], held.x_addr[u.place_bits :]
        m.d.comb += [
            *(connect(places.load, self.load), connect(places.bank, self.bank)),
            start.eq((of_tile + self._first)[: u.place_bits]),
            connect_address(places.r_addr, start + walk.group),
        ]
        m.d.sync += connect(place, places.r_data)
        beside = Cat(bank, walk.word[: (u.parts - 1).bit_length()], self._group)
        late = delayed(m, beside, u.place_cycles, "beside_delay")
        image, word = late[: len(bank)], late[len(bank) :]
        bits = u.row_place_bits
        rows = [Signal(u.x_addr_bits, name=f"x_addr_{row}", reset_less=True) for row in range(u.side)]
        for row, addr in enumerate(rows):
            m.d.sync += addr.eq(Cat((place.word_select(row, bits) + word)[:bits], image))
        read = delayed(m, Cat(rows), u.x_read_stage - 1 - u.place_cycles, "x_read_delay")
        write = delayed(m, read, u.write_stage - u.x_read_stage, "x_write_delay")
        m.d.comb += [
            self.x_read.en.eq(delay_flag(m, walk.active, u.x_read_stage, "x_read_line")),
            *(addr.eq(read.word_select(row, u.x_addr_bits)) for row, addr in enumerate(self.x_read.addr)),
            *(addr.eq(write.word_select(row, u.x_addr_bits)) for row, addr in enumerate(self.x_write.addr)),
        ]
        self._staged(m, walk, held, offset)

    def _staged(self, m: Module, walk: GroupWalk, held: data.View, offset: Value) -> None:
        """Address of the staged x."""
        u = self.unit
        addr = Signal.like(self.staged.addr, reset_less=True)
        base = Signal.like(self.staged.addr, reset_less=True)
        m.d.comb += base.eq(staged_base(self.flow, held.slot, held.channels))
        m.d.sync += addr.eq(base + offset)
        m.d.comb += [
            connect(self.staged.addr, delayed(m, addr, u.write_stage - 1, "staged_delay")),
            self.staged.en.eq(delay_flag(m, walk.active & held.norm, u.write_stage, "staged_en")),
        ]
