"""Which window lanes take next, and when: round by round, image by image."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from ...sim.flow.config import FlowConfig
from ...sim.flow.residual_add import ResidualAddUnit
from ...sim.flow.settings import setting_bits
from ..flow.jobs import following
from ..parts.component import Component
from ..parts.connect import connect
from ..slots.records import block_steps, next_address, record_layout


class Sequences(Component):
    """Counts the windows of a pass: those of an image, of all images of the group, of all rounds.

    Windows of an image in one round can be taken when all of its windows have been left in the round before.

    Timing: `next` and `there` follow `take`, and `finished`, by a cycle.

    Numerics: none; counts are exact.

    Parameters
    ----------
    flow : FlowConfig
        With windows.

    Members
    -------
    settings : In
        Of the pass.
    begin, group, bank : In
        A pass begins, of so many images, the first of which has this bank of x.
    take : In(1)
        A lane takes the next window; only where `there`.
    finished : In(1)
        Pulse: the oldest window has been left.
    there, next : Out
        Whether a window can be taken, and the record of a turn with it.
    through : Out(1)
        Pulse: the last window of the pass has been left.
    """

    def __init__(self, flow: FlowConfig):
        self.flow, self.banks = flow, ResidualAddUnit(flow).banks
        windows = flow.windows
        assert windows is not None
        self.images = windows.images
        record = record_layout(flow)
        super().__init__(
            {
                "settings": In(data.StructLayout(setting_bits(flow))),
                "begin": In(1),
                "group": In(range(self.images + 1)),
                "bank": In(record["bank"].width),
                "take": In(1),
                "finished": In(1),
                "there": Out(1),
                "next": Out(record),
                "through": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Count what is taken, and what has been left."""
        m = Module()
        ahead, some = Signal(range(self.images + 1)), Signal()  # units that may be begun: windows of an image, a round
        taken_window, taken_unit, taken_all = self._count(m, self.take, "taken")
        _, left_unit, left_all = self._count(m, self.finished, "left")
        m.d.comb += [connect(self.there, some), self.through.eq(left_all)]
        after, over = Signal.like(ahead), Signal()
        m.d.comb += after.eq(Mux(self.begin, self.group, ahead + left_unit - taken_unit))
        with m.If(taken_all):
            m.d.sync += over.eq(1)
        with m.If(self.begin):
            m.d.sync += over.eq(0)
        m.d.sync += [connect(ahead, after), some.eq(after.any() & ~(over & ~self.begin) & ~taken_all)]
        self._record(m, taken_window, taken_unit)
        return m

    def _count(self, m: Module, step: Value, name: str) -> tuple[Value, Value, Value]:
        """Count windows; return whether the step is the last one of an image, of a round, and of the pass."""
        settings = self.settings
        window = Signal.like(settings.windows_last, name=f"{name}_window")
        image, round_ = Signal.like(self.group, name=f"{name}_image"), Signal.like(settings.rounds_last)
        last_window = Signal(name=f"{name}_last_window")
        last_image, last_round = image + 1 == self.group, round_ == settings.rounds_last
        m.d.comb += last_window.eq(window == settings.windows_last)
        unit, whole = Signal(name=f"{name}_unit"), Signal(name=f"{name}_all")
        m.d.comb += [unit.eq(step & last_window), whole.eq(unit & last_image & last_round)]
        with m.If(step):
            m.d.sync += window.eq(Mux(last_window, 0, window + 1))
        with m.If(unit):
            m.d.sync += image.eq(Mux(last_image, 0, image + 1))
            with m.If(last_image):
                m.d.sync += round_.eq(round_ + 1)
        with m.If(self.begin):
            m.d.sync += [window.eq(0), image.eq(0), round_.eq(0)]
        return step & ~last_window, unit, whole

    def _record(self, m: Module, of_image: Value, unit: Value) -> None:
        """The record of the next window: parameters of its round, places of its tokens, and at which edges it is."""
        settings, record = self.settings, Signal(record_layout(self.flow), name="record")
        image = Signal.like(self.group, name="record_image")
        shifted, row, column = Signal(), Signal.like(settings.side_last), Signal.like(settings.side_last)
        last_image = image + 1 == self.group
        first_place = Mux(shifted, settings.first_shifted, settings.first_place)
        m.d.comb += [
            connect(self.next.as_value(), record.as_value()),
            self.next.valid.eq(1),
            # A window is left behind its block, but where it is the whole image.
            self.next.last.eq(settings.windows_last.any() | (record.block == settings.depth_last)),
            self.next.kind.eq(
                Cat(row == settings.side_last, column == settings.side_last) & shifted.replicate(len(record.kind))
            ),
        ]
        with m.If(of_image):
            m.d.sync += [
                record.place.eq(record.place + settings.window_places),
                column.eq(Mux(column == settings.side_last, 0, column + 1)),
                row.eq(row + (column == settings.side_last)),
            ]
        with m.If(unit):
            m.d.sync += [*(row.eq(0), column.eq(0)), record.place.eq(first_place)]
            m.d.sync += [image.eq(image + 1), record.bank.eq(following(record.bank, self.banks))]
            with m.If(last_image):
                m.d.sync += [*(image.eq(0), connect(record.bank, self.bank), shifted.eq(~shifted))]
                m.d.sync += record.place.eq(Mux(shifted, settings.first_place, settings.first_shifted))
                m.d.sync += record.block.eq(record.block + 1)
                for name in block_steps(self.flow):
                    m.d.sync += record[name].eq(next_address(self.flow, settings, record, name))
        with m.If(self.begin):
            m.d.sync += [*(row.eq(0), column.eq(0), image.eq(0), shifted.eq(0)), connect(record.bank, self.bank)]
            names = [name for name in block_steps(self.flow) if name != "weights" or not self.flow.streamed]
            m.d.sync += [record[name].eq(settings[f"first_{name}"]) for name in ("block", "place", *names)]
        if self.flow.streamed:
            last_window = (row == settings.side_last) & (column == settings.side_last)
            m.d.comb += self.next.closes.eq(last_image & last_window)
            self._weights(m, record, of_image, unit & last_image, unit)

    def _weights(self, m: Module, record: Signal, of_image: Value, of_round: Value, unit: Value) -> None:
        """Streamed weights: who is the first one with those of a block, who the last, and where they are.

        They lie in a ring, pass behind pass: addresses count on, and what is above the ring's is of no effect.
        """
        settings, begins = self.settings, Signal(len(record.weights), name="pass_begins")
        with m.If(of_image | unit):
            m.d.sync += record.opens.eq(of_round)
        with m.If(self.begin):
            m.d.sync += [record.opens.eq(1), connect(record.weights, begins)]
        with m.If(self.through):
            m.d.sync += begins.eq(begins + settings.pass_weights)
