"""Memories: plain words, words written in slots of bits, and those that the load stream fills."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ...sim.engine.words import BEAT_BITS, LoadMemory, Memory, MemoryStyle
from .component import Component
from .connect import connect, connect_address
from .contents import first_words
from .stream import LOAD_BUS

#: Bits that one enable may have.
_WIDE = 2048


def style_attribute(style: MemoryStyle) -> dict[str, str]:
    """Return the attribute by which Yosys and Vivado are asked what to make a memory of; none where they choose.

    Parameters
    ----------
    style : {"auto", "block", "distributed"}
    """
    return {} if style == "auto" else {"ram_style": style}


class WordMemory(Component):
    """Memory of `depth` words of `width` bits, one write port, `readers` read ports.

    Timing: data one cycle after the address; a read in the cycle of a write to the same word returns the old word.

    Parameters
    ----------
    width, depth : int
        Bits of a word, words.
    readers : int
        Read ports; each beyond the first costs a copy of the memory.

    Members
    -------
    w_en, w_addr, w_data : In
        Write when `w_en`.
    r_addr, r_data : In, Out, arrays of `readers`
        Read ports.
    """

    @classmethod
    def of(cls, memory: Memory) -> WordMemory:
        """Return the memory that a unit's description has."""
        return cls(memory.width, memory.depth, memory.readers)

    def __init__(self, width: int, depth: int, readers: int = 1):
        self.width, self.depth, self.readers = width, depth, readers
        addr_bits = max(1, ceil_log2(depth))
        super().__init__(
            {
                "w_en": In(1),
                "w_addr": In(addr_bits),
                "w_data": In(width),
                "r_addr": In(addr_bits).array(readers),
                "r_data": Out(width).array(readers),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the memory."""
        m = Module()
        m.submodules.store = store = memory.Memory(shape=self.width, depth=self.depth, init=[])
        write = store.write_port()
        m.d.comb += [
            connect(write.en, self.w_en),
            connect_address(write.addr, self.w_addr),
            connect(write.data, self.w_data),
        ]
        for addr, word in zip(self.r_addr, self.r_data, strict=True):
            read = store.read_port()
            m.d.comb += [connect_address(read.addr, addr), connect(word, read.data)]
        return m


class LoadableMemory(Component):
    """Parameter memory: the load bus writes the one bank that is read, or, of two, the other one.

    Bank 0 begins with the words of `contents.Contents`, where that is the platform.

    The beats of a word are collected, and written together with the last one.

    Timing: data one cycle after the address; a word can be read two cycles after its last beat, and is undefined while
        it is written.

    Parameters
    ----------
    spec : LoadMemory
        Id on the load bus, width, depth of a bank, and banks.

    Members
    -------
    load : In(LOAD_BUS)
        Load bus; beats for other ids are ignored.
    bank : In(1)
        Of two banks the one that is read; the other one is written.
    r_addr, r_data : In, Out
        Read port.
    """

    def __init__(self, spec: LoadMemory):
        self.spec = spec
        self.addr_bits = max(1, ceil_log2(spec.depth))
        super().__init__({"load": In(LOAD_BUS), "bank": In(1), "r_addr": In(self.addr_bits), "r_data": Out(spec.width)})

    def elaborate(self, platform: object) -> Module:
        """Collect a word, write it, read: the bank is the lowest address bit, so that there is no word too many."""
        m = Module()
        banks = [[self.bank], [~self.bank]] if self.spec.banks == 2 else [[], []]
        en, addr, word = self._collect(m, Cat(banks[1], self.load.addr))
        read_addr = Cat(banks[0], self.r_addr)
        found: list[Signal] = []
        first, init = 0, self._init(platform)
        for number, depth in enumerate(self.spec.depths):
            # No bypass is built for FPGAs whose memories cannot return the old word: of two banks synthesis proves that
            # reads and writes never meet, which takes the register outside of the port, and one bank says so.
            attributes: dict[str, int | str] = {"no_rw_check": 1} if self.spec.banks == 1 else {}
            if number == 0:
                attributes |= style_attribute(self.spec.style)
            store = memory.Memory(
                shape=self.spec.width, depth=depth, init=init[first : first + depth], attrs=attributes
            )
            m.submodules[f"store_{number}" if number else "store"] = store
            # Amaranth's simulator cannot repeat one enable for thousands of bits.
            beats = BEAT_BITS if self.spec.width > _WIDE and self.spec.width % BEAT_BITS == 0 else None
            write, read = store.write_port(granularity=beats), store.read_port(domain="comb")
            mine = (addr >= first) if number else (addr < depth) if len(self.spec.depths) > 1 else Const(1, 1)
            data = Signal(self.spec.width, name=f"word_{number}" if number else "word", reset_less=True)
            m.d.comb += [
                write.en.eq((en & mine).replicate(len(write.en))),
                *(connect_address(write.addr, addr - first if number else addr), connect(write.data, word)),
                connect_address(read.addr, read_addr - first if number else read_addr),
            ]
            m.d.sync += connect(data, read.data)
            found.append(data)
            first += depth
        m.d.comb += connect(self.r_data, found[0])
        if len(found) == 2:
            apart = Signal(reset_less=True)
            m.d.sync += apart.eq(read_addr >= self.spec.depths[0])
            with m.If(apart):
                m.d.comb += connect(self.r_data, found[1])
        return m

    def _collect(self, m: Module, addr: Value) -> tuple[Value, Value, Value]:
        """Return, registered, whether a word is complete, its address, and the word."""
        beats, load = self.spec.beats, self.load
        word, held = Signal(self.spec.width, name="loaded", reset_less=True), Signal.like(addr, reset_less=True)
        en = Signal(name="complete")
        mine = load.en & (load.memory == self.spec.id)
        m.d.sync += [en.eq(mine & (load.beat == beats - 1)), connect(held, addr)]
        for beat in range(beats):
            with m.If(mine & (load.beat == beat)):
                part = word[beat * BEAT_BITS : (beat + 1) * BEAT_BITS]
                m.d.sync += part.eq(load.data[: len(part)])
        return en, held, word

    def _init(self, platform: object) -> list[int]:
        """Words that it begins with; a memory may have the first bits only of the words of its id."""
        words = [word & (1 << self.spec.width) - 1 for word in first_words(platform, self.spec)]
        return [word for each in words for word in (each, 0)] if self.spec.banks == 2 else words


class SlotMemory(Component):
    """Memory whose words are written one slot of `slot_bits` at a time.

    Timing: data one cycle after the address; a read in the cycle of a write to the same word returns the old word.

    Numerics: none.

    Parameters
    ----------
    slots, slot_bits, depth : int
        Slots in a word, bits of a slot, words.

    Members
    -------
    w_en, w_addr, w_slot, w_data : In
        Write a slot of a word when `w_en`.
    r_addr, r_data : In, Out
        Read port, of whole words.
    """

    def __init__(self, *, slots: int, slot_bits: int, depth: int):
        self.slots, self.slot_bits, self.depth = slots, slot_bits, depth
        addr_bits = max(1, ceil_log2(depth))
        super().__init__(
            {
                "w_en": In(1),
                "w_addr": In(addr_bits),
                "w_slot": In(max(1, ceil_log2(slots))),
                "w_data": In(slot_bits),
                "r_addr": In(addr_bits),
                "r_data": Out(slots * slot_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the memory, with an enable a slot."""
        m = Module()
        m.submodules.store = store = memory.Memory(shape=self.slots * self.slot_bits, depth=self.depth, init=[])
        write, read = store.write_port(granularity=self.slot_bits), store.read_port()
        m.d.comb += [
            *(connect_address(write.addr, self.w_addr), connect_address(read.addr, self.r_addr)),
            *(connect(self.r_data, read.data), write.data.eq(self.w_data.replicate(self.slots))),
            *(write.en[slot].eq(self.w_en & (self.w_slot == slot)) for slot in range(self.slots)),
        ]
        return m
