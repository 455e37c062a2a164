"""The queue of scores: a word of scores and what a job is stay where their readers look for them, until they are freed.

Any one of them is followed, whichever the solver likes. The readers choose their addresses themselves (`ScoreWalk`):
so what is proved is that each word lies at the address of its slot, group and place, and that nothing is written there
before the slot is free again. Whoever fills the queue begins a job only where a slot is free: that is assumed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from proving import Fault, Harness, Proof, assume, before, claim
from softmax_bench import unit_of

from bivit.hw.flow import part_memory, score_queue
from bivit.sim.flow.softmax import SoftmaxUnit


def small(drain_rows: int, slots: int, max_tokens: int) -> SoftmaxUnit:
    """A queue of three rows: words of so many rows, and two parts a row."""
    return unit_of(3, 8, drain_rows, 4, max_tokens, score_slots=slots, attention_slots=2)


class Place:
    """The place of the word that came a cycle ago, counted at the port; and how many jobs are whole and not free."""

    def __init__(self, m: Module, h: Any, unit: SoftmaxUnit):
        words, columns = unit.flow.drain_cycles, unit.flow.engine.columns
        self.en, self.free = (before(m, getattr(h, n), 1, n, reset_less=False) for n in ("w_en", "free"))
        keys, job_keys = before(m, h.w_keys, 1, "w_keys"), Signal.like(h.w_keys)
        self.slot, self.whole = Signal(range(unit.flow.score_slots)), Signal(range(unit.flow.score_slots + 1))
        self.group, self.word = Signal(range(unit.max_groups)), Signal(range(words))
        self.first = (self.group == 0) & (self.word == 0)
        self.keys = Mux(self.first, keys, job_keys)
        self.groups = (self.keys - 1) // columns
        self.group_end = self.en & (self.word == words - 1)
        self.end = self.group_end & (self.group == self.groups)
        self.begins = self.en & self.first
        self.address = (self.slot * unit.max_groups + self.group) * words + self.word
        # Neighbours: a job has keys, and begins where a slot is free; only a slot that is whole is freed.
        assume(m, ~self.begins | ((keys != 0) & (keys <= unit.flow.engine.max_tokens)))
        assume(m, ~self.begins | (self.whole < unit.flow.score_slots))
        assume(m, ~self.free | (self.whole != 0))
        self._count(m, unit, keys, job_keys)

    def _count(self, m: Module, unit: SoftmaxUnit, keys: Value, job_keys: Signal) -> None:
        """Go on, a word at a time."""
        last_slot = self.slot == unit.flow.score_slots - 1
        m.d.sync += self.whole.eq(self.whole + self.end - self.free)
        with m.If(self.en):
            m.d.sync += self.word.eq(self.word + 1)
        with m.If(self.begins):
            m.d.sync += job_keys.eq(keys)
        with m.If(self.group_end):
            m.d.sync += [self.word.eq(0), self.group.eq(self.group + 1)]
        with m.If(self.end):
            m.d.sync += [self.group.eq(0), self.slot.eq(Mux(last_slot, 0, self.slot + 1))]
        claim(m, "counted", (self.slot < unit.flow.score_slots) & (self.word < unit.flow.drain_cycles))
        claim(m, "slots", (self.whole < unit.flow.score_slots) | ((self.whole == unit.flow.score_slots) & self.first))
        with m.If(~self.first):
            claim(m, "keys", (job_keys != 0) & (job_keys <= unit.flow.engine.max_tokens))
            claim(m, "groups", self.group <= self.groups)


def claim_place(m: Module, h: Any, unit: SoftmaxUnit, place: Place) -> None:
    """Claim that the queue's own counters stand where the word is, so that it goes to its address."""
    words, columns, slots = unit.flow.drain_cycles, unit.flow.engine.columns, unit.flow.score_slots
    base = words * unit.max_groups
    claim(m, "address", h.address == place.address)
    claim(m, "slot", h.slot_now == place.slot)
    claim(m, "next_base", h.next_base == Mux(place.slot == slots - 1, 0, place.slot + 1) * base)
    claim(m, "first", (h.first == place.first) & (h.first_group == (place.group == 0)))
    if words > 1:
        claim(m, "word", (h.word == place.word) & (h.word_last == (place.word == words - 1)))
    with m.If(place.en):
        claim(m, "fields", ~place.first | ((h.after == place.groups) & (h.single == (place.groups == 0))))
    with m.If(place.en | ~place.first):
        claim(m, "last_group", h.last_group == (place.group == place.groups))
        beyond = Cat(place.group * columns + column < place.keys for column in range(columns))
        claim(m, "keep", h.keep == beyond)
    with m.If(~place.first):
        claim(m, "groups_after", h.groups_after == place.groups - place.group)
        tail = Cat(place.groups * columns + column < place.keys for column in range(columns))
        claim(m, "job_tail", h.job_tail == tail)


def place_inner(unit: SoftmaxUnit) -> dict[str, tuple[int, str]]:
    """Registers of `claim_place`."""
    words, columns = unit.flow.drain_cycles, unit.flow.engine.columns
    bits = unit.key_bits - (columns.bit_length() - 1)
    found = {
        "address": ((unit.memories["scores"].depth - 1).bit_length(), "dut.addr"),
        "next_base": ((unit.memories["scores"].depth - 1).bit_length(), "dut.next_base"),
        "slot_now": ((unit.flow.score_slots - 1).bit_length(), "dut.slot"),
        "after": (bits, "dut.after|dut.$signal$#"),
        "groups_after": (bits, "dut.groups_after|dut.$like"),
        **{name: (1, f"dut.{name}") for name in ("first", "single", "last_group", "first_group")},
        **{name: (columns, f"dut.{name}") for name in ("keep", "job_tail")},
    }
    if words == 1:
        return found
    return found | {"word": ((words - 1).bit_length(), "dut.word$#"), "word_last": (1, "dut.word_last")}


class Followed:
    """One thing of one slot, from the cycle after `mark` on until its slot is freed."""

    def __init__(self, m: Module, mark: Value, free: Value, whole: Value, slot: Value, slots: int):
        self.on, self.ahead, self.slot = Signal(), Signal(range(slots)), Signal(range(slots))
        self.begins = mark & ~self.on
        with m.If(self.begins):
            m.d.sync += [self.on.eq(1), self.slot.eq(slot), self.ahead.eq(whole - free)]
        with m.Elif(self.on & free):
            m.d.sync += [self.ahead.eq(self.ahead - 1), self.on.eq(self.ahead != 0)]
        # Slots that became whole since, its own among them.
        self.since = whole - self.ahead
        around = self.slot + self.since
        with m.If(self.on):
            claim(m, "ahead", self.ahead <= whole)
            claim(m, "ring", (self.slot < slots) & (slot == Mux(around >= slots, around - slots, around)))


def free_ports(unit: SoftmaxUnit) -> dict[str, Any]:
    """What comes to the queue; what its reader asks for; whether a slot is freed, and whether to follow what comes."""
    port = score_queue.queue_port(unit).members
    heads = unit.flow.engine.max_heads
    return {
        **{"w_en": 1, "w_data": unit.memories["scores"].width, "w_rows": unit.row_bits, "w_keys": unit.key_bits},
        **{"w_set": 1, "w_head": max(1, (heads - 1).bit_length()), "free": 1, "mark": 1},
        **{name: port[name].shape for name in ("slot", "addr", "part", "top_addr", "top_part")},
    }


def build_queue(m: Module, h: Any, unit: SoftmaxUnit) -> score_queue.ScoreQueue:
    """The queue, with what comes into it, and with one reader."""
    m.submodules.dut = dut = score_queue.ScoreQueue(unit)
    for name in ("w_en", "w_data", "w_rows", "w_keys", "w_set", "w_head"):
        m.d.comb += getattr(dut, name).eq(getattr(h, name))
    reader = dut.readers[0]
    m.d.comb += [
        getattr(reader, name).eq(getattr(h, name)) for name in ("slot", "addr", "part", "top_addr", "top_part")
    ]
    return dut


def word_kept(unit: SoftmaxUnit) -> Harness:
    """Words of scores."""
    spec, slots = unit.memories["scores"], unit.flow.score_slots
    base = unit.flow.drain_cycles * unit.max_groups

    def body(m: Module, h: Any) -> None:
        reader = build_queue(m, h, unit).readers[0]
        place = Place(m, h, unit)
        claim_place(m, h, unit, place)
        followed = Followed(m, place.en & h.mark, place.free, place.whole, place.slot, slots)
        on, what, at = followed.on, Signal(spec.width), Signal.like(h.address)
        came = before(m, h.w_data, 1, "w_data")
        with m.If(followed.begins):
            m.d.sync += [what.eq(came), at.eq(place.address)]
        with m.If(on):
            claim(m, "in_slot", (at >= followed.slot * base) & (at < (followed.slot + 1) * base))
            claim(m, "own_job", (followed.since != 0) | ((place.address > at) & ~place.first))
            claim(m, "nothing_over_it", ~(place.en & (h.address == at)))
            claim(m, "kept", Array(getattr(h, f"store_{k}") for k in range(spec.depth))[at] == what)
        read = before(m, on & (h.addr == at), 2, "read", reset_less=False)
        part = what.word_select(h.part, spec.width // (unit.word_rows * unit.pieces))
        claim(m, "read", ~read | (reader.scores == before(m, part, 2, "part")))

    store = {f"store_{k}": (spec.width, f"dut.scores.store[{k}]") for k in range(spec.depth)}
    return Harness(free_ports(unit), body, place_inner(unit) | store)


def job_of(h: Any, m: Module, unit: SoftmaxUnit) -> Value:
    """What a job is, from what came beside its first word a cycle ago."""
    rows, keys, table, head = (before(m, getattr(h, name), 1, name) for name in ("w_rows", "w_keys", "w_set", "w_head"))
    chunks = (keys + unit.columns - 1) // unit.columns
    fields = {
        "rows": rows,
        "chunks": chunks,
        "cycles": Mux(chunks < unit.rows, unit.rows, chunks),
        "tail": keys % unit.columns,
        "table": table * unit.flow.engine.max_heads + head,
    }
    return Cat(fields[name].as_unsigned()[:bits] for name, bits in unit.job_bits.items())


def job_kept(unit: SoftmaxUnit) -> Harness:
    """What jobs are, and when they are ready."""
    slots, bits = unit.flow.score_slots, sum(unit.job_bits.values())

    def body(m: Module, h: Any) -> None:
        dut = build_queue(m, h, unit)
        place = Place(m, h, unit)
        claim_place(m, h, unit, place)
        job = job_of(h, m, unit)
        followed = Followed(m, place.begins & h.mark, place.free, place.whole, place.slot, slots)
        what, fresh = Signal(bits), before(m, followed.begins, 1, "begins", reset_less=False)
        with m.If(followed.begins):
            m.d.sync += what.eq(job)
        with m.If(followed.on):
            claim(m, "own_job", (followed.since != 0) | ~place.first)
            # It is written in the cycle after its first word, and can be read from the next one on.
            claim(m, "kept", fresh | (Array(getattr(h, f"store_{k}") for k in range(slots))[followed.slot] == what))
            claim(m, "read", fresh | (h.slot != followed.slot) | (dut.readers[0].job.as_value() == what))
        ready = before(m, place.end, unit.top_stage - 2, "end", reset_less=False)
        claim(m, "ready", dut.ready == ready)

    store = {f"store_{k}": (bits, f"dut.jobs[{k}]") for k in range(slots)}
    return Harness(free_ports(unit), body, place_inner(unit) | store)


#: Rows of a word, slots, and most keys.
SIZES = {"words": (2, 3, 20), "rows": (1, 2, 16), "tile": (3, 4, 20)}
WORD = (
    "a word of scores lies at the address of its slot, group and place, nothing is written over it before its slot is "
    "freed, and a part of it is read two cycles after its address"
)
JOB = "what a job is can be read of its slot from two cycles after its first word on; a job is `ready` once"


def of_sizes(name: str, says: str, build: Callable[[SoftmaxUnit], Harness], cycles: int) -> dict[str, Proof]:
    """A proof for each of the sizes."""
    of = "hw/flow/score_queue.py"
    return {
        f"{name}_{size}": Proof(
            of, says, f"{slots} slots, words of {rows} of 3 rows, up to {keys} keys", partial(made, build, size), cycles
        )
        for size, (rows, slots, keys) in SIZES.items()
    }


def made(build: Callable[[SoftmaxUnit], Harness], size: str) -> Harness:
    """The harness of a size."""
    return build(small(*SIZES[size]))


PROOFS: dict[str, Proof] = {
    **of_sizes("score_word", WORD, word_kept, 3),
    **of_sizes("score_job", JOB, job_kept, 5),
}

FAULTS: dict[str, Fault] = {
    "the slot behind the next one": Fault(
        "score_word_words", score_queue, "(number + 2) % slots * base", "(number + 1) % slots * base", "next_base"
    ),
    "a group too few": Fault(
        "score_word_words", score_queue, "job_last.eq(groups == 1)", "job_last.eq(1)", "last_group"
    ),
    "columns of the first group": Fault(
        "score_word_rows", score_queue, "Mux(first, tail, job_tail) | (", "job_tail | (", "keep"
    ),
    "a part too late": Fault(
        "score_word_words", part_memory, "whole.word_select(chosen,", "whole.word_select(part,", "read"
    ),
    "a table of the other set": Fault(
        "score_job_tile", score_queue, "Mux(self.w_set, unit.flow.engine.max_heads, 0)", "0", "kept"
    ),
    "a job that is ready early": Fault(
        "score_job_words", score_queue, 'unit.top_stage - 2, "ended"', 'unit.top_stage - 3, "ended"', "ready"
    ),
}
