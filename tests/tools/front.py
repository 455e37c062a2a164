"""All of the engine but its datapath, in Amaranth's simulator: a stub computes, and senders and readers are random."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from amaranth.hdl import Cat, Fragment, Module, ResetInserter, Signal
from amaranth.lib import wiring
from bus import watched_simulator

from bivit.hw.datapath import Datapath, datapath_ports
from bivit.hw.engine import Engine
from bivit.hw.parts.contents import Contents
from bivit.sim.engine.commands import COMMANDS, JUMP_DELAY, End, Tell, Wait
from bivit.sim.engine.config import EngineConfig
from bivit.sim.engine.instructions import Instruction
from bivit.sim.engine.loadstream import build_stream
from bivit.sim.engine.registers import BY_NAME
from bivit.sim.units.front import LogitsUnit

LANES = 8


@dataclass(frozen=True)
class Shape:
    """Sizes of an image, of its answer, and of the queue."""

    pixel_bytes: int
    strip_beats: int
    strips: int
    classes: int
    queue: int

    @property
    def image_beats(self) -> int:
        return self.strip_beats * self.strips

    @property
    def engine(self) -> EngineConfig:
        limits = {"max_tokens": 8, "max_embed_dim": 8, "max_hidden_dim": 8, "max_heads": 1, "max_depth": 1}
        limits |= {"max_classes": self.classes, "max_patch_dim": 4, "program_words": 16, "queue_logits": self.queue}
        limits |= {"max_strip_bytes": self.strip_beats * self.pixel_bytes, "pixel_bytes": self.pixel_bytes}
        return EngineConfig(rows=1, columns=8, lanes=LANES, dense_lanes=8, **limits)

    def program(self) -> list[Instruction]:
        """A strip after the other, the core, the logits, the output; the delays leave the stub the time it takes."""
        strip_bytes, chunks = self.strip_beats * self.pixel_bytes, -(-self.classes // LANES)
        ops = [("embed", strip_bytes + 4, {"token": strip, "row_bytes": strip_bytes}) for strip in range(self.strips)]
        ops += [("tell", 2, {}), ("wait", 2, {}), ("logits", chunks + 3, {"groups": chunks})]
        ops += [("output", LogitsUnit.write_offset + self.classes, {"classes": self.classes}), ("end", JUMP_DELAY, {})]
        commands = {command.name: command for command in COMMANDS}
        zeros = {op: dict.fromkeys(command.layout(), 0) for op, command in commands.items()}
        return [Instruction(commands[op](**zeros[op] | fields), delay) for op, delay, fields in ops]

    def core_program(self) -> list[Instruction]:
        """Nothing but the meetings."""
        return [Instruction(Wait()), Instruction(Tell()), Instruction(End())]

    def cycles(self, images: int) -> int:
        """CYCLES of a run without stalls."""
        delays = [instruction.delay for instruction in self.program()]
        # The edge waits from two cycles after its `tell` to the core's answer: one for the flag, two to the core's
        # `tell`, one for the flag. The last logit goes one cycle before `end` is chosen.
        return images * (sum(delays) + 2) - delays[-1] + JUMP_DELAY

    def answer(self, pixels: list[int]) -> list[int]:
        total = 0
        for byte in pixels:
            total = (total * 5 + byte + 1) % (1 << 32)
        return [(total + label) % (1 << 32) for label in range(self.classes)]


class Stub(wiring.Component):
    """A datapath that reads strips byte by byte into one hash, and answers with it, a class more by one each."""

    commands = Datapath.commands

    def __init__(self, shape: Shape):
        super().__init__(datapath_ports(shape.engine))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        left, fetched, total = Signal(16), Signal(2), Signal(32)
        reading, chunks = Signal(), Signal(12)
        m.d.comb += [reading.eq(left != 0), self.strip_done.eq(left == 1)]
        m.d.sync += fetched.eq(Cat(reading, fetched[0]))
        with m.If(reading):
            m.d.sync += [left.eq(left - 1), self.pixels.addr.eq(self.pixels.addr + 1)]
        with m.If(self.command.embed.issue):
            m.d.sync += [left.eq(self.command.embed.fields.row_bytes), self.pixels.addr.eq(0)]
            with m.If(self.command.embed.fields.token == 0):
                m.d.sync += total.eq(0)
        with m.If(fetched[1]):
            m.d.sync += total.eq(total * 5 + self.pixels.data + 1)
        m.d.comb += [
            self.logit_write.en.eq(chunks != 0),
            *(
                self.logit_write.data.word_select(k, 32).eq(total + self.logit_write.addr * LANES + k)
                for k in range(LANES)
            ),
        ]
        with m.If(chunks != 0):
            m.d.sync += [chunks.eq(chunks - 1), self.logit_write.addr.eq(self.logit_write.addr + 1)]
        with m.If(self.command.logits.issue):
            m.d.sync += [chunks.eq(self.command.logits.fields.groups), self.logit_write.addr.eq(0)]
        return m


@dataclass
class Frame:
    """What the sender calls an image: bytes of each beat, TLAST on the last."""

    beats: list[list[int]]


@dataclass
class Sender:
    """Offers beat after beat and never withdraws one; `frames` grows as they are wanted."""

    shape: Shape
    rng: Random
    faults: float = 0.0
    pause: float = 0.0
    silent: bool = False
    frames: list[Frame] = field(default_factory=list)
    frame: int = 0  # at hand
    beat: int = 0
    offering: bool = False
    valid: bool = False

    def make(self) -> Frame:
        """Return a frame, right or broken."""
        beats, length = self.shape.image_beats, self.shape.image_beats
        if self.rng.random() < self.faults:
            lengths = [1, beats - 1, beats + 1, beats + 2, 2 * beats, self.rng.randint(1, 3 * beats)]
            length = self.rng.choice([n for n in lengths if n not in (0, beats)])
        return Frame([[self.rng.randrange(256) for _ in range(self.shape.pixel_bytes)] for _ in range(length)])

    def at(self, frame: int) -> Frame:
        while len(self.frames) <= frame:
            self.frames.append(self.make())
        return self.frames[frame]

    def drive(self, ctx: Any, dut: Engine) -> None:
        """Before a clock edge: offer the next beat, or pause."""
        if self.offering:
            return
        if self.silent or (self.pause and self.rng.random() < self.pause):
            if self.valid:
                ctx.set(dut.s_axis_pixels_tvalid, 0)
                self.valid = False
            return
        beats = self.at(self.frame).beats
        ctx.set(dut.s_axis_pixels_tdata, int.from_bytes(bytes(beats[self.beat]), "little"))
        ctx.set(dut.s_axis_pixels_tlast, self.beat == len(beats) - 1)
        if not self.valid:
            ctx.set(dut.s_axis_pixels_tvalid, 1)
        self.offering = self.valid = True

    def taken(self, ctx: Any, dut: Engine) -> None:
        """Tell that the offered beat is taken at this edge."""
        self.offering = False
        self.beat += 1
        if self.beat == len(self.frames[self.frame].beats):
            self.frame, self.beat = self.frame + 1, 0

    def reset(self) -> None:
        """Give up the rest of the frame at hand, as a reset of the host's DMA does."""
        self.offering = False
        if self.beat:
            self.frame, self.beat = self.frame + 1, 0


class Front:
    """The design with everything around it, cycle by cycle; a host is a generator that yields once a cycle."""

    def __init__(self, shape: Shape, *, embedded: bool = False):
        self.shape, self.embedded = shape, embedded
        self.dut, self.reset = Engine(shape.engine, Stub(shape)), Signal()
        self.ctx: Any = None
        self.sender, self.rng = Sender(shape, Random(0)), Random(0)
        self.reading = 1.0  # chance of a ready reader in a cycle
        self.logits: list[tuple[int, int, int]] = []
        self.waiting: tuple[int, int, int] | None = None
        self.ready = False
        self.stopped_at = (0, 0)  # frame and beat of the sender after the last stop

    def run(self, host: Generator[None, None, None]) -> None:
        """Simulate until the host ends."""
        # A sender that is reset withdraws its beat, against the rules of the bus and with every right.
        allowed = [("s_axis_pixels_t", "WITHDRAWN")]
        platform = Contents.of(self.shape.engine, self.words()) if self.embedded else None
        design = Fragment.get(ResetInserter(self.reset)(self.dut), platform)
        simulator = watched_simulator(design, self.dut, allowed=allowed, cycles=5000)

        async def bench(ctx: Any) -> None:
            self.ctx = ctx
            for _ in host:
                self.cycle()
                await ctx.tick()

        simulator.add_testbench(bench)
        simulator.run()

    def cycle(self) -> None:
        """Drive and watch the streams of one cycle."""
        ctx, dut = self.ctx, self.dut
        self.sender.drive(ctx, dut)
        if self.sender.offering and ctx.get(dut.s_axis_pixels_tready):
            self.sender.taken(ctx, dut)
        if ctx.get(dut._registers.stop):
            self.stopped_at = (self.sender.frame, self.sender.beat)
        valid = ctx.get(dut.m_axis_logits_tvalid)
        ready = self.reading == 1 or (self.reading > 0 and self.rng.random() < self.reading)
        if ready != self.ready:  # setting a signal costs as much as a cycle
            ctx.set(dut.m_axis_logits_tready, ready)
            self.ready = ready
        beat = None
        if valid:
            beat = (
                ctx.get(dut.m_axis_logits_tdata),
                ctx.get(dut.m_axis_logits_tuser),
                ctx.get(dut.m_axis_logits_tlast),
            )
        assert self.waiting is None or beat == self.waiting, "a beat was withdrawn or changed"
        self.waiting = None if ready else beat
        if beat is not None and ready:
            self.logits.append(beat)

    def write(self, name: str, value: int) -> Generator[None, None, None]:
        """Write a register in two cycles; in the second one it acts."""
        ctx, dut = self.ctx, self.dut
        ctx.set(dut.s_axil_awaddr, BY_NAME[name].offset)
        ctx.set(dut.s_axil_wdata, value)
        ctx.set(dut.s_axil_wstrb, 15)
        ctx.set(dut.s_axil_awvalid, 1)
        ctx.set(dut.s_axil_wvalid, 1)
        ctx.set(dut.s_axil_bready, 1)
        yield
        ctx.set(dut.s_axil_awvalid, 0)
        ctx.set(dut.s_axil_wvalid, 0)
        yield
        assert (ctx.get(dut.s_axil_bvalid), ctx.get(dut.s_axil_bresp)) == (1, 0)
        yield

    def read(self, name: str) -> Generator[None, None, int]:
        """Read a register."""
        ctx, dut = self.ctx, self.dut
        ctx.set(dut.s_axil_araddr, BY_NAME[name].offset)
        ctx.set(dut.s_axil_arvalid, 1)
        ctx.set(dut.s_axil_rready, 1)
        yield
        ctx.set(dut.s_axil_arvalid, 0)
        assert (ctx.get(dut.s_axil_rvalid), ctx.get(dut.s_axil_rresp)) == (1, 0)
        value: int = ctx.get(dut.s_axil_rdata)
        yield
        return value

    def words(self, network: int = 7) -> dict[str, dict[int, list[int]]]:
        """What a network of the shape's program has in the memories."""
        return {
            "settings": {0: [self.shape.strip_beats, self.shape.strips, network]},
            "edge_program": {0: [instruction.encode() for instruction in self.shape.program()]},
            "program": {0: [instruction.encode() for instruction in self.shape.core_program()]},
        }

    def load(self, network: int = 7) -> Generator[None, None, None]:
        """Send the load stream of the shape's program."""
        ctx, dut = self.ctx, self.dut
        stream = build_stream(self.shape.engine, self.words(network))
        for at in range(0, len(stream), 8):
            ctx.set(dut.s_axis_load_tdata, int.from_bytes(stream[at : at + 8], "little"))
            ctx.set(dut.s_axis_load_tlast, at + 8 == len(stream))
            ctx.set(dut.s_axis_load_tvalid, 1)
            while not ctx.get(dut.s_axis_load_tready):
                yield
            yield
        ctx.set(dut.s_axis_load_tvalid, 0)
        yield
