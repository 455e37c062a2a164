"""HeadNorm of an engine with windows: rows side by side have a root each."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data

from ..parts.arithmetic import delayed
from ..parts.connect import connect
from ..parts.memory import WordMemory
from ..parts.norm_root import NormRoot
from .head_norm import HeadNorm
from .head_reader import HeadReader
from .jobs import scaled


class HeadRows(HeadNorm):
    """As `HeadNorm`, a row group a word: heads of windows are narrow, and one root would be what is waited for.

    Timing: that of `HeadNormUnit`, whose `pace` is 1 with windows.

    Numerics: as of `HeadNorm`.

    Parameters
    ----------
    unit : HeadNormUnit
        With windows.

    Members
    -------
    put, job, sums_en, sums_last, sums_end, sums, bits, sums_read, done, load, bank : In, Out
        Of `HeadNorm`.
    stats : Out
        S1 and R of the rows of a row group, when its `en`.
    """

    def _stats_layout(self) -> data.StructLayout:
        """Return the write of S1 and R of a row group."""
        memory = self.unit.memories["head_rows"]
        return data.StructLayout(
            {"en": 1, "addr": self.unit.address_bits(memory.depth), "rows": memory.width},
        )

    def _statistics(self, m: Module, reader: HeadReader) -> None:
        """Sum up the words of a row group, whose rows go into their roots together."""
        widths = self.widths
        sums, summed, found = self._summed(m, reader)
        beside, valid = Signal.like(found, reset_less=True), Signal()
        waiting = [
            Signal(len(Cat(*pair)), name=f"waiting_{number}", reset_less=True) for number, pair in enumerate(sums)
        ]
        m.d.sync += connect(valid, summed)
        with m.If(summed):
            m.d.sync += beside.eq(found)
            m.d.sync += [register.eq(Cat(*pair)) for register, pair in zip(waiting, sums, strict=True)]
        addr_end, rooted = len(self.stats.addr), list[Value]()
        for number, row in enumerate(waiting):
            m.submodules[f"root_{number}"] = root = NormRoot(widths, addr_end)
            m.d.comb += [
                connect(root.sums_valid, valid),
                root.row.eq(beside[:addr_end]),
                Cat(root.channels, root.eps, root.mean).eq(beside[addr_end:]),
                Cat(root.s1, root.s2).eq(row),
            ]
            if number == 0:
                m.d.comb += [connect(self.stats.en, root.stat_en), connect(self.stats.addr, root.stat_row)]
            rooted += [root.stat_s1, root.stat_r]
        m.d.comb += self.stats.rows.eq(Cat(rooted))

    def _stats(self, m: Module, reader: HeadReader) -> list[Value]:
        """S1 and R of each row of the row group that is compared, a cycle after x."""
        u = self.unit
        m.submodules.rows = store = WordMemory.of(u.memories["head_rows"])
        place = Signal(len(store.r_addr[0]), reset_less=True)
        m.d.sync += place.eq(scaled(reader.slot, self.flow.head_slots, u.most_groups) + reader.group)
        m.d.comb += [
            connect(store.w_en, self.stats.en),
            connect(store.w_addr, self.stats.addr),
            connect(store.w_data, self.stats.rows),
            connect(store.r_addr[0], delayed(m, place, u.stats_read_stage - 1, "place_rows_delay")),
        ]
        return [store.r_data[0].word_select(row, len(store.r_data[0]) // u.side) for row in range(u.side)]
