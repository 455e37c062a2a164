"""Bundles of signals that units share: the load bus, memory ports, and AXI4-Stream payloads."""

from __future__ import annotations

from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ...sim.engine.commands import Command

#: Payload of one 64-bit beat for a loadable memory; `hw.parts.memory.LoadableMemory` listens to its own id.
LOAD_BUS = data.StructLayout({"en": 1, "memory": 8, "addr": 24, "beat": 6, "data": 64})


def read_port(addr_bits: int, width: int) -> wiring.Signature:
    """Signature of a memory's reader: address out, data in one cycle later."""
    return wiring.Signature({"addr": Out(addr_bits), "data": In(width)})


def bits_port(lanes: int, row_bits: int = 7, chunk_bits: int = 7) -> wiring.Signature:
    """Signature of a producer of bits: one chunk of `lanes` bits of one row of a tile, when `en`."""
    return wiring.Signature({"en": Out(1), "row": Out(row_bits), "chunk": Out(chunk_bits), "data": Out(lanes)})


def command_layout(command: type[Command]) -> data.StructLayout:
    """Fields of one command as a struct, in the order of its bits."""
    return data.StructLayout({name: part.width for name, part in command.layout().items()})
