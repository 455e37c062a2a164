"""Streamed weights: a part counts as there only when each of its beats was right.

Parts of a few beats come one after the other, whatever the memory answers. What Amaranth's CRC gives is taken as it is
(its value is cut); that it is given a part's words, all of them and nothing else, is claimed.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data
from proving import Fault, Harness, Proof, assume, assume_constant, before, claim
from small_flow import small_flow

from bivit.hw.fetch import checksum, receive
from bivit.hw.fetch.axi import OKAY, read_master
from bivit.sim.engine.registers import ErrorCode
from bivit.sim.engine.words import WORD
from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.weight_stream import WeightStreamUnit

#: Most beats of a part, which is so short that its first burst ends with it; cycles from reset.
_MOST_BEATS, _CYCLES = 3, 16
#: From `start` to the first beat, at least; from the beat that checks a part to `full`.
_BEGINS, _LATE = 6, 3


def flow_for(memory_bits: int) -> FlowConfig:
    """A small engine with a port of so many bits."""
    return replace(small_flow(), weights="streamed", memory_bits=memory_bits)


def receiver(memory_bits: int) -> Harness:
    """Any beats, of these reads and of others, behind a start."""
    flow = flow_for(memory_bits)
    dut = receive.Receive(flow)
    lanes, fields = memory_bits // WORD, data.StructLayout(WeightStreamUnit(flow).fields)
    answers = ("rid", "rdata", "rresp", "rlast", "rvalid")

    def body(m: Module, h: Any) -> None:
        m.submodules.dut = dut
        for name in ("network", "start", "active", "run", *answers):
            m.d.comb += getattr(dut, name).eq(getattr(h, name))
        age, begun = Signal(range(_BEGINS + 1)), Signal()
        with m.If(h.start):
            m.d.sync += begun.eq(1)
        with m.If(begun & (age != _BEGINS)):
            m.d.sync += age.eq(age + 1)
        beat = h.rvalid & h.active & (h.rid == h.run)
        assume(m, ~(h.start & begun) & (~beat | (age == _BEGINS)))
        for name in ("network", "run", "beats"):
            assume_constant(m, getattr(h, name), name)
        # All parts have as many beats, and none is the last one; what the list has is taken as it is.
        part = data.View(fields, h.part)
        assume(m, ~begun | ((part.beats == h.beats) & (part.kind < len(dut.full)) & ~part.final))
        number = Signal(16)
        assume(m, (h.beats >= 2) & (h.beats <= _MOST_BEATS))
        place, wrong = Signal(range(_MOST_BEATS)), Signal()
        checks = place == h.beats - 1
        with m.If(beat):
            m.d.sync += place.eq(Mux(checks, 0, place + 1))
            with m.If(checks):
                m.d.sync += number.eq(number + 1)
        # What is given to the checksums, a cycle behind a beat, and what these say another cycle later.
        of_words, first = beat & ~checks, place == 0
        tag = before(m, (h.network ^ number)[:32], 2, "tag")
        word, last = before(m, h.rdata, 1, "word"), before(m, h.rdata, 2, "last")
        was_word, was_first = before(m, of_words, 1, "of_words", reset_less=False), before(m, first, 1, "first")
        right = []
        for lane in range(lanes):
            given = [getattr(h, f"{name}_{lane}") for name in ("valid", "first", "data")]
            claim(m, f"given_{lane}", given[0] == was_word)
            with m.If(given[0]):
                claim(m, f"word_{lane}", given[2] == word.word_select(lane, WORD))
                claim(m, f"begins_{lane}", given[1] == was_first)
            bits, crc = last.word_select(lane, WORD), before(m, getattr(h, f"crc_{lane}"), 1, f"crc_{lane}")
            right += [bits[: WORD // 2] == crc, bits[WORD // 2 :] == tag]
        same = Cat(right).all()
        # A beat is wrong by its answer, or as the end of a burst; a part by what checks it.
        with m.If(beat & ((h.rresp != OKAY) | (h.rlast != checks))):
            m.d.sync += wrong.eq(1)
        over = before(m, beat & checks, 2, "over", reset_less=False)
        with m.If(over & ~same):
            m.d.sync += wrong.eq(1)
        good = before(m, over & same, 1, "good", reset_less=False)
        wrong_then = before(m, wrong, 1, "wrong", reset_less=False)
        claim(m, "only_right_parts", ~dut.full.any() | good)
        claim(
            m, "nothing_behind_a_wrong_beat", ~dut.full.any() | ~before(m, wrong, _LATE, "wrong_then", reset_less=False)
        )
        claim(m, "all_right_parts", wrong | wrong_then | (dut.full.any() == good))
        claim(m, "fault_only_of_wrong", (dut.fault == ErrorCode.NONE) | wrong)

    shapes = {name: port.shape for name, port in read_master(memory_bits).items()}
    free: dict[str, Any] = {"network": 32, "start": 1, "active": 1, "run": shapes["rid"]}
    free |= {name: shapes[name] for name in answers}
    free["beats"] = _MOST_BEATS.bit_length()
    inner: dict[str, Any] = {"part": (fields.size, "dut.walk.parts.r_data")}
    for lane in range(lanes):
        path = f"dut.checksum_{lane}"
        inner |= {f"crc_{lane}": (32, f"{path}.crc"), f"valid_{lane}": (1, f"{path}.valid")}
        inner |= {f"first_{lane}": (1, f"{path}.start"), f"data_{lane}": (WORD, f"{path}.data")}
    return Harness(
        free, body, inner, cut=["dut.walk.parts.r_data", *(f"dut.checksum_{lane}.crc_reg" for lane in range(lanes))]
    )


PROOFS: dict[str, Proof] = {
    f"receive_{bits}": Proof(
        "hw/fetch/receive.py",
        "a part is `full` three cycles after the beat that checks it if that has the checksum and the number of the "
        "part, and no beat before had a wrong answer or ended a burst where it must not; only then",
        f"port of {bits} bits, parts of 2 or {_MOST_BEATS} beats",
        partial(receiver, bits),
        _CYCLES,
        bounded=True,
    )
    for bits in (64, 128)
}

FAULTS: dict[str, Fault] = {
    "half of a check": Fault(
        "receive_64", checksum, "bits[: WORD // 2] == checksum.crc", "bits[0] == checksum.crc[0]", "only_right_parts"
    ),
    "another part's words": Fault(
        "receive_64", checksum, "bits[WORD // 2 :] == tag", "bits[WORD // 2] == tag[0]", "only_right_parts"
    ),
    "one lane alone": Fault(
        "receive_128",
        checksum,
        "over & same.all() & ~start)",
        "over & same[:2].all() & ~start)",
        "only_right_parts",
    ),
    "an error that is forgotten": Fault(
        "receive_64",
        receive,
        "(beat & (response != OKAY))",
        "(beat & checks & (response != OKAY))",
        "nothing_behind_a_wrong_beat",
    ),
    "a checksum of two parts": Fault(
        "receive_64", checksum, "m.d.sync += connect(first, checks)", "m.d.sync += first.eq(0)", "begins"
    ),
}
