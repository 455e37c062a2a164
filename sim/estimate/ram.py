"""What a memory takes: the choice between block memory, UltraRAM and memory in LUTs, and the layout of blocks.

The rule is that of Yosys' pass `memory_libmap`: of all organisations the one with the lowest sum of the primitives'
costs and half a point for each bit of the multiplexers behind them, the costs being those of its libraries for
UltraScale+ and 7-series (`xilinx/brams_xc4v.txt`, `xilinx/lutrams_xcu.txt`, `xilinx/lutrams_xc5v.txt`) and ECP5
(`lattice/brams_16kd.txt`, `lattice/lutrams_trellis.txt`). UltraRAM is in `xilinx/urams.txt`; only a memory that begins
as zeroes can be one, as all here do but those of a network that is embedded in the Verilog.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

from ..engine.config import Fabric
from ..engine.words import LoadMemory, MemoryStyle, ceil_div
from .cost import Cost
from .devices import Family

#: Points for one bit of a two-to-one multiplexer, and for a decoded write enable.
_MUX_POINTS = 0.5
#: Points, above those of memory in LUTs, for what stands in for the word being written where a block gives no old one.
_EMULATION_POINTS = 12
#: Extra bits of a block's nine-bit bytes hold data only when a write covers whole bytes.
_BYTE = 9
#: LUTs behind two rows of primitives, three and so on, for one bit of a word: what Yosys maps its tree of two-to-one
#: multiplexers to, with six inputs a LUT and with four. Seven rows and nine come out worse than eight and ten.
_MUX_LUTS: dict[Family, tuple[float, ...]] = {
    **dict.fromkeys(("xcup", "xc7"), (1, 1, 1, 2, 2, 4, 3, 5, 4, 4, 4, 5, 6, 6)),
    "ecp5": (1, 2, 2, 4, 4, 5, 6, 8, 9, 10, 10, 11, 11.5, 12.5, 13),
}
#: Widths that block memories can have.
_WIDTHS = (72, 36, 18, 9, 4, 2, 1)


@dataclass(frozen=True)
class Ram:
    """A memory with one write port.

    Parameters
    ----------
    width, depth : int
        Bits of a word, words.
    write_bits : int, optional
        Bits that are written together; all of a word by default.
    readers : int
        Read ports.
    read_bits : int, optional
        Bits of a word that are read; all by default.
    collides : bool
        Whether a word that counts may be read in the cycle in which it is written.
    registered : bool
        Whether words come a cycle after their addresses; else in the same cycle, for which blocks are no use.
    beside : int
        Further memories whose words are chosen among, together with this one's rows.
    style : {"auto", "block", "distributed"}
        What it is asked to be made of.
    rewritten : bool
        Whether one of the readers has the address of the writer, so that both can share a port.
    """

    width: int
    depth: int
    write_bits: int | None = None
    readers: int = 1
    read_bits: int | None = None
    collides: bool = False
    registered: bool = True
    beside: int = 0
    style: MemoryStyle = "auto"
    rewritten: bool = False

    @property
    def granule(self) -> int:
        """Bits that are written together."""
        return self.width if self.write_bits is None else self.write_bits

    @property
    def granules(self) -> int:
        """Groups of bits that are written together."""
        return ceil_div(self.width, self.granule)

    @property
    def used_bits(self) -> int:
        """Bits of a word that are read."""
        return self.width if self.read_bits is None else self.read_bits


@dataclass(frozen=True)
class _Primitive:
    """One organisation of a memory primitive: bits, words, points, what it takes; whether a port reads and writes."""

    bits: int
    words: int
    points: float
    luts: float = 0.0
    brams: float = 0.0
    urams: float = 0.0
    shared: bool = False

    def suits(self, ram: Ram) -> bool:
        """Whether it can be taken for a memory, and is what that is asked to be made of."""
        asked = {"auto": True, "block": self.brams > 0, "distributed": self.in_luts}[ram.style]
        return asked and (ram.registered or self.in_luts) and (ram.rewritten or not self.shared)

    @property
    def in_luts(self) -> bool:
        """Whether it is memory in LUTs, which is read in the cycle of the address."""
        return not (self.brams or self.urams)


def _data_bits(width: int) -> int:
    """Bits of a block's word without those that only whole bytes have."""
    return width - width // _BYTE


def _blocks(kbits: int, widest: int, points: float, brams: float) -> tuple[_Primitive, ...]:
    """Organisations of a block memory of `kbits` without parity: from `widest` bits a word down to one."""
    widths = [width for width in _WIDTHS if width <= widest]
    return tuple(_Primitive(width, kbits * 1024 // _data_bits(width), points, brams=brams) for width in widths)


def _shared(blocks: tuple[_Primitive, ...]) -> tuple[_Primitive, ...]:
    """The same with a port that reads and writes."""
    return tuple(replace(one, shared=True) for one in blocks)


#: Of two organisations with as many points Yosys takes whole blocks; a port that reads and writes is half as wide.
_AMD_BLOCKS = (
    *(*_blocks(32, 72, 257, 1.0), *_blocks(16, 36, 129, 0.5)),
    *(*_shared(_blocks(32, 36, 257, 1.0)), *_shared(_blocks(16, 18, 129, 0.5))),
)
_PRIMITIVES: dict[Family, tuple[_Primitive, ...]] = {
    "xcup": (_Primitive(14, 32, 16, luts=8), _Primitive(7, 64, 16, luts=8), *_AMD_BLOCKS),
    "xc7": (_Primitive(6, 32, 8, luts=4), _Primitive(3, 64, 8, luts=4), *_AMD_BLOCKS),
    "ecp5": (
        _Primitive(4, 16, 4, luts=6),
        *_blocks(16, 36, 128, 1.0),
        *_shared(_blocks(16, 18, 128, 1.0)),
    ),
}
_ULTRA = _Primitive(72, 4096, 1024, urams=1.0)
#: Bits that UltraRAM writes together: nine bytes of eight bits or eight of nine.
_ULTRA_BYTES = (8, 9)


def loadable(memory: LoadMemory) -> tuple[Ram, ...]:
    """Return the memories of an `hw.parts.memory.LoadableMemory`."""
    first, *others = memory.depths
    main = Ram(memory.width, first, beside=len(others), style=memory.style)
    return main, *(Ram(memory.width, depth) for depth in others)


@cache
def ram_cost(ram: Ram, family: Family, *, urams: bool = False) -> Cost:
    """Return what a memory takes.

    Parameters
    ----------
    ram : Ram
    family : {"xcup", "xc7", "ecp5"}
    urams : bool
        Whether the device has UltraRAM.
    """
    there = (*_PRIMITIVES[family], *((_ULTRA,) if urams else ()))
    usable = (primitive for primitive in there if primitive.suits(ram))
    layouts = ((primitive, ceil_div(ram.depth, primitive.words)) for primitive in usable)
    primitive, rows = min(layouts, key=lambda layout: _points(ram, family, *layout))
    copies = ram.readers - primitive.shared
    primitives = copies * _primitives(ram, primitive)
    luts = ram.readers * (ram.used_bits * _chosen_luts(family, rows, ram.beside) + (rows if rows > 1 else 0))
    if primitive.in_luts:
        # The reader's register is made of flip-flops.
        ffs = ram.readers * ram.used_bits if ram.registered else 0
        return Cost(luts=luts + primitives * primitive.luts, ffs=ffs, dsps=0, brams=0)
    ffs = ram.readers * (rows - 1).bit_length()
    if family == "ecp5" and ram.collides:
        # The block gives no defined word when the one being written is read: a copy of the written bits stands in.
        luts += ram.readers * (ram.used_bits + ram.depth.bit_length())
        enables = ram.granules if ram.granules > 1 else 0
        ffs += ram.readers * (2 * (ram.used_bits + enables) + ram.depth.bit_length())
    return Cost(luts=luts, ffs=ffs, dsps=0, brams=primitives * primitive.brams, urams=primitives * primitive.urams)


def in_blocks(ram: Ram, fabric: Fabric) -> bool:
    """Whether a memory lies in block memories, in an engine of so many inputs a look-up table."""
    return bool(ram_cost(ram, "xcup" if fabric == "lut6" else "ecp5").brams)


def _chosen_luts(family: Family, rows: int, beside: int) -> float:
    """LUTs that choose one bit from the rows of a memory and further memories: of all at once, or one after another."""
    return min(_mux_luts(family, rows + beside), _mux_luts(family, rows) + beside)


def _mux_luts(family: Family, rows: int) -> float:
    """LUTs that choose one bit from so many rows; beyond the table in proportion to its last entry."""
    table = (0.0, *_MUX_LUTS[family])
    return table[rows - 1] if rows <= len(table) else table[-1] * rows / len(table)


def _primitives(ram: Ram, primitive: _Primitive) -> int:
    """Primitives that hold the bits which are read.

    Bits that are written separately begin at a byte of a block, and never share a memory in LUTs.
    """
    granules, rest = divmod(ram.used_bits, ram.granule)
    if primitive.urams:
        return min(_ultra_blocks(ram, byte) for byte in _ULTRA_BYTES)
    if primitive.brams and primitive.bits >= _BYTE and granules + (rest > 0) > 1:
        used = granules * ceil_div(ram.granule, _BYTE) + ceil_div(rest, _BYTE)
        return ceil_div(ram.depth, primitive.words) * ceil_div(used, primitive.bits // _BYTE)
    return granules * _slice(ram.granule, ram.depth, primitive) + _slice(rest, ram.depth, primitive)


def _ultra_blocks(ram: Ram, byte: int) -> int:
    """UltraRAM blocks that write so many bits together; rows that fit side by side share one."""
    granules, rest = divmod(ram.used_bits, ram.granule)
    used = granules * ceil_div(ram.granule, byte) + ceil_div(rest, byte)
    return ceil_div(ceil_div(ram.depth, _ULTRA.words) * used, _ULTRA.bits // byte)


def _slice(bits: int, depth: int, primitive: _Primitive) -> int:
    """Primitives for `bits` side by side; a last block with few bytes in use is narrower and deeper."""
    columns, rest = divmod(bits, primitive.bits)
    rows = ceil_div(depth, primitive.words)
    if not rest:
        return columns * rows
    if primitive.in_luts:
        return (columns + 1) * rows
    narrow = min(width for width in _WIDTHS if width >= min(primitive.bits, max(rest, _BYTE)))
    words = primitive.words * _data_bits(primitive.bits) // _data_bits(narrow)
    return columns * rows + ceil_div(depth, words)


def _points(ram: Ram, family: Family, primitive: _Primitive, rows: int) -> float:
    """Cost by which an organisation is chosen; memory in LUTs of AMD's parts is charged by the bits in use."""
    scaled = family != "ecp5" and primitive.in_luts
    number = rows * ram.width / primitive.bits if scaled else _primitives(replace(ram, read_bits=None), primitive)
    emulated = _EMULATION_POINTS if family == "ecp5" and primitive.brams and ram.collides else 0
    multiplexed = _MUX_POINTS * (ram.width * (rows - 1) + ram.granules * rows) if rows > 1 else 0
    return (ram.readers - primitive.shared) * (number * primitive.points + multiplexed + emulated)
