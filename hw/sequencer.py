"""The sequencer: walks the program of one process, image after image, and issues every operation at its time."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from ..sim.engine.commands import (
    DELAY_BITS,
    EDGE,
    JUMP_DELAY,
    MIN_DELAY,
    OPCODE_BITS,
    OPCODES,
    Base,
    Command,
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
from .parts.component import Component
from .parts.connect import connect, connect_address
from .parts.memory import LoadableMemory
from .parts.stream import LOAD_BUS, command_layout, command_port, given


class Sequencer(Component):
    """Issue the operations of a program's image, over and over while `active`.

    Timing: the first operation is issued `JUMP_DELAY` + 1 cycles after `start`, each further one `delay` cycles after
        the one before, plus the cycles in which `hold` was high, an `embed` found no strip or a `wait` nothing told. An
        operation is chosen one cycle before it is issued; in between its Eps is read. Words are read ahead, and what
        decides about an operation at hand are registers.

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
        Forget what is being chosen.
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
        kinds = (*self.process.issued, *self.process.own)
        at_hand = {kind: Signal(name=f"is_{kind.name}") for kind in kinds}
        delay = Signal(DELAY_BITS)  # from the operation at hand to the next
        left, ripe = Signal(DELAY_BITS), Signal()  # cycles until the cycle before its time; it is time
        due, issue, alone, jump = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            due.eq(self.active & ripe & ~self.hold),
            alone.eq(at_hand[Wait] & ~self.told),
            self.starved.eq(due & at_hand[Embed] & ~self.strip if self.process is EDGE else 0),
            issue.eq(due & ~self.starved & ~alone),
            self.tell.eq(issue & at_hand[Tell]),
            self.waited.eq(issue & at_hand[Wait]),
            self.image_done.eq(issue & at_hand[End]),
        ]
        with m.If(~self.hold):
            m.d.sync += [left.eq(left - 1), ripe.eq(ripe | (left == 0))]
        with m.If(issue):
            m.d.sync += [left.eq(delay - MIN_DELAY), ripe.eq(0)]
        with m.If(self.start):
            m.d.sync += [left.eq(JUMP_DELAY - MIN_DELAY), ripe.eq(0)]
        word, load = self._fetch(m, issue & ~jump, self.image_done | self.start, jump)
        with m.If(load):
            m.d.sync += delay.eq(word[OPCODE_BITS : OPCODE_BITS + DELAY_BITS])
            for kind, flag in at_hand.items():
                m.d.sync += flag.eq(word[:OPCODE_BITS] == OPCODES[kind])
        fields = word[OPCODE_BITS + DELAY_BITS :]
        bases: dict[str, Signal] = {}
        m.d.comb += jump.eq(self.start | self.image_done)
        if Loop in self.process.own:
            bases = self._loop(m, issue & at_hand[Loop], load, fields, jump)
        self._commands(m, issue, load, fields, at_hand, bases)
        return m

    def _fetch(self, m: Module, passed: Value, restart: Value, jump: Signal) -> tuple[Signal, Signal]:
        """Read the program two words ahead of the operation at hand; return the next word, and when it becomes that.

        Words move on in the cycle after an issue. A jump reads anew: the address, the memory's word, the next word and
        the operation at hand follow one after the other.
        """
        m.submodules.program = program = LoadableMemory(self.engine.load_memories[self.process.memory])
        self._pc = pc = Signal(16)
        passing, fill = Signal(), Signal(2)  # an operation was issued; cycles since a jump, one hot
        word, load, load_word = Signal(len(program.r_data), reset_less=True), Signal(), Signal()
        m.d.comb += [
            connect(program.load, self.load),
            connect(program.bank, self.bank),
            connect_address(program.r_addr, pc),
        ]
        m.d.sync += [
            passing.eq(passed),
            fill.eq(Cat(jump, fill[0])),
            load.eq(passed | fill[1]),
            load_word.eq(passed | fill.any()),
        ]
        with m.If(load_word):
            m.d.sync += connect(word, program.r_data)
        with m.If(passing | fill.any()):
            m.d.sync += pc.eq(pc + 1)
        with m.If(restart):
            m.d.sync += pc.eq(0)
        return word, load

    def _loop(self, m: Module, issue: Value, load: Signal, fields: Value, jump: Signal) -> dict[str, Signal]:
        """Build the block loop; return the base that each step of `loop` moves on."""
        loop, following = Signal(command_layout(Loop), reset_less=True), Signal(command_layout(Loop))
        count, last = Signal(8), Signal()  # `last`: the body was run for the last time
        bases = {
            step: Signal(20, name=step.replace("_step", "_base")) for step in Loop.layout() if step.endswith("_step")
        }
        m.d.comb += connect(following.as_value(), fields[: len(following.as_value())])
        with m.If(load):
            m.d.sync += [connect(loop, following), last.eq(count + 1 == following.count)]
        with m.If(issue & last):
            m.d.sync += [count.eq(0), *(base.eq(0) for base in bases.values())]
        with m.Elif(issue):
            m.d.comb += jump.eq(1)
            m.d.sync += [count.eq(count + 1), connect(self._pc, loop.target)]
            m.d.sync += [base.eq(base + loop[step]) for step, base in bases.items()]
        with m.If(self.start):
            m.d.sync += [count.eq(0), *(base.eq(0) for base in bases.values())]
        return bases

    def _commands(
        self,
        m: Module,
        issue: Signal,
        load: Signal,
        fields: Value,
        at_hand: dict[type[Command], Signal],
        bases: dict[str, Signal],
    ) -> None:
        """Decode the operation, add the bases of its block, and issue it in the next cycle."""
        eps = None
        if SignNorm in self.process.issued:
            m.submodules.norm_eps = eps = LoadableMemory(self.engine.load_memories["norm_eps"])
            m.d.comb += [connect(eps.load, self.load), connect(eps.bank, self.bank)]
        for kind in self.process.issued:
            plain = Signal(command_layout(kind), name=f"{kind.name}_fields")
            based = Signal(command_layout(kind), name=f"{kind.name}_based")
            command = given(self.command, kind)
            held = Signal(command_layout(kind), name=f"{kind.name}_held", reset_less=True)
            m.d.comb += [
                connect(plain.as_value(), fields[: len(plain.as_value())]),
                based.eq(plain),
                command.fields.eq(held),
            ]
            m.d.sync += command.issue.eq(issue & at_hand[kind] & ~self.cut)
            with m.If(load):
                m.d.sync += held.eq(based)
            for name, bits in kind.layout().items():
                if bits.base is not None:
                    m.d.comb += based[name].eq(plain[name] + self._base(bits.base, plain, bases))
            if eps is not None and kind in (SignNorm, HeadNorm):
                with m.If(at_hand[kind]):
                    m.d.comb += connect_address(eps.r_addr, held.eps)
                m.d.comb += connect(command.fields.eps, eps.r_data)

    @staticmethod
    def _base(base: Base, plain: data.View, bases: dict[str, Signal]) -> Value:
        """Return what to add to a field: only addresses of parameters move on, not those of operands or value sums."""
        value = bases[base.step]
        return Mux(plain[base.chooser] == base.choice, value, 0) if base.chooser else value
