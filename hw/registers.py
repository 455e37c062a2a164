"""The control registers behind AXI4-Lite, built from the map in `sim.engine.registers`."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib.wiring import In, Out

from ..sim.engine.registers import (
    ADDR_BITS,
    BY_NAME,
    COUNTERS,
    ErrorCode,
    Register,
    constants,
    error_codes,
    registers_of,
)
from ..sim.engine.target import Target
from .parts.component import Component
from .parts.connect import connect

OKAY, SLVERR = 0, 2

#: Registers that show a port of the same name in lower case.
_SHOWN = ("DONE", "SATURATIONS", "LOADS_OK", "LOADS_BAD", "NETWORK", "QUEUE")

#: Ports of an AXI4-Lite slave.
AXI_LITE = {
    "awaddr": In(ADDR_BITS),
    "awvalid": In(1),
    "awready": Out(1),
    "wdata": In(32),
    "wstrb": In(4),
    "wvalid": In(1),
    "wready": Out(1),
    "bresp": Out(2),
    "bvalid": Out(1),
    "bready": In(1),
    "araddr": In(ADDR_BITS),
    "arvalid": In(1),
    "arready": Out(1),
    "rdata": Out(32),
    "rresp": Out(2),
    "rvalid": Out(1),
    "rready": In(1),
}


class Registers(Component):
    """Control and status registers (docs/registers.md) as an AXI4-Lite slave.

    What waits on its outputs stays until it is taken.
    A start is passed on only when a program is loaded, the engine is not busy and IMAGES is not 0; else ERROR says why.
    ERROR keeps the first error since it was cleared, by a start or by writing 1 to STATUS.error.
    Address bits 1:0 are ignored and WSTRB is followed byte by byte. Addresses without a register, and writes to a
    register without a writable field, answer SLVERR and change nothing. Address and data of a write may come in any
    order.

    Timing: at most one read and one write every two cycles; commands are high for one cycle, the one after the later
        of address and data was taken.

    Numerics: none; values are shown as they come.

    Parameters
    ----------
    engine : Target
        Gives the constants that identify the engine.

    Members
    -------
    awaddr, awvalid, awready, wdata, wstrb, wvalid, wready, bresp, bvalid, bready : In, Out
        AXI4-Lite writes.
    araddr, arvalid, arready, rdata, rresp, rvalid, rready : In, Out
        AXI4-Lite reads.
    busy : In
        A run goes on; high from the cycle after `start`.
    finish : In
        High for one cycle, the last one of a run.
    dropping : In
        Pixels are dropped up to TLAST.
    loaded : In
        A program was committed since reset.
    load_error : In
        `LoadError` code for one cycle when a stream is refused, else 0.
    frame_error : In
        High for one cycle when a run ends because the pixel stream had TLAST in the wrong place.
    memory_error : In
        With streamed weights: code of what was wrong with the memory, for the cycle in which a run ends for it, else 0.
    stall_memory : In
        With streamed weights: value of the register of this name.
    done, saturations, loads_ok, loads_bad, network, queue : In
        32-bit values of the registers of these names.
    cycles, array_busy, stall_pixels, stall_logits : In
        64-bit counters; the low half's read holds the high half.
    starting : Out(1)
        A start is accepted: `start` follows in the next cycle.
    start, stop, give_up, abort_load : Out
        Commands. Start is a register, since it resets most of an engine. Stop is `stop` while a run goes on, else
        `give_up`: but not while the error of a broken frame is uncleared, since who wrote it may have meant the run
        that ended just before.
    images : Out
        Images to work on, valid with `start`.
    stall_edge : In
        With streamed `edge_weights`: value of the register of this name.
    weights : Out
        With streamed weights: address of their memory image.
    weights_placed : Out(1)
        Pulse: its low half was written; the address is that from the next cycle on.
    irq : Out
        Level: STATUS.irq and CONTROL.irq_enable.
    """

    def __init__(self, engine: Target):
        self.engine, self._registers = engine, registers_of(engine)
        memory = {"memory_error": In(ErrorCode), "stall_memory": In(32), "weights": Out(64), "weights_placed": Out(1)}
        super().__init__(
            {
                **AXI_LITE,
                **{name: In(1) for name in ("busy", "finish", "dropping", "loaded", "frame_error")},
                "load_error": In(4),
                **{name.lower(): In(32) for name in _SHOWN},
                **{name.lower(): In(64) for name in COUNTERS},
                "starting": Out(1),
                "start": Out(1),
                "stop": Out(1),
                "give_up": Out(1),
                "abort_load": Out(1),
                "images": Out(32),
                "irq": Out(1),
                **(memory if engine.memory_bits else {}),
                **({"stall_edge": In(32)} if engine.edge_streamed else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build both channels around the fields of the map."""
        m = Module()
        stored = {
            (register.name, field.name): Signal(field.width, name=f"{register.name}_{field.name}".lower())
            for register in self._registers
            for field in register.fields
            if field.access != "ro"
        }
        self._write_channel(m, stored)
        error, pending = self._events(m, stored)
        self._read_channel(m, self._values(m, stored, error, pending))
        m.d.comb += [
            self.images.eq(stored["IMAGES", "value"]),
            self.abort_load.eq(stored["CONTROL", "abort"]),
            self.stop.eq(stored["CONTROL", "stop"] & self.busy),
            self.irq.eq(pending & stored["CONTROL", "irq_enable"]),
        ]
        if self.engine.memory_bits:
            m.d.comb += self.weights.eq(Cat(stored[f"WEIGHTS_{half}", "value"] for half in ("LO", "HI")))
        return m

    def _write_channel(self, m: Module, stored: dict[tuple[str, str], Signal]) -> None:
        """Take address and data in any order, then write: rw fields keep a value, the others pulse for one cycle."""
        addr, data, strobes = Signal(ADDR_BITS), Signal(32), Signal(4)
        have_addr, have_data, write = Signal(), Signal(), Signal()
        mask = Cat(strobe.replicate(8) for strobe in strobes)
        m.d.comb += [
            self.awready.eq(~have_addr),
            self.wready.eq(~have_data),
            write.eq(have_addr & have_data & ~self.bvalid),
        ]
        with m.If(self.awvalid & self.awready):
            m.d.sync += [have_addr.eq(1), connect(addr, self.awaddr)]
        with m.If(self.wvalid & self.wready):
            m.d.sync += [have_data.eq(1), connect(data, self.wdata), connect(strobes, self.wstrb)]
        with m.If(self.bready):
            m.d.sync += self.bvalid.eq(0)
        with m.If(write):
            m.d.sync += [have_addr.eq(0), have_data.eq(0), self.bvalid.eq(1), self.bresp.eq(SLVERR)]
        for register in self._registers:
            if register.writable:
                hit = write & (addr[2:] == register.offset >> 2)
                if register.name == "WEIGHTS_LO":
                    m.d.sync += self.weights_placed.eq(hit)
                with m.If(hit):
                    m.d.sync += self.bresp.eq(OKAY)
                for field in register.fields:
                    bits = slice(field.lsb, field.lsb + field.width)
                    if field.access == "rw":
                        target = stored[register.name, field.name]
                        with m.If(hit):
                            m.d.sync += target.eq((target & ~mask[bits]) | (data & mask)[bits])
                    elif field.access != "ro":
                        m.d.comb += stored[register.name, field.name].eq((data & mask)[bits] & hit)

    def _events(self, m: Module, stored: dict[tuple[str, str], Signal]) -> tuple[Signal, Signal]:
        """Return ERROR and the pending interrupt, and pass a start on or refuse it."""
        codes = error_codes(self.engine)
        error, pending, new = Signal(codes), Signal(), Signal(codes)
        request = stored["CONTROL", "start"]
        no_images = Signal(name="no_images", init=1)  # a cycle late, as no write follows another in the next cycle
        m.d.sync += no_images.eq(self.images == 0)
        with m.If(self.frame_error):  # first: no start that is refused may hide it
            m.d.comb += new.eq(ErrorCode.PIXEL_FRAME)
        if self.engine.memory_bits:
            with m.Elif(self.memory_error != ErrorCode.NONE):
                m.d.comb += connect(new, self.memory_error)
        with m.Elif(request & ~self.loaded):
            m.d.comb += new.eq(ErrorCode.START_WITHOUT_PROGRAM)
        with m.Elif(request & self.busy):
            m.d.comb += new.eq(ErrorCode.START_WHILE_BUSY)
        with m.Elif(request & no_images):
            m.d.comb += new.eq(ErrorCode.START_WITHOUT_IMAGES)
        with m.Else():
            m.d.comb += connect(new, self.load_error)
        m.d.comb += self.starting.eq(request & self.loaded & ~self.busy & ~no_images)
        m.d.sync += connect(self.start, self.starting)
        with m.If(request | stored["STATUS", "error"] | (error == ErrorCode.NONE)):
            m.d.sync += error.eq(new)
        broken = Signal()  # a frame was, and nobody has cleared that
        with m.If(self.frame_error):
            m.d.sync += broken.eq(1)
        with m.Elif(self.starting | stored["STATUS", "error"]):
            m.d.sync += broken.eq(0)
        m.d.comb += self.give_up.eq(stored["CONTROL", "stop"] & ~self.busy & ~broken)
        with m.If(self.finish | (new != ErrorCode.NONE)):
            m.d.sync += pending.eq(1)
        with m.Elif(stored["STATUS", "irq"]):
            m.d.sync += pending.eq(0)
        return error, pending

    def _values(
        self, m: Module, stored: dict[tuple[str, str], Signal], error: Signal, pending: Signal
    ) -> dict[str, Value]:
        """Return what a read of each register gives; a counter's high half is held by the read of its low half."""
        status = {"busy": self.busy | self.start, "loaded": self.loaded, "dropping": self.dropping}
        status |= {"error": error != ErrorCode.NONE, "irq": pending}
        values: dict[str, Value] = {name: Const(value, 32) for name, value in constants(self.engine).items()}
        values |= {name: getattr(self, name.lower()) for name in _SHOWN}
        values["CONTROL"] = stored["CONTROL", "irq_enable"] << BY_NAME["CONTROL"].field("irq_enable").lsb
        values["STATUS"] = Cat(status[field.name] for field in BY_NAME["STATUS"].fields)
        values["ERROR"] = error
        values["IMAGES"] = self.images
        if self.engine.memory_bits:
            values |= {"WEIGHTS_LO": self.weights[:32], "WEIGHTS_HI": self.weights[32:]}
            values["STALL_MEMORY"] = self.stall_memory
        if self.engine.edge_streamed:
            values["STALL_EDGE"] = self.stall_edge
        for name in COUNTERS:
            counter, held = getattr(self, name.lower()), Signal(32, name=f"{name.lower()}_held")
            with m.If(self._reads(BY_NAME[f"{name}_LO"])):
                m.d.sync += held.eq(counter[32:])
            values |= {f"{name}_LO": counter[:32], f"{name}_HI": held}
        return values

    def _reads(self, register: Register) -> Value:
        """Whether a read of `register` is taken in this cycle."""
        return self.arvalid & self.arready & (self.araddr[2:] == register.offset >> 2)

    def _read_channel(self, m: Module, values: dict[str, Value]) -> None:
        """Answer a read in the next cycle and hold the answer until it is taken."""
        m.d.comb += self.arready.eq(~self.rvalid)
        with m.If(self.arvalid & self.arready):
            m.d.sync += [self.rvalid.eq(1), self.rdata.eq(0), self.rresp.eq(SLVERR)]
        with m.Elif(self.rready):
            m.d.sync += self.rvalid.eq(0)
        for register in self._registers:
            with m.If(self._reads(register)):
                m.d.sync += [self.rdata.eq(values[register.name]), self.rresp.eq(OKAY)]
