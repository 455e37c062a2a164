"""The last norm: mean over the tokens and the last LayerNorm (docs/semantics.md, paragraph 11)."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib.wiring import In, Out

from ...sim.engine import commands
from ...sim.engine.config import EngineConfig
from ...sim.errors import check
from ...sim.units.last_norm import LastNormUnit
from ..parts.arithmetic import delay_flag, product
from ..parts.component import Component
from ..parts.connect import connect, connect_address
from ..parts.divider import Divider
from ..parts.memory import WordMemory
from ..parts.row_walk import RowWalk
from ..parts.stream import X_ADDR_BITS, command_layout, command_port, field_bits, read_port, stats_layout, write_port


def check_y_range(engine: EngineConfig) -> None:
    """Check that y fits `LastNormUnit.y_bits` for every row of the largest model; see `LastNorm` for the bound.

    Raises
    ------
    BivitError
        When the format of y has too many fraction bits for so many channels.
    """
    bits, frac_bits, channels = LastNormUnit.y_bits, engine.formats.head_frac_bits, engine.max_embed_dim
    check(
        2 * (channels - 1) << 2 * frac_bits < ((1 << bits - 1) - 1) ** 2,
        f"y has {bits} bits: sqrt(2 * (max_embed_dim - 1)) * 2^head_frac_bits must be below 2^{bits - 1} - 1, "
        f"got max_embed_dim {channels} and head_frac_bits {frac_bits}; lower head_frac_bits",
    )


class LastNorm(Component):
    """Pool the tokens, and normalise pooled rows for the classifier.

    `pool` writes ``(sum over tokens of X) >> shift`` back to x, a chunk at a time. `normalise` takes S1 and R of a row,
    divides ``Q = floor(2^head_m / R)`` and writes ``y[c] = ((N_c*x[c] - S1)*Q) >> (head_m - head_frac_bits)``, one
    channel a cycle, to the memory that the classifier reads.

    Timing: `sim.units.last_norm`; only one command at a time. Reader of y: one cycle of latency.
    Numerics: exact. A sum of N tokens has ceil(log2 N) bits more than X, as many as the shift takes away again.
        y fits 16 bits: d[c] = N_c*x[c] - S1 adds up to 0 and its squares to N_c * (V - Eps), so d[c]^2 is at most
        (N_c - 1) * (V - Eps), and Eps >= 1 gives V - Eps <= 2*R^2. Hence |d[c]|*Q / 2^head_m is at most
        sqrt(2*(N_c - 1)), whatever the row.

    Parameters
    ----------
    unit : LastNormUnit

    Members
    -------
    command : In
        `pool` and `normalise`.
    x_read : Out(read_port)
        Reader of the residual.
    x_write : Out(write_port)
        Writer of the residual.
    stats : Out(read_port)
        Reader of the row memory of SignNorm.
    q_en, q_value : Out
        Q, when it is known; for observation.
    y_write : Out(write_port)
        What is written to the memory of y; for observation.
    y : In(read_port)
        Reader of y.

    Raises
    ------
    BivitError
        When y would not fit; see `check_y_range`.
    """

    def __init__(self, unit: LastNormUnit):
        check_y_range(unit.engine)
        self.unit, self.engine, self.commands = unit, unit.engine, unit.commands
        y_addr_bits = field_bits(commands.Normalise, "y_addr")
        word = unit.lanes * unit.engine.formats.residual_bits
        super().__init__(
            {
                "command": In(command_port(*self.commands)),
                "x_read": Out(read_port(X_ADDR_BITS, word, strobed=True)),
                "x_write": Out(write_port(X_ADDR_BITS, word)),
                "stats": Out(
                    read_port(
                        field_bits(commands.Normalise, "row"), stats_layout(unit.s1_bits, unit.r_bits), strobed=True
                    )
                ),
                "q_en": Out(1),
                "q_value": Out(unit.q_bits),
                "y_write": Out(write_port(y_addr_bits, signed(unit.y_bits))),
                "y": In(read_port(y_addr_bits, signed(unit.y_bits), strobed=True)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the two commands, the reader of x that they share, and the memory of y."""
        m = Module()
        m.submodules.y = y = WordMemory.of(self.unit.memories["y"])
        m.d.comb += [
            connect(y.w_en, self.y_write.en),
            connect_address(y.w_addr, self.y_write.addr),
            connect(y.w_data, self.y_write.data),
            connect_address(y.r_addr[0], self.y.addr),
            connect(self.y.data, y.r_data[0]),
        ]
        pool_en, pool_addr = self._pool(m)
        normalise_en, normalise_addr = self._normalise(m)
        m.d.comb += [
            self.x_read.en.eq(pool_en | normalise_en),
            self.x_read.addr.eq(Mux(pool_en, pool_addr, normalise_addr)),
        ]
        return m

    def _pool(self, m: Module) -> tuple[Signal, Signal]:
        """Add the tokens of one chunk after the other; return the reader's enable and address."""
        x_bits = self.engine.formats.residual_bits
        held = Signal(command_layout(commands.Pool), reset_less=True)
        address, w_addr = (Signal(X_ADDR_BITS, name=name, reset_less=True) for name in ("address", "w_addr"))
        pool = self.command.pool
        m.submodules.pool_walk = walk = RowWalk(
            len(held.chunks), len(held.tokens)
        )  # rows are chunks, chunks are tokens
        m.d.comb += [
            connect(walk.start, pool.issue),
            connect(walk.rows, pool.fields.chunks),
            connect(walk.chunks, pool.fields.tokens),
        ]
        with m.If(walk.row_end):
            m.d.sync += address.eq(walk.row + 1)
        with m.Else():
            m.d.sync += address.eq(address + held.stride)
        with m.If(self.x_write.en):
            m.d.sync += w_addr.eq(w_addr + 1)
        with m.If(pool.issue):
            m.d.sync += [connect(held, pool.fields), address.eq(0), connect(w_addr, pool.fields.dst_addr)]

        first_2 = delay_flag(m, walk.active & (walk.chunk == 0), 2, "first_2")
        m.d.comb += [
            self.x_write.en.eq(delay_flag(m, walk.row_end, self.unit.pool_write_stage, "row_end_4")),
            connect(self.x_write.addr, w_addr),
        ]
        for lane in range(self.unit.lanes):
            x_2 = Signal(signed(x_bits), name=f"pool_x_2_{lane}", reset_less=True)
            sum_3 = Signal(signed(self.unit.sum_bits), name=f"pool_sum_3_{lane}", reset_less=True)
            mean_4 = Signal(signed(x_bits), name=f"pool_mean_4_{lane}", reset_less=True)
            m.d.sync += [
                x_2.eq(self.x_read.data.word_select(lane, x_bits)),
                sum_3.eq(Mux(first_2, 0, sum_3) + x_2),
                mean_4.eq(sum_3 >> held.shift),
            ]
            m.d.comb += self.x_write.data.word_select(lane, x_bits).eq(mean_4)
        return walk.active, address

    def _normalise(self, m: Module) -> tuple[Signal, Signal]:
        """Divide, then walk over the channels; return the reader's enable and address."""
        lanes, f = self.unit.lanes, self.engine.formats
        m.submodules.divider = divider = Divider(f.head_m, self.unit.r_bits)
        held = Signal(command_layout(commands.Normalise), reset_less=True)
        s1 = Signal(signed(self.unit.s1_bits), reset_less=True)
        address, y_w_addr = Signal(X_ADDR_BITS, reset_less=True), Signal.like(self.y_write.addr, reset_less=True)
        left, lane = Signal(len(held.channels)), Signal(range(lanes))  # channels that follow, and the next one's lane
        read_en = Signal()
        m.d.sync += [connect(self.stats.en, self.command.normalise.issue), connect(divider.start, self.stats.en)]
        m.d.comb += [
            connect(self.stats.addr, held.row),
            connect(divider.divisor, self.stats.data.r),
            connect(self.q_en, divider.done),
            connect(self.q_value, divider.quotient),
            read_en.eq((left != 0) & (lane == 0)),
        ]
        with m.If(divider.start):
            m.d.sync += connect(s1, self.stats.data.s1)
        with m.If(divider.done):
            m.d.sync += [connect(left, held.channels), lane.eq(0)]
        with m.Elif(left != 0):
            m.d.sync += [left.eq(left - 1), lane.eq(lane + 1)]
        with m.If(read_en):
            m.d.sync += address.eq(address + 1)
        with m.If(self.y_write.en):
            m.d.sync += y_w_addr.eq(y_w_addr + 1)
        with m.If(self.command.normalise.issue):
            command = self.command.normalise.fields
            m.d.sync += [held.eq(command), connect(address, command.x_addr), connect(y_w_addr, command.y_addr)]

        # Stage 2: the word of x as read. 3: its lowest lane is the channel. Then times N_c, minus S1, times Q.
        word_2, word_3 = (Signal(len(self.x_read.data), name=name, reset_less=True) for name in ("word_2", "word_3"))
        load_2 = delay_flag(m, read_en, 2, "load_2")
        x_3 = word_3[f.norm_shift : f.residual_bits].as_signed()
        channels = held.channels[: self.engine.max_embed_dim.bit_length()]
        block = self.engine.block_bits
        scaled = product(m, x_3, channels, "scaled", block=block, cycles=self.unit.scaled_cycles)
        centred = Signal(signed(self.unit.s1_bits + 1), reset_less=True)
        m.d.sync += [
            connect(word_2, self.x_read.data),
            word_3.eq(Mux(load_2, word_2, word_3 >> f.residual_bits)),
            centred.eq(scaled - s1),
        ]
        y = product(m, centred, divider.quotient, "normalised", block=block, cycles=self.unit.normalised_cycles)
        m.d.comb += [
            self.y_write.en.eq(delay_flag(m, left != 0, self.unit.y_stage, "channel")),
            connect(self.y_write.addr, y_w_addr),
            self.y_write.data.eq(y >> (f.head_m - f.head_frac_bits)),
        ]
        return read_en, address
