"""Drivers of the engine's ports: AXI4-Stream source and sink, AXI4-Lite master, each with seeded random stalls."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import cocotb
from cocotb.triggers import ClockCycles, Event, RisingEdge

#: A stall lasts 1 to this many cycles.
MAX_STALL_CYCLES = 8
#: Cycles without a logit after which no more come.
QUIET_CYCLES = 4


class Stalls:
    """Pauses drawn from a seed of their own for each port, so that one port's traffic does not move another's.

    Parameters
    ----------
    dut : handle
        Top level; `clk` is used.
    port : str
        Name of the port, part of the seed.
    stall : float
        Probability of a pause before a beat, 0 to below 1.
    seed : int
        Seed of the run.
    """

    def __init__(self, dut: Any, port: str, stall: float, seed: int):
        self.clk, self.stall = dut.clk, stall
        self.rng = random.Random(f"{seed} {port}")

    def draw(self) -> int:
        """Return the cycles to pause before the next beat, mostly 0."""
        return self.rng.randint(1, MAX_STALL_CYCLES) if self.rng.random() < self.stall else 0

    async def pause(self) -> None:
        """Let a drawn number of cycles pass."""
        cycles = self.draw()
        if cycles:
            await ClockCycles(self.clk, cycles)


async def transfer(clk: Any, answer: Any) -> None:
    """Wait for the clock edge at which `answer`, a ready or valid signal, is high.

    Waits for `answer` to rise where it is low, so that nothing runs in Python while the engine computes.
    """
    await RisingEdge(clk)
    while answer.value != 1:
        await RisingEdge(answer)
        await RisingEdge(clk)


class StreamSource:
    """AXI4-Stream master that never withdraws a beat: what was offered is offered until it is taken, run after run.

    Parameters
    ----------
    dut : handle
        Top level.
    port : str
        Prefix of the port's signals, such as ``s_axis_load``.
    stalls : Stalls
        Pauses before beats.
    """

    def __init__(self, dut: Any, port: str, stalls: Stalls):
        self.clk, self.stalls = dut.clk, stalls
        names = ("tdata", "tlast", "tvalid", "tready")
        self.tdata, self.tlast, self.tvalid, self.tready = (getattr(dut, f"{port}_{name}") for name in names)
        self.beat_bytes = len(self.tdata) // 8
        self._frames: deque[tuple[bytes, bool]] = deque()
        self._offered, self._all_taken = Event(), Event()
        #: Beats that were taken since the last reset.
        self.taken = 0
        self._task: Any = None
        self.reset()

    def reset(self) -> None:
        """Forget everything that was not taken and offer nothing, as a reset of the system does."""
        if self._task is not None:
            self._task.cancel()
        self._frames.clear()
        self._all_taken.set()
        self.taken = 0
        self._offer_nothing()
        self._task = cocotb.start_soon(self._drive())

    def offer(self, data: bytes, *, last: bool = True) -> None:
        """Queue `data`, a multiple of the beat's bytes, with TLAST at its end when `last`."""
        self._frames.append((data, last))
        self._all_taken.clear()
        self._offered.set()

    @property
    def idle(self) -> bool:
        """Whether every beat was taken."""
        return self._all_taken.is_set()

    async def sent(self) -> None:
        """Wait until every beat was taken."""
        await self._all_taken.wait()

    def _offer_nothing(self) -> None:
        self.tvalid.value = 0
        self.tlast.value = 0

    async def _drive(self) -> None:
        """Send the queue for ever."""
        while True:
            if not self._frames:
                self._offer_nothing()
                self._all_taken.set()
                self._offered.clear()
                await self._offered.wait()
            await self._send(*self._frames[0])
            self._frames.popleft()

    async def _send(self, data: bytes, last: bool) -> None:
        step = self.beat_bytes
        for start in range(0, len(data), step):
            pause = self.stalls.draw()
            if pause:
                self.tvalid.value = 0
                await ClockCycles(self.clk, pause)
            self.tdata.value = int.from_bytes(data[start : start + step], "little")
            self.tlast.value = int(last and start + step == len(data))
            self.tvalid.value = 1
            await transfer(self.clk, self.tready)
            self.taken += 1


class LogitsSink:
    """AXI4-Stream slave for the logits; `beats` collects (value, tag, last).

    Parameters
    ----------
    dut : handle
        Top level.
    stalls : Stalls
        Pauses before beats.
    """

    def __init__(self, dut: Any, stalls: Stalls):
        self.dut, self.stalls = dut, stalls
        self.beats: list[tuple[int, int, int]] = []
        self._task: Any = None
        self.hold()

    def hold(self) -> None:
        """Take no beat; only while none is offered."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self.dut.m_axis_logits_tready.value = 0

    def release(self) -> None:
        """Take beats from now on."""
        if self._task is None:
            self._task = cocotb.start_soon(self._receive())

    @property
    def reads(self) -> bool:
        """Whether beats are taken."""
        return self._task is not None

    async def quiet(self) -> None:
        """Wait until the engine offers no more: the bench takes all, and then nothing comes for a few cycles."""
        silent = 0
        while silent < QUIET_CYCLES:
            await RisingEdge(self.dut.clk)
            silent = 0 if self.dut.m_axis_logits_tvalid.value == 1 else silent + 1

    async def _receive(self) -> None:
        dut = self.dut
        while True:
            pause = self.stalls.draw()
            if pause:
                dut.m_axis_logits_tready.value = 0
                await ClockCycles(dut.clk, pause)
            dut.m_axis_logits_tready.value = 1
            await transfer(dut.clk, dut.m_axis_logits_tvalid)
            value = dut.m_axis_logits_tdata.value.to_signed()
            self.beats.append((value, int(dut.m_axis_logits_tuser.value), int(dut.m_axis_logits_tlast.value)))


class RegisterMaster:
    """AXI4-Lite master; address and data of a write start independently, and answers are taken late.

    Parameters
    ----------
    dut : handle
        Top level.
    stalls : Stalls
        Pauses on all five channels.
    """

    def __init__(self, dut: Any, stalls: Stalls):
        self.dut, self.stalls = dut, stalls
        for name in ("awvalid", "wvalid", "bready", "arvalid", "rready"):
            self._signal(name).value = 0

    def _signal(self, name: str) -> Any:
        return getattr(self.dut, f"s_axil_{name}")

    async def _offer(self, channel: str) -> None:
        await self.stalls.pause()
        self._signal(f"{channel}valid").value = 1
        await transfer(self.dut.clk, self._signal(f"{channel}ready"))
        self._signal(f"{channel}valid").value = 0

    async def _answer(self, channel: str) -> int:
        """Take the answer of channel `b` or `r`; return its response code."""
        await self.stalls.pause()
        self._signal(f"{channel}ready").value = 1
        await transfer(self.dut.clk, self._signal(f"{channel}valid"))
        self._signal(f"{channel}ready").value = 0
        return int(self._signal(f"{channel}resp").value)

    async def write(self, addr: int, data: int) -> int:
        """Write a 32-bit word; return BRESP."""
        self._signal("awaddr").value = addr
        self._signal("wdata").value = data
        self._signal("wstrb").value = 15
        offers = [cocotb.start_soon(self._offer(channel)) for channel in ("aw", "w")]
        for offer in offers:
            await offer
        return await self._answer("b")

    async def read(self, addr: int) -> tuple[int, int]:
        """Read a 32-bit word; return it and RRESP."""
        self._signal("araddr").value = addr
        await self._offer("ar")
        response = await self._answer("r")
        return int(self._signal("rdata").value), response
