"""A cocotb test that only gives a clock: three cycles of reset, then ``+cycles=N`` more."""

from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles


@cocotb.test()
async def free_run(dut: Any) -> None:
    dut.rst.value = 1
    Clock(dut.clk, 10, "ns", impl="gpi").start()
    await ClockCycles(dut.clk, 3)
    dut.rst.value = 0
    await ClockCycles(dut.clk, int(str(cocotb.plusargs["cycles"])))
