"""The cocotb test that serves an engine's ports over a socket: registers, streams and logits, a request a line.

Runs inside the simulator. Where the socket is goes to ``+address=PATH``; it ends when its only connection does.
"""

from __future__ import annotations

import json
import select
import socket
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles

from bivit.cosim.bench import LogitsSink, RegisterMaster, Stalls, StreamSource
from bivit.cosim.tb_board import ENDED
from bivit.sim.system.files import write_text

_PERIOD_NS, _RESET_CYCLES = 10, 8
#: Cycles from a look at the socket to the next, and seconds that a look waits for a request.
_LOOK_CYCLES, _LOOK_S = 50, 0.002
#: Seconds of a look for the connection.
_CALL_S = 0.05


class Ports:
    """The engine's ports, and what may be asked of them."""

    def __init__(self, dut: Any):
        self.dut = dut
        self.registers = RegisterMaster(dut, Stalls(dut, "registers", 0, 0))
        names = ("load", "pixels")
        self.sources = {name: StreamSource(dut, f"s_axis_{name}", Stalls(dut, name, 0, 0)) for name in names}
        self.sink = LogitsSink(dut, Stalls(dut, "logits", 0, 0))

    async def reset(self) -> None:
        self.dut.rst.value = 1
        await ClockCycles(self.dut.clk, 1)
        for source in self.sources.values():
            source.reset()
        self.sink.hold()
        self.sink.beats.clear()
        await ClockCycles(self.dut.clk, _RESET_CYCLES)
        self.dut.rst.value = 0
        await ClockCycles(self.dut.clk, 2)
        self.sink.release()

    async def read(self, address: int) -> int:
        value, response = await self.registers.read(address)
        assert response == 0
        return value

    async def write(self, address: int, value: int) -> None:
        assert await self.registers.write(address, value) == 0

    async def send(self, port: str, data: str) -> None:
        self.sources[port].offer(bytes.fromhex(data))

    async def sent(self, port: str) -> bool:
        return self.sources[port].idle

    async def logits(self, most: int) -> list[tuple[int, int]]:
        """Take values, with their TLAST, up to the first that has it."""
        beats = [(value, last) for value, _, last in self.sink.beats[:most]]
        ends = [place for place, (_, last) in enumerate(beats) if last]
        taken = beats[: ends[0] + 1] if ends else beats
        del self.sink.beats[: len(taken)]
        return taken


@cocotb.test()
async def serve(dut: Any) -> None:
    """Answer until the connection ends."""
    server = socket.create_server(("127.0.0.1", 0))
    address = Path(str(cocotb.plusargs["address"]))
    write_text(address, str(server.getsockname()[1]))
    ports = Ports(dut)
    Clock(dut.clk, _PERIOD_NS, "ns").start()
    await ports.reset()
    while not select.select([server], [], [], _CALL_S)[0]:
        if address.with_name(ENDED).exists():
            return
    connection, _ = server.accept()
    lines = connection.makefile("rwb")
    while True:
        await ClockCycles(dut.clk, _LOOK_CYCLES)
        if not select.select([connection], [], [], _LOOK_S)[0]:
            continue
        line = lines.readline()
        if not line:
            return
        request = json.loads(line)
        answer = await getattr(ports, request.pop("op"))(**request)
        lines.write(json.dumps(answer).encode() + b"\n")
        lines.flush()
