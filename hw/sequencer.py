"""The sequencer: walks the program, issues every operation at its time, and counts what the streams make it wait."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..sim.engine.commands import DELAY_BITS, ISSUED, OPCODE_BITS, OPCODES, Base, Embed, End, HeadNorm, Loop, SignNorm
from ..sim.engine.config import EngineConfig
from .parts.connect import connect, connect_address
from .parts.memory import LoadableMemory
from .parts.stream import LOAD_BUS, command_layout, command_port, given


class Sequencer(wiring.Component):
    """Issue the program's operations, `limit` times over.

    The limit may become lower during a run, down to the number of the image at hand: that image will never be whole,
    so the run is cut there. After `stop` it is cut as well where an image would have to wait for room.

    Timing: the first operation is issued two cycles after `start`, each further one `delay` cycles after the one
        before, plus the cycles in which `hold` was high or an `embed` found no strip. The last `end`, or `cut`, clears
        `busy` in the next cycle; `cut` follows the change of the limit by one cycle, or two after the `end` of an
        image. An operation is chosen one cycle before it is issued; in between its Eps is read.

    Parameters
    ----------
    engine : EngineConfig
        Shape of the engine.

    Members
    -------
    start, stop : In(1)
        Begin with the first operation; do not wait for room any more.
    limit : In(32)
        Images to run, valid in the cycle after `start`, 1 or more there.
    strip : In(1)
        A strip of pixels is there.
    hold : In(1)
        There is no room for an image's logits: nothing is issued.
    busy, image : Out
        Running; number of the image at hand, from 0.
    image_done, done, cut : Out(1)
        Strobes: `end` of an image; the run ends; it ends within an image, whose operations must be forgotten.
    stall_pixels, stall_logits : Out(1)
        This cycle is lost to the pixel or logits stream.
    command : Out
        Issue and fields of each command of `ISSUED`.
    load, bank : In
        Load bus, and the bank in use.
    """

    def __init__(self, engine: EngineConfig):
        self.engine = engine
        super().__init__(
            {
                "start": In(1),
                "stop": In(1),
                "limit": In(32),
                "strip": In(1),
                "hold": In(1),
                "busy": Out(1),
                "image": Out(32),
                "image_done": Out(1),
                "done": Out(1),
                "cut": Out(1),
                "stall_pixels": Out(1),
                "stall_logits": Out(1),
                "command": Out(command_port(*ISSUED)),
                "load": In(LOAD_BUS),
                "bank": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build program memory, issue logic and loop."""
        m = Module()
        m.submodules.program = program = LoadableMemory(self.engine.load_memories["program"])
        pc = Signal(16)
        wait = Signal(DELAY_BITS)
        opcode = program.r_data[:OPCODE_BITS]
        delay = program.r_data[OPCODE_BITS : OPCODE_BITS + DELAY_BITS]
        fields = program.r_data[OPCODE_BITS + DELAY_BITS :]
        due, issue = Signal(), Signal()
        m.d.comb += [
            connect(program.load, self.load),
            connect(program.bank, self.bank),
            connect_address(program.r_addr, pc),
            due.eq(self.busy & (wait == 0)),
            self.stall_logits.eq(self.busy & self.hold),
            self.stall_pixels.eq(due & ~self.hold & (opcode == OPCODES[Embed]) & ~self.strip),
            issue.eq(due & ~self.hold & ~self.stall_pixels),
            self.image_done.eq(issue & (opcode == OPCODES[End])),
        ]
        self._run(m)
        with m.If(self.busy & (wait != 0) & ~self.hold):
            m.d.sync += wait.eq(wait - 1)
        with m.If(issue):
            m.d.sync += [wait.eq(delay - 1), pc.eq(pc + 1)]
        self._commands(m, issue, opcode, fields, self._loop(m, issue, opcode, fields, pc))
        with m.If(self.image_done | self.cut):
            m.d.sync += pc.eq(0)  # the first word is read before the start
        with m.If(self.start):
            m.d.sync += wait.eq(0)
        return m

    def _run(self, m: Module) -> None:
        """Count images from the start of a run to its end."""
        last, beyond, stopping = Signal(), Signal(), Signal()  # as the image at hand stood one cycle ago
        m.d.comb += [
            self.cut.eq(self.busy & (beyond | (stopping & self.hold))),
            self.done.eq((self.image_done & last) | self.cut),
        ]
        m.d.sync += [last.eq(self.image + 1 == self.limit), beyond.eq(self.image == self.limit)]
        with m.If(self.image_done):
            m.d.sync += self.image.eq(self.image + 1)
        with m.If(self.stop):
            m.d.sync += stopping.eq(1)
        with m.If(self.done):
            m.d.sync += self.busy.eq(0)
        with m.If(self.start):
            m.d.sync += [self.busy.eq(1), self.image.eq(0), last.eq(0), beyond.eq(0), stopping.eq(0)]

    def _loop(self, m: Module, issue: Signal, opcode: Signal, fields: Signal, pc: Signal) -> dict[str, Signal]:
        """Build the block loop; return the base that each step of `loop` moves on."""
        loop = Signal(command_layout(Loop))
        count = Signal(8)
        bases = {
            step: Signal(20, name=step.replace("_step", "_base")) for step in Loop.layout() if step.endswith("_step")
        }
        m.d.comb += connect(loop.as_value(), fields[: len(loop.as_value())])
        with m.If(issue & (opcode == OPCODES[Loop])):
            with m.If(count == loop.count - 1):
                m.d.sync += [count.eq(0), *(base.eq(0) for base in bases.values())]
            with m.Else():
                m.d.sync += [count.eq(count + 1), connect(pc, loop.target)]
                m.d.sync += [base.eq(base + loop[step]) for step, base in bases.items()]
        with m.If(self.start):
            m.d.sync += [count.eq(0), *(base.eq(0) for base in bases.values())]
        return bases

    def _commands(self, m: Module, issue: Signal, opcode: Signal, fields: Signal, bases: dict[str, Signal]) -> None:
        """Decode the operation, add the bases of its block, and issue it in the next cycle."""
        m.submodules.norm_eps = eps = LoadableMemory(self.engine.load_memories["norm_eps"])
        m.d.comb += [connect(eps.load, self.load), connect(eps.bank, self.bank)]
        for kind in ISSUED:
            plain = Signal(command_layout(kind), name=f"{kind.name}_fields")
            based = Signal(command_layout(kind), name=f"{kind.name}_based")
            command = given(self.command, kind)
            chosen = Signal(name=f"{kind.name}_chosen")
            issued = Signal(command_layout(kind), name=f"{kind.name}_issued", reset_less=True)
            m.d.comb += [
                connect(plain.as_value(), fields[: len(plain.as_value())]),
                chosen.eq(issue & (opcode == OPCODES[kind])),
                based.eq(plain),
                command.fields.eq(issued),
            ]
            m.d.sync += [command.issue.eq(chosen & ~self.cut), issued.eq(based)]
            for name, bits in kind.layout().items():
                if bits.base is not None:
                    m.d.comb += based[name].eq(plain[name] + self._base(bits.base, plain, bases))
            if kind in (SignNorm, HeadNorm):
                with m.If(chosen):
                    m.d.comb += connect_address(eps.r_addr, based.eps)
                m.d.comb += connect(command.fields.eps, eps.r_data)

    @staticmethod
    def _base(base: Base, plain: data.View, bases: dict[str, Signal]) -> Value:
        """Return what to add to a field: only addresses of parameters move on, not those of operands or value sums."""
        value = bases[base.step]
        return Mux(plain[base.chooser] == base.choice, value, 0) if base.chooser else value
