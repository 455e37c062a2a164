"""The dense unit: patch embedding and classifier in int8 (docs/semantics.md, paragraphs 1 and 11)."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib.wiring import In, Out

from ...sim.engine import commands
from ...sim.network.formats import DENSE_WEIGHT_BITS, HEAD_BIAS_BITS
from ...sim.units.dense import DenseUnit
from ..parts.arithmetic import delay_flag, delay_stages
from ..parts.component import Component
from ..parts.connect import connect, connect_address
from ..parts.memory import LoadableMemory
from ..parts.stream import LOAD_BUS, X_ADDR_BITS, command_layout, command_port, field_bits, read_port, write_port
from .dense_walk import DenseWalk
from .requantize import Requantizer


class Dense(Component):
    """`dense_lanes` multiply-accumulators that embed patches, copy prefix tokens and classify.

    The sums of a group of `dense_lanes` outputs are moved to a shadow register, from where they leave chunk by chunk
    while the next group is summed: through the requantizer to x, or with the bias to the logits.

    Timing: `sim.units.dense`; one multiplication a lane and cycle, a group every
        max(inputs, dense_lanes / lanes) cycles. Only one command at a time.
    Numerics: exact. Sums fit `DenseUnit.acc_bits`; see `Requantizer` for x. A logit is the sum plus the bias modulo
        2^32, so a network's biases must leave room for its sums.

    Parameters
    ----------
    unit : DenseUnit

    Members
    -------
    command : In
        `embed`, `prefix` and `logits`.
    pixels : Out(read_port)
        Reader of the strip of pixels, two cycles of latency.
    strip_done : Out(1)
        The last pixel of the strip is being read; the strip can be released in this cycle.
    y : Out(read_port)
        Reader of the normalised rows, one cycle of latency.
    x_write : Out(write_port)
        Writer of the residual.
    saturations : Out
        Lanes that were clamped in the word of x written one cycle ago.
    logit_write : Out(write_port)
        Writer of the logits, one chunk a word. The last group writes all its chunks, also those beyond the last class.
    load, bank : In
        Load bus, and the bank in use.
    """

    def __init__(self, unit: DenseUnit):
        self.unit, self.engine, self.commands = unit, unit.engine, unit.commands
        self.lanes, self.acc_bits, self.input_bits = unit.lanes, unit.acc_bits, unit.input_bits
        super().__init__(
            {
                "command": In(command_port(*self.commands)),
                "pixels": Out(read_port(field_bits(commands.Embed, "row_bytes"), 8, strobed=True)),
                "strip_done": Out(1),
                "y": Out(read_port(field_bits(commands.Normalise, "y_addr"), signed(unit.input_bits), strobed=True)),
                "x_write": Out(write_port(X_ADDR_BITS, unit.lanes * unit.engine.formats.residual_bits)),
                "saturations": Out(range(unit.lanes + 1)),
                "logit_write": Out(write_port(field_bits(commands.Output, "classes"), unit.lanes * HEAD_BIAS_BITS)),
                "load": In(LOAD_BUS),
                "bank": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the walk over the weights, the multipliers, the shadow register and its two ways out."""
        m = Module()
        m.submodules.walk = walk = DenseWalk(self.unit.group_chunks)
        memories = {name: self._memory(m, name) for name in self.unit.loadable}

        embed, logits = self.command.embed.fields, self.command.logits.fields
        classify = Signal()  # the running command is `logits`
        prefix = Signal()  # the running command is `prefix`
        with m.If(self.command.embed.issue | self.command.prefix.issue | self.command.logits.issue):
            m.d.sync += [connect(classify, self.command.logits.issue), connect(prefix, self.command.prefix.issue)]
        m.d.comb += [
            walk.start.eq(self.command.embed.issue | self.command.logits.issue),
            walk.rows.eq(Mux(self.command.logits.issue, 1, embed.patch_rows)),
            walk.row_length.eq(Mux(self.command.logits.issue, logits.inputs, embed.patch_row_bytes)),
            connect(walk.row_step, embed.row_bytes),
            walk.patches.eq(Mux(self.command.logits.issue, 1, embed.patches)),
            walk.groups.eq(Mux(self.command.logits.issue, logits.groups, embed.groups)),
            walk.weight_start.eq(Mux(self.command.logits.issue, logits.weight_addr, 0)),
            self.pixels.en.eq(walk.en & ~classify),
            self.strip_done.eq(walk.strip_last & ~classify),
            connect(self.pixels.addr, walk.pixel_addr),
        ]
        sums = self._stage_sums(m, walk, classify, memories["dense_weights"])
        chunk_en, chunk, chunk_1 = self._stage_chunks(m, sums, classify, prefix)
        m.d.comb += [connect_address(memories[name].r_addr, chunk) for name in ("patch_params", "head_bias")]
        self._stage_residual(m, chunk_en & ~classify, chunk_1, prefix, memories)
        self._stage_logits(m, chunk_en & classify, chunk, chunk_1, memories["head_bias"].r_data)
        return m

    def _memory(self, m: Module, name: str) -> LoadableMemory:
        """Add a loadable memory."""
        memory = LoadableMemory(self.unit.load_memories[name])
        m.submodules[name] = memory
        m.d.comb += [connect(memory.load, self.load), connect(memory.bank, self.bank)]
        return memory

    def _stage_sums(
        self, m: Module, walk: DenseWalk, classify: Signal, weights: LoadableMemory
    ) -> tuple[Signal, list[Signal]]:
        """Multiply and add; return the strobe of a group's complete sums, and the sums of all lanes."""
        # Pixels come after two cycles; y is registered to come with them, and weights are addressed a cycle later.
        weight_addr_1 = Signal(len(weights.r_addr), reset_less=True)
        first, last = Signal(4), Signal(5)  # bit k: the step is in the registers of stage k + 1
        y_2 = Signal(signed(self.input_bits), reset_less=True)
        input_3 = Signal(signed(self.input_bits), reset_less=True)
        m.d.sync += [
            connect_address(weight_addr_1, walk.weight_addr),
            first.eq(Cat(walk.first, first[:-1])),
            last.eq(Cat(walk.last, last[:-1])),
            connect(y_2, self.y.data),
            input_3.eq(Mux(classify, y_2, self.pixels.data)),
        ]
        m.d.comb += [
            self.y.en.eq(walk.en & classify),
            connect(self.y.addr, walk.offset),
            connect(weights.r_addr, weight_addr_1),
        ]
        sums = []
        for lane in range(self.unit.multipliers):
            weight_3 = Signal(signed(DENSE_WEIGHT_BITS), name=f"weight_3_{lane}", reset_less=True)
            product_4 = Signal(signed(self.input_bits + DENSE_WEIGHT_BITS), name=f"product_4_{lane}", reset_less=True)
            acc_5 = Signal(signed(self.acc_bits), name=f"acc_5_{lane}", reset_less=True)
            # Without enables: what is added between groups is gone with the first step of the next one.
            m.d.sync += [
                weight_3.eq(weights.r_data.word_select(lane, DENSE_WEIGHT_BITS)),
                product_4.eq(input_3 * weight_3),
                acc_5.eq(Mux(first[3], 0, acc_5) + product_4),
            ]
            sums.append(acc_5)
        return last[4], sums

    def _stage_chunks(
        self, m: Module, sums: tuple[Signal, list[Signal]], classify: Signal, prefix: Signal
    ) -> tuple[Signal, Signal, Signal]:
        """Shift a group's chunks out of the shadow register; return enable, number and, a cycle later, the chunk."""
        captured, accs = sums
        chunk_bits = self.lanes * self.acc_bits
        shadow = Signal(len(accs) * self.acc_bits, reset_less=True)
        chunk_1 = Signal(chunk_bits, reset_less=True)
        embed = self.command.embed.fields
        chunk = Signal.like(self.logit_write.addr, reset_less=True)
        last_chunk = Signal(len(embed.chunks), reset_less=True)
        remaining = Signal(len(self.command.prefix.fields.words))  # of the group, or words of the prefix tokens
        chunk_en = Signal()
        m.d.comb += chunk_en.eq(remaining.any())

        # The shadow register moves in every cycle, so that thousands of bits hang on one signal only.
        m.d.sync += [chunk_1.eq(shadow[:chunk_bits]), shadow.eq(shadow >> chunk_bits)]
        with m.If(chunk_en):
            m.d.sync += [remaining.eq(remaining - 1), chunk.eq(chunk + 1)]
            with m.If(~classify & ~prefix & (chunk == last_chunk)):
                m.d.sync += [remaining.eq(0), chunk.eq(0)]
        with m.If(captured):
            m.d.sync += [shadow.eq(Cat(*accs)), connect(remaining, self.unit.group_chunks)]
        with m.If(self.command.embed.issue | self.command.prefix.issue | self.command.logits.issue):
            m.d.sync += [chunk.eq(0), last_chunk.eq(embed.chunks - 1)]
        with m.If(self.command.prefix.issue):
            m.d.sync += connect(remaining, self.command.prefix.fields.words)
        return chunk_en, chunk, chunk_1

    def _stage_residual(
        self, m: Module, en: Value, chunk_1: Signal, prefix: Signal, memories: dict[str, LoadableMemory]
    ) -> None:
        """Requantize chunks, and count through the words of the positions and of x."""
        engine, command = self.engine, self.command.embed.fields
        m.submodules.requantizer = requantizer = Requantizer(
            lanes=self.lanes,
            acc_bits=self.acc_bits,
            residual_bits=engine.formats.residual_bits,
            block=engine.block_bits,
        )
        started, multiplied, en_1 = Signal(), Signal(), Signal()
        held = Signal(command_layout(commands.Embed), reset_less=True)
        token = Signal(len(command.token), reset_less=True)
        shift_less_one = Signal(len(command.shift), reset_less=True)
        position = Signal.like(self.x_write.addr, reset_less=True)
        x_row = Signal.like(self.x_write.addr, reset_less=True)
        x_chunk = Signal(len(self.command.prefix.fields.words), reset_less=True)
        # The first chunk wants its position four cycles later at the earliest, so the products have registers.
        first_position, first_row = Signal.like(position, reset_less=True), Signal.like(x_row, reset_less=True)
        m.d.sync += [
            *(en_1.eq(en), multiplied.eq(started)),
            started.eq(self.command.embed.issue | self.command.prefix.issue),
            *(first_position.eq(token * held.chunks), first_row.eq(token * held.stride)),
        ]
        with m.If(self.command.embed.issue | self.command.prefix.issue):
            # Prefix tokens come first, and are copied word by word: token 0, and no end of a row.
            m.d.sync += [
                *(held.eq(command), shift_less_one.eq(command.shift - 1)),
                token.eq(Mux(self.command.prefix.issue, 0, command.token)),
            ]
        with m.If(multiplied):
            m.d.sync += [connect(position, first_position), connect(x_row, first_row), x_chunk.eq(0)]
        with m.If(requantizer.position_en):
            m.d.sync += position.eq(position + 1)
        with m.If(requantizer.x_en):
            m.d.sync += x_chunk.eq(x_chunk + 1)
            with m.If(~prefix & (x_chunk + 1 == held.chunks)):
                m.d.sync += [x_chunk.eq(0), x_row.eq(x_row + held.stride)]
        m.d.comb += [
            connect(requantizer.en, en_1),
            connect(requantizer.acc, chunk_1),
            connect(requantizer.params, memories["patch_params"].r_data),
            connect(requantizer.shift_less_one, shift_less_one),
            connect(requantizer.bypass, prefix),
            connect(requantizer.position, memories["positions"].r_data),
            connect_address(memories["positions"].r_addr, position),
            connect(self.x_write.en, requantizer.x_en),
            self.x_write.addr.eq(x_row + x_chunk),
            connect(self.x_write.data, requantizer.x),
            connect(self.saturations, requantizer.saturations),
        ]

    def _stage_logits(self, m: Module, en: Value, chunk: Signal, chunk_1: Signal, bias: Value) -> None:
        """Register the bias, add it and write."""
        number_3 = delay_stages(m, chunk, self.unit.logits_write_cycles, "number", reset_less=True)[-1]
        bias_2, chunk_2 = Signal.like(bias, reset_less=True), Signal.like(chunk_1, reset_less=True)
        m.d.sync += [bias_2.eq(bias), chunk_2.eq(chunk_1)]
        m.d.comb += [
            self.logit_write.en.eq(delay_flag(m, en, self.unit.logits_write_cycles, "logits_en")),
            connect(self.logit_write.addr, number_3),
        ]
        for lane in range(self.lanes):
            acc = chunk_2.word_select(lane, self.acc_bits).as_signed()
            logit = acc + bias_2.word_select(lane, HEAD_BIAS_BITS).as_signed()
            m.d.sync += self.logit_write.data.word_select(lane, HEAD_BIAS_BITS).eq(logit)
