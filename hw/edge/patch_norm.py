"""The norm of patches: tokens of an embedded image are summed, and written again when they are normalised."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from ...sim.flow.edge_settings import edge_setting_bits
from ...sim.flow.patch_norm import PatchNormUnit
from ..flow.jobs import Credits, following
from ..flow.norm_lanes import channel_mask, row_sums
from ..parts.arithmetic import Tree, delay_flag, delayed, product
from ..parts.component import Component
from ..parts.connect import connect, connect_address
from ..parts.divider import Divider
from ..parts.fixed import saturate_signed
from ..parts.memory import LoadableMemory, WordMemory
from ..parts.norm_root import NormRoot
from ..parts.row_walk import RowWalk
from ..parts.stream import LOAD_BUS, read_port, write_port
from .place_walk import next_token


class PatchNorm(Component):
    """For each token of an image: S1, ``Q = floor(2^head_m / R)``, and its words again, with G and B' (semantics 1).

    ``y = ((D*x - S1)*Q) >> (head_m - F)`` and ``X = saturate(((y*G + 2^(F-1)) >> F) + B')``, x being the old X
    shifted right by `norm_shift`. Tokens lie one after the other from word 0 of a bank on. They follow each other by
    `patch_norm_pace` cycles; where that is more than their words, dividers are what they wait for.

    Timing: the first address is two cycles after `put`, or `PatchNormUnit.image_cycles` after that of the image before,
        and `done` is `PatchNormUnit.norm_cycles` later.
    Numerics: exact. y fits `PatchNormUnit.y_bits`, as in `LastNorm`. ``((z + half) >> F) + B'`` is computed as
        ``((z >> (F-1)) + 2*B' + 1) >> 1``, which is the same floor.

    Parameters
    ----------
    unit : PatchNormUnit

    Members
    -------
    settings : In
        `edge_setting_bits`.
    put : In(1)
        Pulse: the last word of the next image's x is being written.
    x_read : Out(read_port)
        Reader of x, data `ResidualAddUnit.x_cycles` after the address.
    x_write : Out(write_port)
        Writer of x.
    done : Out(1)
        Pulse: the last word of an image is being written again.
    saturations : Out
        Elements that saturated; only the total matters.
    load, bank : In
        Load bus, and the bank in use.
    """

    def __init__(self, unit: PatchNormUnit):
        self.unit, self.bits = unit, edge_setting_bits(unit.flow)
        word = unit.lanes * unit.flow.engine.formats.residual_bits
        super().__init__(
            {
                "settings": In(data.StructLayout(self.bits)),
                "put": In(1),
                "x_read": Out(read_port(unit.source.x_addr_bits, word, strobed=True)),
                "x_write": Out(write_port(unit.source.x_addr_bits, word)),
                "done": Out(1),
                "saturations": Out(range(unit.lanes + 1)),
                "load": In(LOAD_BUS),
                "bank": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Read an image; each token's sums start its root and a divider, and that the walk over its words."""
        m = Module()
        u, settings = self.unit, self.settings
        token = data.StructLayout({"final": 1, "addr": u.source.x_addr_bits})
        walk, reads, read = self._read(m, token)
        m.submodules.words = words = WordMemory.of(u.memories["patch_words"])
        place = Signal.like(words.w_addr)
        written = delay_flag(m, reads, u.word_stage, "written_line")
        with m.If(written):
            m.d.sync += place.eq(following(place, u.ring_words))
        formats, width = u.flow.engine.formats, u.flow.engine.formats.residual_bits
        x = [self.x_read.data.word_select(lane, width)[formats.norm_shift :].as_signed() for lane in range(u.lanes)]
        m.d.comb += [connect(words.w_en, written), connect(words.w_addr, place), words.w_data.eq(Cat(x))]

        ends = reads & (walk.chunk + 1 == settings.patch_norm_words)
        root = self._root(m, self._sums(m, walk, x), ends, read)
        begins, s1, q, held = self._quotient(m, root, token)
        self._apply(m, words, begins, s1, q, held)
        return m

    def _read(self, m: Module, layout: data.StructLayout) -> tuple[RowWalk, Value, data.View]:
        """Walk over tokens; return that, whether a word is addressed, and the token: its first word, if it is last."""
        u, settings = self.unit, self.settings
        banks, bank_words = u.source.banks, u.source.bank_words
        m.submodules.waiting = waiting = Credits(banks)
        m.submodules.walk = walk = RowWalk(self.bits["patch_norm_tokens"], self.bits["patch_norm_pace"])
        take, reads = Signal(), Signal()
        base, addr = Signal(u.source.x_addr_bits), Signal(u.source.x_addr_bits, reset_less=True)
        token, first = Signal(layout), Signal.like(addr, reset_less=True)
        m.d.comb += [
            *(connect(waiting.give, self.put), waiting.take.eq(take), walk.start.eq(take)),
            take.eq(waiting.some & (~walk.active | walk.end)),
            *(connect(walk.rows, settings.patch_norm_tokens), connect(walk.chunks, settings.patch_norm_pace)),
            reads.eq(walk.active & (walk.chunk < settings.patch_norm_words)),
            *(connect(self.x_read.addr, addr), connect(self.x_read.en, reads)),
            *(connect(token.addr, first), token.final.eq(walk.row + 1 == settings.patch_norm_tokens)),
        ]
        with m.If(reads):
            m.d.sync += addr.eq(addr + 1)
        following_token = Signal.like(first)
        m.d.comb += following_token.eq(
            next_token(first, settings.patch_norm_words, u.source.parts_of_bank, u.source.part_words)
        )
        with m.If(walk.row_end):
            m.d.sync += [connect(first, following_token), connect(addr, following_token)]
        with m.If(take):
            m.d.sync += [connect(addr, base), connect(first, base)]
            m.d.sync += base.eq(following(base, banks * bank_words, bank_words))
        return walk, reads, token

    def _sums(self, m: Module, walk: RowWalk, words: list[Value]) -> tuple[Signal, Signal]:
        """S1 and S2 of a token's channels, in `sums_stage` of its last word."""
        u = self.unit
        mask = channel_mask(m, walk.chunk, self.settings.patch_norm_channels, u.lanes, "mask")
        here = delayed(m, mask, u.word_stage - 1, "mask_delay")
        x = [Signal(signed(u.widths.x_bits), name=f"x_{lane}", reset_less=True) for lane in range(u.lanes)]
        m.d.sync += [value.eq(Mux(here[lane], words[lane], 0)) for lane, value in enumerate(x)]
        first = delay_flag(m, walk.active & (walk.chunk == 0), u.sums_stage - 1, "first_line")
        return row_sums(m, u.widths, [x], first)[0]

    def _root(self, m: Module, sums: tuple[Signal, Signal], ends: Value, token: data.View) -> NormRoot:
        """R of each token, with what is known of it beside it."""
        u = self.unit
        m.submodules.patch_eps = eps = LoadableMemory(u.load_memories["patch_eps"])
        m.submodules.root = root = NormRoot(u.widths, len(token.as_value()))
        m.d.comb += [
            *(connect(eps.load, self.load), connect(eps.bank, self.bank), connect(root.eps, eps.r_data)),
            root.sums_valid.eq(delay_flag(m, ends, u.sums_stage, "ends_line")),
            *(connect(root.s1, sums[0]), connect(root.s2, sums[1])),
            connect(root.channels, self.settings.patch_norm_channels),
            connect(root.row, delayed(m, token.as_value(), u.sums_stage, "token_delay")),
        ]
        return root

    def _quotient(
        self, m: Module, root: NormRoot, layout: data.StructLayout
    ) -> tuple[Value, Signal, Signal, data.View]:
        """Divide, a divider after the other; return when Q is there, and in the next cycle S1, Q and the token."""
        u = self.unit
        s1, q = Signal.like(root.stat_s1, reset_less=True), Signal(u.q_bits, reset_less=True)
        held = Signal(layout, reset_less=True)
        turn = Signal(range(u.dividers))
        with m.If(root.stat_en):
            m.d.sync += turn.eq(following(turn, u.dividers))
        done = []
        for number in range(u.dividers):
            m.submodules[f"divider_{number}"] = divider = Divider(u.flow.engine.formats.head_m, u.widths.r_bits)
            beside = Signal(len(s1) + layout.size, name=f"beside_{number}", reset_less=True)
            m.d.comb += [
                divider.start.eq(root.stat_en & (turn == number)),
                connect(divider.divisor, root.stat_r),
            ]
            with m.If(divider.start):
                m.d.sync += beside.eq(Cat(root.stat_s1, root.stat_row))
            with m.If(divider.done):
                m.d.sync += [Cat(s1, held.as_value()).eq(beside), connect(q, divider.quotient)]
            done.append(divider.done)
        return Cat(done).any(), s1, q, held

    def _apply(self, m: Module, words: WordMemory, begins: Value, s1: Value, q: Value, held: data.View) -> None:
        """Walk over a token's words: D*x, minus S1, times Q, times G, with B'."""
        u, formats, settings = self.unit, self.unit.flow.engine.formats, self.settings
        m.submodules.apply_walk = walk = RowWalk(1, self.bits["patch_norm_words"])
        m.submodules.patch_norm = params = LoadableMemory(u.load_memories["patch_norm"])
        place = Signal.like(words.r_addr[0])
        addr = Signal(u.source.x_addr_bits, reset_less=True)
        with m.If(walk.active):
            m.d.sync += place.eq(following(place, u.ring_words))
        m.d.sync += addr.eq(held.addr + walk.chunk)
        m.d.comb += [
            *(walk.start.eq(begins), walk.rows.eq(1), connect(walk.chunks, settings.patch_norm_words)),
            connect(words.r_addr[0], place),
            *(connect(params.load, self.load), connect(params.bank, self.bank)),
            connect_address(params.r_addr, delayed(m, walk.chunk, u.y_stage - 1, "param_delay")),
            self.x_write.en.eq(delay_flag(m, walk.active, u.write_stage, "write_line")),
            connect(self.x_write.addr, delayed(m, addr, u.write_stage - 1, "addr_delay")),
            self.done.eq(delay_flag(m, walk.end & held.final, u.write_stage, "done_line")),
        ]
        late_s1 = delayed(m, s1, u.centred_stage - 1, "s1_delay")
        late_q = delayed(m, q, u.centred_stage, "q_delay")
        param_bits, width = formats.scale_bits + formats.residual_bits, formats.residual_bits
        lanes = [params.r_data.word_select(lane, param_bits) for lane in range(u.lanes)]
        biases = delayed(m, Cat(lane[formats.scale_bits :] for lane in lanes), u.affine_cycles, "bias_delay")
        new, clamped = [], []
        for number, lane in enumerate(lanes):
            x = words.r_data[0].word_select(number, u.widths.x_bits).as_signed()
            y = self._normalised(m, number, x, late_s1, late_q)
            scale, bias = lane[: formats.scale_bits].as_signed(), biases.word_select(number, width)
            value, over = self._affine(m, number, y, scale, bias)
            new.append(value)
            clamped.append(over)
        m.d.comb += self.x_write.data.eq(Cat(new))
        m.submodules.count = count = Tree(1, u.lanes, "sum")
        m.d.comb += [
            connect(count.i.as_value(), Cat(clamped) & self.x_write.en.replicate(u.lanes)),
            connect(self.saturations, count.o[: len(self.saturations)]),
        ]

    def _normalised(self, m: Module, number: int, x: Value, s1: Value, q: Value) -> Value:
        """Return y of a lane, in `y_stage`."""
        u, block, channels = self.unit, self.unit.flow.engine.block_bits, self.settings.patch_norm_channels
        scaled = product(m, x, channels, f"scaled_{number}", block=block, cycles=u.scaled_cycles)
        centred = Signal(signed(u.widths.s1_bits + 1), name=f"centred_{number}", reset_less=True)
        m.d.sync += centred.eq(scaled - s1)
        y = product(m, centred, q, f"normalised_{number}", block=block, cycles=u.normalised_cycles)
        return y[u.drop_bits :][: u.y_bits].as_signed()

    def _affine(self, m: Module, number: int, y: Value, scale: Value, bias: Value) -> tuple[Value, Value]:
        """Return the new x of a lane and whether it saturated, in `write_stage`."""
        u, formats = self.unit, self.unit.flow.engine.formats
        operands = (y, scale) if len(y) >= len(scale) else (scale, y)
        scaled = product(m, *operands, f"affine_{number}", block=u.flow.engine.block_bits, cycles=u.affine_cycles)
        twice = (scaled >> formats.residual_frac_bits - 1) + Cat(Const(1, 1), bias).as_signed()
        total = Signal(twice.shape(), name=f"total_{number}", reset_less=True)
        result = Signal(formats.residual_bits, name=f"new_{number}", reset_less=True)
        clamped = Signal(name=f"clamped_{number}", reset_less=True)
        value, over = saturate_signed(total[1:].as_signed(), formats.residual_bits)
        m.d.sync += [total.eq(twice), result.eq(value), clamped.eq(over)]
        return result, clamped
