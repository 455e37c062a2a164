"""The sequencer: walks the program of one process, image after image, and issues every operation at its time."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..sim.engine.commands import (
    DELAY_BITS,
    EDGE,
    OPCODE_BITS,
    OPCODES,
    Base,
    Embed,
    End,
    HeadNorm,
    Loop,
    Process,
    SignNorm,
    Tell,
    Wait,
)
from ..sim.engine.config import EngineConfig
from .parts.connect import connect, connect_address
from .parts.memory import LoadableMemory
from .parts.stream import LOAD_BUS, command_layout, command_port, given


class Sequencer(wiring.Component):
    """Issue the operations of a program's image, over and over while `active`.

    Timing: the first operation is issued two cycles after `start`, each further one `delay` cycles after the one
        before, plus the cycles in which `hold` was high, an `embed` found no strip or a `wait` nothing told. An
        operation is chosen one cycle before it is issued; in between its Eps is read.

    Parameters
    ----------
    engine : EngineConfig
        Shape of the engine.
    process : Process
        `EDGE` or `CORE`: which program, and the commands in it.

    Members
    -------
    start : In(1)
        Begin with the first operation.
    active : In(1)
        Go on; high from the cycle after `start` on.
    cut : In(1)
        Forget what is being chosen, and begin with the first operation again.
    strip : In(1)
        A strip of pixels is there: an `embed` may be issued.
    told : In(1)
        The other process has told: a `wait` may pass.
    hold : In(1)
        Time stands still: nothing is issued.
    tell, waited, image_done : Out(1)
        Strobes: a `tell` and a `wait` are passed; the `end` of an image.
    starved : Out(1)
        This cycle is lost because there is no strip.
    command : Out
        Issue and fields of each command of the process.
    load, bank : In
        Load bus, and the bank in use.
    """

    def __init__(self, engine: EngineConfig, process: Process):
        self.engine, self.process = engine, process
        super().__init__(
            {
                "start": In(1),
                "active": In(1),
                "cut": In(1),
                "strip": In(1),
                "told": In(1),
                "hold": In(1),
                "tell": Out(1),
                "waited": Out(1),
                "image_done": Out(1),
                "starved": Out(1),
                "command": Out(command_port(*process.issued)),
                "load": In(LOAD_BUS),
                "bank": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build program memory, issue logic and loop."""
        m = Module()
        m.submodules.program = program = LoadableMemory(self.engine.load_memories[self.process.memory])
        pc = Signal(16)
        wait = Signal(DELAY_BITS)
        opcode = program.r_data[:OPCODE_BITS]
        delay = program.r_data[OPCODE_BITS : OPCODE_BITS + DELAY_BITS]
        fields = program.r_data[OPCODE_BITS + DELAY_BITS :]
        due, issue, alone = Signal(), Signal(), Signal()
        m.d.comb += [
            connect(program.load, self.load),
            connect(program.bank, self.bank),
            connect_address(program.r_addr, pc),
            due.eq(self.active & (wait == 0) & ~self.hold),
            alone.eq((opcode == OPCODES[Wait]) & ~self.told),
            self.starved.eq(due & (opcode == OPCODES[Embed]) & ~self.strip if self.process is EDGE else 0),
            issue.eq(due & ~self.starved & ~alone),
            self.tell.eq(issue & (opcode == OPCODES[Tell])),
            self.waited.eq(issue & (opcode == OPCODES[Wait])),
            self.image_done.eq(issue & (opcode == OPCODES[End])),
        ]
        with m.If(self.active & (wait != 0) & ~self.hold):
            m.d.sync += wait.eq(wait - 1)
        with m.If(issue):
            m.d.sync += [wait.eq(delay - 1), pc.eq(pc + 1)]
        bases = {} if self.process is EDGE else self._loop(m, issue, opcode, fields, pc)
        self._commands(m, issue, opcode, fields, bases)
        with m.If(self.image_done | self.cut):
            m.d.sync += pc.eq(0)  # the first word is read before the start
        with m.If(self.start):
            m.d.sync += wait.eq(0)
        return m

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
        eps = None
        if SignNorm in self.process.issued:
            m.submodules.norm_eps = eps = LoadableMemory(self.engine.load_memories["norm_eps"])
            m.d.comb += [connect(eps.load, self.load), connect(eps.bank, self.bank)]
        for kind in self.process.issued:
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
            if eps is not None and kind in (SignNorm, HeadNorm):
                with m.If(chosen):
                    m.d.comb += connect_address(eps.r_addr, based.eps)
                m.d.comb += connect(command.fields.eps, eps.r_data)

    @staticmethod
    def _base(base: Base, plain: data.View, bases: dict[str, Signal]) -> Value:
        """Return what to add to a field: only addresses of parameters move on, not those of operands or value sums."""
        value = bases[base.step]
        return Mux(plain[base.chooser] == base.choice, value, 0) if base.chooser else value
