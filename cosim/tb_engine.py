"""The cocotb test that plays a scenario on the engine's ports and writes down what came back.

Runs inside the simulator. The scenario is a JSON file, ``+scenario=PATH``; results go to ``+results=PATH``. It judges
nothing: `cosim.run` compares, so that a failing engine still leaves everything that it did.
"""

from __future__ import annotations

import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, First, RisingEdge, Timer, with_timeout
from cocotb.utils import get_sim_time

from ..sim.engine.registers import BY_NAME, COUNTERS, EDGE_REGISTERS, REGISTERS, STREAM_REGISTERS
from ..sim.system.files import read_json, write_json
from .bench import MAX_STALL_CYCLES, LogitsSink, RegisterMaster, Stalls, StreamSource

PERIOD_NS = 10
_START, _ABORT, _IRQ_ENABLE = (BY_NAME["CONTROL"].field(name).mask for name in ("start", "abort", "irq_enable"))
_ERROR, _IRQ = (BY_NAME["STATUS"].field(name).mask for name in ("error", "irq"))
#: Times that the bench asks for the outcome of a load stream before it counts as missing.
_LOAD_PATIENCE = 100
#: Cycles that a port may take to answer, beyond the bench's own pauses.
_PATIENCE_CYCLES = 1000
#: Cycles in which the reader must have taken every logit that the engine still holds.
_DRAIN_CYCLES = 100_000

#: First byte of a step's data and the byte behind its last.
Place = list[int]


class EngineBench:
    """The engine's ports with their drivers, and the steps of a scenario.

    Parameters
    ----------
    dut : handle
        Top level.
    scenario : dict
        `seed`, `stall` (probability on every port), `steps`, `data` (file with the bytes of all steps), `streamed`
        (whether
        weights are), `edge_streamed` (whether the edge reads of the memory as well).
    """

    def __init__(self, dut: Any, scenario: dict[str, Any]):
        self.dut, self.data = dut, Path(scenario["data"]).read_bytes()
        streamed = (*STREAM_REGISTERS, *(EDGE_REGISTERS if scenario["edge_streamed"] else ()))
        self.map = (*REGISTERS, *streamed) if scenario["streamed"] else REGISTERS

        def stalls(port: str) -> Stalls:
            return Stalls(dut, port, scenario["stall"], scenario["seed"])

        self.load_source = StreamSource(dut, "s_axis_load", stalls("load"))
        self.pixel_source = StreamSource(dut, "s_axis_pixels", stalls("pixels"))
        self.registers = RegisterMaster(dut, stalls("registers"))
        self.sink = LogitsSink(dut, stalls("logits"))

    async def reset(self) -> dict[str, Any]:
        """Hold the reset for four cycles; what was offered is withdrawn, and the reader reads."""
        self.dut.rst.value = 1
        await RisingEdge(self.dut.clk)  # from the next edge on the engine sees it
        self.load_source.reset()
        self.pixel_source.reset()
        self.sink.beats.clear()
        await ClockCycles(self.dut.clk, 3)
        self.dut.rst.value = 0
        await ClockCycles(self.dut.clk, 2)  # the second is the first without it in the engine
        self.sink.release()
        return self._step()

    async def _within(self, cycles: int, action: Coroutine[Any, Any, Any]) -> Any:
        """Wait for an action on a port; a port that stays silent fails the test instead of hanging it."""
        return await with_timeout(action, cycles * PERIOD_NS, "ns")

    async def write(self, register: str, value: int) -> dict[str, Any]:
        """Write a register by name; it must accept."""
        response = await self._within(_PATIENCE_CYCLES, self.registers.write(BY_NAME[register].offset, value))
        assert response == 0, f"a write to {register} answers {response}"
        return self._step()

    async def read(self, name: str) -> int:
        """Read a register by name; it must answer."""
        data, response = await self._within(_PATIENCE_CYCLES, self.registers.read(BY_NAME[name].offset))
        assert response == 0, f"a read of {name} answers {response}"
        return data

    async def load(self, stream: Place, complete: bool, wait: bool) -> dict[str, Any]:
        """Send a load stream; give it up when it has no end. Return its outcome."""
        data = self._bytes(stream)
        if not wait:
            self.load_source.offer(data, last=complete)
            return self._step()
        before = await self._loads()
        await self.write("STATUS", _ERROR | _IRQ)
        self.load_source.offer(data, last=complete)
        await self._within(len(data) * MAX_STALL_CYCLES + _PATIENCE_CYCLES, self.load_source.sent())
        if not complete:
            await self.write("CONTROL", _ABORT)
        for _ in range(_LOAD_PATIENCE):
            if await self._loads() != before:
                break
        return await self._outcome(finished=True)

    async def _loads(self) -> int:
        return await self.read("LOADS_OK") + await self.read("LOADS_BAD")

    async def queue(self, frames: list[Place]) -> dict[str, Any]:
        """Offer frames of pixels."""
        for frame in frames:
            self.pixel_source.offer(self._bytes(frame))
        return self._step()

    async def start(self, images: int) -> dict[str, Any]:
        """Start a run."""
        await self.write("STATUS", _ERROR | _IRQ)
        await self.write("IMAGES", images)
        await self.write("CONTROL", _START | _IRQ_ENABLE)
        return self._step()

    async def wait(self, max_cycles: int, for_pixels: bool) -> dict[str, Any]:
        """Wait for the interrupt, or until all pixels were taken."""
        irq, clk, before = self.dut.irq, self.dut.clk, get_sim_time("ns")
        patience = Timer(max_cycles * PERIOD_NS, "ns")
        if for_pixels:
            await First(cocotb.start_soon(self.pixel_source.sent()), patience)
            finished = self.pixel_source.idle
        else:
            if irq.value != 1:
                await First(RisingEdge(irq), patience)
            finished = bool(irq.value == 1)
        await RisingEdge(clk)  # the timer ends beside a clock edge, where the drivers must not start
        return await self._outcome(finished=finished, simulated_cycles=(get_sim_time("ns") - before) / PERIOD_NS)

    async def cycles(self, count: int) -> dict[str, Any]:
        """Let cycles pass."""
        await ClockCycles(self.dut.clk, count)
        return self._step()

    async def reader(self, reads: bool) -> dict[str, Any]:
        """Take logits, or no more."""
        (self.sink.release if reads else self.sink.hold)()
        return self._step()

    async def run(
        self, images: list[Place], max_cycles: int, reset_after: int | None, count: int | None
    ) -> dict[str, Any]:
        """Run images; with `reset_after`, reset that many cycles after the start instead of waiting for the end."""
        clk, irq = self.dut.clk, self.dut.irq
        await self.write("STATUS", _ERROR | _IRQ)
        await self.write("IMAGES", len(images) if count is None else count)
        await self.queue(images)
        await RisingEdge(clk)
        began, began_ns = time.perf_counter(), get_sim_time("ns")
        await self.write("CONTROL", _START | _IRQ_ENABLE)
        if reset_after is not None:
            await ClockCycles(clk, reset_after)
        elif irq.value != 1:
            await First(RisingEdge(irq), Timer(max_cycles * PERIOD_NS, "ns"))
            await RisingEdge(clk)  # the timer ends beside a clock edge, where the drivers must not start
        finished = bool(irq.value == 1)
        seconds, cycles = time.perf_counter() - began, (get_sim_time("ns") - began_ns) / PERIOD_NS
        if reset_after is not None:
            await self.reset()
        return await self._outcome(finished=finished, seconds=seconds, simulated_cycles=cycles)

    async def _outcome(self, *, finished: bool, seconds: float = 0.0, simulated_cycles: float = 0.0) -> dict[str, Any]:
        """Return the fields of `scenario.Outcome`, every register among them, when all logits have come out."""
        if self.sink.reads:
            await self._within(_DRAIN_CYCLES, self.sink.quiet())
        registers = {register.name: await self.read(register.name) for register in self.map}
        for name in COUNTERS:
            registers[name] = registers.pop(f"{name}_HI") << 32 | registers.pop(f"{name}_LO")
        logits = list(self.sink.beats)
        self.sink.beats.clear()
        result = {"registers": registers, "finished": finished, "logits": logits}
        return self._step() | result | {"seconds": seconds, "simulated_cycles": simulated_cycles}

    def _step(self) -> dict[str, Any]:
        """Return the outcome of a step that does not wait."""
        state = {"pixel_beats": self.pixel_source.taken, "irq": int(self.dut.irq.value)}
        return {"registers": {}, "finished": True, "logits": [], "seconds": 0.0, "simulated_cycles": 0.0, **state}

    def _bytes(self, place: Place) -> bytes:
        return self.data[place[0] : place[1]]


@cocotb.test()
async def play(dut: Any) -> None:
    """Play the scenario."""
    scenario = read_json(str(cocotb.plusargs["scenario"]), "the scenario")
    bench = EngineBench(dut, scenario)
    Clock(dut.clk, PERIOD_NS, "ns", impl="gpi").start()
    await bench.reset()
    results = [await getattr(bench, step.pop("op"))(**step) for step in scenario["steps"]]
    write_json(Path(str(cocotb.plusargs["results"])), results)
