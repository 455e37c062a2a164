"""The order in which the dense unit goes through patches, groups of outputs and inputs."""

from __future__ import annotations

from amaranth.hdl import Const, Module, Signal, Value
from amaranth.lib.wiring import In, Out

from ...sim.engine.commands import Embed, Logits
from ..parts.component import Component
from ..parts.connect import connect
from ..parts.countdown import Countdown
from ..parts.stream import field_bits

#: Widths of the counters: the widest field of either command.
PATCHES_BITS, ROWS_BITS, PIXEL_BITS = (field_bits(Embed, name) for name in ("patches", "patch_rows", "row_bytes"))
OFFSET_BITS, GROUPS_BITS, WEIGHT_BITS = (field_bits(Logits, name) for name in ("inputs", "groups", "weight_addr"))


class DenseWalk(Component):
    """For every patch, for every group of outputs, go through the rows of the patch and the bytes of a row.

    Timing: the first step is one cycle after `start`, then one step a cycle. A group takes as many cycles as it has
        steps, but `group_chunks` at least: the sums of the group before are still leaving.
    Numerics: counters and addresses are as wide as the command's fields.

    Parameters
    ----------
    group_chunks : int
        Fewest cycles of a group, 1 or more.

    Members
    -------
    start : In(1)
        Begin; the fields below count in this cycle only.
    patches, groups, rows, row_length : In
        Counts, 1 or more: patches, groups of a patch, rows of a patch, steps of a row.
    row_step : In
        Bytes from one row of the strip to the next.
    weight_start : In
        Weight of the first step; those of the other steps and groups follow, the same for every patch.
    en : Out(1)
        A step.
    first, last, strip_last : Out(1)
        The step is a group's first or last, or the last of all.
    offset, pixel_addr, weight_addr : Out
        Position in the row, address of the pixel in the strip, address of the weight.
    """

    def __init__(self, group_chunks: int):
        self.group_chunks = group_chunks
        super().__init__(
            {
                "start": In(1),
                "patches": In(PATCHES_BITS),
                "groups": In(GROUPS_BITS),
                "rows": In(ROWS_BITS),
                "row_length": In(OFFSET_BITS),
                "row_step": In(PIXEL_BITS),
                "weight_start": In(WEIGHT_BITS),
                "en": Out(1),
                "first": Out(1),
                "last": Out(1),
                "strip_last": Out(1),
                "offset": Out(OFFSET_BITS),
                "pixel_addr": Out(PIXEL_BITS),
                "weight_addr": Out(WEIGHT_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the four nested counters; inner ones first, so that an outer one's step overrides them."""
        m = Module()
        active = Signal()
        ends = self._ends(m, active)
        row_start = Signal(PIXEL_BITS, reset_less=True)  # address of the row's first byte
        patch_start = Signal(PIXEL_BITS, reset_less=True)
        row_step, row_length = (
            Signal.like(self.row_step, reset_less=True),
            Signal.like(self.row_length, reset_less=True),
        )
        weight_start = Signal(WEIGHT_BITS, reset_less=True)
        next_row, next_patch = Signal(PIXEL_BITS), Signal(PIXEL_BITS)
        m.d.comb += [next_row.eq(row_start + row_step), next_patch.eq(patch_start + row_length)]

        with m.If(self.en):
            m.d.sync += [
                self.first.eq(0),
                self.offset.eq(self.offset + 1),
                self.pixel_addr.eq(self.pixel_addr + 1),
                self.weight_addr.eq(self.weight_addr + 1),
            ]
        with m.If(ends["row"]):
            m.d.sync += [self.offset.eq(0), row_start.eq(next_row), connect(self.pixel_addr, next_row)]
        with m.If(self.last):
            m.d.sync += [self.en.eq(0), row_start.eq(patch_start), connect(self.pixel_addr, patch_start)]
        with m.If(ends["group"]):
            m.d.sync += [self.en.eq(1), self.first.eq(1)]
        with m.If(ends["patch"]):
            m.d.sync += [
                connect(self.weight_addr, weight_start),
                patch_start.eq(next_patch),
                row_start.eq(next_patch),
                connect(self.pixel_addr, next_patch),
            ]
        with m.If(ends["strip"]):
            m.d.sync += [active.eq(0), self.en.eq(0)]
        with m.If(self.start):
            m.d.sync += [
                *(active.eq(1), self.en.eq(1), self.first.eq(1), self.offset.eq(0)),
                *(self.pixel_addr.eq(0), row_start.eq(0), patch_start.eq(0)),
                *(connect(self.weight_addr, self.weight_start), connect(weight_start, self.weight_start)),
                *(connect(row_step, self.row_step), connect(row_length, self.row_length)),
            ]
        return m

    def _ends(self, m: Module, active: Signal) -> dict[str, Signal]:
        """Count steps, rows, groups, patches and the group's cycles; return the strobes of their last steps."""
        ends = {name: Signal(name=f"{name}_end") for name in ("row", "group", "patch", "strip")}
        m.submodules.steps = steps = Countdown(OFFSET_BITS)
        m.submodules.row_count = rows = Countdown(ROWS_BITS)
        m.submodules.group_count = groups = Countdown(GROUPS_BITS)
        m.submodules.patch_count = patches = Countdown(PATCHES_BITS)
        m.d.comb += [
            *(connect(steps.count, self.row_length), connect(rows.count, self.rows)),
            *(connect(groups.count, self.groups), connect(patches.count, self.patches)),
            *(counter.start.eq(self.start) for counter in (steps, rows, groups, patches)),
            *(connect(steps.step, self.en), connect(rows.step, ends["row"])),
            *(connect(groups.step, ends["group"]), connect(patches.step, ends["patch"])),
            ends["row"].eq(self.en & steps.last),
            self.last.eq(ends["row"] & rows.last),
            ends["group"].eq(active & (self.last | ~self.en) & self._old(m, active, ends["group"])),
            ends["patch"].eq(ends["group"] & groups.last),
            ends["strip"].eq(ends["patch"] & patches.last),
            self.strip_last.eq(self.last & groups.last & patches.last),
        ]
        return ends

    def _old(self, m: Module, active: Signal, group_end: Signal) -> Value:
        """Whether the group has had its `group_chunks` cycles, this one included."""
        if self.group_chunks == 1:
            return Const(1)
        age = Signal(range(self.group_chunks))  # cycles since the group's first step
        old = Signal()
        with m.If(active & ~old):
            m.d.sync += [age.eq(age + 1), old.eq(age == self.group_chunks - 2)]
        with m.If(self.start | group_end):
            m.d.sync += [age.eq(0), old.eq(0)]
        return old
