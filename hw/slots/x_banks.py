"""X of all images: a bank each, that the blocks read and write, or the edge."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...sim.flow.residual_add import ResidualAddUnit
from ..parts.arithmetic import choice, delayed
from ..parts.component import Component
from ..parts.connect import connect_address
from ..parts.memory import registered_read, unmet
from ..parts.stream import read_port, write_port


class XBanks(Component):
    """Banks with one reader and one writer each: whoever wants a bank in a cycle has it.

    An image's bank belongs to the edge, then to the blocks, then to the edge, so that two never want the same one.

    Timing: data `ResidualAddUnit.x_cycles` after the address: each bank's word is registered where it is read, which
        block memories can do by themselves or take long for, and then one is chosen.

    Numerics: none.

    Parameters
    ----------
    unit : ResidualAddUnit
        For the shape of x.
    chunk : int
        Elements that the edge writes together.

    Members
    -------
    read, write : In
        Of the blocks: whole words.
    edge_read, edge_write : In
        Of the edge: `en` of the writer has a bit for each chunk of the word, `data` is one chunk.
    """

    def __init__(self, unit: ResidualAddUnit, chunk: int):
        self.unit, self.chunks = unit, unit.lanes // chunk
        word = unit.x_memory.width
        address = unit.x_addr_bits
        edge_write = {"en": Out(self.chunks), "addr": Out(address), "data": Out(word // self.chunks)}
        super().__init__(
            {
                "read": In(read_port(address, word, strobed=True)),
                "write": In(write_port(address, word)),
                "edge_read": In(read_port(address, word)),
                "edge_write": In(wiring.Signature(edge_write)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the banks."""
        m = Module()
        spec, bits = self.unit.x_memory, (self.unit.bank_words - 1).bit_length()
        words: list[Value] = []
        self.stores = []
        for bank in range(self.unit.banks):
            store = unmet(spec.width, spec.depth, spec.style)
            m.submodules[f"bank_{bank}"] = store
            self.stores.append(store)
            write = store.write_port(granularity=spec.width // self.chunks)
            reads, writes, edge_writes = (port.addr[bits:] == bank for port in (self.read, self.write, self.edge_write))
            mine, edges = self.write.en & writes, self.edge_write.en & edge_writes.replicate(self.chunks)
            m.d.comb += [
                write.en.eq(mine.replicate(self.chunks) | edges),
                connect_address(write.addr, Mux(mine, self.write.addr, self.edge_write.addr)),
                write.data.eq(Mux(mine, self.write.data, self.edge_write.data.replicate(self.chunks))),
            ]
            address = Mux(self.read.en & reads, self.read.addr, self.edge_read.addr)
            words.append(registered_read(m, store, address, f"word_{bank}", cycles=self.unit.x_cycles))
        for name, port in (("read", self.read), ("edge_read", self.edge_read)):
            m.d.comb += port.data.eq(choice(words, delayed(m, port.addr[bits:], self.unit.x_cycles, f"{name}_bank")))
        return m
