"""Counters that go through the steps of a job: every step, in order, and none more; bits that come piece by piece."""

from __future__ import annotations

from functools import partial
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from proving import Fault, Harness, Proof, assume, before, claim

from bivit.hw.array import lane_writer
from bivit.hw.parts import countdown, row_walk
from bivit.sim.engine.words import WORD


def steps(bits: int) -> Harness:
    """A countdown: which step of how many is next."""

    def body(m: Module, h: Any) -> None:
        m.submodules.dut = dut = countdown.Countdown(bits)
        m.d.comb += [dut.start.eq(h.start), dut.count.eq(h.count), dut.step.eq(h.step)]
        assume(m, ~h.start | h.count.any())
        count, done, begun = Signal(bits), Signal(bits), Signal()
        with m.If(h.start):
            m.d.sync += [count.eq(h.count), done.eq(0), begun.eq(1)]
        with m.Elif(h.step):
            m.d.sync += done.eq(done + 1)
            with m.If(done == count - 1):
                m.d.sync += done.eq(0)
        with m.If(begun):
            claim(m, "last", dut.last == (done == count - 1))
            claim(m, "within", done < count)
            claim(m, "left", (h.left == count - 1 - done) & (h.top == count - 1) & (h.single == (count == 1)))

    inner = {"left": (bits, "dut.left"), "top": (bits, "dut.top"), "single": (1, "dut.single")}
    return Harness({"start": 1, "count": bits, "step": 1}, body, inner)


def walk(row_bits: int, chunk_bits: int) -> Harness:
    """A walk over rows and chunks: the position in every cycle, and when it is through."""

    def body(m: Module, h: Any) -> None:
        m.submodules.dut = dut = row_walk.RowWalk(row_bits, chunk_bits)
        m.d.comb += [dut.start.eq(h.start), dut.rows.eq(h.rows), dut.chunks.eq(h.chunks)]
        active, row, chunk = Signal(), Signal(row_bits), Signal(chunk_bits)
        rows, chunks = Signal(row_bits), Signal(chunk_bits)
        row_end, end = Signal(), Signal()
        m.d.comb += [row_end.eq(active & (chunk == chunks - 1)), end.eq(row_end & (row == rows - 1))]
        assume(m, ~h.start | (h.rows.any() & h.chunks.any() & (~active | end)))
        m.d.sync += chunk.eq(chunk + 1)
        with m.If(row_end):
            m.d.sync += [chunk.eq(0), row.eq(row + 1)]
        with m.If(end):
            m.d.sync += active.eq(0)
        with m.If(h.start):
            m.d.sync += [active.eq(1), row.eq(0), chunk.eq(0), rows.eq(h.rows), chunks.eq(h.chunks)]
        claim(m, "active", dut.active == active)
        claim(m, "ends", (dut.row_end == row_end) & (dut.end == end))
        with m.If(active):
            claim(m, "position", (dut.row == row) & (dut.chunk == chunk))
            claim(m, "within", (row < rows) & (chunk < chunks))
            claim(m, "last_chunk", h.last_chunk == (chunk == chunks - 1))
            claim(m, "last_row", h.last_row == (row == rows - 1))
            claim(m, "chunks_after", (h.chunks_after == chunks - 1 - chunk) & (h.row_after == chunks - 1))
            claim(m, "rows_after", (h.rows_after == rows - 1 - row) & (h.single_chunk == (chunks == 1)))

    inner = {
        **{"last_row": (1, "dut.last_row|dut.$signal$#"), "last_chunk": (1, "dut.last_chunk|dut.$signal")},
        **{"single_chunk": (1, "dut.single_chunk"), "rows_after": (row_bits, "dut.rows_after|dut.$like$#")},
        **{"chunks_after": (chunk_bits, "dut.chunks_after|dut.$like"), "row_after": (chunk_bits, "dut.row_after")},
    }
    return Harness({"start": 1, "rows": row_bits, "chunks": chunk_bits}, body, inner)


def writer(rows: int, side: int, columns: int, part: int) -> Harness:
    """Bits of row groups on their way to a memory: what is in a row's part so far, and where it goes."""
    pieces, in_part = part // columns, (part // columns).bit_length() - 1
    groups, word_bits = -(-rows // side), (WORD // columns).bit_length() - 1
    free = {"en": 1, "addr": 4, "group": groups.bit_length(), "word": word_bits, "data": side * columns, "clear": 1}

    def body(m: Module, h: Any) -> None:
        sizes = {"rows": rows, "side": side, "columns": columns, "part": part}
        m.submodules.dut = dut = lane_writer.LaneWriter(**sizes, addr_bits=4, word_bits=word_bits)
        m.d.comb += [getattr(dut, name).eq(getattr(h, name)) for name in free]
        m.d.comb += dut.clear_addr.eq(h.addr)
        place, count = h.word[:in_part], Signal(range(pieces + 1))
        assume(m, ~h.en | (((place == 0) | (place == count)) & (h.group < groups)))
        given = [Signal(part, name=f"given_{row}") for row in range(side)]
        with m.If(h.en):
            m.d.sync += count.eq(place + 1)
            for row, bits in enumerate(given):
                come = h.data.word_select(row, columns) << place * columns
                m.d.sync += bits.eq(Mux(place == 0, 0, bits) | come)
        with m.If(h.clear):
            m.d.sync += [count.eq(0), *(bits.eq(0) for bits in given)]
        claim(m, "beyond", Cat((bits >> count * columns) == 0 for bits in given).all())
        was = {name: before(m, getattr(h, name), 1, name, reset_less=False) for name in free}
        claim(m, "enable", dut.w_en == (was["en"] | was["clear"]))
        for row in range(rows):
            claim(m, f"data_{row}", dut.w_data.word_select(row, part) == given[row % side])
        with m.If(was["clear"]):
            claim(m, "clear", (dut.w_addr == was["addr"]) & dut.w_rows.all() & dut.w_parts.all())
        with m.Elif(was["en"]):
            claim(m, "rows", dut.w_rows == Cat(was["group"] == row // side for row in range(rows)))
            claim(m, "place", (dut.w_addr == was["addr"]) & (dut.w_parts == 1 << was["word"][in_part:]))

    return Harness(free, body)


PROOFS: dict[str, Proof] = {
    "countdown": Proof(
        "hw/parts/countdown.py",
        "`last` says of every step whether it is the last of `count`, a step a cycle, from the cycle behind `start` on",
        "counts of 8 bits",
        partial(steps, 8),
        1,
    ),
    "row_walk": Proof(
        "hw/parts/row_walk.py",
        "`rows` x `chunks` cycles from the one behind `start` on, each with its position; the next tile without a gap",
        "rows of 6 bits, chunks of 5",
        partial(walk, 6, 5),
        1,
    ),
    "lane_writer": Proof(
        "hw/array/lane_writer.py",
        "a cycle after bits come, the part of 8 that they are of is written, with those of it that came before and 0 "
        "beyond, in their rows of their word; a whole word of 0 at `clear`",
        "5 rows, 2 side by side, 2 bits each a cycle",
        partial(writer, 5, 2, 2, 8),
        1,
    ),
}

FAULTS: dict[str, Fault] = {
    "a count of one": Fault("countdown", countdown, "single.eq(self.count == 1)", "single.eq(0)", "left"),
    "a row more": Fault(
        "row_walk", row_walk, "last_row.eq(rows_after == 1)", "last_row.eq(rows_after == 0)", "last_row"
    ),
    "bits of the part before": Fault(
        "lane_writer", lane_writer, "m.d.sync += ours.eq(0)", "m.d.sync += ours.eq(ours)", "data"
    ),
}
