"""The norm units, LayerNorm followed by sign: SignNorm and HeadNorm (docs/semantics.md 2 and 6)."""

from __future__ import annotations

from functools import partial

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from ...sim.units.norm import NormUnit
from ..parts.arithmetic import Tree, delay_flag, delayed, product
from ..parts.component import Component
from ..parts.connect import connect, connect_address
from ..parts.memory import LoadableMemory, WordMemory
from ..parts.norm_root import NormRoot
from ..parts.row_walk import RowWalk, lane_mask
from ..parts.stream import LOAD_BUS, bits_port, command_layout, command_port, given, read_port, stats_layout


class Norm(Component):
    """SignNorm or HeadNorm over a tile: ``bit[c] = ((N*x[c] - S1) << Ft) >= Theta[c] * R`` (docs/semantics.md 2 and 6).

    A command is one pass over `rows` x `chunks` words of x: the first (`apply` 0) leaves S1 and R of each row in the
    row memory, the second (`apply` 1) compares. Lanes beyond `channels` in the last chunk add nothing and give 0.

    Timing: one chunk a cycle, the first address at offset 1; the next command may be started `rows` x `chunks` cycles
    after this one. Latencies are the stages of `NormUnit`. The caller keeps a row's second pass behind the write of
    its S1 and R, and the next tile's write behind that.

    Numerics: exact; every width follows from the engine's largest model, see `NormUnit`. SignNorm takes x from the
    residual, shifted right by `norm_shift`; HeadNorm takes half of the accumulator, and x = Scale * acc.

    Parameters
    ----------
    unit : NormUnit
        SignNorm or HeadNorm.

    Members
    -------
    command : In
        `SignNorm` or `HeadNorm` of `sim.engine.commands`.
    x : Out(read_port)
        Reader of x, data one cycle after the address.
    load, bank : In
        Load bus and bank of the parameters: an array of structs, Theta (and Scale) a lane.
    bits : Out(bits_port(lanes))
        Result.
    stat_en, stat_row, stat_s1, stat_r : Out
        Write of the row memory.
    stats : In(read_port)
        Second reader of the row memory, data one cycle after the address; for SignNorm only.
    """

    def __init__(self, unit: NormUnit):
        self.unit, self.lanes = unit, unit.lanes
        self.commands = unit.commands
        self.fields = command_layout(unit.command)
        row_bits = self.fields["rows"].width
        members = {
            "command": In(command_port(*self.commands)),
            "x": Out(read_port(self.fields["x_addr"].width, unit.lanes * unit.word_bits)),
            "load": In(LOAD_BUS),
            "bank": In(1),
            "bits": Out(bits_port(unit.lanes)),
            "stat_en": Out(1),
            "stat_row": Out(row_bits),
            "stat_s1": Out(signed(unit.s1_bits)),
            "stat_r": Out(unit.r_bits),
        }
        if unit.row_readers > 1:
            members["stats"] = In(read_port(row_bits, stats_layout(unit.s1_bits, unit.r_bits), strobed=True))
        super().__init__(members)
        self._command = given(self.command, unit.command)
        self._product = partial(product, block=unit.engine.block_bits, cycles=unit.multiply_cycles)

    def elaborate(self, platform: object) -> Module:
        """Address (stage 0), memories (1), word (2), Scale, then the product that both passes share."""
        m = Module()
        p = self.unit
        m.submodules.walk = walk = RowWalk(len(self._command.fields.rows), len(self._command.fields.chunks))
        m.submodules.parameters = parameters = LoadableMemory(p.load_memories[p.name])
        held = self._stage_address(m, walk, parameters)
        mask = Signal(self.lanes, reset_less=True)
        m.d.sync += mask.eq(lane_mask(held.channels, walk.row_end, self.lanes))
        x, theta = self._stage_word(m, parameters, mask)

        channels = held.channels[: p.channels_bits]
        delayed_channels = delayed(m, Cat(held.apply, channels), p.x_stage, "channels_delay")
        apply, n = delayed_channels[0], delayed_channels[1:]
        # A chunk is either squared or scaled by N: one multiplier a lane serves both.
        products = [self._product(m, value, Mux(apply, n, value), f"product{lane}") for lane, value in enumerate(x)]

        m.submodules.roots = roots = NormRoot(p, len(walk.row))
        self._stage_sums(m, x, products, delay_flag(m, walk.chunk == 0, p.sums_stage - 1, "first"), roots)
        at_sums = delayed(m, Cat(held.eps, held.mean, walk.row, channels), p.sums_stage, "command_delay")
        m.d.comb += [
            roots.sums_valid.eq(delay_flag(m, walk.row_end & ~held.apply, p.sums_stage, "sums_valid")),
            Cat(roots.eps, roots.mean, roots.row, roots.channels).eq(at_sums),
        ]
        s1, r = self._row_memory(m, roots, delayed(m, walk.row, p.stats_read_stage, "row_delay"))
        bits = self._stage_compare(m, products, theta, s1, r)
        place = delayed(m, Cat(walk.row, walk.chunk), p.bits_stage, "place_delay")
        compare_mask = delayed(m, mask, p.compare_stage - 1, "mask_delay")
        m.d.sync += self.bits.data.eq(bits & compare_mask)
        m.d.comb += [
            self.bits.en.eq(delay_flag(m, walk.active & held.apply, p.bits_stage, "bits_valid")),
            Cat(self.bits.row, self.bits.chunk).eq(place),
        ]
        return m

    def _stage_address(self, m: Module, walk: RowWalk, parameters: LoadableMemory) -> data.View:
        """Stage 0: hold the command and walk the addresses; return the held command."""
        held = Signal(self.fields, reset_less=True)
        row_addr = Signal.like(self.x.addr, reset_less=True)
        addr = Signal.like(self.x.addr, reset_less=True)
        m.d.sync += addr.eq(addr + 1)
        with m.If(walk.row_end):
            m.d.sync += [addr.eq(row_addr + held.stride), row_addr.eq(row_addr + held.stride)]
        command = self._command
        with m.If(command.issue):
            m.d.sync += [
                connect(held, command.fields),
                connect(addr, command.fields.x_addr),
                connect(row_addr, command.fields.x_addr),
            ]
        m.d.comb += [
            connect(walk.start, command.issue),
            connect(walk.rows, command.fields.rows),
            connect(walk.chunks, command.fields.chunks),
            connect(self.x.addr, addr),
            connect(parameters.load, self.load),
            connect(parameters.bank, self.bank),
            connect_address(parameters.r_addr, held.param_addr + walk.chunk),
        ]
        return held

    def _stage_word(self, m: Module, parameters: LoadableMemory, mask: Signal) -> tuple[list[Value], list[Value]]:
        """Register the words of stage 1 and scale; return x in `x_stage` and Theta one stage later, where R arrives."""
        p = self.unit
        lane_layout = {"theta": signed(p.theta_bits)} | ({"scale": p.scale_bits} if p.scale_bits else {})
        layout = data.ArrayLayout(data.StructLayout(lane_layout), self.lanes)
        words = Signal(layout, reset_less=True)
        values = Signal(data.ArrayLayout(signed(p.value_bits), self.lanes), reset_less=True)
        m.d.sync += words.as_value().eq(parameters.r_data)
        for lane in range(self.lanes):
            low = lane * p.word_bits + p.shift
            m.d.sync += values[lane].eq(self.x.data[low : low + p.value_bits])
            # The mask is the registers' reset, so nothing stands between them and the memory.
            with m.If(~mask[lane]):
                m.d.sync += values[lane].eq(0)
        x: list[Value] = [values[lane] for lane in range(self.lanes)]
        if p.scale_bits:
            scaled = [self._product(m, x[lane], words[lane].scale, f"scaled{lane}") for lane in range(self.lanes)]
            x = [(value << 1)[: p.x_bits].as_signed() for value in scaled]
        theta = delayed(m, Cat(words[lane].theta for lane in range(self.lanes)), p.x_stage - 1, "theta_delay")
        return x, [theta.word_select(lane, p.theta_bits).as_signed() for lane in range(self.lanes)]

    def _stage_sums(self, m: Module, x: list[Value], products: list[Value], first: Value, roots: NormRoot) -> None:
        """Sum the lanes, then the chunks of a row; the sums are a row's when its last chunk is in."""
        p = self.unit
        square_bits = max(p.x_min**2, p.x_max**2).bit_length()
        m.submodules.sum = total = Tree(signed(p.x_bits), self.lanes, "sum")
        m.submodules.square_sum = squares = Tree(square_bits, self.lanes, "sum")
        for lane in range(self.lanes):
            m.d.comb += [connect(total.i[lane], x[lane]), connect(squares.i[lane], products[lane][:square_bits])]
        s1 = Signal(signed(p.s1_bits), reset_less=True)
        s2 = Signal(p.s2_bits, reset_less=True)
        m.d.sync += [
            s1.eq(Mux(first, 0, s1) + delayed(m, total.o, p.multiply_cycles, "sum_delay")),
            s2.eq(Mux(first, 0, s2) + squares.o),
        ]
        m.d.comb += [connect(roots.s1, s1), connect(roots.s2, s2)]

    def _row_memory(self, m: Module, roots: NormRoot, row: Value) -> tuple[Value, Value]:
        """Keep S1 and R of each row; return those of `row`, one cycle later."""
        p = self.unit
        store = WordMemory.of(p.memories[f"{p.name}_rows"])
        m.submodules.row_memory = store
        m.d.comb += [
            connect(self.stat_en, roots.stat_en),
            connect(self.stat_row, roots.stat_row),
            connect(self.stat_s1, roots.stat_s1),
            connect(self.stat_r, roots.stat_r),
            connect(store.w_en, roots.stat_en),
            connect_address(store.w_addr, roots.stat_row),
            store.w_data.eq(Cat(roots.stat_s1, roots.stat_r)),
            connect_address(store.r_addr[0], row),
        ]
        if p.row_readers > 1:
            m.d.comb += [
                connect_address(store.r_addr[1], self.stats.addr),
                connect(self.stats.data, store.r_data[1]),
            ]
        return store.r_data[0][: p.s1_bits].as_signed(), store.r_data[0][p.s1_bits :]

    def _stage_compare(self, m: Module, products: list[Value], theta: list[Value], s1: Value, r: Value) -> Value:
        """Compare in `compare_stage`: N*x - S1 in units of 2^-Ft against Theta*R."""
        p = self.unit
        row_sum = delayed(m, s1, p.multiply_cycles - 1, "s1_delay")
        bits = []
        for lane in range(self.lanes):
            centred = Signal(signed(p.s1_bits + 1), name=f"centred{lane}", reset_less=True)
            m.d.sync += centred.eq(products[lane] - row_sum)
            bits.append((centred << p.theta_frac_bits) >= self._product(m, r, theta[lane], f"limit{lane}"))
        return Cat(bits)
