"""The search for how many Exp reach a limit: what a step leaves, from what the step before it left.

After step i the entry at the position so far reaches the limit, unless the position is 0, and the entry half a step
further on does not, unless it is behind all that are searched. That needs nothing of the table; that Exp does not rise
then makes the count the number of all entries that reach the limit.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from flow_edge import flow_of, tiny
from proving import Fault, Harness, Proof, assume, before, claim

from bivit.hw.flow import exp_search
from bivit.hw.flow.exp_tables import EXP_ZERO
from bivit.sim.flow.softmax import SoftmaxUnit
from bivit.sim.network.formats import EXP_BITS

#: Number of a table's last entry.
LAST = 64
LIMIT_BITS = EXP_BITS + 1


def place_of(entry: int, table: int, steps: int) -> tuple[int, int]:
    """Step whose memory holds an entry of a table, and the word in it."""
    zeros = (entry & -entry).bit_length() - 1
    step = steps - zeros if entry < LAST else 0
    return step, (entry >> zeros + 1) + (table << max(0, step - 1))


def search() -> Harness:
    """A row a cycle, in two tables of which nothing is written while they are searched."""
    unit = SoftmaxUnit(flow_of(tiny()))
    steps, cycles = unit.search_steps, unit.step_cycles

    def body(m: Module, h: Any) -> None:
        m.submodules.dut = dut = exp_search.ExpSearch(unit)
        m.d.comb += [
            *(dut.en.eq(h.en), dut.z[0].eq(h.z), dut.table.eq(h.table)),
            *(dut.write.en.eq(h.write), dut.write.addr.eq(h.addr), dut.write.data.eq(h.data)),
        ]
        words = [[getattr(h, f"exp_{table}_{k}") for k in range(1, LAST + 1)] for table in range(unit.tables)]
        still = Signal(range(cycles * steps + 8))
        m.d.sync += still.eq(Mux(h.write, 0, Mux(still == cycles * steps + 7, still, still + 1)))

        def entry(table: Value, number: Value) -> Value:
            return Mux(table, Array([EXP_ZERO, *words[1]])[number], Array([EXP_ZERO, *words[0]])[number])

        def limit_ago(ago: int) -> Value:
            return limits[ago]

        def narrowed(name: str, position: Value, step: int, ago: int) -> None:
            """What holds of a position after a step, so many cycles after its limit was there."""
            size, table = LAST >> step, tables[ago + 2]
            reached, beyond = (entry(table, ((position + more) * size)[:7]) for more in (0, 1))
            with m.If(still >= ago + 2):
                claim(m, f"reached_{name}", (position == 0) | (reached >= limit_ago(ago)))
                claim(m, f"beyond_{name}", (position == (1 << step) - 1) | (beyond < limit_ago(ago)))

        limits, tables = [h.limit], [h.in_search]
        for ago in range(1, cycles * steps + 4):
            limits.append(before(m, limits[-1], 1, f"limit_{ago}"))
            tables.append(before(m, tables[-1], 1, f"table_{ago}"))
        position: Value = Const(0, 0)
        for step in range(1, steps + 1):
            wait = cycles * (step - 1)
            for stage in range(cycles if step < steps else 0):
                claim(m, f"limit_{step}_{stage}", getattr(h, f"limit_{step}_{stage}") == limits[wait + stage + 1])
                claim(m, f"table_{step}_{stage}", getattr(h, f"table_{step}_{stage}") == tables[wait + stage + 1])
            # Beside the word and its register the position goes on.
            middle = LAST >> step
            for stage, name in enumerate(("read", "entry")):
                if step > 1:
                    position = getattr(h, f"at_{step}_{stage}")
                    narrowed(f"at_{step}_{stage}", position, step - 1, wait - 1 + stage)
                number = (position * 2 * middle + middle)[:7]
                word = entry(tables[wait + 1 + stage], number)
                claim(m, f"{name}_{step}", (still < wait + 1 + stage) | (getattr(h, f"{name}_{step}") == word))
            bit = getattr(h, f"bit_{step}")
            position = Cat(bit, getattr(h, f"position_{step}")) if step > 1 else bit
            narrowed(f"{step}", position, step, wait + 1)
        ago = cycles * (steps - 1) + 1
        # Beside the first step: Exp[0] and Exp[64].
        first = entry(tables[2], Const(LAST, 7))
        claim(m, "read_0", (still < 1) | (h.read_0 == entry(tables[1], Const(LAST, 7))))
        claim(m, "entry_0", (still < 2) | (h.entry_0 == first))
        # Both wait in a `Delay`, which `delays` proves.
        some, every = h.some, h.every
        for stage in range(ago):
            if stage:
                some, every = before(m, some, 1, f"some_{stage}"), before(m, every, 1, f"every_{stage}")
            last = entry(tables[stage + 3], Const(LAST, 7))
            claim(m, f"some_{stage}", (still < stage + 3) | (some == (limits[stage + 1] <= EXP_ZERO)))
            claim(m, f"every_{stage}", (still < stage + 3) | (every == (last >= limits[stage + 1])))
        assume(m, (h.some_late == some) & (h.every_late == every))
        limit, table = limits[ago], tables[ago + 2]
        limit, table = before(m, limit, 1, "limit"), before(m, table, 1, "table")
        count = dut.count_value
        behind = entry(table, before(m, position, 1, "position") + 1)
        with m.If((still >= cycles * steps + 6) & (behind >= entry(table, LAST))):
            claim(m, "counted", (count == 0) | (entry(table, count - 1) >= limit))
            claim(m, "not_counted", (count > LAST) | (entry(table, count[:7]) < limit))
            claim(m, "most", count <= LAST + 1)

    free = {"en": 1, "z": unit.z_bits, "table": 1, "write": 1, "addr": 8, "data": 17}
    inner: dict[str, Any] = {"limit": (LIMIT_BITS, "dut.limit"), "in_search": (1, "dut.table_delay.o")}
    inner |= {"some": (1, "dut.some|dut.$signal"), "every": (1, "dut.every")}
    inner |= {"some_late": (1, "dut.some_delay.o"), "every_late": (1, "dut.every_delay.o")}
    for step in range(steps + 1):
        inner |= {f"{name}_{step}": (EXP_BITS, f"dut.{name}_{step}") for name in ("read", "entry")}
    for step in range(1, steps + 1):
        inner[f"bit_{step}"] = (1, f"dut.bit_{step}")
        if step > 1:
            inner[f"position_{step}"] = (step - 1, f"dut.position_{step}")
            inner |= {f"at_{step}_{k}": (step - 1, f"dut.position_delay_{step}.stage{k}") for k in range(2)}
        for stage in range(cycles if step < steps else 0):
            inner[f"limit_{step}_{stage}"] = (LIMIT_BITS, f"dut.limit_delay_{step}.stage{stage}")
            inner[f"table_{step}_{stage}"] = (1, f"dut.table_delay_{step}.stage{stage}")
    for table in range(unit.tables):
        for k in range(1, LAST + 1):
            step, place = place_of(k, table, steps)
            inner[f"exp_{table}_{k}"] = (EXP_BITS, f"dut.step_{step}[{place}]")
    return Harness(free, body, inner)


PROOFS: dict[str, Proof] = {
    "search": Proof(
        "hw/flow/exp_search.py",
        "after each step the entry at the position reaches the limit and the one behind what is left does not; so does "
        "the count, where Exp does not rise; a row a cycle",
        "two tables as they are",
        search,
        2,
        long=True,
    ),
}

FAULTS: dict[str, Fault] = {
    "a comparison": Fault("search", exp_search, "bit.eq(entry >= limit)", "bit.eq(entry > limit)", "beyond"),
}
