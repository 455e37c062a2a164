"""Which window is next: never one whose image has windows of the round before that are still at work.

What is taken and what has been left is counted at the ports, in windows, images and rounds. Settings, group and bank
stay from the begin of a pass until all of its windows have been left, behind which the next one begins.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

from amaranth.hdl import Module, Mux, Signal, Value
from proving import Fault, Harness, Proof, assume, before, claim
from windowed import tiny_swin, windowed_for

from bivit.hw.passes import sequences
from bivit.sim.flow.config import FlowConfig

#: Settings that say where a pass ends.
_SIZES = ("windows_last", "rounds_last")


class Counted(NamedTuple):
    """Where a pass is: window of an image, image of the group, round; and whether the next step is the last one."""

    window: Signal
    image: Signal
    round: Signal
    last: Value


def flow_for(images: int) -> FlowConfig:
    """An engine of which so many images go together."""
    return windowed_for([tiny_swin()], columns=8, together=images)


def counted(m: Module, h: Any, step: Value, group: Value, name: str) -> Counted:
    """Count windows at the ports; beyond the last one the round is one more."""
    window, image = Signal.like(h.windows_last, name=f"{name}_w"), Signal.like(group, name=f"{name}_i")
    round_ = Signal(len(h.rounds_last) + 1, name=f"{name}_r")
    of_image, of_round = window == h.windows_last, image == group - 1
    with m.If(step):
        m.d.sync += window.eq(Mux(of_image, 0, window + 1))
        with m.If(of_image):
            m.d.sync += image.eq(Mux(of_round, 0, image + 1))
            with m.If(of_round):
                m.d.sync += round_.eq(round_ + 1)
    with m.If(h.begin):
        m.d.sync += [window.eq(0), image.eq(0), round_.eq(0)]
    claim(m, f"{name}_within", (window <= h.windows_last) & ((image < group) | (image == 0)))
    return Counted(window, image, round_, step & of_image & of_round & (round_ == h.rounds_last))


def windows(images: int) -> Harness:
    """Sequences of a pass after the other, whatever lanes do."""
    flow = flow_for(images)
    dut = sequences.Sequences(flow)
    record = dut.next.shape()

    def body(m: Module, h: Any) -> None:
        m.submodules.dut = dut
        take, busy = dut.there & h.take, Signal()
        m.d.comb += [dut.settings[name].eq(getattr(h, name)) for name in (*_SIZES, "first_block")]
        m.d.comb += [dut.group.eq(h.group), dut.bank.eq(h.bank), dut.begin.eq(h.begin), dut.take.eq(take)]
        group = Signal.like(h.group)
        bank = Signal.like(h.bank)
        with m.If(h.begin):
            m.d.sync += [busy.eq(1), group.eq(h.group), bank.eq(h.bank)]
        taken, left = counted(m, h, take, group, "taken"), counted(m, h, h.leave, group, "left")
        m.d.comb += dut.finished.eq(h.leave)
        with m.If(left.last):
            m.d.sync += busy.eq(0)
        over = taken.round == h.rounds_last + 1
        inside = (taken.round != left.round) | (taken.image != left.image) | (taken.window != left.window)
        assume(m, ~h.leave | inside)
        assume(m, ~h.begin | (~busy & (h.group > 0) & (h.group <= images) & (h.bank < dut.banks)))
        for name in (*_SIZES, "first_block", "group", "bank"):
            value = getattr(h, name)
            last = before(m, value, 1, name)
            assume(m, ~busy | (value == last))
        with m.If(busy):
            claim(
                m, "pass", (h.group == group) & (h.bank == bank) & (group > 0) & (group <= images) & (bank < dut.banks)
            )
            # Units are windows of an image in a round: the one to take is less than a group ahead of the one to leave.
            same, ahead_round = taken.round == left.round, taken.round == left.round + 1
            claim(m, "order", (same & (taken.image >= left.image)) | (ahead_round & (taken.image <= left.image)))
            claim(m, "left_first", ~(same & (taken.image == left.image)) | (taken.window >= left.window))
            claim(m, "whole", ~(ahead_round & (taken.image == left.image)) | (taken.window == 0))
            units = Mux(same, taken.image - left.image, group + taken.image - left.image)
            claim(m, "ahead", h.ahead == (group - units)[: len(h.ahead)])
            claim(m, "rounds", (taken.round <= h.rounds_last + 1) & (~over | (taken.image == 0) & (taken.window == 0)))
            claim(m, "there", dut.there == (same | (taken.image < left.image)) & ~over)
            claim(m, "over", h.over == over)
            claim(m, "through", dut.through == left.last)
            for name, where in (("taken", taken), ("left", left)):
                places = [getattr(h, f"{name}_{what}") for what in ("window", "image", "round")]
                claim(m, f"{name}_window", places[0] == where.window)
                claim(m, f"{name}_image", places[1] == where.image)
                claim(m, f"{name}_round", places[2] == where.round[: len(places[2])])
            at = bank + taken.image
            claim(m, "bank", dut.next.bank == Mux(at >= dut.banks, at - dut.banks, at))
            claim(m, "block", dut.next.block == (h.first_block + taken.round)[: len(dut.next.block)])
            claim(m, "record_image", h.record_image == taken.image)
        with m.Else():
            claim(
                m, "between", ~dut.there & ~inside & (h.over | (h.ahead == 0)) & (left.window == 0) & (left.image == 0)
            )

    settings = dut.settings.shape()
    free = {name: settings[name].width for name in (*_SIZES, "first_block")}
    free |= {"group": images.bit_length(), "bank": record["bank"].width, "begin": 1, "take": 1, "leave": 1}
    inner = {"ahead": (images.bit_length(), "dut.ahead|dut.$signal"), "over": (1, "dut.over|dut.$signal$#")}
    inner["record_image"] = (images.bit_length(), "dut.record_image")
    for name in ("taken", "left"):
        inner[f"{name}_window"] = (settings["windows_last"].width, f"dut.{name}_window")
        inner[f"{name}_image"] = (images.bit_length(), f"dut.{name}_image")
        inner[f"{name}_round"] = (settings["rounds_last"].width, f"dut.round_{'' if name == 'taken' else '$#'}")
    return Harness(free, body, inner)


PROOFS: dict[str, Proof] = {
    f"sequences_{images}": Proof(
        "hw/passes/sequences.py",
        "a window is there as long as the pass has one, and all windows of its image have been left in the round "
        "before; in order, in the bank and of the block of its place; `through` with the last one that is left",
        f"{images} image{'s' * (images > 1)} together, any windows and rounds",
        partial(windows, images),
        2,
    )
    for images in (1, 2, 3, 8)
}

FAULTS: dict[str, Fault] = {
    "a unit too many ahead": Fault(
        "sequences_2", sequences, "Mux(self.begin, self.group,", "Mux(self.begin, self.group + 1,", "ahead"
    ),
    "a window early": Fault(
        "sequences_3",
        sequences,
        "window == settings.windows_last)",
        "window + 1 == settings.windows_last)",
        "taken_window",
    ),
    "windows beyond the pass": Fault("sequences_2", sequences, "with m.If(taken_all):", "with m.If(0):", "over"),
}
