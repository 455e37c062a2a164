"""What a memory takes: the choice between block memory and memory in LUTs, and the layout of blocks.

The rule is that of Yosys' pass `memory_libmap`: of all organisations the one with the lowest sum of the primitives'
costs and half a point for each bit of the multiplexers behind them, the costs being those of its libraries for
UltraScale+ (`xilinx/brams_xc4v.txt`, `xilinx/lutrams_xcu.txt`) and ECP5 (`lattice/brams_16kd.txt`,
`lattice/lutrams_trellis.txt`).
"""

from __future__ import annotations

from dataclasses import dataclass

from .cost import Cost
from .devices import Family
from .engine import LoadMemory, ceil_div

#: Points for one bit of a two-to-one multiplexer.
_MUX_POINTS = 0.5
#: Extra bits of a block's nine-bit bytes hold data only when a write covers whole bytes.
_BYTE = 9


@dataclass(frozen=True)
class Ram:
    """A memory with one write port and synchronous readers.

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
    """

    width: int
    depth: int
    write_bits: int | None = None
    readers: int = 1
    read_bits: int | None = None

    @property
    def granule(self) -> int:
        """Bits that are written together."""
        return self.width if self.write_bits is None else self.write_bits

    @property
    def used_bits(self) -> int:
        """Bits of a word that are read."""
        return self.width if self.read_bits is None else self.read_bits


@dataclass(frozen=True)
class _Primitive:
    """One organisation of a memory primitive: bits, words, points, and what it takes."""

    bits: int
    words: int
    points: float
    luts: float = 0.0
    brams: float = 0.0


def _blocks(kbits: int, widest: int, points: float, brams: float) -> tuple[_Primitive, ...]:
    """Organisations of a block memory of `kbits` without parity: from `widest` bits a word down to one."""
    widths = [w for w in (72, 36, 18, 9, 4, 2, 1) if w <= widest]
    return tuple(_Primitive(w, kbits * 1024 // (w - w // _BYTE), points, brams=brams) for w in widths)


_PRIMITIVES: dict[Family, tuple[_Primitive, ...]] = {
    "lut6": (
        _Primitive(14, 32, 16, luts=8),
        _Primitive(7, 64, 16, luts=8),
        *_blocks(16, 36, 129, 0.5),
        *_blocks(32, 72, 257, 1.0),
    ),
    "lut4": (_Primitive(4, 16, 4, luts=6), *_blocks(16, 36, 128, 1.0)),
}


def loadable(memory: LoadMemory) -> Ram:
    """Return the memory of an `hw.memory.LoadableMemory`: two banks of 2^n words, written in 64-bit beats."""
    bank = 1 << max(1, (memory.depth - 1).bit_length())
    return Ram(64 * memory.beats, 2 * bank, write_bits=64, read_bits=memory.width)


def ram_cost(ram: Ram, family: Family) -> Cost:
    """Return what a memory takes.

    Parameters
    ----------
    ram : Ram
    family : {"lut6", "lut4"}
    """
    layouts = ((primitive, ceil_div(ram.depth, primitive.words)) for primitive in _PRIMITIVES[family])
    primitive, rows = min(layouts, key=lambda layout: _points(ram, family, *layout))
    primitives = ram.readers * rows * _columns(ram, primitive)
    mux_inputs = 3 if family == "lut6" else 1  # further words that one LUT a bit chooses from
    luts = ram.readers * (ram.used_bits * ceil_div(rows - 1, mux_inputs) + (rows if rows > 1 else 0))
    if not primitive.brams:
        # The reader's register is made of flip-flops.
        return Cost(luts=luts + primitives * primitive.luts, ffs=ram.readers * ram.used_bits, dsps=0, brams=0)
    ffs = ram.readers * (rows - 1).bit_length()
    if family == "lut4":
        # The block gives no defined word when the one being written is read: a copy of the written bits stands in.
        luts += ram.readers * (ram.used_bits + ram.depth.bit_length())
        ffs += ram.readers * (2 * min(ram.granule, ram.used_bits) + ram.depth.bit_length())
    return Cost(luts=luts, ffs=ffs, dsps=0, brams=primitives * primitive.brams)


def _columns(ram: Ram, primitive: _Primitive) -> int:
    """Primitives side by side that hold bits which are read.

    Bits that are written separately share a block by bytes, and never a memory in LUTs.
    """
    granules, rest = divmod(ram.used_bits, ram.granule)
    together = (primitive.bits // _BYTE) // ceil_div(ram.granule, _BYTE) if primitive.brams else 0
    if together > 1:
        return ceil_div(granules + (rest > 0), together)
    return granules * ceil_div(ram.granule, primitive.bits) + ceil_div(rest, primitive.bits)


def _points(ram: Ram, family: Family, primitive: _Primitive, rows: int) -> float:
    """Cost by which an organisation is chosen; memory in LUTs of UltraScale+ is charged by the bits in use."""
    whole = Ram(ram.width, ram.depth, ram.write_bits)
    scaled = family == "lut6" and not primitive.brams
    columns = ram.width / primitive.bits if scaled else _columns(whole, primitive)
    return ram.readers * (columns * rows * primitive.points + _MUX_POINTS * ram.width * (rows - 1))
