"""The order in which the multipliers of the edge go through groups of outputs and their inputs."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, Value
from amaranth.lib.wiring import In, Out

from ...sim.flow.edge_settings import EDGE_SETTINGS
from ..parts.component import Component
from ..parts.connect import connect
from ..parts.countdown import Countdown

_BITS = dict(EDGE_SETTINGS)


class StepWalk(Component):
    """Groups of `steps` inputs each, a group every `cycles` cycles; weights follow each other through all groups.

    Timing: the first step is one cycle after `start`; `active` for groups x cycles cycles from there.

    Numerics: none.

    Parameters
    ----------
    waits : bool
        Whether steps may have to wait; then `cycles` does not count cycles in which one does.

    Members
    -------
    goes : In(1)
        If steps wait: the one at hand is taken. Behind a group's steps cycles go on by themselves.
    wants : Out(1)
        Likewise: there is a step to take.
    start : In(1)
        Begin, where not `active`; the fields below count in this cycle only.
    groups, steps, cycles : In
        Counts, 1 or more; no more steps than cycles.
    weight_start : In
        Weight of the first step.
    active : Out(1)
        There is a group.
    en, first, last, final : Out(1)
        There is a step; it is the first or the last of its group, or the last of all.
    input, weight : Out
        Number of the step's input, and of its weight.
    """

    def __init__(self, *, waits: bool = False) -> None:
        self.waits = waits
        super().__init__(
            {
                **({"goes": In(1), "wants": Out(1)} if waits else {}),
                "start": In(1),
                "groups": In(max(_BITS["patch_groups"], _BITS["class_groups"])),
                "steps": In(max(_BITS["patch_steps"], _BITS["class_steps"])),
                "cycles": In(max(_BITS["patch_cycles"], _BITS["class_cycles"])),
                "weight_start": In(_BITS["class_weights"]),
                **{name: Out(1) for name in ("active", "en", "first", "last", "final")},
                "input": Out(max(_BITS["patch_steps"], _BITS["class_steps"])),
                "weight": Out(_BITS["class_weights"]),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Count steps and cycles side by side, then groups."""
        m = Module()
        counts = {name: Countdown(len(getattr(self, name))) for name in ("steps", "cycles", "groups")}
        m.submodules.step_count, m.submodules.cycle_count, m.submodules.group_count = counts.values()
        active, steps, first = Signal(), Signal(), Signal()
        en, counted = self._taken(m, active, steps)
        number, weight = Signal.like(self.input, reset_less=True), Signal.like(self.weight, reset_less=True)
        group_end = Signal()
        m.d.comb += [
            *(connect(count.count, getattr(self, name)) for name, count in counts.items()),
            *(connect(count.start, self.start) for count in counts.values()),
            *(counts["steps"].step.eq(en), counts["cycles"].step.eq(counted), counts["groups"].step.eq(group_end)),
            group_end.eq(counted & counts["cycles"].last),
            *(connect(self.active, active), connect(self.en, en), self.first.eq(en & first)),
            *(self.last.eq(en & counts["steps"].last), self.final.eq(self.last & counts["groups"].last)),
            *(connect(self.input, number), connect(self.weight, weight)),
        ]
        with m.If(en):
            m.d.sync += [number.eq(number + 1), weight.eq(weight + 1), first.eq(0)]
        with m.If(self.last):
            m.d.sync += steps.eq(0)
        with m.If(group_end):
            m.d.sync += [number.eq(0), first.eq(1), steps.eq(~counts["groups"].last), active.eq(~counts["groups"].last)]
        with m.If(self.start):
            m.d.sync += [*(active.eq(1), steps.eq(1), first.eq(1), number.eq(0)), connect(weight, self.weight_start)]
        return m

    def _taken(self, m: Module, active: Signal, steps: Signal) -> tuple[Value, Value]:
        """Whether a step is taken, and whether the cycle counts."""
        if not self.waits:
            return steps, active
        m.d.comb += connect(self.wants, steps)
        return steps & self.goes, active & (self.goes | ~steps)
