"""Streams and registers: what is offered stays until it is taken, a request has one answer, frames are whole."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal, Value
from amaranth.lib.wiring import In
from proving import Fault, Harness, Proof, assume, before, claim

from bivit.hw import registers
from bivit.hw.edge import pixel_frame
from bivit.sim.flow.machine import FlowMachine
from bivit.sim.flow.presets import FLOW_ENGINES

ENGINE = FLOW_ENGINES["sim"]


def held(m: Module, name: str, valid: Value, ready: Value, payload: Value) -> None:
    """Claim that what is offered stays, unchanged, until it is taken."""
    waits = before(m, valid & ~ready, 1, f"{name}_waits", reset_less=False)
    claim(m, f"{name}_valid_stays", ~waits | valid)
    claim(m, f"{name}_stays", ~waits | (payload == before(m, payload, 1, name)))


def axi_lite() -> Harness:
    """The registers, whatever a host and the engine do."""

    def body(m: Module, h: Any) -> None:
        m.submodules.dut = dut = registers.Registers(FlowMachine(ENGINE))
        for name in free:
            m.d.comb += getattr(dut, name).eq(getattr(h, name))
        held(m, "write_answer", dut.bvalid, h.bready, dut.bresp)
        held(m, "read_answer", dut.rvalid, h.rready, Value.cast(dut.rdata) ^ (dut.rresp << 32))
        # Requests that were taken, less answers that were: what is under way.
        for name, valid, ready, waiting in (
            ("awvalid", h.awvalid, dut.awready, ~dut.awready),
            ("wvalid", h.wvalid, dut.wready, ~dut.wready),
        ):
            under_way = Signal(2, name=f"{name}_under_way")
            m.d.sync += under_way.eq(under_way + (valid & ready) - (dut.bvalid & h.bready))
            claim(m, f"{name}_answered_once", under_way == waiting + dut.bvalid)
        reads = h.arvalid & dut.arready
        claim(
            m,
            "read_answered_once",
            dut.rvalid == before(m, reads | (dut.rvalid & ~h.rready), 1, "reads", reset_less=False),
        )
        claim(
            m,
            "write_answer_follows",
            ~before(m, ~dut.awready & ~dut.wready & ~dut.bvalid, 1, "whole", reset_less=False) | dut.bvalid,
        )
        claim(m, "one_read_in_two_cycles", ~(reads & before(m, reads, 1, "read", reset_less=False)))
        writes = ~dut.awready & ~dut.wready & ~dut.bvalid
        claim(m, "one_write_in_two_cycles", ~(writes & before(m, writes, 1, "write", reset_less=False)))
        for command in (dut.starting, dut.stop, dut.give_up, dut.abort_load):
            claim(m, f"{command.name}_is_written", ~command | writes)
        claim(m, "start_is_allowed", ~dut.starting | (h.loaded & ~h.busy & dut.images.any()))
        claim(m, "start_follows", dut.start == before(m, dut.starting, 1, "starting", reset_less=False))
        claim(m, "stop_or_give_up", ~(dut.stop & dut.give_up) & ~(dut.stop & ~h.busy) & ~(dut.give_up & h.busy))
        claim(m, "interrupt_falls_by_a_write", dut.irq | ~before(m, dut.irq & ~writes, 1, "irq", reset_less=False))

    ports = registers.Registers(FlowMachine(ENGINE)).signature.members
    free = {name: port.shape for name, port in ports.items() if port.flow is In}
    return Harness(free, body)


def frame() -> Harness:
    """The frame of the pixel stream, with a sender that may do anything."""

    def body(m: Module, h: Any) -> None:
        m.submodules.dut = dut = pixel_frame.PixelFrame(ENGINE.engine)
        for name in ("start", "stop", "give_up", "room", "images", "strip_beats", "strips"):
            m.d.comb += getattr(dut, name).eq(getattr(h, name))
        m.d.comb += [dut.pixels.valid.eq(h.valid), dut.pixels.payload.last.eq(h.last)]
        # A run begins behind the one before, of one image or more, two cycles or more behind a stop.
        assume(m, ~h.start | (~h.taking & (h.left == 0) & h.images.any() & ~h.stop & ~h.stopped))
        beat = h.valid & dut.pixels.ready
        whole, fault, open_run = Signal(32), Signal(), Signal()
        with m.If(dut.taken & h.last):
            m.d.sync += whole.eq(whole + 1)
        with m.If(h.start):
            m.d.sync += [whole.eq(0), open_run.eq(1), fault.eq(0)]
        with m.Elif(beat & ~dut.dropping & ~dut.taken):
            m.d.sync += fault.eq(1)
        claim(m, "taken_is_at_the_stream", ~dut.taken | (beat & ~dut.dropping))
        claim(m, "taken_has_room", ~dut.taken | h.room)
        claim(m, "ready", dut.pixels.ready == (dut.dropping | (h.taking & h.room)))
        with m.If(open_run):
            claim(m, "limit", dut.limit == (whole + h.left)[:32])
            claim(m, "error", dut.error == fault)
        with m.Else():
            claim(m, "no_run", ~h.taking & (h.left == 0))
        claim(m, "final", ~h.taking | (h.left.any() & (h.final == (h.left == 1))))
        claim(m, "stopped", h.stopped == before(m, h.stop, 1, "stop", reset_less=False))
        claim(m, "nothing_behind_a_stop", ~(h.stopped & h.taking))

    bits = dict(pixel_frame.EDGE_SETTINGS)
    free = dict.fromkeys(("start", "stop", "give_up", "room", "valid", "last"), 1)
    free |= {"images": 32, "strip_beats": bits["strip_beats"], "strips": bits["strips"]}
    inner = {name: (1, f"dut.{name}") for name in ("taking", "stopped", "final")} | {
        "left": (32, "dut.left|dut.$signal")
    }
    return Harness(free, body, inner)


PROOFS: dict[str, Proof] = {
    "registers": Proof(
        "hw/registers.py",
        "AXI4-Lite: answers stay until taken, one for each request; a command only by a write, "
        "a start only where it is allowed; the interrupt falls only by a write",
        "as it is",
        axi_lite,
        1,
    ),
    "pixel_frame": Proof(
        "hw/edge/pixel_frame.py",
        "`ready` does not depend on `valid`; a beat is taken only where there is room; "
        "`limit` is the whole images and those to come; no beat is taken behind a stop; `error`",
        "as it is",
        frame,
        1,
    ),
}

FAULTS: dict[str, Fault] = {
    "an answer that does not wait": Fault(
        "registers",
        registers,
        "with m.Elif(self.rready):\n            m.d.sync += self.rvalid.eq(0)",
        "with m.Else():\n            m.d.sync += self.rvalid.eq(0)",
        "read_answer_valid_stays",
    ),
    "a write that is answered twice": Fault(
        "registers",
        registers,
        "[have_addr.eq(0), have_data.eq(0), self.bvalid",
        "[have_data.eq(0), self.bvalid",
        "awvalid_answered_once",
    ),
    "a start while busy": Fault(
        "registers",
        registers,
        "self.loaded & ~self.busy & ~no_images",
        "self.loaded & ~no_images",
        "start_is_allowed",
    ),
    "an image too many": Fault("pixel_frame", pixel_frame, "final.eq(left == 2)", "final.eq(left == 1)", "final"),
    "a beat without room": Fault("pixel_frame", pixel_frame, "taking & self.room", "taking", "taken_has_room"),
}
