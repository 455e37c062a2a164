"""The writer of x at the edge."""

from __future__ import annotations

from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from ...sim.flow.edge import EdgeUnit


def x_write_port(unit: EdgeUnit) -> wiring.Signature:
    """Signature of the writer of x: `en` has a bit for each chunk of each row of the word, `data` is one chunk.

    Parameters
    ----------
    unit : EdgeUnit
    """
    residual = unit.flow.engine.formats.residual_bits
    enables = unit.side * unit.word_chunks
    return wiring.Signature({"en": Out(enables), "addr": Out(unit.x_addr_bits), "data": Out(unit.chunk * residual)})
