"""The register map as data, its renderings, and the AXI4-Lite slave that is built from it."""

import random
import re
import shutil
import subprocess
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from bus import watched_simulator

from bivit.hw.registers import OKAY, SLVERR, Registers
from bivit.sim.engine.loadstream import LoadError
from bivit.sim.engine.registers import (
    BY_NAME,
    COUNTERS,
    EDGE_REGISTERS,
    ERROR_TEXTS,
    REGISTERS,
    STREAM_REGISTERS,
    ErrorCode,
    constants,
    render_c_header,
    render_markdown,
)
from bivit.sim.flow.machine import FlowMachine
from bivit.sim.flow.presets import FLOW_ENGINES
from helpers import ROOT

ENGINE = FlowMachine(FLOW_ENGINES["sim"])
#: Those of engines with streamed weights as well.
ALL = (*REGISTERS, *STREAM_REGISTERS, *EDGE_REGISTERS)
START, ABORT, IRQ_ENABLE, STOP = (BY_NAME["CONTROL"].field(n).mask for n in ("start", "abort", "irq_enable", "stop"))
BUSY, LOADED, ERROR, IRQ, DROPPING = (
    BY_NAME["STATUS"].field(name).mask for name in ("busy", "loaded", "error", "irq", "dropping")
)


def test_offsets_and_fields_do_not_overlap() -> None:
    assert [register.offset for register in ALL] == [4 * i for i in range(len(ALL))]
    assert len(BY_NAME) == len(ALL)
    for register in ALL:
        ends = [0, *(field.lsb + field.width for field in register.fields)]
        assert all(field.lsb >= end for field, end in zip(register.fields, ends, strict=False))
        assert ends[-1] <= 32


def test_error_codes_include_those_of_the_loader() -> None:
    assert list(ERROR_TEXTS) == list(ErrorCode)
    for code in LoadError:
        assert ErrorCode(code).name == (code.name if code == LoadError.NONE else f"LOAD_{code.name}")


def test_constants() -> None:
    values = constants(ENGINE)
    assert values["ID"].to_bytes(4, "little") == b"BIVT"
    assert values["ENGINE_HI"] << 32 | values["ENGINE_LO"] == ENGINE.fingerprint()
    assert values["SHAPE"].to_bytes(4, "little") == bytes([4, 16, 16, 8])


def test_markdown_has_every_field_once() -> None:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in render_markdown().splitlines() if line]
    fields = [row for row in rows if len(row) == 6][2:]
    assert [(row[2], row[3]) for row in fields] == [
        (f"{f.lsb + f.width - 1}:{f.lsb}" if f.width > 1 else str(f.lsb), f.name) for r in ALL for f in r.fields
    ]
    assert [row[:2] for row in fields if row[0]] == [[f"0x{r.offset:02x}", r.name] for r in ALL]
    assert [row[:2] for row in rows if len(row) == 3][2:] == [[str(code.value), code.name] for code in ErrorCode]


def test_c_header_defines_offsets_and_masks() -> None:
    defined = dict(re.findall(r"#define BIVIT_(\w+) (0x[0-9a-f]+|\d+)u", render_c_header()))
    assert {name: int(defined[name], 0) for name in BY_NAME} == {r.name: r.offset for r in ALL}
    assert int(defined["STATUS_IRQ_MASK"], 0) == 8
    assert int(defined["SHAPE_LANES_SHIFT"], 0) == 16
    codes = re.findall(r"BIVIT_ERROR_(\w+) = (\d+)", render_c_header())
    assert [(name, int(value)) for name, value in codes] == [(code.name, code.value) for code in ErrorCode]


def test_c_header_compiles(tmp_path: Path) -> None:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed")
    (tmp_path / "bivit_registers.h").write_text(render_c_header())
    source = tmp_path / "main.cpp"
    source.write_text(
        '#include "bivit_registers.h"\n#include "bivit_registers.h"\n'
        'static_assert(BIVIT_STATUS == 0x18u && BIVIT_ERROR_PIXEL_FRAME == 11, "map");\n'
    )
    subprocess.run([compiler, "-Wall", "-Wextra", "-Werror", "-fsyntax-only", str(source)], check=True)


class Bus:
    """AXI4-Lite master with delays between address, data and response, drawn from `rng` when there is one."""

    def __init__(self, ctx: Any, dut: Registers, rng: random.Random | None = None):
        self.ctx, self.dut, self.rng = ctx, dut, rng

    async def write(self, name: str | int, data: int, strobes: int = 15) -> int:
        """Write, with address and data in an order that `rng` draws; return BRESP."""
        addr = BY_NAME[name].offset if isinstance(name, str) else name
        at = {"aw": self._delay(), "w": self._delay(), "b": self._delay()}
        done: set[str] = set()
        self.ctx.set(self.dut.awaddr, addr)
        self.ctx.set(self.dut.wdata, data)
        self.ctx.set(self.dut.wstrb, strobes)
        for cycle in range(100):
            for channel in ("aw", "w"):
                valid = channel not in done and cycle >= at[channel]
                self.ctx.set(getattr(self.dut, f"{channel}valid"), valid)
                if valid and self.ctx.get(getattr(self.dut, f"{channel}ready")):
                    done.add(channel)
            if self.ctx.get(self.dut.bvalid):
                assert {"aw", "w"} <= done
                self.ctx.set(self.dut.bready, cycle >= at["b"])
                if cycle >= at["b"]:
                    response = self.ctx.get(self.dut.bresp)
                    await self.ctx.tick()
                    self.ctx.set(self.dut.bready, 0)
                    assert isinstance(response, int)
                    return response
            await self.ctx.tick()
        raise AssertionError("no response")

    async def read(self, name: str | int, response: int = OKAY) -> int:
        """Read, check RRESP, and return RDATA."""
        addr = BY_NAME[name].offset if isinstance(name, str) else name
        await self._pause()
        self.ctx.set(self.dut.araddr, addr)
        self.ctx.set(self.dut.arvalid, 1)
        await self.ctx.tick().until(self.dut.arready)
        self.ctx.set(self.dut.arvalid, 0)
        await self._pause()
        self.ctx.set(self.dut.rready, 1)
        _, _, valid, got, data = await self.ctx.tick().sample(self.dut.rvalid, self.dut.rresp, self.dut.rdata)
        self.ctx.set(self.dut.rready, 0)
        assert (valid, got) == (1, response)
        assert isinstance(data, int)
        return data

    async def _pause(self) -> None:
        for _ in range(self._delay()):
            await self.ctx.tick()

    def _delay(self) -> int:
        return self.rng.randrange(4) if self.rng else 0


Bench = Callable[[Any, Registers, Bus], Coroutine[Any, Any, None]]


def run(bench: Bench, seed: int | None = None) -> list[str]:
    """Run `bench`; return the names of the command pulses in the order of the cycles in which they were high."""
    dut = Registers(ENGINE)
    pulses: list[str] = []

    async def testbench(ctx: Any) -> None:
        await bench(ctx, dut, Bus(ctx, dut, None if seed is None else random.Random(seed)))

    async def watch(ctx: Any) -> None:
        commands = {"start": dut.start, "abort": dut.abort_load, "stop": dut.stop, "give_up": dut.give_up}
        async for _, _, *values in ctx.tick().sample(*commands.values()):
            pulses.extend(name for name, value in zip(commands, values, strict=True) if value)

    simulator = watched_simulator(dut)
    simulator.add_testbench(testbench)
    simulator.add_testbench(watch, background=True)
    simulator.run()
    return pulses


async def pulse(ctx: Any, signal: Any, value: int = 1) -> None:
    """Set `signal` for one cycle."""
    ctx.set(signal, value)
    await ctx.tick()
    ctx.set(signal, 0)


SEEDS = pytest.mark.parametrize("seed", [None, 1, 2])


@SEEDS
def test_reads_of_every_register(seed: int | None) -> None:
    async def bench(ctx: Any, dut: Registers, bus: Bus) -> None:
        rng = random.Random(3)
        expected = {**constants(ENGINE), "CONTROL": 0, "STATUS": BUSY | LOADED, "ERROR": 0, "IMAGES": 0}
        ctx.set(dut.busy, 1)
        ctx.set(dut.loaded, 1)
        for name in ("DONE", "SATURATIONS", "LOADS_OK", "LOADS_BAD", "NETWORK", "QUEUE"):
            expected[name] = rng.getrandbits(32) | 1 << 31
            ctx.set(getattr(dut, name.lower()), expected[name])
        for name in COUNTERS:
            value = rng.getrandbits(64) | 1 << 63
            expected |= {f"{name}_LO": value & 0xFFFFFFFF, f"{name}_HI": value >> 32}
            ctx.set(getattr(dut, name.lower()), value)
        assert {register.name: await bus.read(register.name) for register in REGISTERS} == expected

    assert run(bench, seed) == []


@SEEDS
def test_a_counter_reads_consistently(seed: int | None) -> None:
    """The high half is that of the moment in which the low half was read, for each counter on its own."""

    async def bench(ctx: Any, dut: Registers, bus: Bus) -> None:
        ctx.set(dut.cycles, 0x1_FFFF_FFFF)
        ctx.set(dut.array_busy, 0x7_0000_0001)
        assert await bus.read("CYCLES_LO") == 0xFFFFFFFF
        ctx.set(dut.cycles, 0x2_0000_0000)
        assert await bus.read("ARRAY_BUSY_LO") == 1
        assert await bus.read("CYCLES_HI") == 1
        assert await bus.read("ARRAY_BUSY_HI") == 7
        assert [await bus.read("CYCLES_LO"), await bus.read("CYCLES_HI")] == [0, 2]

    run(bench, seed)


@SEEDS
def test_writes_follow_the_strobes(seed: int | None) -> None:
    async def bench(ctx: Any, dut: Registers, bus: Bus) -> None:
        assert await bus.write("IMAGES", 0x11223344) == OKAY
        assert await bus.write("IMAGES", 0xAABBCCDD, strobes=0b0101) == OKAY
        assert await bus.read("IMAGES") == 0x11BB33DD == ctx.get(dut.images)
        assert await bus.write("CONTROL", IRQ_ENABLE | ABORT, strobes=0b1110) == OKAY
        assert await bus.read("CONTROL") == 0
        assert await bus.write("CONTROL", IRQ_ENABLE | ABORT) == OKAY
        assert await bus.read("CONTROL") == IRQ_ENABLE
        assert await bus.write(BY_NAME["CONTROL"].offset + 3, 0) == OKAY
        assert await bus.read("CONTROL") == 0

    assert run(bench, seed) == ["abort"]


@SEEDS
def test_what_has_no_register_answers_slverr(seed: int | None) -> None:
    async def bench(ctx: Any, dut: Registers, bus: Bus) -> None:
        for addr in (4 * len(REGISTERS), 0xFC):
            assert await bus.read(addr, SLVERR) == 0
            assert await bus.write(addr, 0xFFFFFFFF) == SLVERR
        for register in REGISTERS:
            if not register.writable:
                assert await bus.write(register.name, 0xFFFFFFFF) == SLVERR
        assert [await bus.read(name) for name in ("CONTROL", "IMAGES", "STATUS", "ID")] == [
            0,
            0,
            0,
            constants(ENGINE)["ID"],
        ]

    assert run(bench, seed) == []


def test_a_start_is_passed_on_or_refused_with_the_reason() -> None:
    async def bench(ctx: Any, dut: Registers, bus: Bus) -> None:
        async def start() -> int:
            await bus.write("CONTROL", START)
            return await bus.read("ERROR")

        assert await start() == ErrorCode.START_WITHOUT_PROGRAM
        ctx.set(dut.loaded, 1)
        assert await start() == ErrorCode.START_WITHOUT_IMAGES
        await bus.write("IMAGES", 2)
        ctx.set(dut.busy, 1)
        assert await start() == ErrorCode.START_WHILE_BUSY
        ctx.set(dut.busy, 0)
        assert await start() == ErrorCode.NONE

    assert run(bench) == ["start"]


def test_the_first_error_stays_until_it_is_cleared() -> None:
    async def bench(ctx: Any, dut: Registers, bus: Bus) -> None:
        await pulse(ctx, dut.load_error, LoadError.CRC)
        await pulse(ctx, dut.frame_error)
        assert await bus.read("ERROR") == ErrorCode.LOAD_CRC
        assert await bus.read("STATUS") == ERROR | IRQ
        assert await bus.write("STATUS", ERROR) == OKAY
        assert await bus.read("STATUS") == IRQ
        await pulse(ctx, dut.frame_error)
        assert await bus.read("ERROR") == ErrorCode.PIXEL_FRAME
        ctx.set(dut.loaded, 1)
        await bus.write("IMAGES", 1)
        await bus.write("CONTROL", START)
        assert await bus.read("ERROR") == 0

    assert run(bench) == ["start"]


def test_stop_is_of_the_run_or_of_the_dropping() -> None:
    """It is neither where a run ended with a broken frame that nobody has cleared: that run may be meant."""

    async def bench(ctx: Any, dut: Registers, bus: Bus) -> None:
        ctx.set(dut.loaded, 1)
        ctx.set(dut.dropping, 1)
        assert await bus.read("STATUS") == LOADED | DROPPING
        await bus.write("CONTROL", STOP)
        assert await bus.read("CONTROL") == 0
        ctx.set(dut.busy, 1)
        await bus.write("CONTROL", STOP | IRQ_ENABLE)
        await pulse(ctx, dut.frame_error)
        ctx.set(dut.busy, 0)
        await bus.write("CONTROL", STOP)
        await bus.write("STATUS", IRQ)
        await bus.write("CONTROL", STOP)
        await bus.write("STATUS", ERROR)
        await bus.write("CONTROL", STOP)

    assert run(bench) == ["give_up", "stop", "give_up"]


def test_a_refused_start_does_not_hide_a_broken_frame() -> None:
    """The start acts in the cycle in which the run ends."""

    async def bench(ctx: Any, dut: Registers, bus: Bus) -> None:
        ctx.set(dut.loaded, 1)
        ctx.set(dut.busy, 1)
        ctx.set(dut.awaddr, BY_NAME["CONTROL"].offset)
        ctx.set(dut.wdata, START)
        ctx.set(dut.wstrb, 1)
        ctx.set(dut.wvalid, 1)
        await pulse(ctx, dut.awvalid)
        ctx.set(dut.wvalid, 0)
        await pulse(ctx, dut.frame_error)
        assert await bus.read("ERROR") == ErrorCode.PIXEL_FRAME

    assert run(bench) == []


def test_interrupt() -> None:
    async def bench(ctx: Any, dut: Registers, bus: Bus) -> None:
        await pulse(ctx, dut.finish)
        assert await bus.read("STATUS") == IRQ
        assert ctx.get(dut.irq) == 0
        await bus.write("CONTROL", IRQ_ENABLE)
        assert ctx.get(dut.irq) == 1
        await bus.write("STATUS", ERROR)
        assert ctx.get(dut.irq) == 1
        await bus.write("STATUS", IRQ)
        assert ctx.get(dut.irq) == 0
        await pulse(ctx, dut.load_error, LoadError.MAGIC)
        assert ctx.get(dut.irq) == 1

    run(bench)


def test_an_event_in_the_cycle_of_its_clearing_is_kept() -> None:
    """A write acts in the cycle after its address and data were taken; the new error comes in just that cycle."""

    async def bench(ctx: Any, dut: Registers, bus: Bus) -> None:
        await pulse(ctx, dut.frame_error)
        ctx.set(dut.awaddr, BY_NAME["STATUS"].offset)
        ctx.set(dut.wdata, ERROR | IRQ)
        ctx.set(dut.wstrb, 1)
        ctx.set(dut.wvalid, 1)
        await pulse(ctx, dut.awvalid)
        ctx.set(dut.wvalid, 0)
        await pulse(ctx, dut.load_error, LoadError.CRC)
        assert ctx.get(dut.bvalid) == 1
        assert await bus.read("ERROR") == ErrorCode.LOAD_CRC
        assert await bus.read("STATUS") == ERROR | IRQ

    run(bench)


def test_the_page_in_the_docs_is_this_map() -> None:
    page = ROOT / "docs" / "registers.md"
    assert page.read_text().endswith("\n\n" + render_markdown())
