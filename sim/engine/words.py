"""Words of an engine's memories: what the configuration and its memories both count in."""

from __future__ import annotations

from dataclasses import dataclass

from ..bits import WORD_BITS

#: Bits of a beat of the load stream.
BEAT_BITS = 64
#: Bits of a dot product that the array takes in one cycle: a packed word, as the network file has them.
WORD = WORD_BITS


@dataclass(frozen=True)
class LoadMemory:
    """A memory that the load stream fills: its id on the load bus, word width in bits, and words in one bank."""

    id: int
    width: int
    depth: int

    @property
    def beats(self) -> int:
        """Beats of one word."""
        return ceil_div(self.width, BEAT_BITS)


def ceil_div(a: int, b: int) -> int:
    """Smallest integer not below a / b."""
    return -(-a // b)
