"""A stand-in for PYNQ whose overlay is an engine's RTL in a simulator: `allocate`, `Overlay`, registers, DMA channels.

It is as strict as PYNQ: a channel that is not started, or is not idle, takes no transfer; what a processor writes into
a buffer is in memory only when it was flushed, and what a DMA writes is seen only when the buffer was invalidated.
"""

from __future__ import annotations

import json
import socket
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bivit.cosim.board import served
from bivit.cosim.memory import BASE, BenchMemory
from bivit.cosim.monitor import BENCH_TOP, bench_top
from bivit.cosim.runner import build
from bivit.hw.emit import engine_verilog
from bivit.hw.verilog_ports import ports_of
from bivit.hw.verilog_top import ENGINE_TOP
from bivit.sim.flow.config import FlowConfig

#: Where buffers lie that no engine reads by itself.
_ELSEWHERE = 0x7000_0000


class Buffer(np.ndarray):  # type: ignore[type-arg]
    """What `allocate` returns."""

    physical_address: int
    memory: bytearray

    def flush(self) -> None:
        self.memory[:] = self.tobytes()

    def invalidate(self) -> None:
        self[...] = np.frombuffer(bytes(self.memory), self.dtype).reshape(self.shape)

    def freebuffer(self) -> None:
        self.memory = bytearray()


class Rtl:
    """The simulated engine, by requests over a socket."""

    def __init__(self, number: int, weights: bytes):
        self._socket = socket.create_connection(("127.0.0.1", number))
        self._lines = self._socket.makefile("rwb")
        self.weights = weights
        #: Transfers of pixels that are lost, or that lose their last beat, counted from now on.
        self.lost: set[int] = set()
        self.cut: set[int] = set()
        self.transfers = 0

    def ask(self, op: str, **more: Any) -> Any:
        self._lines.write(json.dumps({"op": op, **more}).encode() + b"\n")
        self._lines.flush()
        return json.loads(self._lines.readline())

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


class Registers:
    """As pynq's `DefaultIP`."""

    def __init__(self, rtl: Rtl):
        self._rtl = rtl

    def read(self, offset: int) -> int:
        return int(self._rtl.ask("read", address=offset))

    def write(self, offset: int, value: int) -> None:
        self._rtl.ask("write", address=offset, value=value)


class Channel:
    """What both directions of pynq's DMA have in common."""

    def __init__(self, rtl: Rtl):
        self._rtl = rtl
        self.running, self.transferred = True, 0
        self._active: tuple[Buffer, int, int] | None = None

    def start(self) -> None:
        self.running = True

    def _begin(self, array: Buffer, start: int, nbytes: int) -> tuple[int, int]:
        if not self.running:
            raise RuntimeError("DMA channel not started")
        if self._active is not None and not self.idle:
            raise RuntimeError("DMA channel not idle")
        assert (array.physical_address + start) % 64 == 0
        size = nbytes or array.nbytes - start
        self._active = (array, start, size)
        return start, size

    @property
    def idle(self) -> bool:
        raise NotImplementedError

    def wait(self) -> None:
        if not self.running:
            raise RuntimeError("DMA channel not started")
        while not self.idle:
            pass


class Sender(Channel):
    """MM2S."""

    def __init__(self, rtl: Rtl, port: str):
        super().__init__(rtl)
        self._port = port

    def transfer(self, array: Buffer, start: int = 0, nbytes: int = 0) -> None:
        start, size = self._begin(array, start, nbytes)
        array.flush()
        data = bytes(array.memory[start : start + size])
        if self._port == "pixels":
            self._rtl.transfers += 1
            if self._rtl.transfers in self._rtl.lost:
                return
            if self._rtl.transfers in self._rtl.cut:
                data = data[: len(data) // 2]
        self._rtl.ask("send", port=self._port, data=data.hex())

    @property
    def idle(self) -> bool:
        return self._active is not None and bool(self._rtl.ask("sent", port=self._port))


class Receiver(Channel):
    """S2MM: a transfer ends with TLAST."""

    def __init__(self, rtl: Rtl):
        super().__init__(rtl)
        self._came: list[int] = []
        self._done = False

    def transfer(self, array: Buffer, start: int = 0, nbytes: int = 0) -> None:
        self._begin(array, start, nbytes)
        self._came, self._done = [], False

    @property
    def idle(self) -> bool:
        if self._active is None:
            return False
        array, start, size = self._active
        if not self._done:
            for value, last in self._rtl.ask("logits", most=size // 4 - len(self._came)):
                self._came.append(value)
                self._done = bool(last)
            if self._done:
                data = np.array(self._came, "<i4").tobytes()
                array.memory[start : start + len(data)] = data
        return self._done

    def wait(self) -> None:
        super().wait()
        assert self._active is not None
        self._active[0].invalidate()
        self.transferred = 4 * len(self._came)


class Dma:
    """As pynq's `DMA`, in simple mode."""

    def __init__(self, rtl: Rtl, port: str):
        self.sendchannel, self.recvchannel = Sender(rtl, port), Receiver(rtl)


def played_module(rtl: Rtl) -> types.ModuleType:
    """Return what stands for the module `pynq`."""

    def allocate(shape: tuple[int, ...], dtype: Any) -> Buffer:
        buffer = np.zeros(shape, dtype).view(Buffer)
        # The engine's memory holds the image of the weights already; here only its address counts.
        buffer.physical_address = BASE if rtl.weights and buffer.nbytes == len(rtl.weights) else _ELSEWHERE
        buffer.memory = bytearray(buffer.nbytes)
        return buffer

    class Overlay:
        def __init__(self, bitfile: str):
            assert bitfile.endswith(".bit")
            self.engine = Registers(rtl)
            self.dma, self.dma_load = Dma(rtl, "pixels"), Dma(rtl, "load")

        def download(self) -> None:
            rtl.ask("reset")
            for channel in (self.dma.sendchannel, self.dma.recvchannel, self.dma_load.sendchannel):
                channel.running, channel._active = False, None

    module = types.ModuleType("pynq")
    module.__dict__.update(allocate=allocate, Overlay=Overlay)
    return module


@contextmanager
def simulated_pynq(flow: FlowConfig, folder: Path) -> Iterator[Rtl]:
    """Run an engine in Verilator while the block lasts.

    Parameters
    ----------
    flow : FlowConfig
    folder : Path
        What `bivit generate` wrote: of streamed weights, their memory image.
    """
    verilog = engine_verilog(flow)
    image = (folder / "weights.bin").read_bytes() if flow.streamed else b""
    memory = BenchMemory(image, flow.memory_bits) if image else None
    top = bench_top(ENGINE_TOP, ports_of(verilog, ENGINE_TOP), [], memory_words=memory.words if memory else 0)
    built = build({f"{BENCH_TOP}.sv": top, f"{ENGINE_TOP}.v": verilog}, BENCH_TOP)
    more = memory.plusargs(folder) if memory else []
    with served(built, "tb_ports", more) as number:
        rtl = Rtl(number, image)
        try:
            yield rtl
        finally:
            rtl.close()
