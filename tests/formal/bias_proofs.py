"""Scores with a relative position bias: which words of both memories, the sums, and -1 of pairs that may not attend."""

from __future__ import annotations

from functools import partial
from typing import Any

from amaranth.hdl import Module, Mux, Signal
from proving import Fault, Harness, Proof, assume, assume_constant, before, claim
from softmax_bench import unit_of
from windowed import window_limits

from bivit.hw.flow import score_bias, score_queue
from bivit.hw.parts.stream import LOAD_BUS
from bivit.sim.engine.words import WORD
from bivit.sim.flow.softmax import BIAS_BITS, MASK_BITS, SoftmaxUnit

#: Memories of a job, and the ports that say where it begins in each.
_MEMORIES = {"bias": "w_bias", "masks": "w_mask"}


def small(drain_rows: int) -> SoftmaxUnit:
    """A unit of three rows of eight columns."""
    windows = window_limits(bias_words=16, mask_words=8)
    return unit_of(3, 8, drain_rows, 4, 8, score_slots=2, attention_slots=2, windows=windows)


def bias(drain_rows: int) -> Harness:
    """Words of scores of a job after the other, each with its words of both memories."""
    unit = small(drain_rows)
    late, score_bits = unit.bias_cycles, unit.flow.engine.score_bits
    scores = unit.word_scores

    def body(m: Module, h: Any) -> None:
        m.submodules.dut = dut = score_bias.ScoreBias(unit)
        for name in ("w_bias", "w_mask", "w_kind", "w_step", "en", "first", "word", "load"):
            m.d.comb += getattr(dut, name).eq(getattr(h, name))
        assume_constant(m, h.w_step, "w_step")
        begun, count = Signal(), Signal(len(h.w_bias))
        assume(m, begun | ~h.en | h.first)
        with m.If(h.en):
            m.d.sync += [begun.eq(1), count.eq(Mux(h.first, 0, count) + 1)]
        moved = Mux(h.w_step, count, 0)
        for name, port in {**_MEMORIES, "kind": "w_kind"}.items():
            fresh, given = before(m, getattr(h, port), 1, f"{port}_given"), Signal(len(getattr(h, port)), name=name)
            with m.If(h.en & h.first):
                m.d.sync += given.eq(fresh)
            steps = moved if name in _MEMORIES else 0
            at = Mux(h.first, fresh, (given + steps)[: len(given)])
            with m.If(h.en):
                claim(m, f"{name}_at", getattr(h, f"{name}_here") == at)
            with m.If(begun):
                claim(m, f"{name}_held", getattr(h, f"{name}_held") == (given + steps)[: len(given)])
            if name == "kind":
                kind = before(m, h.kind_here, late, "kind_late")
        word = before(m, h.word, late, "word_late")
        for number in range(scores):
            sum_ = word.word_select(number, score_bits) + h.bias_word.word_select(number, BIAS_BITS)
            claim(m, f"sum_{number}", dut.sums[number] == sum_[:score_bits])
            bars = h.mask_word.word_select(number, MASK_BITS) & kind
            claim(m, f"bar_{number}", dut.bars[number] == bars.any())
        for name in _MEMORIES:
            claim(m, f"{name}_read", getattr(h, f"{name}_addr") == getattr(h, f"{name}_here"))

    bits = {name: (unit.load_memories[name].depth - 1).bit_length() for name in _MEMORIES}
    free = {**{port: bits[name] for name, port in _MEMORIES.items()}, "w_kind": MASK_BITS, "w_step": 1}
    free |= {"en": 1, "first": 1, "word": scores * score_bits, "load": LOAD_BUS}
    inner: dict[str, Any] = {}
    for name, port in {**_MEMORIES, "kind": "w_kind"}.items():
        width = bits.get(name, MASK_BITS)
        inner |= {f"{name}_here": (width, f"dut.{port}_here"), f"{name}_held": (width, f"dut.{port}_held")}
    inner |= {f"{name}_addr": (width, f"dut.{name}.r_addr") for name, width in bits.items()}
    inner |= {
        "bias_word": (scores * BIAS_BITS, "dut.bias.r_data"),
        "mask_word": (scores * MASK_BITS, "dut.masks.r_data"),
    }
    return Harness(free, body, inner)


def stored(drain_rows: int) -> Harness:
    """What goes into the queue: sums, but -1 of pairs that may not attend, which no sum is."""
    unit = small(drain_rows)
    scores, score_bits = unit.word_scores, unit.flow.engine.score_bits

    def body(m: Module, h: Any) -> None:
        m.submodules.dut = dut = score_queue.ScoreQueue(unit)
        m.d.comb += [dut.w_en.eq(h.en), dut.w_data.eq(h.word), dut.w_keys.eq(h.keys), dut.w_rows.eq(h.rows)]
        m.d.comb += [dut.load.eq(h.load), dut.w_kind.eq(h.kind)]
        sums, bars = before(m, h.sums, 1, "sums"), before(m, h.bars, 1, "bars")
        for number in range(scores):
            sum_, found = (value.word_select(number, score_bits) for value in (sums, h.stored))
            assume(m, bars[number] | (sum_ <= WORD))
            claim(m, f"stored_{number}", found == Mux(bars[number], (1 << score_bits) - 1, sum_))
            claim(m, f"barred_{number}", score_bias.barred(found) == bars[number])
        claim(m, "written", h.written == before(m, h.en, unit.store_stage, "en", reset_less=False))

    free = {"en": 1, "word": scores * score_bits, "keys": unit.key_bits, "rows": unit.row_bits}
    free |= {"load": LOAD_BUS, "kind": MASK_BITS}
    inner = {
        "sums": (scores * score_bits, "dut.bias.sums"),
        "bars": (scores, "dut.bias.bars"),
        "stored": (scores * score_bits, "dut.scores.w_data"),
        "written": (1, "dut.scores.w_en"),
    }
    return Harness(free, body, inner)


PROOFS: dict[str, Proof] = {
    "score_bias": Proof(
        "hw/flow/score_bias.py",
        "word n of a job takes word n behind its first one of both memories, or the first one where words do not step; "
        "sums and bars of each score, `bias_cycles` later",
        "3 rows of 8 columns, 2 rows a word",
        partial(bias, 2),
        4,
    ),
    "score_bars": Proof(
        "hw/flow/score_queue.py",
        "the queue stores sums, but -1 of a pair that may not attend, and `barred` tells the two apart",
        "3 rows of 8 columns, 2 rows a word, sums up to 64",
        partial(stored, 2),
        4,
    ),
}

FAULTS: dict[str, Fault] = {
    "the word before": Fault("score_bias", score_bias, "held.eq(here + step)", "held.eq(held + step)", "bias"),
    "any bit of a mask": Fault("score_bias", score_bias, "MASK_BITS) & kind).any()", "MASK_BITS)).any()", "bar"),
    "a barred pair of a score": Fault(
        "score_bars", score_queue, "stored[number].eq(~0)", "stored[number].eq(64)", "stored"
    ),
    "any odd score": Fault("score_bars", score_bias, "score[0] & score[-1]", "score[0]", "barred"),
}
