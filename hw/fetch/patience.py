"""How long one waits for a memory that may never answer."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, Value

from ...sim.flow.weight_stream import SILENCE_CYCLES


def lost_patience(m: Module, waits: Value, came: Value, start: Value) -> Value:
    """Return whether `SILENCE_CYCLES` were waited without a beat: from then on, until one comes or reading begins anew.

    Parameters
    ----------
    m : Module
        Where the cycles are counted.
    waits, came, start : Value
        Someone waits; a beat came; reading begins.
    """
    silent = Signal(range(SILENCE_CYCLES + 1), name="silent")
    with m.If(waits & ~came):
        m.d.sync += silent.eq(silent + (silent != SILENCE_CYCLES))
    with m.If(came | start):
        m.d.sync += silent.eq(0)
    return silent == SILENCE_CYCLES
