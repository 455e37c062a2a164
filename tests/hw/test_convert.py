"""A conversion: one module for all components that are equal, and what stands in a module's place."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

import pytest
from amaranth.back import rtlil
from amaranth.hdl import EnableInserter, Module, ResetInserter, Signal
from amaranth.lib import data, memory
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from engines import tiny_flow

from bivit.hw import convert
from bivit.hw.array.sum_array import SumArray
from bivit.hw.convert import rtlil_text, verilog_text
from bivit.hw.engine import Engine
from bivit.hw.parts import popcount, xnor_dot
from bivit.hw.parts.arithmetic import Delay, Tree
from bivit.hw.parts.component import Component, parameters, reset_by
from bivit.hw.parts.xnor_dot import XnorDot
from bivit.sim.errors import BivitError


class Counter(Component):
    """Counts by a step; notes whenever one is built."""

    built: list[Any] = []  # noqa: RUF012

    def __init__(self, step: Any, **more: Any):
        self.step = step
        vars(self).update(more)
        super().__init__({"o": Out(8)})

    def elaborate(self, platform: object) -> Module:
        self.built.append(self.step)
        m = Module()
        inner = getattr(self, "inner", Signal(8))
        m.d.sync += inner.eq(inner + (self.step if isinstance(self.step, int) else sum(self.step)))
        m.d.comb += self.o.eq(inner)
        return m


class Degenerate(Component):
    """Signals without bits: ports, a register, what is computed, an instance's; beside others."""

    def __init__(self, depth: int):
        self.depth = depth
        super().__init__({"i": In(0), "o": Out(0), "wide": Out(8), "number": Out(range(1))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        register, other = Signal(0), Signal(8)
        m.d.sync += [register.eq(self.i), other.eq(other + register + (self.number == 0))]
        m.d.comb += [self.o.eq(~register), self.number.eq(register), self.wide.eq(other)]
        if self.depth:
            m.submodules.inner = inner = Degenerate(self.depth - 1)
            m.d.comb += inner.i.eq(register)
        return m


class Several(Component):
    """Some counters, and their sum."""

    def __init__(self, *parts: Counter, wrap: Any = lambda part: part, reach: bool = False):
        self.parts, self.wrap, self.reach = parts, wrap, reach
        super().__init__({"o": Out(16), "inside": Out(8)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for k, part in enumerate(self.parts):
            m.submodules[f"part_{k}"] = self.wrap(part)
        m.d.comb += self.o.eq(sum(part.o for part in self.parts))
        if self.reach:
            m.d.comb += self.inside.eq(self.parts[0].inner)
        return m


@pytest.fixture(autouse=True)
def _nothing_built() -> None:
    Counter.built.clear()


def modules(text: str) -> dict[str, str]:
    """Bodies of RTLIL's modules by name."""
    return dict(re.findall(r"^module \\(\S+)\n(.*?)^end\n", text, re.M | re.S))


def instances(body: str) -> list[tuple[str, str]]:
    """Module and name of each instance."""
    return re.findall(r"^  cell \\(\S+) \\(\S+)$", body, re.M)


def test_equal_components_are_one_module_built_once() -> None:
    found = modules(rtlil_text(Several(Counter(3), Counter(5), Counter(3), Counter(3)), "top"))
    assert set(found) == {"top", "top.part_0", "top.part_1"}
    assert instances(found["top"]) == [
        ("top.part_0", "part_0"),
        ("top.part_1", "part_1"),
        ("top.part_0", "part_2"),
        ("top.part_0", "part_3"),
    ]
    assert sorted(Counter.built) == [3, 5]
    # Each instance has the ports, the clock and the reset.
    assert found["top"].count("connect \\rst ") == found["top"].count("connect \\clk ") == 4


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Counter(3), Counter(4)),
        (Counter((1, 2)), Counter((2, 1))),
        (Counter([1, 2]), Counter([1, 3])),
        (Counter(1, table={"a": 1}), Counter(1, table={"a": 2})),
        (Counter(1, held=Signal(3)), Counter(1, held=Signal(3))),  # of another place, which only identity tells
        (Counter(1, part=Counter(1)), Counter(1, part=Counter(1))),
        (XnorDot("lut6", 11), XnorDot("lut6", 12)),
        (XnorDot("lut6", 11), XnorDot("lut4", 11)),
        # The same attributes, and ports of the same width.
        (Tree(6, 4, "sum"), Tree(7, 4, "sum")),
        (Tree(6, 4, "sum"), Tree(6, 4, "max")),
        (Delay(4, 2), Delay(4, 3)),
    ],
)
def test_different_ones_are_not_merged(one: Component, other: Component) -> None:
    assert parameters(one) == parameters(one)
    assert parameters(one) != parameters(other)


def test_components_that_differ_in_the_layout_of_a_port_are_not_merged() -> None:
    class Fields(Component):
        def __init__(self, first: int):
            super().__init__({"i": In(data.StructLayout({"a": first, "b": 8 - first}))})

    assert parameters(Fields(3)) == parameters(Fields(3))
    assert parameters(Fields(3)) != parameters(Fields(4))


def test_the_dots_of_an_array_are_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    built, compress = [], xnor_dot.compress

    def counted(*arguments: Any) -> Any:
        built.append(arguments)
        return compress(*arguments)

    monkeypatch.setattr(xnor_dot, "compress", counted)
    engine = tiny_flow().engine
    found = modules(rtlil_text(SumArray(engine), "array"))
    assert len(built) == 1
    dots = [name for kind, name in instances(found["array"]) if kind == "array.dot_0_0"]
    assert dots == [f"dot_{r}_{c}" for r in range(engine.rows) for c in range(engine.columns)]


def test_a_fault_in_a_class_reaches_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted in a function that a unit calls, and as the whole body of one."""
    array = SumArray(tiny_flow().engine)
    right = verilog_text(array, "array")
    with monkeypatch.context() as patch:
        patch.setattr(xnor_dot, "majority", lambda a, b, c: popcount.majority(a, b, ~c))
        assert verilog_text(SumArray(tiny_flow().engine), "array") != right

    def stuck(self: XnorDot, platform: object) -> Module:
        m = Module()
        m.d.comb += self.o.eq(1)
        return m

    monkeypatch.setattr(XnorDot, "elaborate", stuck)
    wrong = verilog_text(SumArray(tiny_flow().engine), "array")
    assert (
        len(re.findall(r"assign \\?\S*o\S* *= \d+'h0*1;", wrong))
        == tiny_flow().engine.rows * tiny_flow().engine.columns
    )
    monkeypatch.undo()
    assert verilog_text(SumArray(tiny_flow().engine), "array") == right


#: What another process does before it writes.
_BEFORE = """import sys
from engines import tiny_flow
from bivit.hw import convert
from bivit.hw.array.sum_array import SumArray
from bivit.hw.convert import rtlil_text
rtlil_text(SumArray(tiny_flow().engine), "other")
"""


def test_the_text_is_the_same_in_another_process_and_after_others() -> None:
    texts = {rtlil_text(SumArray(tiny_flow().engine), "top") for _ in range(2)}
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        code = f"{_BEFORE}sys.stdout.write(rtlil_text(SumArray(tiny_flow().engine), 'top'))"
        command = [sys.executable, "-c", code]
        texts.add(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert len(texts) == 1


class Cut(Component):
    """A sum of counters that a signal resets."""

    def __init__(self) -> None:
        self.counters = Several(Counter(3), Counter(3))
        super().__init__({"cut": In(1), "o": Out(16)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.counters = reset_by(self.cut, self.counters)
        m.d.comb += self.o.eq(self.counters.o)
        return m


def test_a_reset_from_outside_reaches_all_registers_within() -> None:
    dut, seen = Cut(), []

    async def bench(ctx: Any) -> None:
        for cycle in range(5):
            ctx.set(dut.cut, cycle == 2)
            await ctx.tick()
            seen.append(ctx.get(dut.o))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert seen == [6, 12, 0, 6, 12]
    # In the text it is the reset of the module, and of those within.
    text = verilog_text(Cut(), "top")
    assert re.search(r"assign (\\\S+ ) = rst \| cut;", text) or re.search(r"assign (\\\S+ ) = cut \| rst;", text), text
    assert re.findall(r"^    \.rst\((.*)\)", text, re.M).count("rst") == 2
    assert "if (rst)" in text
    assert "if (cut)" not in text


def test_transformers_that_stop_at_a_module_are_refused() -> None:
    for transform in (ResetInserter(Signal()), EnableInserter(Signal())):
        with pytest.raises(BivitError, match=r"top\.part_0 is within ResetInserter, EnableInserter"):
            rtlil_text(Several(Counter(3), wrap=transform), "top")


def test_what_is_within_a_component_cannot_be_read_from_outside() -> None:
    counter = Counter(3, inner=Signal(8, name="inner"))
    with pytest.raises(BivitError, match="nothing in top drives inner, which it reads; of another component only"):
        rtlil_text(Several(counter, reach=True), "top")


class Words(Component):
    """A memory that begins with words."""

    def __init__(self, width: int, depth: int, init: list[int]):
        self.width, self.depth, self.init = width, depth, init
        super().__init__({"addr": In(2), "data": Out(width)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for k in range(2):
            m.submodules[f"store_{k}"] = store = memory.Memory(shape=self.width, depth=self.depth, init=self.init[k:])
            read = store.read_port()
            m.d.comb += [read.addr.eq(self.addr), self.data[k].eq(read.data[k])]
        return m


def test_contents_are_as_amaranth_writes_them() -> None:
    for init in ([], [1, 2, 3, 5], [0x1F, 0, 3]):
        own = re.findall(r"connect \\DATA (\d+'[01]+)", rtlil_text(Words(5, 4, init), "top"))
        amaranth = re.findall(r"connect \\DATA (\d+'[01]+)", rtlil.convert(Words(5, 4, init), name="top"))
        assert len(own) == 2
        assert [word.partition("'")[0] for word in own] == ["20", "20"]
        assert [int(word.partition("'")[2], 2) for word in own] == [int(word.partition("'")[2], 2) for word in amaranth]
    text = verilog_text(Words(5, 4, [1, 2, 31]), "top")
    words = re.findall(r"    (store_\d)\[(\d)\] = 5'h(\w+);", text)
    assert [int(word, 16) for _, _, word in words] == [1, 2, 31, 0, 2, 31, 0, 0]
    zeroes = verilog_text(Words(5, 4, []), "top")
    assert re.findall(r"; (store_\d)_word < (\d); .*\[store_\d_word\] = 0;", zeroes) == [
        ("store_0", "4"),
        ("store_1", "4"),
    ]
    assert "5'h00;" not in zeroes


@pytest.mark.slow
def test_a_whole_engine_has_no_loop_without_a_register() -> None:
    """Amaranth looks for one in what it converts, which is a module at a time everywhere else."""
    assert rtlil.convert(Engine(tiny_flow()), name="top", emit_src=False).count("\nmodule ") > 100


def test_signals_without_bits_are_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """A range from -1 to 0 has two bits in Verilog."""
    text = verilog_text(Degenerate(2), "top")
    assert "[-1:0]" not in text
    ports = re.findall(r"^module .*?\((.*)\);$", text, re.M)
    assert [set(names.split(", ")) for names in ports] == 3 * [{"clk", "rst", "wide"}]
    monkeypatch.setattr(convert, "_without_empty_signals", str)
    assert "[-1:0]" in verilog_text(Degenerate(2), "top")
