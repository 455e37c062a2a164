"""The signals of a master of AXI4 reads."""

from __future__ import annotations

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...sim.flow.weight_stream import ADDRESS_BITS, RUN_BITS

#: Answers to a read: the first one alone is good.
OKAY = 0
#: Bursts of consecutive addresses; normal memory that may be buffered; data that is neither privileged nor secure.
INCREMENTING, MODIFIABLE, NORMAL_DATA = 1, 0b0011, 0b010


def read_master(data_bits: int, id_bits: int = RUN_BITS) -> dict[str, wiring.Member]:
    """Return the ports of a master that only reads, by their names in AXI4.

    Parameters
    ----------
    data_bits : int
    id_bits : int
        Bits of the number of a read.
    """
    return {
        "arid": Out(id_bits),
        "araddr": Out(ADDRESS_BITS),
        "arlen": Out(8),
        "arsize": Out(3),
        "arburst": Out(2),
        "arcache": Out(4),
        "arprot": Out(3),
        "arvalid": Out(1),
        "arready": In(1),
        "rid": In(id_bits),
        "rdata": In(data_bits),
        "rresp": In(2),
        "rlast": In(1),
        "rvalid": In(1),
        "rready": Out(1),
    }
