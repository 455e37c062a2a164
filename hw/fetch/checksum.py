"""Whether beats are what the beat behind them says: a checksum of each 64 bits, and a number of their place."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, Value
from amaranth.lib.crc.catalog import CRC32_ETHERNET

from ...sim.engine.registers import ErrorCode
from ...sim.engine.words import WORD
from ..parts.connect import connect


def check_sums(
    m: Module, value: Signal, tag: Value, *, beat: Signal, checks: Signal, start: Value
) -> tuple[Signal, Signal]:
    """Return, two cycles after the beat that checks others, whether they were right, and whether not.

    Parameters
    ----------
    m : Module
        Where the checksums are built.
    value : Signal
        A beat.
    tag : Value
        What the high half of each 64 bits of the beat that checks must be.
    beat, checks : Signal
        There is a beat; it is the one that checks those before it.
    start : Value
        Forget all that came.
    """
    first = Signal(init=1)
    with m.If(beat):
        m.d.sync += connect(first, checks)
    with m.If(start):
        m.d.sync += first.eq(1)
    lanes = len(value) // WORD
    same = Signal(2 * lanes)
    for lane in range(lanes):
        bits = value.word_select(lane, WORD)
        m.submodules[f"checksum_{lane}"] = checksum = CRC32_ETHERNET(data_width=WORD).create()
        m.d.comb += [
            *(connect(checksum.data, bits), checksum.valid.eq(beat & ~checks), checksum.start.eq(beat & first)),
        ]
        m.d.sync += [
            same[2 * lane].eq(bits[: WORD // 2] == checksum.crc),
            same[2 * lane + 1].eq(bits[WORD // 2 :] == tag),
        ]
    over, good, bad = Signal(), Signal(), Signal()
    m.d.sync += [
        over.eq(beat & checks & ~start),
        *(good.eq(over & same.all() & ~start), bad.eq(over & ~same.all() & ~start)),
    ]
    return good, bad


def keep_first_fault(m: Module, fault: Value, *, wrong: Value, bad: Value, start: Value) -> None:
    """Keep what was wrong first since `start`.

    Parameters
    ----------
    m : Module
    fault : View
        Of `ErrorCode`, as a register.
    wrong, bad : Value
        A beat's answer or place is wrong: MEMORY_READ; what was checked was not right: MEMORY_CRC.
    start : Value
        Forget it.
    """
    with m.If(wrong & (fault == ErrorCode.NONE)):
        m.d.sync += fault.eq(ErrorCode.MEMORY_READ)
    with m.Elif(bad & (fault == ErrorCode.NONE)):
        m.d.sync += fault.eq(ErrorCode.MEMORY_CRC)
    with m.If(start):
        m.d.sync += fault.eq(ErrorCode.NONE)
