"""X of all images of an engine with windows: a bank each, in parts, so that rows side by side may lie anywhere."""

from __future__ import annotations

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...sim.flow.residual_add import ResidualAddUnit
from ..parts.arithmetic import choice, delayed
from ..parts.component import Component
from ..parts.connect import connect_address
from ..parts.memory import registered_read, unmet
from ..parts.stream import read_port, write_port


class XRows(Component):
    """Parts of banks with one reader and one writer each; rows side by side never want the same part.

    An image's bank belongs to the edge, then to the blocks, then to the edge. An address is of a word, then of the
    part, then of the bank.

    Timing: data of `read` come `ResidualAddUnit.read_cycles` after the address: each part's word is registered where
        it is read, then the image is chosen, then, of several parts, each row's; those of the edge come `x_cycles`
        after.

    Numerics: none.

    Parameters
    ----------
    unit : ResidualAddUnit
        With windows, for the shape of x.
    chunk : int
        Elements that the edge writes together.

    Members
    -------
    read, write : In
        Of the blocks: rows side by side, an address each; `en` of the writer has a bit a row.
    edge_read, edge_write : In
        Of the edge: `en` of the writer has a bit for each chunk of the word, `data` is one chunk.
    norm_read, norm_write : In
        Of the edge's norm of patches: whole words.
    """

    def __init__(self, unit: ResidualAddUnit, chunk: int):
        self.unit, self.chunks = unit, unit.row_lanes // chunk
        word, address = unit.x_memory.width, unit.x_addr_bits
        addr, data = Out(address).array(unit.side), unit.side * word
        edge_write = {"en": Out(self.chunks), "addr": Out(address), "data": Out(word // self.chunks)}
        super().__init__(
            {
                "read": In(wiring.Signature({"en": Out(1), "addr": addr, "data": In(data)})),
                "write": In(wiring.Signature({"en": Out(unit.side), "addr": addr, "data": Out(data)})),
                "edge_read": In(read_port(address, word)),
                "edge_write": In(wiring.Signature(edge_write)),
                "norm_read": In(read_port(address, word, strobed=True)),
                "norm_write": In(write_port(address, word)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the parts, and choose among their words."""
        m = Module()
        unit = self.unit
        parts, self._bits = unit.parts_of_bank, (unit.part_words - 1).bit_length()
        words: list[Value] = []
        for number in range(unit.banks * parts):
            words.append(self._part(m, number))
        # One row of an image is in one bank: the image is chosen first, for all parts.
        bank = self._number(self.read.addr[0]) >> (parts - 1).bit_length()
        image = delayed(m, bank, unit.x_cycles, "image_delay")
        of_image = []
        for part in range(parts):
            chosen: Value = choice(words[part::parts], image)
            if parts > 1:
                register = Signal(len(chosen), name=f"of_image_{part}", reset_less=True)
                m.d.sync += register.eq(chosen)
                chosen = register
            of_image.append(chosen)
        rows = []
        for row, addr in enumerate(self.read.addr):
            part = self._number(addr)[: (parts - 1).bit_length()]
            late = delayed(m, part, unit.read_cycles, f"part_delay_{row}") if parts > 1 else part
            rows.append(choice(of_image, late))
        m.d.comb += self.read.data.eq(Cat(rows))
        for name, port in (("edge_read", self.edge_read), ("norm_read", self.norm_read)):
            late = delayed(m, self._number(port.addr), unit.x_cycles, f"{name}_part")
            m.d.comb += port.data.eq(choice(words, late))
        return m

    def _number(self, addr: Value) -> Value:
        """Number of the part among all of them."""
        return addr[self._bits :]

    def _part(self, m: Module, number: int) -> Value:
        """Build a part of a bank; return its word, `x_cycles` after the address."""
        unit, spec, width = self.unit, self.unit.x_memory, self.unit.x_memory.width
        store = unmet(width, spec.depth, spec.style)
        m.submodules[f"part_{number}"] = store
        write = store.write_port(granularity=width // self.chunks)
        edges = self.edge_write.en & (self._number(self.edge_write.addr) == number).replicate(self.chunks)
        norms = self.norm_write.en & (self._number(self.norm_write.addr) == number)
        mine = [self.write.en[row] & (self._number(addr) == number) for row, addr in enumerate(self.write.addr)]
        data = [self.write.data.word_select(row, width) for row in range(unit.side)]
        addr = _one_of([*mine, norms], [*self.write.addr, self.norm_write.addr], self.edge_write.addr)
        word = _one_of([*mine, norms], [*data, self.norm_write.data], self.edge_write.data.replicate(self.chunks))
        m.d.comb += [
            write.en.eq(reduce(or_, mine, norms).replicate(self.chunks) | edges),
            connect_address(write.addr, addr),
            write.data.eq(word),
        ]
        reads = [self.read.en & (self._number(addr) == number) for addr in self.read.addr]
        reads.append(self.norm_read.en & (self._number(self.norm_read.addr) == number))
        address = _one_of(reads, [*self.read.addr, self.norm_read.addr], self.edge_read.addr)
        return registered_read(m, store, address, f"word_{number}", cycles=unit.x_cycles)


def _one_of(flags: list[Value], values: list[Value], other: Value) -> Value:
    """The value whose flag is set, of which there is one at most; or the other one."""
    for flag, value in zip(flags, values, strict=True):
        other = Mux(flag, value, other)
    return other
