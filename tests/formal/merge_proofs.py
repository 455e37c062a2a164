"""The stream qkv in a patch merging: every sum is a new x, and nothing is an operation of attention."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Signal
from proving import Fault, Harness, Proof, assume_constant, claim
from windowed import tiny_swin, windowed_for

from bivit.hw.slots import merge_stream
from bivit.sim.flow.operation import Way
from bivit.sim.flow.pass_settings import NEIGHBOURS
from bivit.sim.flow.residual_add import ResidualAddUnit

FLOW = windowed_for([tiny_swin()], columns=8)
#: What a harness drives.
_PORTS = ("settings", "hold", "take", "skip", "record", "valid")


def stream() -> Harness:
    """Any slots, with settings of a patch merging or of blocks, which stay."""
    add = ResidualAddUnit(FLOW)

    def body(m: Module, h: Any) -> None:
        m.submodules.dut = dut
        m.d.comb += [getattr(dut, name).eq(getattr(h, name)) for name in _PORTS]
        for name in ("merges", "tile_places"):
            assume_constant(m, getattr(dut.settings, name), name)
        coming, merges = dut.coming, dut.settings.merges
        offset = Signal(add.place_bits)
        with m.If(h.take & ~dut.lagging & dut.end):
            m.d.sync += offset.eq(offset + dut.settings.tile_places)
            with m.If(dut.turn_end):
                m.d.sync += offset.eq(0)
        claim(m, "way", (dut.op.way == Way.RESIDUAL) == merges)
        claim(m, "place", h.offset == offset)
        place = (dut.record.place + offset + NEIGHBOURS * add.most_groups)[: add.place_bits]
        claim(m, "x_addr", dut.x_addr == Cat(place, dut.record.bank))
        with m.If(merges):
            claim(m, "nothing_done", dut.op.done == 0)
            claim(m, "no_head", ~coming.head_begins & ~coming.rows)
            claim(m, "all_drains", coming.drains == coming.works)
            claim(m, "no_values", ~h.is_value)

    dut = merge_stream.MergeStream(FLOW)
    members = dut.signature.members
    free = {name: members[name].shape for name in _PORTS}
    return Harness(free, body, {"offset": (add.place_bits, "dut.offset"), "is_value": (1, "dut.is_value")})


PROOFS: dict[str, Proof] = {
    "merge_stream": Proof(
        "hw/slots/merge_stream.py",
        "in a patch merging, and there alone, sums go to ResidualAdd; all of them leave by the drain, and nothing of "
        "heads, values, rows or attention is made; a tile's new tokens have the places behind those of its neighbours",
        "any settings and slots",
        stream,
        2,
    ),
}

FAULTS: dict[str, Fault] = {
    "values of a merging": Fault(
        "merge_stream", merge_stream, "return comes & ~self.settings.merges", "return comes", "no_values"
    ),
}
