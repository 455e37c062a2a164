"""ResidualAdd: queued sums of proj and fc2 are scaled and added to x; the new x is staged and summed for the norm."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ...sim.flow.residual_add import ResidualAddUnit
from ...sim.flow.sign_norm import SignNormUnit
from ..parts.arithmetic import Tree, delay_flag, delayed, product
from ..parts.component import Component
from ..parts.connect import connect, connect_address
from ..parts.fixed import saturate_signed
from ..parts.memory import LoadableMemory
from ..parts.multiply_add import MultiplyPlus
from ..parts.stream import LOAD_BUS, read_port, write_port
from .group_walk import GroupWalk
from .jobs import Credits, JobQueue, following, scaled
from .norm_lanes import channel_mask
from .part_memory import PartMemory
from .row_statistics import RowStatistics, stats_write


class ResidualAdd(Component):
    """``X = saturate(X + Scale * acc + Bias)`` for a tile's column group a job; the array's sums are acc / 2.

    A job takes row group after row group, the parts of its rows one after the other. Where a norm follows, the new x,
    shifted right by `norm_shift`, is staged as well, and each row's S1 and S2 are summed up over the column groups of
    the tile; after its last group the rows' S1 and R go to SignNorm. A job that loads only does that, with a whole
    tile.

    Timing: `ResidualAddUnit.times` and `ResidualAddUnit.roots`. A job with sums is given with the first word of its
    sums, or before; jobs are taken in the order in which they are given, one a cycle at most.

    Numerics: exact; saturates at `residual_bits`, and `saturations` counts the channels of the tile's rows that did.

    Parameters
    ----------
    unit : ResidualAddUnit

    Members
    -------
    put, job : In
        A job, when `put`.
    sums_en, sums_last, sums : In
        Sums of `drain_rows` rows, row after row, and whether they are the last ones of their job.
    x_read : Out(read_port)
        Reader of x, data `ResidualAddUnit.x_cycles` after the address; `en` tells the addresses that count.
    x_write : Out(write_port)
        The new word of x.
    staged : Out(write_port)
        The same, for SignNorm.
    stats : Out
        S1 and R of a row, for SignNorm: `en`, the row group's word in the memory of rows, the row in it.
    tile_put, tile, tile_ready : Out
        A tile for SignNorm; whether its first rows' S1 and R are about to be there.
    sums_read : Out(1)
        Pulse: the sums of a job have been read, and their slot is free.
    written, finished : Out(1)
        Pulse: x of a tile is complete; of an image.
    saturations : Out
        Elements that saturated; only the total matters.
    load, bank : In
        Load bus, and the bank in use.
    """

    def __init__(self, unit: ResidualAddUnit):
        self.unit, self.flow, self.engine = unit, unit.flow, unit.flow.engine
        self.statistics = RowStatistics(unit)
        self.fields = data.StructLayout(unit.job)
        staging = SignNormUnit(unit.flow).memories["staging"]
        super().__init__(
            {
                "put": In(1),
                "job": In(self.fields),
                "sums_en": In(1),
                "sums_last": In(1),
                "sums": In(unit.memories["residual_queue"].width),
                **self._x_ports(unit),
                "staged": Out(write_port(unit.address_bits(staging.depth), staging.width)),
                "stats": Out(stats_write(unit)),
                "tile_put": Out(1),
                "tile": Out(self.statistics.tile_layout),
                "tile_ready": Out(1),
                "sums_read": Out(1),
                "written": Out(1),
                "finished": Out(1),
                "saturations": Out(range(unit.lanes + 1)),
                "load": In(LOAD_BUS),
                "bank": In(1),
            }
        )

    def _x_ports(self, unit: ResidualAddUnit) -> dict[str, wiring.Member]:
        """Return the ports of x by name."""
        word, bits = unit.lanes * self.engine.formats.residual_bits, unit.x_addr_bits
        return {"x_read": Out(read_port(bits, word, strobed=True)), "x_write": Out(write_port(bits, word))}

    def elaborate(self, platform: object) -> Module:
        """Take a job, walk (stage 0), read and add, stage and sum."""
        m = Module()
        u = self.unit
        m.submodules.walk = walk = GroupWalk(self.engine.rows, u.side, u.parts)
        head, take = self._take(m, walk)
        held = Signal(self.fields, reset_less=True)
        with m.If(take):
            m.d.sync += connect(held.as_value(), head.as_value())
        offset = self._offset(m, walk, head, take)
        part = Signal(range(u.row_words))
        m.d.comb += part.eq(Cat(walk.word[: (u.parts - 1).bit_length()], held.group)[: len(part)])
        row_mask = delayed(m, walk.here, u.write_stage, "row_mask")
        columns = delayed(m, channel_mask(m, part, held.channels, u.columns, "mask"), u.write_stage - 1, "column_mask")
        mask = [columns & row_mask[row].replicate(u.columns) for row in range(u.side)]

        half = self._late(m, self._sums(m, walk, held.load, take & ~head.load), "sums_delay")
        adds = walk.active & ~held.load
        new, overflow = self._add(m, half, self._parameters(m, walk, held), self._alone(m, held))
        self._addresses(m, walk, held, offset)
        m.d.comb += [
            self.x_write.en.eq(self._row_enables(m, adds, row_mask)),
            self.x_write.data.eq(Cat(new)),
            self.written.eq(delay_flag(m, walk.end & held.last & ~held.load, u.write_stage, "written_line")),
            self.finished.eq(delay_flag(m, walk.end & held.final & ~held.load, u.write_stage, "finished_line")),
        ]
        counted = Cat(Cat(bits) & row for bits, row in zip(self._rows(overflow), mask, strict=True))
        self._saturations(m, counted & self._written.replicate(u.lanes))
        self._statistics(m, walk, held, new, mask)
        return m

    def _late(self, m: Module, value: Value, name: str) -> Value:
        """What is needed beside x, which may come later."""
        return value

    def _alone(self, m: Module, held: data.View) -> Value | None:
        """Whether x is left out, beside its word; None where it never is."""
        return None

    def _row_enables(self, m: Module, adds: Value, row_mask: Value) -> Value:
        """Which rows of x are written, in `write_stage`."""
        return delay_flag(m, adds, self.unit.write_stage, "x_write_en")

    @property
    def _written(self) -> Value:
        """Whether x is written."""
        return self.x_write.en

    def _rows(self, lanes: list[Value]) -> list[list[Value]]:
        """Lanes by row of the row group."""
        columns = self.unit.columns
        return [lanes[row * columns : (row + 1) * columns] for row in range(self.unit.side)]

    def _take(self, m: Module, walk: GroupWalk) -> tuple[data.View, Signal]:
        """Queue the jobs, count complete sums; return the first job, and whether it begins in the next cycle."""
        u = self.unit
        m.submodules.jobs = jobs = JobQueue(u.job, u.job_slots)
        m.submodules.complete = complete = Credits(self.flow.residual_slots)
        take, arrived = Signal(), Signal()
        head, through = self._phase(m, jobs.job, take)
        # Which of the last cycles began a job: jobs are `least_cycles` apart.
        taken = Signal(u.least_cycles - 1)
        m.d.sync += [taken.eq(Cat(take, taken[:-1])), arrived.eq(self.sums_en & self.sums_last)]
        m.d.comb += [
            connect(jobs.put, self.put),
            connect(jobs.put_job.as_value(), self.job.as_value()),
            complete.give.eq(arrived),
            take.eq(jobs.valid & walk.idle & ~taken.any() & (head.load | complete.some)),
            jobs.take.eq(take & through),
            complete.take.eq(take & ~head.load),
            walk.start.eq(take),
            connect(walk.rows, head.rows),
            walk.words.eq(u.parts),
        ]
        return head, take

    def _phase(self, m: Module, job: data.View, take: Value) -> tuple[data.View, Value]:
        """What is done of a job next, as a job with `load` and `norm` of its own, and whether it is the last of that.

        The sums come first, then each column group of a tile that is read.
        """
        head = Signal(self.fields)
        added = Signal()  # the sums are through
        group = Signal.like(job.group)
        last = Signal()
        m.d.comb += [head.eq(job), head.load.eq(0), last.eq(group == job.groups)]
        with m.If(~job.sums | added):
            m.d.comb += [
                *(head.load.eq(1), head.norm.eq(1), head.first.eq(group == 0), head.last.eq(last)),
                *(connect(head.group, group), connect(head.x_addr, job.load_addr)),
            ]
        through = Mux(head.load, last, ~job.load)
        with m.If(take):
            m.d.sync += added.eq(~through)
            with m.If(head.load):
                m.d.sync += group.eq(Mux(last, 0, group + 1))
        return head, through

    def _offset(self, m: Module, walk: GroupWalk, head: data.View, take: Value) -> Value:
        """Stage 0: the word within the tile, row groups being as far apart as all parts of all groups are many."""
        u = self.unit
        shift, columns = (u.parts - 1).bit_length(), self.engine.columns
        offset = Signal(range(u.tile_words), reset_less=True)
        row = Signal.like(offset, reset_less=True)
        stride = Signal(range(u.row_words + 1), reset_less=True)
        m.d.sync += offset.eq(offset + 1)
        with m.If(walk.group_end):
            m.d.sync += [offset.eq(row + stride), row.eq(row + stride)]
        with m.If(take):
            groups = (head.channels + (columns - 1)) >> (columns.bit_length() - 1)
            m.d.sync += [
                offset.eq(head.group << shift),
                row.eq(head.group << shift),
                stride.eq(groups << shift),
            ]
        return offset

    def _sums(self, m: Module, walk: GroupWalk, load: Value, take: Value) -> Value:
        """The queue of sums: written a word a cycle, read a part a cycle; the part is there in stage 2."""
        u, flow = self.unit, self.flow
        queue = u.memories["residual_queue"]
        words, depth = flow.drain_cycles, queue.depth
        m.submodules.queue = store = PartMemory(queue.width // u.drain_parts, u.drain_parts, depth)
        base = Signal(range(depth), init=words % depth)  # of the slot after the one that is written
        m.d.sync += self.sums_read.eq(walk.end & ~load)
        m.d.comb += [
            connect(store.w_en, self.sums_en),
            connect(store.w_data, self.sums),
        ]
        with m.If(self.sums_en):
            m.d.sync += store.w_addr.eq(store.w_addr + 1)
            with m.If(self.sums_last):
                m.d.sync += [connect(store.w_addr, base), base.eq(following(base, depth, words))]

        slot = Signal(range(depth))  # the first word of the job that is taken next
        groups = u.drain_parts // u.parts
        group = Signal(range(groups), reset_less=True)
        with m.If(walk.group_end):
            m.d.sync += group.eq(group + 1)
            with m.If(group == groups - 1):
                m.d.sync += [group.eq(0), store.r_addr[0].eq(store.r_addr[0] + 1)]
        with m.If(take):
            m.d.sync += [
                *(connect(store.r_addr[0], slot), group.eq(0)),
                slot.eq(following(slot, depth, words)),
            ]
        m.d.comb += store.r_part[0].eq(Cat(walk.word[: (u.parts - 1).bit_length()], group))
        return store.r_data[0]

    def _parameters(self, m: Module, walk: GroupWalk, held: data.View) -> list[tuple[Signal, Signal]]:
        """Scale and Bias of each column, registered in `operand_stage`; 0 for a job that adds nothing."""
        u, f = self.unit, self.engine.formats
        m.submodules.residual = params = LoadableMemory(u.load_memories["residual"])
        m.d.comb += [
            connect(params.load, self.load),
            connect(params.bank, self.bank),
            connect_address(params.r_addr, self._late(m, held.param_addr + walk.word, "param_delay")),
        ]
        load = Signal()
        m.d.sync += load.eq(self._late(m, held.load, "load_delay"))
        found = []
        for column in range(u.columns):
            word = params.r_data.word_select(column, f.scale_bits + f.residual_bits)
            scale = Signal(signed(f.scale_bits), name=f"scale_{column}", reset_less=True)
            bias = Signal(signed(f.residual_bits), name=f"bias_{column}", reset_less=True)
            m.d.sync += [scale.eq(word[: f.scale_bits]), bias.eq(word[f.scale_bits :])]
            with m.If(load):
                m.d.sync += [scale.eq(0), bias.eq(0)]
            found.append((scale, bias))
        return found

    def _add(
        self, m: Module, half: Value, parameters: list[tuple[Signal, Signal]], alone: Value | None
    ) -> tuple[list[Value], list[Value]]:
        """Product and x with Bias, their sum in `write_stage`: the new x, and whether it saturated.

        The multiplier's own adder takes x with Bias, or another one a cycle later. Where sums are a new x, it takes
        Bias alone.
        """
        u, engine = self.unit, self.engine
        width, acc_bits = engine.formats.residual_bits, engine.acc_bits
        x_stage = u.x_read_stage + u.read_cycles
        biases = delayed(m, Cat(bias for _, bias in parameters), x_stage - u.operand_stage, "bias_delay")
        new: list[Value] = []
        overflow: list[Value] = []
        for lane in range(u.lanes):
            column = lane % u.columns
            acc = Cat(Const(0, 1), half.word_select(lane, acc_bits)).as_signed()
            base = Signal(signed(width + 1), name=f"base_{lane}", reset_less=True)
            bias = biases.word_select(column, width).as_signed()
            m.d.sync += base.eq(self.x_read.data.word_select(lane, width).as_signed() + bias)
            if alone is not None:
                with m.If(alone):
                    m.d.sync += base.eq(bias)
            result = Signal(width, name=f"new_{lane}", reset_less=True)
            saturated = Signal(name=f"saturated_{lane}", reset_less=True)
            limited, over = saturate_signed(self._sum(m, lane, base, parameters[column][0], acc), width)
            m.d.sync += [result.eq(limited), saturated.eq(over)]
            new.append(result)
            overflow.append(saturated)
        return new, overflow

    def _sum(self, m: Module, lane: int, base: Value, scale: Value, acc: Value) -> Value:
        """Return the sum of a product and x with Bias, of which the later one is there in `add_stage`."""
        u = self.unit
        if not u.fused:
            cycles = u.add_stage - u.operand_stage
            return base + product(m, scale, acc, f"product{lane}", block=self.engine.block_bits, cycles=cycles)
        added = MultiplyPlus(*u.scaled, max(len(base), sum(u.scaled)) + 1)
        m.submodules[f"product{lane}"] = added
        m.d.comb += [connect(added.a, scale), connect(added.b, acc), connect(added.c, base)]
        return added.sum

    def _addresses(self, m: Module, walk: GroupWalk, held: data.View, offset: Value) -> None:
        """Addresses of x (read in `x_read_stage`, written in `write_stage`) and of the staged x."""
        u = self.unit
        x_addr = Signal(u.x_addr_bits, reset_less=True)
        staged_addr = Signal.like(self.staged.addr, reset_less=True)
        base = Signal.like(self.staged.addr, reset_less=True)
        # The slot is known a cycle before it is needed; its place comes out of a table.
        m.d.comb += base.eq(scaled(held.slot, self.flow.staged_tiles, u.tile_words))
        m.d.sync += [x_addr.eq(held.x_addr + offset), staged_addr.eq(base + offset)]
        read = delayed(m, x_addr, u.x_read_stage - 1, "x_read_delay")
        m.d.comb += [
            connect(self.x_read.addr, read),
            self.x_read.en.eq(delay_flag(m, walk.active, u.x_read_stage, "x_read_line")),
            connect(self.x_write.addr, delayed(m, read, u.write_stage - u.x_read_stage, "x_write_delay")),
            connect(self.staged.addr, delayed(m, staged_addr, u.write_stage - 1, "staged_delay")),
            self.staged.en.eq(delay_flag(m, walk.active & held.norm, u.write_stage, "staged_en")),
        ]

    def _saturations(self, m: Module, counted: Value) -> None:
        """Count lanes, a register after every second level."""
        m.submodules.count = count = Tree(1, self.unit.lanes, "sum")
        lanes = Signal(self.unit.lanes, reset_less=True)
        m.d.sync += lanes.eq(counted)
        m.d.comb += [connect(count.i.as_value(), lanes), connect(self.saturations, count.o[: len(self.saturations)])]

    def _statistics(self, m: Module, walk: GroupWalk, held: data.View, new: list[Value], mask: list[Value]) -> None:
        """Stage the new x, and sum it up where it holds channels of the tile's rows."""
        u = self.unit
        m.submodules.statistics = s = self.statistics
        shift = self.engine.formats.norm_shift
        x = Signal(s.x.shape(), reset_less=True)
        m.d.comb += [self.staged.data.eq(Cat(value[shift:] for value in new)), connect(s.x.as_value(), x.as_value())]
        for lane, value in enumerate(new):
            m.d.sync += x[lane].eq(value[shift:])
            with m.If(~mask[lane // u.columns][lane % u.columns]):
                m.d.sync += x[lane].eq(0)
        begun = Signal()
        m.d.sync += begun.eq(walk.start)
        m.d.comb += [
            s.en.eq(walk.active & held.norm),
            *(s.row_first.eq(walk.word == 0), s.row_last.eq(walk.last)),
            *(s.begins.eq(held.first), s.ends.eq(held.last)),
            *(connect(s.slot, held.slot), connect(s.group, walk.group)),
            s.put.eq(begun & held.norm & held.last),
            *(connect(s.put_tile[name], held[name]) for name in s.fields.members),
            *(connect(self.stats[name], s.stats[name]) for name in s.stats.shape().members),
            *(connect(self.tile_put, s.tile_put), connect(self.tile_ready, s.tile_ready)),
            connect(self.tile.as_value(), s.tile.as_value()),
        ]
