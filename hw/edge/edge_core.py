"""The edge without its pixels: which of its jobs the multipliers do next."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ...sim.engine.memories import TAG_BITS
from ...sim.flow.edge import EdgeUnit
from ...sim.flow.edge_lines import PACES, Line
from ...sim.flow.edge_settings import EDGE_SETTINGS, edge_setting_bits
from ..flow.jobs import Credits, following
from ..flow.line_ports import line_ports
from ..parts.arithmetic import delay_stages
from ..parts.component import Component
from ..parts.connect import connect
from ..parts.stream import LOAD_BUS, read_port, write_port
from .dense_out import DenseOut
from .last_norm import LastNorm
from .logits_queue import queue_port
from .patch_norm import PatchNorm
from .products import Products
from .x_write import x_write_port

_BITS = dict(EDGE_SETTINGS)


def core_ports(unit: EdgeUnit) -> dict[str, wiring.Member]:
    """Return the ports that the edge hands on, by name.

    Parameters
    ----------
    unit : EdgeUnit
    """
    engine = unit.flow.engine
    word = unit.side * unit.columns * engine.formats.residual_bits
    ports = {
        "settings": In(data.StructLayout(edge_setting_bits(unit.flow))),
        "finished": In(1),
        **{name: Out(1) for name in ("embedded", "done", "starved", "hold", "q_en")},
        "queue": Out(queue_port(engine)),
        "x_write": Out(x_write_port(unit)),
        "x_read": Out(read_port(unit.x_addr_bits, word)),
        "saturations": Out(range(unit.chunk + (unit.columns if unit.patch_norm else 0) + 1)),
        "q": Out(unit.q_bits),
        "y_write": Out(write_port(unit.y_addr_bits, signed(unit.y_bits))),
        "load": In(LOAD_BUS),
        "bank": In(1),
        **line_ports(unit.flow, Out, *Line),
        **({"answering": Out(1)} if unit.flow.streamed else {}),
    }
    if unit.patch_norm is None:
        return ports
    return ports | {
        "norm_read": Out(read_port(unit.x_addr_bits, word, strobed=True)),
        "norm_write": Out(write_port(unit.x_addr_bits, word)),
    }


class EdgeCore(Component):
    """Decides, where no step is at work: the classes of a normalised image, else the next pass of the embedding.

    A pass follows a pass of the same image at once. Everything else begins when all is quiet, so that no two kinds of
    sums are on their way. What takes positions that are streamed waits until all of them are there.

    Timing: `sim.timing.edge_times`.
    Numerics: docs/semantics.md 1 and 11, to the bit.

    Parameters
    ----------
    unit : EdgeUnit

    Members
    -------
    available, release : In(1), Out(1)
        Of `PatchRing`.
    pixel, pixels : Out, In
        Its address and what is there.
    settings, finished, load, bank : In
        Of `Edge`.
    embedded, done, starved, hold, queue, x_write, x_read, saturations, q_en, q, y_write : Out
        Of `Edge`.
    norm_read, norm_write : Out
        Of `Edge`, with windows.
    answering : Out
        Of `Edge`, with streamed weights.
    classes_read, classes_given, positions_read, positions_given : Out
        Of `Edge`, with streamed `edge_weights`.
    patch_weights_read, patch_weights_given : Out
        Of `Edge`, with streamed `patch_weights`.
    """

    def __init__(self, unit: EdgeUnit):
        self.unit = unit
        super().__init__(
            {
                **core_ports(unit),
                "available": In(1),
                "release": Out(1),
                "pixel": Out(_BITS["patch_steps"]),
                "pixels": In(data.ArrayLayout(8, unit.patches)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Connect the units, and decide."""
        m = Module()
        u = self.unit
        m.submodules.dense = products = Products(u)
        m.submodules.dense_out = out = DenseOut(u)
        m.submodules.last_norm = norm = LastNorm(u)
        for part in (products, out, norm):
            self._load(m, part)
        embedded, saturations = self._embedded(m, out)
        m.d.comb += [
            *(connect(self.pixel, products.pixel), connect(products.pixels.as_value(), self.pixels.as_value())),
            *(connect(self.release, products.patches_read), connect(norm.y_read, products.y_read)),
            *(connect(out.captured, products.captured), connect(out.sums, products.sums)),
            *(connect(products.patch, out.patch), connect(products.chunk, out.chunk)),
            connect(products.shift, out.shift),
            *(connect(norm.finished, self.finished), connect(self.embedded, embedded)),
            *(connect(self.saturations, saturations), connect(self.q_en, norm.q_en), connect(self.q, norm.q)),
            *(connect(self.queue.en, out.logit_en), connect(self.queue.beat.as_value(), out.logit.as_value())),
            self.done.eq(out.logit_en & out.logit.last),
        ]
        for part, name in ((norm, "x_read"), (norm, "y_write"), (out, "x_write")):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(part, name))
        wiring.connect(m, products.y, norm.y)
        if u.flow.edge_streamed:
            wiring.connect(m, wiring.flipped(self.positions_read), out.positions_read)
            for name in line_ports(u.flow, Out, *PACES):
                wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(products, name))
        self._decide(m, products, out, norm)
        return m

    def _embedded(self, m: Module, out: DenseOut) -> tuple[Value, Value]:
        """Whether an image's last word is written, again where patches are normalised; and what saturates."""
        if self.unit.patch_norm is None:
            return out.embedded, out.saturations
        m.submodules.patch_norm = patches = PatchNorm(self.unit.patch_norm)
        norms = self.settings.patch_norm
        self._load(m, patches)
        m.d.comb += patches.put.eq(out.embedded & norms)
        for name, port in (("norm_read", patches.x_read), ("norm_write", patches.x_write)):
            wiring.connect(m, wiring.flipped(getattr(self, name)), port)
        saturations = (out.saturations + patches.saturations)[: len(self.saturations)]
        return Mux(norms, patches.done, out.embedded), saturations

    def _load(self, m: Module, part: Products | DenseOut | LastNorm | PatchNorm) -> None:
        """Connect a part to the load bus and to the settings."""
        m.d.comb += [
            *(connect(part.load, self.load), connect(part.bank, self.bank)),
            connect(part.settings.as_value(), self.settings.as_value()),
        ]

    def _decide(self, m: Module, products: Products, out: DenseOut, norm: LastNorm) -> None:
        """Begin an image, a pass, or the classes of a normalised image."""
        u, settings = self.unit, self.settings
        m.submodules.free_banks = banks = Credits(u.banks, u.banks)
        begun, chained = Signal(), Signal()  # an image is embedded; its last pass was the last thing of all
        answering = Signal()  # an image is classified: its own logits take the room that it was given
        left = Signal(_BITS["passes"], reset_less=True)
        room, wanted, quiet = Signal(), Signal(), Signal()
        begin, patches, classify = Signal(), Signal(), Signal()
        bank, tag = Signal(u.x_addr_bits), Signal(TAG_BITS)
        next_pass = ~products.active & self.available & ~wanted
        m.d.sync += room.eq(self.queue.level + settings.classes <= u.flow.engine.queue_logits)
        would_begin, would_pass = next_pass & ~begun & quiet & banks.some, next_pass & begun & (chained | quiet)
        if u.flow.edge_streamed:
            would_begin, would_pass = self._positions(m, would_begin, would_pass, left == 1)
        m.d.comb += [
            *(wanted.eq(norm.ready & room), self.hold.eq(norm.ready & ~room & ~answering)),
            quiet.eq(self._quiet(m, products.active | out.active | (out.begin & settings.prefix.any()))),
            classify.eq(wanted & quiet),
            patches.eq(would_pass),
            begin.eq(would_begin),
            self.starved.eq(~products.active & ~self.available & Mux(begun, 1, banks.some)),
            *(banks.take.eq(begin), connect(banks.give, norm.pooled)),
            *(
                connect(products.patches, patches),
                connect(products.classify, classify),
                connect(products.classes, wanted),
            ),
        ]
        self._tell(m, out, {"begin": begin, "patches": patches, "classify": classify, "base": bank, "tag": tag})
        with m.If(begin):
            m.d.sync += [*(begun.eq(1), chained.eq(0), connect(left, settings.passes))]
            m.d.sync += bank.eq(following(bank, u.banks * u.bank_words, u.bank_words))
        with m.If(patches):
            m.d.sync += [*(left.eq(left - 1), chained.eq(1), begun.eq(left != 1))]
        with m.If(classify):
            m.d.sync += [chained.eq(0), answering.eq(1), tag.eq(tag + 1)]
        with m.Elif(quiet):
            m.d.sync += answering.eq(0)
        if u.flow.streamed:
            m.d.comb += connect(self.answering, answering)

    def _positions(self, m: Module, begin: Value, patches: Value, last: Value) -> tuple[Value, Value]:
        """Return whether an image or a pass begins that would: all positions that it takes are there."""
        given, settings = self.positions_given, self.settings
        of_prefix, of_pass = Signal(), Signal()
        count = Mux(last, settings.positions_last, settings.positions_pass)
        # A pass takes no fewer than are waited for; the next image's are behind the last pass.
        m.d.sync += [
            of_prefix.eq(given.level >= settings.positions_prefix),
            of_pass.eq(given.level >= settings.positions_pass),
        ]
        begins, passes = begin & of_prefix, patches & of_pass
        m.d.comb += [
            *(given.take.eq(begins | passes), given.waits.eq((begin & ~of_prefix) | (patches & ~of_pass))),
            given.count.eq(Mux(begin, settings.positions_prefix, count)),
        ]
        return begins, passes

    def _tell(self, m: Module, out: DenseOut, decided: dict[str, Value]) -> None:
        """Tell the unit that chunks leave by what was decided, `told_cycles` later."""
        for name, value in decided.items():
            told = delay_stages(m, value, self.unit.told_cycles, f"{name}_told", reset_less=name in ("base", "tag"))[-1]
            m.d.comb += connect(getattr(out, name), told)

    def _quiet(self, m: Module, active: Value) -> Value:
        """Whether there was no step and no chunk for so long that nothing is on its way."""
        cycles = self.unit.quiet_cycles
        left = Signal(range(cycles + 1))
        with m.If(active):
            m.d.sync += left.eq(cycles)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        return ~active & (left == 0)
