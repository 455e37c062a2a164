"""The cocotb test that plays a scenario on the engine's ports and writes down what came back.

Runs inside the simulator. The scenario is a JSON file, ``+scenario=PATH``; results go to ``+results=PATH``. It judges
nothing: `cosim.run` compares, so that a failing engine still leaves everything that it did.
"""

from __future__ import annotations

import json
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, First, RisingEdge, Timer, with_timeout
from cocotb.utils import get_sim_time

from ..sim.registers import BY_NAME, COUNTERS, REGISTERS
from .bench import MAX_STALL_CYCLES, LogitsSink, RegisterMaster, Stalls, StreamSource

PERIOD_NS = 10
_START, _ABORT, _IRQ_ENABLE = (BY_NAME["CONTROL"].field(name).mask for name in ("start", "abort", "irq_enable"))
_ERROR, _IRQ = (BY_NAME["STATUS"].field(name).mask for name in ("error", "irq"))
#: Times that the bench asks for the outcome of a load stream before it counts as missing.
_LOAD_PATIENCE = 100
#: Cycles that a port may take to answer, beyond the bench's own pauses.
_PATIENCE_CYCLES = 1000


class EngineBench:
    """The engine's ports with their drivers, and the steps of a scenario.

    Parameters
    ----------
    dut : handle
        Top level.
    scenario : dict
        `seed`, `stall` (probability on every port), `steps`.
    """

    def __init__(self, dut: Any, scenario: dict[str, Any]):
        self.dut = dut

        def stalls(port: str) -> Stalls:
            return Stalls(dut, port, scenario["stall"], scenario["seed"])

        self.load_source = StreamSource(dut, "s_axis_load", stalls("load"))
        self.pixel_source = StreamSource(dut, "s_axis_pixels", stalls("pixels"))
        self.registers = RegisterMaster(dut, stalls("registers"))
        self.sink = LogitsSink(dut, stalls("logits"))

    async def reset(self) -> None:
        """Hold the reset for two cycles."""
        self.dut.rst.value = 1
        await ClockCycles(self.dut.clk, 2)
        self.dut.rst.value = 0
        await RisingEdge(self.dut.clk)

    async def _within(self, cycles: int, action: Coroutine[Any, Any, Any]) -> Any:
        """Wait for an action on a port; a port that stays silent fails the test instead of hanging it."""
        return await with_timeout(action, cycles * PERIOD_NS, "ns")

    async def write(self, name: str, data: int) -> None:
        """Write a register by name; it must accept."""
        response = await self._within(_PATIENCE_CYCLES, self.registers.write(BY_NAME[name].offset, data))
        assert response == 0, f"a write to {name} answers {response}"

    async def read(self, name: str) -> int:
        """Read a register by name; it must answer."""
        data, response = await self._within(_PATIENCE_CYCLES, self.registers.read(BY_NAME[name].offset))
        assert response == 0, f"a read of {name} answers {response}"
        return data

    async def load(self, step: dict[str, Any]) -> dict[str, Any]:
        """Send a load stream; give it up when it has no end. Return its outcome."""
        before = await self._loads()
        await self.write("STATUS", _ERROR | _IRQ)
        data = Path(step["file"]).read_bytes()
        patience = len(data) * MAX_STALL_CYCLES + _PATIENCE_CYCLES
        await self._within(patience, self.load_source.send(data, last=step["complete"]))
        if not step["complete"]:
            await self.write("CONTROL", _ABORT)
        for _ in range(_LOAD_PATIENCE):
            if await self._loads() != before:
                break
        return await self._outcome(finished=True)

    async def _loads(self) -> int:
        return await self.read("LOADS_OK") + await self.read("LOADS_BAD")

    async def run(self, step: dict[str, Any]) -> dict[str, Any]:
        """Run images; with `reset_after`, reset that many cycles after the start instead of waiting for the end."""
        clk, irq = self.dut.clk, self.dut.irq
        await self.write("STATUS", _ERROR | _IRQ)
        await self.write("IMAGES", step["images"])
        self.sink.beats.clear()
        tasks = [
            cocotb.start_soon(self._pixels(Path(step["file"]).read_bytes(), step["image_bytes"])),
            cocotb.start_soon(self.sink.receive()),
        ]
        await RisingEdge(clk)
        began, began_ns = time.perf_counter(), get_sim_time("ns")
        await self.write("CONTROL", _START | _IRQ_ENABLE)
        if step["reset_after"] is not None:
            await ClockCycles(clk, step["reset_after"])
        elif irq.value != 1:
            await First(RisingEdge(irq), Timer(step["max_cycles"] * PERIOD_NS, "ns"))
            await RisingEdge(clk)  # the timer ends beside a clock edge, where the drivers must not start
        finished = bool(irq.value == 1)
        seconds, cycles = time.perf_counter() - began, (get_sim_time("ns") - began_ns) / PERIOD_NS
        # The run ends when its logits are in the queue; the sink goes on until it has them all.
        while finished and await self.read("QUEUE"):
            pass
        for task in tasks:
            task.cancel()
        self.pixel_source.idle()
        if step["reset_after"] is not None:
            await self.reset()
        return await self._outcome(finished=finished, seconds=seconds, simulated_cycles=cycles)

    async def _outcome(self, *, finished: bool, seconds: float = 0.0, simulated_cycles: float = 0.0) -> dict[str, Any]:
        """Return the fields of `scenario.Outcome`, every register among them."""
        registers = {register.name: await self.read(register.name) for register in REGISTERS}
        for name in COUNTERS:
            registers[name] = registers.pop(f"{name}_HI") << 32 | registers.pop(f"{name}_LO")
        return {
            "registers": registers,
            "finished": finished,
            "logits": list(self.sink.beats),
            "seconds": seconds,
            "simulated_cycles": simulated_cycles,
        }

    async def _pixels(self, data: bytes, image_bytes: int) -> None:
        for start in range(0, len(data), image_bytes):
            await self.pixel_source.send(data[start : start + image_bytes])


@cocotb.test()
async def play(dut: Any) -> None:
    """Play the scenario."""
    scenario = json.loads(Path(str(cocotb.plusargs["scenario"])).read_text())
    bench = EngineBench(dut, scenario)
    Clock(dut.clk, PERIOD_NS, "ns", impl="gpi").start()
    await bench.reset()
    results = [await getattr(bench, step["op"])(step) for step in scenario["steps"]]
    path = Path(str(cocotb.plusargs["results"]))
    part = path.with_suffix(".part")
    part.write_text(json.dumps(results))
    part.replace(path)
