"""The cocotb test that puts a simulated board's serial line on a socket of this machine.

Runs inside the simulator. The first connection to the socket is the line, the second one tells the bench what to do: a
byte `RESET` presses the board's button, `QUIT` ends. Where the socket is goes to ``+address=PATH``; ``+divisor=N`` are
the clock cycles of a bit.
"""

from __future__ import annotations

import select
import socket
from collections import deque
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, Timer

from ..sim.system.files import write_text

#: Bytes of the second connection.
RESET, QUIT = b"R", b"Q"
#: A file beside the one with the address: nobody will connect any more.
ENDED = "ended"
_PERIOD_NS = 10
_RESET_CYCLES = 8
#: Bits of a byte on the line.
_BITS = 10
#: Looks at the sockets without a byte after which the simulation waits for one, and then seconds a look.
_IDLE_LOOKS, _IDLE_S = 20_000, 0.05


class Line:
    """Both directions of the line, bit by bit.

    Parameters
    ----------
    dut : handle
        `hw.board.top.SerialEngine`.
    bit_ns : int
        Time of a bit.
    """

    def __init__(self, dut: Any, bit_ns: int):
        self.dut, self.bit_ns = dut, bit_ns
        self.waiting: deque[int] = deque()
        self.came = bytearray()
        dut.rx.value = 1

    async def send(self) -> None:
        """Send what waits, for ever."""
        while True:
            if not self.waiting:
                await Timer(self.bit_ns, "ns")
                continue
            word = self.waiting.popleft() << 1 | 1 << _BITS - 1
            for _ in range(_BITS):
                self.dut.rx.value = word & 1
                word >>= 1
                await Timer(self.bit_ns, "ns")

    async def hear(self) -> None:
        """Collect what comes, for ever."""
        while True:
            await FallingEdge(self.dut.tx)
            await Timer(self.bit_ns // 2, "ns")
            byte = 0
            for bit in range(8):
                await Timer(self.bit_ns, "ns")
                byte |= int(self.dut.tx.value) << bit
            await Timer(self.bit_ns, "ns")
            if self.dut.tx.value == 1:
                self.came.append(byte)


async def press(dut: Any) -> None:
    """Reset the board."""
    dut.rst.value = 1
    await Timer(_RESET_CYCLES * _PERIOD_NS, "ns")
    dut.rst.value = 0


@cocotb.test()
async def serve(dut: Any) -> None:
    """Relay until it is told to end, or the other side is gone."""
    server = socket.create_server(("127.0.0.1", 0))
    address = Path(str(cocotb.plusargs["address"]))
    write_text(address, str(server.getsockname()[1]))
    line = Line(dut, int(cocotb.plusargs["divisor"]) * _PERIOD_NS)
    Clock(dut.clk, _PERIOD_NS, "ns").start()
    await press(dut)
    cocotb.start_soon(line.send())
    cocotb.start_soon(line.hear())
    ends: list[socket.socket] = []
    idle = 0
    while True:
        await Timer(line.bit_ns * _BITS, "ns")
        busy = bool(line.waiting or line.came)
        idle = 0 if busy else idle + 1
        watched = [*ends, *([server] if len(ends) < 2 else [])]
        readable, _, _ = select.select(watched, [], [], _IDLE_S if idle > _IDLE_LOOKS or not ends else 0)
        if not ends and address.with_name(ENDED).exists():
            return
        if server in readable:
            ends.append(server.accept()[0])
            continue
        if ends and line.came:
            ends[0].sendall(line.came)
            line.came.clear()
        for end in readable:
            data = end.recv(4096)
            if not data or (end is not ends[0] and QUIT in data):
                return
            if end is ends[0]:
                line.waiting.extend(data)
                idle = 0
            else:
                await press(dut)
