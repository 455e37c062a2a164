"""Words of an engine's memories: what the configuration and its memories both count in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..bits import WORD_BITS

#: Bits of a beat of the load stream.
BEAT_BITS = 64
#: Words of a block memory where it is widest; so few that memory in look-up tables is as good.
BLOCK_WORDS, SHORT_WORDS = 512, 64
#: Bits of a dot product that the array takes in one cycle: a packed word, as the network file has them.
WORD = WORD_BITS
#: What a memory is asked to be made of: what synthesis finds best, block memories, or look-up tables.
MemoryStyle = Literal["auto", "block", "distributed"]


@dataclass(frozen=True)
class LoadMemory:
    """A memory that the load stream fills.

    Parameters
    ----------
    id : int
        On the load bus.
    width, depth : int
        Bits of a word, words of a bank.
    banks : int
        1, which a stream overwrites, or 2, of which one is read and the other one written.
    style : {"auto", "block", "distributed"}
        What it is asked to be made of.
    read_cycles : int
        From an address to its word.
    """

    id: int
    width: int
    depth: int
    banks: int = 1
    style: MemoryStyle = "auto"
    read_cycles: int = 1

    @property
    def beats(self) -> int:
        """Beats of one word."""
        return ceil_div(self.width, BEAT_BITS)

    @property
    def depths(self) -> tuple[int, ...]:
        """Words of the memories that it is made of: a few words more than blocks hold lie in a memory of their own.

        >>> LoadMemory(0, 72, 2592).depths, LoadMemory(0, 72, 2600, banks=2).depths
        ((2560, 32), (5200,))
        """
        words = self.banks * self.depth
        rest = words % BLOCK_WORDS
        apart = self.banks == 1 and words > BLOCK_WORDS and 0 < rest <= SHORT_WORDS
        return (words - rest, rest) if apart else (words,)


@dataclass(frozen=True)
class Memory:
    """A memory of a unit, with one write port and synchronous readers.

    Parameters
    ----------
    width, depth : int
        Bits of a word, words.
    readers : int
        Read ports.
    write_bits : int, optional
        Bits that are written together; all of a word by default.
    style : {"auto", "block", "distributed"}
        What it is asked to be made of.
    """

    width: int
    depth: int
    readers: int = 1
    write_bits: int | None = None
    style: MemoryStyle = "auto"


def power_of_two(least: int) -> int:
    """Return the smallest power of two that is no less than a number.

    Parameters
    ----------
    least : int
        1 or more.

    Examples
    --------
    >>> power_of_two(5)
    8
    """
    return 1 << (least - 1).bit_length()


def ceil_div(a: int, b: int) -> int:
    """Smallest integer not below a / b."""
    return -(-a // b)
