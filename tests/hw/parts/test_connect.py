"""No value is cut in silence: what `connect` refuses, and every assignment of every unit watched."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from amaranth.hdl import Cat, Fragment, Module, Mux, Signal, Value
from amaranth.hdl import _ast as ast
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from small_flow import small_flow

from bivit.hw.parts.connect import connect, connect_address
from bivit.hw.synthesis.calibrated import FITTED_ENGINES
from bivit.hw.synthesis.synth import SYNTHESISED, component
from bivit.sim.errors import BivitError

#: Shapes whose memories are deep and shallow, with one chunk a tile and several.
ENGINES_TO_WATCH = [
    small_flow(),
    small_flow(columns=32, pixel_bytes=1),
    small_flow(rows=1, max_depth=1, max_heads=1, program_words=2),
    FITTED_ENGINES["4x16"],
    replace(FITTED_ENGINES["4x8"], products_per_dsp=2),
]


def wired(value: Value) -> bool:
    """Whether a value is a signal, a part of one, or a choice or concatenation of such: nothing is computed."""
    if isinstance(value, ast.Slice | ast.Part):
        return wired(value.value)
    if isinstance(value, ast.Concat):
        return all(wired(part) for part in value.parts)
    if isinstance(value, ast.SwitchValue):
        return all(wired(choice) for _, choice in value.cases)
    return isinstance(value, ast.Signal | ast.Const)


@contextmanager
def watched(found: set[str]) -> Iterator[None]:
    """Note assignments of wires to targets with fewer bits, by the place in bivit.hw where they are made."""
    eq = Value.eq

    def watch(self: Value, value: object, *, src_loc_at: int = 0) -> object:
        target, source = Value.cast(self), Value.cast(value)
        if len(source) > len(target) and wired(source) and not isinstance(source, ast.Const):
            frame = sys._getframe(1)
            while "/amaranth/" in frame.f_code.co_filename:
                if "amaranth/lib/" in frame.f_code.co_filename and "wiring" not in frame.f_code.co_filename:
                    break  # a library's own
                frame = frame.f_back
            place = f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno}"
            if "/amaranth/" not in frame.f_code.co_filename:
                found.add(f"{place} {target!r} of {len(target)} bits takes {source!r} of {len(source)}")
        return eq(self, value, src_loc_at=1 + src_loc_at)

    Value.eq = watch
    try:
        yield
    finally:
        Value.eq = eq


def elaborate(component: wiring.Component) -> None:
    """Elaborate a component and everything below it."""
    Fragment.get(component, None)


@pytest.mark.parametrize("unit", sorted(SYNTHESISED))
def test_no_wire_is_narrower_than_what_it_takes(unit: str) -> None:
    found: set[str] = set()
    with watched(found):
        for engine in ENGINES_TO_WATCH:
            elaborate(component(unit, engine))
    assert found == set()


# The checks can fail


def test_connect_refuses_a_source_that_is_cut() -> None:
    images = Signal(32, name="images")
    with pytest.raises(BivitError, match=r"sig images\) has 32 bits and cannot be connected to the 16 bits of"):
        connect(Signal(16), images)
    view = Signal(data.StructLayout({"low": 4, "high": 12}))
    with pytest.raises(BivitError, match="has 12 bits"):
        connect(view.low, view.high)
    with pytest.raises(BivitError, match="has 5 bits"):
        connect(Signal(4), 16)
    for target, source in ((Signal(32), images), (Signal(40), images), (Signal(16), images[:16]), (Signal(4), 15)):
        assert len(connect(target, source).lhs) == len(target)
    assert len(connect_address(Signal(3), images).rhs) == 3
    assert len(connect_address(Signal(40), images).rhs) == 32


class Narrow(wiring.Component):
    """Has every way in which a wire can be cut, and ways in which none is."""

    def __init__(self) -> None:
        super().__init__({"wide": In(32), "fields": In(data.StructLayout({"a": 9, "b": 3})), "o": Out(8)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        names = ("port", "field", "choice", "joined", "clocked")
        self.cut = {name: Signal(8, name=name) for name in names}
        fine = [Signal(8, name=f"fine{k}") for k in range(3)]
        m.d.comb += [
            self.cut["port"].eq(self.wide),
            self.cut["field"].eq(self.fields.a),
            self.cut["choice"].eq(Mux(self.fields.b[0], self.fields.a, 0)),
        ]
        m.d.comb += self.cut["joined"].eq(Cat(self.fields.b, self.wide[:6]))
        m.d.sync += self.cut["clocked"].eq(self.wide)
        m.d.comb += [fine[0].eq(self.wide[:8]), fine[1].eq(self.fields.a + 1), fine[2].eq(self.fields.b)]
        return m


def test_a_planted_cut_is_found() -> None:
    found: set[str] = set()
    component = Narrow()
    with watched(found):
        elaborate(component)
    assert {name for name in component.cut if any(f"(sig {name})" in text for text in found)} == set(component.cut)
    assert len(found) == len(component.cut)
    assert all(text.startswith("test_connect.py:") for text in found)
