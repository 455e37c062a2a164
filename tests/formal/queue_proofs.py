"""Queues and credits: nothing is lost, nothing comes twice, the order is kept, and nothing over- or underflows.

Of a queue any one item is followed, whichever the solver likes: how many are in front of it is counted at the queue's
ports, and when none is left it must be the one that is there, unchanged. Who fills and empties a queue keeps to what
the component says: those are the assumptions.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from amaranth.hdl import Array, Module, Mux, Signal, Value
from proving import Fault, Harness, Proof, assume, before, claim

from bivit.hw.edge import logits_queue
from bivit.hw.flow import jobs
from bivit.hw.slots import ledger
from bivit.sim.flow.presets import FLOW_ENGINES

#: Bits of an item, as many as tell it from others.
ITEM_BITS = 3
#: Engines whose rings are counted.
ENGINES = ("sim", "zcu102", "latency")
#: Credits of the counters that are proved by themselves.
SIZES = (1, 2, 3, 4, 5, 8, 17)


def kept_count(m: Module, give: Value, take: Value, most: int, first: int, name: str) -> Signal:
    """Count at the ports; assume that no one gives beyond `most` or takes where there is nothing."""
    count = Signal(range(most + 1), init=first, name=f"{name}_kept")
    assume(m, ~take | (count != 0))
    assume(m, ~(give & ~take) | (count != most))
    m.d.sync += count.eq(count + give - take)
    return count


def credits(sizes: tuple[int, ...]) -> Harness:
    """Counters of several sizes, which begin with none and with all."""
    kinds = {f"counter_{most}_{first}": (most, first) for most in sizes for first in {0, most}}

    def body(m: Module, h: Any) -> None:
        for name, (most, first) in kinds.items():
            dut = jobs.Credits(most, first, early=True)
            m.submodules[name] = dut
            give, take = getattr(h, f"{name}_give"), getattr(h, f"{name}_take")
            m.d.comb += [dut.give.eq(give), dut.take.eq(take)]
            follow_counter(m, name, getattr(h, f"{name}_count"), (dut.some, dut.some_next), (give, take), (most, first))

    free = {f"{name}_{port}": 1 for name in kinds for port in ("give", "take")}
    inner = {f"{name}_count": (most.bit_length(), f"{name}.count") for name, (most, _) in kinds.items()}
    return Harness(free, body, inner)


def follow_counter(
    m: Module, name: str, count: Value, some: tuple[Value, Value], moves: tuple[Value, Value], size: tuple[int, int]
) -> None:
    """Claim that a counter counts, and that its flags say whether there are any, now and in the next cycle."""
    kept = kept_count(m, *moves, *size, name)
    claim(m, f"{name}_count", count == kept)
    claim(m, f"{name}_most", count <= size[0])
    claim(m, f"{name}_some", some[0] == (kept != 0))
    after = Signal.like(kept, name=f"{name}_after")
    m.d.comb += after.eq(kept + moves[0] - moves[1])
    claim(m, f"{name}_some_next", some[1] == (after != 0))


def ring_ledger(engine: str) -> Harness:
    """All counters of the ledger of an engine."""
    flow = FLOW_ENGINES[engine]
    slots = ledger.ring_slots(flow)

    def body(m: Module, h: Any) -> None:
        m.submodules.dut = dut = ledger.Ledger(flow)
        for name, most in slots.items():
            first = most if name.endswith("_room") else 0
            give, take = getattr(h, f"{name}_give"), getattr(h, f"{name}_take")
            m.d.comb += [dut.give[name].eq(give), dut.take[name].eq(take)]
            some = (getattr(h, f"{name}_some"), dut.some_next[name])
            follow_counter(m, name, getattr(h, f"{name}_count"), some, (give, take), (most, first))

    free = {f"{name}_{port}": 1 for name in slots for port in ("give", "take")}
    inner = {f"{name}_count": (most.bit_length(), f"dut.{name}.count") for name, most in slots.items()}
    inner |= {f"{name}_some": (1, f"dut.{name}.some") for name in slots}
    return Harness(free, body, inner)


def followed(
    m: Module, h: Any, put: Value, item: Value, take: Value, front: Value, inside: Value, most: int
) -> tuple[Signal, Signal, Signal]:
    """Follow one item; return whether one is followed, how many are in front of it, and what it is.

    `inside` are the items in the queue, counted at its ports.
    """
    on, ahead, what = Signal(), Signal(range(most + 1)), Signal(ITEM_BITS)
    with m.If(put & h.mark & ~on):
        m.d.sync += [on.eq(1), what.eq(item), ahead.eq(inside - take)]
    with m.Elif(on & take):
        m.d.sync += [ahead.eq(ahead - 1), on.eq(ahead != 0)]
    claim(m, "followed_is_inside", ~on | (ahead < inside))
    with m.If(on & (ahead == 0) & take):
        claim(m, "order", front == what)
    return on, ahead, what


def stored(m: Module, h: Any, store: list[Value], place: Value) -> Value:
    """The word of a store at a place that may be up to twice around."""
    depth = len(store)
    at = Signal(range(depth))
    m.d.comb += at.eq(Mux(place >= depth, place - depth, place))
    return Array(store)[at]


def job_queue(depth: int) -> Harness:
    """A job queue: one job more than waits is in the register at its end."""

    def body(m: Module, h: Any) -> None:
        m.submodules.dut = dut = jobs.JobQueue({"item": ITEM_BITS}, depth)
        m.d.comb += [dut.put.eq(h.put), dut.put_job.item.eq(h.item), dut.take.eq(h.take)]
        assume(m, ~h.take | dut.valid)
        inside = Signal(range(depth + 2))
        # Who puts jobs in counts them itself: never more than `depth` at once.
        assume(m, ~(h.put & ~h.take) | (inside < depth))
        m.d.sync += inside.eq(inside + h.put - h.take)
        on, ahead, what = followed(m, h, h.put, h.item, h.take, dut.job.item, inside, depth + 1)
        claim(m, "count", (h.count + dut.valid == inside) & (h.count <= depth) & (h.some == (h.count != 0)))
        claim(m, "places", (h.read < depth) & (h.write < depth))
        around = h.read + h.count
        claim(m, "ring", h.write == Mux(around >= depth, around - depth, around))
        store = [getattr(h, f"store_{k}") for k in range(depth)]
        with m.If(on & (ahead >= dut.valid)):
            claim(m, "kept", stored(m, h, store, h.read + ahead - dut.valid) == what)
        with m.Elif(on):
            claim(m, "front", dut.job.item == what)
        # It can be taken two cycles after it was put in, and the next one in the cycle after it.
        claim(m, "latency", dut.valid | ~before(m, h.some, 1, "some", reset_less=False))

    inner = {
        "count": (depth.bit_length(), "dut.waiting.count"),
        "some": (1, "dut.some"),
        "read": (max(1, (depth - 1).bit_length()), "dut.read__addr"),
        "write": (max(1, (depth - 1).bit_length()), "dut.write__addr|dut.$signature__addr"),
        **{f"store_{k}": (ITEM_BITS, f"dut.store[{k}]") for k in range(depth)},
    }
    return Harness({"put": 1, "item": ITEM_BITS, "take": 1, "mark": 1}, body, inner)


def logits(depth: int) -> Harness:
    """The queue of logits, with less room than any engine's."""

    def body(m: Module, h: Any) -> None:
        m.submodules.dut = dut = logits_queue.LogitsQueue(FLOW_ENGINES["sim"].engine)
        dut.depth = depth
        beat, taken = dut.logits.payload.as_value()[:ITEM_BITS], dut.logits.valid & h.take
        m.d.comb += [dut.entry.en.eq(h.put), dut.entry.beat.eq(h.item), dut.logits.ready.eq(h.take)]
        # Who fills it looks at `level`.
        assume(m, ~h.put | (dut.entry.level < depth))
        inside = Signal(range(depth + 1))
        m.d.sync += inside.eq(inside + h.put - taken)
        on, ahead, what = followed(m, h, h.put, h.item, taken, beat, inside, depth)
        claim(m, "level", (dut.entry.level == inside) & (inside <= depth))
        claim(m, "count", h.count + dut.logits.valid == inside)
        # Behind an empty end there is at most the logit that came a cycle ago.
        claim(m, "end", dut.logits.valid | (h.count <= 1))
        claim(m, "places", (h.read < depth - 1) & (h.write < depth - 1) & (h.count < depth))
        around = h.read + h.count
        claim(m, "ring", h.write == Mux(around >= depth - 1, around - (depth - 1), around))
        store = [getattr(h, f"store_{k}") for k in range(depth - 1)]
        with m.If(on & (ahead >= dut.logits.valid)):
            claim(m, "kept", stored(m, h, store, h.read + ahead - dut.logits.valid)[:ITEM_BITS] == what)
        with m.Elif(on):
            claim(m, "front", beat == what)
        waits = before(m, dut.logits.valid & ~h.take, 1, "waits", reset_less=False)
        claim(m, "valid_stays", ~waits | dut.logits.valid)
        claim(
            m,
            "beat_stays",
            ~waits | (dut.logits.payload.as_value() == before(m, dut.logits.payload.as_value(), 1, "beat")),
        )
        claim(m, "latency", dut.logits.valid | ~before(m, h.count != 0, 1, "some", reset_less=False))

    bits = (depth - 2).bit_length()
    inner = {
        "count": ((depth - 1).bit_length(), "dut.fifo.inner_level"),
        **{"read": (bits, "dut.fifo.consume"), "write": (bits, "dut.fifo.produce")},
        **{f"store_{k}": (logits_queue.LOGIT_BEAT.size, f"dut.fifo.storage[{k}]") for k in range(depth - 1)},
    }
    return Harness({"put": 1, "item": ITEM_BITS, "take": 1, "mark": 1}, body, inner)


COUNTERS = "counts what is given and taken, never beyond `most`; `some` and `some_next` say whether there are any"
IN_ORDER = "items come out in the order in which they went in, each once; what is counted is in the queue; latency"

PROOFS: dict[str, Proof] = {
    "credits": Proof(
        "hw/flow/jobs.py", f"`Credits`: {COUNTERS}", "1 to 5, 8 and 17 credits", partial(credits, SIZES), 1
    ),
    **{
        f"ledger_{name}": Proof(
            "hw/slots/ledger.py", COUNTERS, f"every ring of engine `{name}`", partial(ring_ledger, name), 1
        )
        for name in ENGINES
    },
    **{
        f"job_queue_{depth}": Proof(
            "hw/flow/jobs.py", f"`JobQueue`: {IN_ORDER}", f"{depth} jobs", partial(job_queue, depth), 2
        )
        for depth in (2, 3, 4, 5)
    },
    **{
        f"logits_queue_{depth}": Proof(
            "hw/edge/logits_queue.py",
            f"{IN_ORDER}; `level`; `valid` and the beat stay until `ready`",
            f"{depth} logits",
            partial(logits, depth),
            2,
        )
        for depth in (3, 4, 5)
    },
}

FAULTS: dict[str, Fault] = {
    "a credit that stays": Fault(
        "credits",
        jobs,
        "count.eq(count - 1), some.eq(count != 1)",
        "count.eq(count - 1), some.eq(1)",
        "counter_1_1_some",
    ),
    "a flag a cycle early": Fault(
        "credits", jobs, "count != 1, some | self.give", "count != 0, some | self.give", "counter_1_1_some_next"
    ),
    "a ring's first counter": Fault(
        "ledger_sim", ledger, 'if name.endswith("_room") else 0', 'if name.endswith("_room") else 1', "norm1_full_count"
    ),
    "the end of a ring": Fault("job_queue_3", jobs, "number == count - step", "number == count - 2 * step", "ring"),
    "a job that is fetched twice": Fault("job_queue_4", jobs, "some & (~valid | self.take)", "some", "count"),
    "a beat that does not wait": Fault(
        "logits_queue_3", logits_queue, "connect(fifo.r_en, self.logits.ready)", "fifo.r_en.eq(1)", "level"
    ),
}
