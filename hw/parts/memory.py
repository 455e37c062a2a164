"""Memories: plain words, words written in slots of bits, and those that the load stream fills."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ...sim.engine.words import BEAT_BITS, LoadMemory, Memory, MemoryStyle
from .arithmetic import delay_stages, delayed
from .component import Component
from .connect import connect, connect_address
from .contents import first_words
from .stream import LOAD_BUS

#: Bits that one enable may have.
_WIDE = 2048


def unmet(width: int, depth: int, style: MemoryStyle = "auto", init: Sequence[int] = ()) -> memory.Memory:
    """Return a memory of which no word that counts is read in the cycle in which it is written.

    It says so by an attribute, for FPGAs whose block memories cannot return the old word then, and for which synthesis
    would build that beside them; the register of what is read must be outside for that, see `registered_read`.

    Parameters
    ----------
    width, depth : int
        Bits of a word, words.
    style : {"auto", "block", "distributed"}
        What Yosys and Vivado are asked to make of it, by another attribute; none where they choose.
    init : sequence of int
        Its first words, 0 beyond them.
    """
    asked: dict[str, int | str] = {} if style == "auto" else {"ram_style": style}
    return memory.Memory(shape=width, depth=depth, init=init, attrs={"no_rw_check": 1} | asked)


def registered_read(m: Module, store: memory.Memory, addr: Value, name: str = "word", cycles: int = 1) -> Signal:
    """Return the word at an address, in the cycle after it or later.

    Parameters
    ----------
    m : Module
        Where the register is built.
    store : memory.Memory
        One of `unmet`.
    addr : Value
        Its address; too few bits mean the first words.
    name : str
        Of the register.
    cycles : int
        From the address to the word: more than 1 mean as many more registers.
    """
    read, word = store.read_port(domain="comb"), Signal(store.data.shape, name=name, reset_less=True)
    m.d.comb += connect_address(read.addr, addr)
    m.d.sync += connect(word, read.data)
    return delay_stages(m, word, cycles - 1, name, reset_less=True)[-1]


def _granularity(width: int) -> int | None:
    """Bits that an enable of a word has; Amaranth's simulator cannot repeat one enable for thousands of bits."""
    return BEAT_BITS if width > _WIDE and width % BEAT_BITS == 0 else None


class WordMemory(Component):
    """Memory of `depth` words of `width` bits, one write port, `readers` read ports.

    Timing: data `read_cycles` after the address; what is read in the cycle of a write to the same word is undefined.

    Parameters
    ----------
    width, depth : int
        Bits of a word, words.
    readers : int
        Read ports; each beyond the first costs a copy of the memory.
    read_cycles : int
        From an address to its word.
    style : {"auto", "block", "distributed"}
        What it is asked to be made of.

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

    def __init__(self, width: int, depth: int, readers: int = 1, *, read_cycles: int = 1, style: MemoryStyle = "auto"):
        self.width, self.depth, self.readers = width, depth, readers
        self.read_cycles, self.style = read_cycles, style
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
        m.submodules.store = store = unmet(self.width, self.depth, self.style)
        write = store.write_port(granularity=_granularity(self.width))
        m.d.comb += [
            write.en.eq(self.w_en.replicate(len(write.en))),
            connect_address(write.addr, self.w_addr),
            connect(write.data, self.w_data),
        ]
        for number, (addr, word) in enumerate(zip(self.r_addr, self.r_data, strict=True)):
            m.d.comb += connect(word, registered_read(m, store, addr, f"word_{number}", self.read_cycles))
        return m


class LoadableMemory(Component):
    """Parameter memory: the load bus writes the one bank that is read, or, of two, the other one.

    Bank 0 begins with the words of `contents.Contents`, where that is the platform.

    The beats of a word are collected, and written together with the last one.

    Timing: data `spec.read_cycles` after the address; a word can be read two cycles after its last beat, and is
        undefined while it is written.

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
            style = "auto" if number else self.spec.style
            store = unmet(self.spec.width, depth, style, init[first : first + depth])
            m.submodules[f"store_{number}" if number else "store"] = store
            write = store.write_port(granularity=_granularity(self.spec.width))
            mine = (addr >= first) if number else (addr < depth) if len(self.spec.depths) > 1 else Const(1, 1)
            m.d.comb += [
                write.en.eq((en & mine).replicate(len(write.en))),
                *(connect_address(write.addr, addr - first if number else addr), connect(write.data, word)),
            ]
            found.append(
                registered_read(
                    m,
                    store,
                    read_addr - first if number else read_addr,
                    f"word_{number}" if number else "word",
                    cycles=self.spec.read_cycles,
                )
            )
            first += depth
        m.d.comb += connect(self.r_data, found[0])
        if len(found) == 2:
            with m.If(delayed(m, read_addr >= self.spec.depths[0], self.spec.read_cycles, "apart")):
                m.d.comb += connect(self.r_data, found[1])
        return m

    def _collect(self, m: Module, addr: Value) -> tuple[Value, Value, Value]:
        """Return, registered, whether a word is complete, its address, and the word."""
        beats, load = self.spec.beats, self.load
        word, held = Signal(self.spec.width, name="loaded", reset_less=True), Signal.like(addr, reset_less=True)
        # A run that begins resets what it is in, but must lose no word: with two banks a load may go on meanwhile.
        en = Signal(name="complete", reset_less=self.spec.banks == 2)
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

    Timing: data one cycle after the address; what is read in the cycle of a write to the same word is undefined.

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
        m.submodules.store = store = unmet(self.slots * self.slot_bits, self.depth)
        write = store.write_port(granularity=self.slot_bits)
        m.d.comb += [
            connect_address(write.addr, self.w_addr),
            connect(self.r_data, registered_read(m, store, self.r_addr)),
            write.data.eq(self.w_data.replicate(self.slots)),
            *(write.en[slot].eq(self.w_en & (self.w_slot == slot)) for slot in range(self.slots)),
        ]
        return m
