"""Where the sums of the edge go: through the requantizer to x, or with the bias to the logits."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from ...sim.engine.memories import TAG_BITS
from ...sim.flow.edge import EdgeUnit
from ...sim.flow.edge_lines import EdgeLinesUnit, Line
from ...sim.flow.edge_settings import EDGE_SETTINGS, edge_setting_bits
from ...sim.network.formats import HEAD_BIAS_BITS
from ..flow.line_ports import ring_signatures
from ..parts.arithmetic import delay_flag, delayed
from ..parts.component import Component
from ..parts.connect import connect, connect_address
from ..parts.memory import LoadableMemory
from ..parts.row_walk import RowWalk
from ..parts.stream import LOAD_BUS
from .logits_queue import LOGIT_BEAT
from .place_walk import PlaceWalk
from .requantize import Requantizer
from .token_walk import TokenWalk
from .x_write import x_write_port

_BITS = dict(EDGE_SETTINGS)


class DenseOut(Component):
    """Lets the chunks of a group leave: of each patch the channels that there are, or all classes one by one.

    An image begins with its prefix tokens, which are words of the positions, and leave like sums. Words of positions
    lie in the order in which they are used, from the image's first one on; where they are streamed, image after image.

    Timing: the first chunk is one cycle after `captured` or `begin`; for stages see `EdgeUnit`. What is begun is of one
        kind until all is quiet.
    Numerics: see `Requantizer`. A logit is the sum plus the bias modulo 2^32.

    Parameters
    ----------
    unit : EdgeUnit

    Members
    -------
    begin, base : In
        An image begins; first word of its bank of x.
    patches, classify : In(1)
        A pass, or the classes of an image, begin.
    tag : In
        Number of the image that is classified.
    settings : In
        `edge_setting_bits`.
    captured : In(1)
        Sums can leave from the next cycle on.
    active : Out(1)
        A chunk leaves.
    patch, chunk, shift, sums : Out, Out, Out, In
        Place of a chunk, and that the next one follows; the chunk, `EdgeUnit.chunk_stage` cycles later.
    x_write : Out(x_write_port)
        Writer of x.
    embedded : Out(1)
        The last word of the image is being written.
    saturations : Out
        Channels that were clamped in the word of x written one cycle ago.
    logit_en, logit : Out
        A logit, with the image's number.
    positions_read : Out(line_ports)
        With streamed `edge_weights`, reader of positions.
    load, bank : In
        Load bus, and the bank in use.
    """

    def __init__(self, unit: EdgeUnit):
        self.unit = unit
        streamed = unit.flow.edge_streamed
        self.loadable = ("patch_params", *(() if streamed else ("positions",)), "head_bias")
        positions, _ = ring_signatures(EdgeLinesUnit(unit.flow), Line.POSITIONS)
        super().__init__(
            {
                **({"positions_read": Out(positions)} if streamed else {}),
                **{name: In(1) for name in ("begin", "patches", "classify", "captured")},
                "base": In(unit.x_addr_bits),
                "tag": In(TAG_BITS),
                "settings": In(data.StructLayout(edge_setting_bits(unit.flow))),
                "active": Out(1),
                "patch": Out(max(1, (unit.patches - 1).bit_length())),
                "chunk": Out(max(1, (unit.group_chunks - 1).bit_length())),
                "shift": Out(1),
                "sums": In(unit.chunk * unit.acc_bits),
                "x_write": Out(x_write_port(unit)),
                "embedded": Out(1),
                "saturations": Out(range(unit.chunk + 1)),
                "logit_en": Out(1),
                "logit": Out(LOGIT_BEAT),
                "load": In(LOAD_BUS),
                "bank": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Walk over the chunks of a group, or over the lanes of each chunk."""
        m = Module()
        u, settings = self.unit, self.settings
        memories = {name: LoadableMemory(u.load_memories[name]) for name in self.loadable}
        for name, memory in memories.items():
            m.submodules[name] = memory
            m.d.comb += [connect(memory.load, self.load), connect(memory.bank, self.bank)]
        row_bits, chunk_bits = max(_BITS["prefix"], u.patches.bit_length(), u.group_chunks.bit_length()), 12
        m.submodules.walk = walk = RowWalk(row_bits, chunk_bits)
        classifies, bypass, prefix = Signal(), Signal(), Signal()
        with m.If(self.begin | self.patches | self.classify):
            m.d.sync += [connect(classifies, self.classify), connect(bypass, self.begin)]
        m.d.comb += [
            prefix.eq(self.begin & settings.prefix.any()),
            walk.start.eq(self.captured | prefix),
            connect(self.active, walk.active),
            connect_address(self.patch, Mux(classifies, 0, walk.row)),
            connect_address(self.chunk, Mux(classifies, walk.row, walk.chunk)),
            self.shift.eq(walk.active & (~classifies | walk.row_end)),
        ]
        self._residual(m, walk, classifies, bypass, memories)
        self._logits(m, walk, classifies, memories["head_bias"])
        return m

    def _group(self, m: Module, walk: RowWalk, classifies: Value) -> tuple[Signal, Value, Signal, Signal]:
        """Let a group leave; return a chunk's number in its token, whether it has one, and if a pass or an image ends.

        Of a token's last group those chunks leave as well that are beyond the token.
        """
        u, settings = self.unit, self.settings
        left = Signal(_BITS["patches"], reset_less=True)  # patches of the image, those of this pass included
        first, rest = (Signal(_BITS["channel_chunks"], name=name, reset_less=True) for name in ("first", "rest"))
        held, pass_end, image_end = Signal.like(first, reset_less=True), Signal(), Signal()
        here = Signal(len(walk.chunk), reset_less=True)  # chunks of the group that the token has
        ends, final = Signal(), Signal()
        m.d.comb += [ends.eq(rest <= u.group_chunks), final.eq(left <= u.patches)]
        # What begins with an image is known late: the sizes do not wait for that.
        m.d.comb += [walk.rows.eq(settings.prefix), walk.chunks.eq(settings.channel_chunks)]
        with m.If(self.captured & classifies):
            m.d.comb += [walk.rows.eq(u.group_chunks), walk.chunks.eq(u.chunk)]
        with m.Elif(self.captured):
            m.d.comb += walk.rows.eq(Mux(final, left, u.patches)[: len(walk.rows)])
            m.d.comb += walk.chunks.eq(u.group_chunks)
        with m.If(self.captured & ~classifies):
            m.d.sync += [*(held.eq(first), pass_end.eq(ends), image_end.eq(ends & final))]
            m.d.sync += here.eq(Mux(ends, rest, u.group_chunks)[: len(here)])
            m.d.sync += [*(first.eq(first + u.group_chunks), rest.eq(rest - u.group_chunks))]
            with m.If(ends):
                m.d.sync += [*(first.eq(0), rest.eq(settings.channel_chunks), left.eq(left - u.patches))]
        with m.If(self.begin):
            m.d.sync += [*(first.eq(0), rest.eq(settings.channel_chunks), connect(left, settings.patches))]
            m.d.sync += [*(held.eq(0), pass_end.eq(1), image_end.eq(0))]
        chunk = Signal.like(first, reset_less=True)  # of the token
        m.d.sync += chunk.eq(chunk + 1)
        with m.If(walk.row_end):
            m.d.sync += chunk.eq(held)
        with m.If(self.captured):
            m.d.sync += chunk.eq(first)
        with m.If(self.begin):
            m.d.sync += chunk.eq(0)
        return chunk, walk.chunk < here, pass_end, image_end

    def _residual(
        self,
        m: Module,
        walk: RowWalk,
        classifies: Value,
        bypass: Value,
        memories: dict[str, LoadableMemory],
    ) -> None:
        """Requantize chunks; count through the positions, and find each token's place."""
        u, engine = self.unit, self.unit.flow.engine
        chunk, has_place, pass_end, image_end = self._group(m, walk, classifies)
        m.submodules.tokens = tokens = PlaceWalk(u) if u.flow.windows else TokenWalk(u)
        m.submodules.requantizer = requantizer = Requantizer(
            lanes=u.chunk, acc_bits=u.acc_bits, residual_bits=engine.formats.residual_bits, block=engine.block_bits
        )
        goes = walk.active & ~classifies & (bypass | has_place)
        where, added = self._positions(memories)
        position = Signal(len(where), reset_less=not u.flow.edge_streamed)
        with m.If(requantizer.position_en):
            m.d.sync += position.eq(position + 1)
        if u.flow.edge_streamed:  # the next image's are behind this one's
            freed = delay_flag(m, requantizer.position_en, 1, "freed_line")
            m.d.comb += connect(self.positions_read.freed, self._has(freed))
        else:
            with m.If(self.begin):
                m.d.sync += position.eq(0)
        addr, place = self._place(m, tokens, chunk)
        last = walk.end & ~classifies
        m.d.comb += [
            *(connect(tokens.start, self.begin), connect(tokens.base, self.base)),
            *self._told(tokens),
            *(tokens.step.eq(walk.row_end & ~classifies & (~walk.end | pass_end)), tokens.back.eq(last & ~pass_end)),
            tokens.keep.eq(last & pass_end),
            requantizer.en.eq(delay_flag(m, goes, u.chunk_stage, "goes_line")),
            connect(requantizer.acc.as_value(), self.sums),
            connect(requantizer.params.as_value(), memories["patch_params"].r_data),
            connect_address(memories["patch_params"].r_addr, delayed(m, chunk, u.chunk_stage - 1, "chunk_delay")),
            connect(requantizer.shift_less_one, self.settings.patch_shift),
            requantizer.bypass.eq(bypass),
            connect(requantizer.position.as_value(), added),
            connect(where, position),
            connect(self.x_write.addr, delayed(m, addr, u.x_stage - tokens.place_cycles, "addr_delay")),
            self.x_write.en.eq(requantizer.x_en << delayed(m, place, u.x_stage - 1, "place_delay")),
            connect(self.x_write.data, requantizer.x.as_value()),
            connect(self.saturations, requantizer.saturations),
            self.embedded.eq(delay_flag(m, last & image_end, u.x_stage, "embedded_line")),
        ]

    def _place(self, m: Module, tokens: TokenWalk | PlaceWalk, chunk: Signal) -> tuple[Signal, Signal]:
        """Return the address of a chunk's word, `place_cycles` late, and the chunk's number in it, a cycle late."""
        u = self.unit
        bits = (u.word_chunks - 1).bit_length()
        word: Value = chunk >> bits
        row: Value = Const(0, 1)
        if isinstance(tokens, PlaceWalk):
            word = delayed(m, word, tokens.place_cycles - 1, "word_delay")
        else:
            row = tokens.row
        addr, place = Signal(u.x_addr_bits, reset_less=True), Signal(bits + len(row), reset_less=True)
        m.d.sync += [addr.eq(tokens.addr + word), place.eq(Cat(chunk[:bits], row))]
        return addr, place

    def _told(self, tokens: TokenWalk | PlaceWalk) -> list[Any]:
        """What a walk is told beside its steps."""
        if isinstance(tokens, PlaceWalk):
            return [connect(tokens.load, self.load), connect(tokens.bank, self.bank)]
        return [connect(tokens.stride, self.settings.row_stride)]

    def _positions(self, memories: dict[str, LoadableMemory]) -> tuple[Signal, Value]:
        """Where positions are read: address, and P there; there is none where patches are normalised."""
        if self.unit.flow.edge_streamed:
            return self.positions_read.addr, self._has(self.positions_read.data)
        positions = memories["positions"]
        return positions.r_addr, self._has(positions.r_data)

    def _has(self, value: Any) -> Value:
        """A value where patches have positions, 0 where they are normalised."""
        return Value.cast(value) if self.unit.patch_norm is None else Mux(self.settings.patch_norm, 0, value)

    def _logits(self, m: Module, walk: RowWalk, classifies: Value, bias: LoadableMemory) -> None:
        """Choose a lane of the chunk, add its bias, and count the classes."""
        u = self.unit
        number, left = Signal(len(bias.r_addr), reset_less=True), Signal(_BITS["classes"])
        tag = Signal(TAG_BITS, reset_less=True)
        goes = Signal()
        m.d.comb += goes.eq(walk.active & classifies & left.any())
        with m.If(goes):
            m.d.sync += [number.eq(number + 1), left.eq(left - 1)]
        with m.If(self.classify):
            m.d.sync += [number.eq(0), connect(left, self.settings.classes), connect(tag, self.tag)]
        lane = delayed(m, walk.chunk[: max(1, (u.chunk - 1).bit_length())], u.chunk_stage, "lane_delay")
        lanes = Array(self.sums.word_select(k, u.acc_bits).as_signed() for k in range(u.chunk))
        chosen = Signal(lanes[0].shape(), reset_less=True)
        logit = Signal(HEAD_BIAS_BITS, reset_less=True)
        m.d.sync += [chosen.eq(lanes[lane]), logit.eq(chosen + bias.r_data.as_signed())]
        m.d.comb += [
            connect(bias.r_addr, delayed(m, number, u.chunk_stage, "number_delay")),
            self.logit_en.eq(delay_flag(m, goes, u.logit_stage, "logit_line")),
            connect(self.logit.data, logit),
            connect(self.logit.tag, tag),
            self.logit.last.eq(delay_flag(m, goes & (left == 1), u.logit_stage, "last_line")),
        ]
