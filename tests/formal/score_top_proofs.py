"""The largest scores of rows: each is the largest of its row's keys, and stays where it is read until it is freed.

Here nothing is reset: a reset clears what is on its way, but not the maxima so far, and the first group of the next job
begins them anew.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, ResetSignal, Signal, Value
from proving import Fault, Harness, Proof, assume, before, claim
from score_proofs import Followed, Place, build_queue, claim_place, free_ports, of_sizes, place_inner

from bivit.hw.flow import score_queue
from bivit.sim.flow.softmax import SoftmaxUnit


def larger(one: Value, other: Value) -> Value:
    """The larger one of two."""
    return Mux(one > other, one, other)


def largest(unit: SoftmaxUnit, word: Value, keep: Value) -> list[Value]:
    """The largest score of each row of a word, of the columns that count."""
    bits, columns = unit.flow.engine.score_bits, unit.flow.engine.columns
    scores = [Mux(keep[k % columns], word.word_select(k, bits), 0) for k in range(len(word) // bits)]
    while columns > 1:
        # In pairs, as the unit does: so the solver finds the same comparisons in both.
        scores, columns = [larger(*pair) for pair in zip(scores[::2], scores[1::2], strict=True)], columns // 2
    return scores


def placed(m: Module, h: Any, unit: SoftmaxUnit) -> tuple[score_queue.ScoreQueue, Place]:
    """The queue, never reset, and the place of the word that comes."""
    assume(m, ~ResetSignal())
    dut, place = build_queue(m, h, unit), Place(m, h, unit)
    claim_place(m, h, unit, place)
    return dut, place


def top_values(unit: SoftmaxUnit) -> Harness:
    """What is written of each row."""
    words, columns, bits = unit.flow.drain_cycles, unit.flow.engine.columns, unit.flow.engine.score_bits
    late = unit.top_stage - 1

    def body(m: Module, h: Any) -> None:
        dut, place = placed(m, h, unit)
        keep = Cat(place.group * columns + column < place.keys for column in range(columns))
        # The maxima so far, by their place, and those with the word that came a cycle ago.
        best = Array(Signal(unit.flow.drain_rows * bits, name=f"best_{k}") for k in range(words))
        so_far = best[place.word]
        new = Cat(
            Mux(place.group == 0, top, larger(top, so_far.word_select(row, bits)))
            for row, top in enumerate(largest(unit, before(m, h.w_data, 1, "w_data"), keep))
        )
        with m.If(place.en):
            m.d.sync += best[place.word].eq(new)
        for number in range(words):
            then = best[(place.word + 2 * words - 1 - number) % words]
            claim(m, f"line_{number}", getattr(h, f"line_{number}") == before(m, then, late - 1, f"best_{number}"))
        claim(m, "written", dut.m_en == before(m, place.en & (place.group == place.groups), late, "last"))
        claim(m, "largest", ~dut.m_en | (dut.m_value.as_value() == before(m, new, late, "new")))

    lines = {f"line_{k}": (unit.flow.drain_rows * bits, f"dut.line_{k}") for k in range(words)}
    return Harness(free_ports(unit), body, place_inner(unit) | lines)


def top_kept(unit: SoftmaxUnit) -> Harness:
    """Where it is written and read; a slot is freed only behind its last one."""
    words, slots, spec = unit.flow.drain_cycles, unit.flow.score_slots, unit.memories["tops"]
    late = unit.top_stage - 1

    def body(m: Module, h: Any) -> None:
        dut, place = placed(m, h, unit)
        ends = [place.end, *(before(m, place.end, k, f"end_{k}") for k in range(1, late + 1))]
        slot, whole = before(m, place.slot, late, "slot"), Signal.like(place.whole)
        assume(m, ~place.free | (whole != 0))
        m.d.sync += whole.eq(whole + ends[late] - place.free)
        claim(m, "on_their_way", place.whole == whole + sum(ends[1:]))
        within = Mux(~place.first & (place.group == place.groups), place.word, 0)
        claim(m, "top_address", h.top_address == before(m, place.slot * words + within, late, "address"))
        followed = Followed(m, dut.m_en & h.mark, place.free, whole, slot, slots)
        on, what, at = followed.on, Signal(spec.width), Signal.like(h.top_address)
        with m.If(followed.begins):
            m.d.sync += [what.eq(dut.m_value.as_value()), at.eq(h.top_address)]
        with m.If(on):
            claim(m, "in_slot", (at >= followed.slot * words) & (at < (followed.slot + 1) * words))
            claim(m, "own_job", (followed.since != 0) | (h.top_address > at))
            claim(m, "nothing_over_it", ~(dut.m_en & (h.top_address == at)))
            claim(m, "kept", Array(getattr(h, f"store_{k}") for k in range(spec.depth))[at] == what)
        read = before(m, on & (h.top_addr == at), 2, "read", reset_less=False)
        part = what.word_select(h.top_part, spec.width // unit.word_rows)
        claim(m, "read", ~read | (dut.readers[0].tops == before(m, part, 2, "part")))

    store = {f"store_{k}": (spec.width, f"dut.tops.store[{k}]") for k in range(spec.depth)}
    address = {"top_address": ((spec.depth - 1).bit_length(), "dut.w_addr")}
    return Harness(free_ports(unit), body, place_inner(unit) | store | address)


LARGEST = "m of a row is the largest of its scores of all keys, `top_stage` after its word of the last group, once"
KEPT = (
    "m lies at the address of its slot and place, nothing is written over it before its slot is freed, and it is read "
    "two cycles after its address"
)

PROOFS: dict[str, Proof] = {
    **of_sizes("score_top", LARGEST, top_values, 6),
    **of_sizes("score_top_kept", KEPT, top_kept, 6),
}

FAULTS: dict[str, Fault] = {
    "a maximum of the job before": Fault("score_top_words", score_queue, "begins | (tree.o", "(tree.o", "line"),
    "keys that do not count": Fault(
        "score_top_rows", score_queue, "m.d.sync += masked[number].eq(0)", "m.d.sync += masked[number].eq(1)", "line"
    ),
    "the end of the ring": Fault(
        "score_top_kept_words", score_queue, "tops.w_addr == spec.depth - 1", "tops.w_addr == spec.depth", "top_address"
    ),
}
