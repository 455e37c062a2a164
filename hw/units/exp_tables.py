"""The table of AttentionThreshold: Exp of one head, looked up by all lanes at once, and Tau (docs/semantics.md 8)."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, memory
from amaranth.lib.wiring import In, Out

from ...sim.engine.commands import Table
from ...sim.engine.words import WORD, LoadMemory
from ...sim.network.formats import EXP_BITS
from ..parts.component import Component
from ..parts.connect import connect, connect_address
from ..parts.memory import LoadableMemory
from ..parts.stream import LOAD_BUS, field_bits

#: Exp[0], the same for every head, so it is not stored.
EXP_ZERO = 1 << 15


class ExpTables(Component):
    """Copies of one head's table, one a lane, filled from the loadable memory `tables`.

    Timing: word k of the head is read at offset 1 + k from `start` and in the tables at offset 3 + k, Tau being word 0;
    `start` may come again after 65 cycles. A lookup is combinational.

    Numerics: a lane's `index` is d - 1 for Exp[d], d = 0 to 64, modulo 128: 127 means Exp[0].

    Parameters
    ----------
    spec : LoadMemory
        The memory `tables`.
    lanes : int

    Members
    -------
    start, param_addr : In
        Fill the tables from this word on.
    load, bank : In
        Load bus and bank of the loadable memory.
    write_en : Out(1)
        A word goes to the tables.
    index, exp : In(data.ArrayLayout(7, lanes)), Out(data.ArrayLayout(16, lanes))
        Lookup of each lane.
    tau : Out
        Tau of the head.
    """

    def __init__(self, spec: LoadMemory, lanes: int):
        self.spec, self.lanes = spec, lanes
        super().__init__(
            {
                "start": In(1),
                "param_addr": In(field_bits(Table, "param_addr")),
                "load": In(LOAD_BUS),
                "bank": In(1),
                "write_en": Out(1),
                "index": In(data.ArrayLayout(WORD.bit_length(), lanes)),
                "exp": Out(data.ArrayLayout(EXP_BITS, lanes)),
                "tau": Out(spec.width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Walk the words, then write each into all copies."""
        m = Module()
        m.submodules.parameters = parameters = LoadableMemory(self.spec)
        addr = Signal(parameters.addr_bits, reset_less=True)
        # One more than the word being read; 0 when none is.
        ordinal = Signal(range(WORD + 2))
        with m.If(self.start):
            m.d.sync += [ordinal.eq(1), connect_address(addr, self.param_addr)]
        with m.Elif(ordinal != 0):
            m.d.sync += [ordinal.eq(Mux(ordinal == WORD + 1, 0, ordinal + 1)), addr.eq(addr + 1)]
        m.d.comb += [
            connect(parameters.load, self.load),
            connect(parameters.bank, self.bank),
            connect(parameters.r_addr, addr),
        ]
        read_ordinal = Signal.like(ordinal)
        write_ordinal = Signal.like(ordinal)
        word = Signal(self.spec.width, reset_less=True)
        m.d.sync += [read_ordinal.eq(ordinal), write_ordinal.eq(read_ordinal), connect(word, parameters.r_data)]
        m.d.comb += self.write_en.eq(write_ordinal != 0)
        with m.If(write_ordinal == 1):
            m.d.sync += connect(self.tau, word)
        self._copies(m, write_ordinal, word)
        return m

    def _copies(self, m: Module, write_ordinal: Signal, word: Signal) -> None:
        """Keep Exp[1] to Exp[64] of each lane in a memory that is read in the same cycle."""
        for lane in range(self.lanes):
            copy = memory.Memory(shape=EXP_BITS, depth=WORD, init=[])
            m.submodules[f"copy{lane}"] = copy
            write, read = copy.write_port(), copy.read_port(domain="comb")
            index = self.index[lane]
            m.d.comb += [
                write.en.eq(write_ordinal > 1),
                write.addr.eq(write_ordinal - 2),
                connect(write.data, word[:EXP_BITS]),
                connect(read.addr, index[:-1]),
                self.exp[lane].eq(Mux(index[-1], EXP_ZERO, read.data)),
            ]
