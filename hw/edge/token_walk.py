"""From one token to the next through the words of an image of x."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, ShapeLike, Signal
from amaranth.lib.wiring import In, Out

from ...sim.flow.edge import EdgeUnit
from ...sim.flow.edge_settings import EDGE_SETTINGS
from ..parts.component import Component
from ..parts.connect import connect

#: What a walk over tokens is told.
STEPS = ("start", "step", "back", "keep")
#: Signals of a place by name.
Place = dict[str, Signal]


def places(m: Module, shapes: dict[str, ShapeLike]) -> tuple[Place, Place, Place]:
    """Return registers of a place, the place that follows, which is the same as yet, and registers of the kept one.

    Parameters
    ----------
    m : Module
    shapes : dict of str to ShapeLike
        Of the signals.
    """
    now, following, kept = (
        {name: Signal(shape, name=f"{when}_{name}") for name, shape in shapes.items()}
        for when in ("now", "next", "kept")
    )
    m.d.comb += [connect(following[name], now[name]) for name in shapes]
    return now, following, kept


def take_place(m: Module, walk: Any, now: Place, following: Place, kept: Place) -> None:
    """Go to the place that follows and keep it, or go back.

    Parameters
    ----------
    m : Module
    walk : Component
        With `STEPS`.
    now, following, kept : dict of str to Signal
        Of `places`.
    """
    m.d.sync += [connect(now[name], following[name]) for name in now]
    with m.If(walk.keep | walk.start):
        m.d.sync += [connect(kept[name], following[name]) for name in now]
    with m.Elif(walk.back):
        m.d.sync += [connect(now[name], kept[name]) for name in now]


class TokenWalk(Component):
    """Rows of a word, row groups of a tile, tiles of an image: where a token lies.

    Timing: the place follows by `place_cycles`.

    Numerics: none.

    Parameters
    ----------
    unit : EdgeUnit

    Members
    -------
    start, base : In
        Go to the first token of an image, whose first word this is, and keep it.
    step, back, keep : In(1)
        Go to the next token; go back to the one that was kept; keep the one that is next, and go there, not back.
    stride : In
        Words from one row group to the next.
    addr, row : Out
        First word of the token's row group, and its row there.
    """

    #: From a step to the place.
    place_cycles = 1

    def __init__(self, unit: EdgeUnit):
        self.unit = unit
        super().__init__(
            {
                **{name: In(1) for name in STEPS},
                "base": In(unit.x_addr_bits),
                "stride": In(dict(EDGE_SETTINGS)["row_stride"]),
                "addr": Out(unit.x_addr_bits),
                "row": Out(max(1, (unit.side - 1).bit_length())),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Count rows of the word, and those that are left of the tile."""
        m = Module()
        unit, rows = self.unit, self.unit.flow.engine.rows
        shapes = {"addr": len(self.addr), "row": len(self.row), "tile": len(self.addr), "left": range(rows + 1)}
        now, following, kept = places(m, shapes)
        with m.If(self.step):
            m.d.comb += [
                following["left"].eq(now["left"] - 1),
                following["row"].eq(Mux(now["row"] == unit.side - 1, 0, now["row"] + 1)),
                following["addr"].eq(Mux(now["row"] == unit.side - 1, now["addr"] + self.stride, now["addr"])),
            ]
            with m.If(now["left"] == 1):
                m.d.comb += [
                    *(following["left"].eq(rows), following["row"].eq(0)),
                    *(following["addr"].eq(now["tile"] + unit.tile_words),),
                    following["tile"].eq(now["tile"] + unit.tile_words),
                ]
        with m.If(self.start):
            m.d.comb += [
                *(connect(following["addr"], self.base), connect(following["tile"], self.base)),
                *(following["left"].eq(rows), following["row"].eq(0)),
            ]
        take_place(m, self, now, following, kept)
        m.d.comb += [connect(self.addr, now["addr"]), connect(self.row, now["row"])]
        return m
