"""Bundles of signals that units share: the load bus, memory ports, and AXI4-Stream payloads."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import ShapeLike, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import Flow, In, Out

#: Payload of one 64-bit beat for a loadable memory; `hw.parts.memory.LoadableMemory` listens to its own id.
LOAD_BUS = data.StructLayout({"en": 1, "memory": 8, "addr": 24, "beat": 6, "data": 64})


def beat_layout(data_bits: int, tag_bits: int = 0) -> data.StructLayout:
    """Payload of a stream of packets: data, a tag where it has bits, and whether it is the packet's last beat."""
    return data.StructLayout({"data": data_bits, **({"tag": tag_bits} if tag_bits else {}), "last": 1})


#: Beat of the load stream.
LOAD_BEAT = beat_layout(64)

#: Names of an AXI4-Stream's signals by the fields of a beat.
_AXIS = {"data": "tdata", "tag": "tuser", "last": "tlast"}


def axis_ports(prefix: str, flow: Flow, beat: data.StructLayout) -> dict[str, wiring.Member]:
    """Return the flat ports of an AXI4-Stream of beats, by name, for a stream that comes in or goes out."""
    fields = {f"{prefix}_{_AXIS[name]}": flow(shape) for name, shape in beat.members.items()}
    return {**fields, f"{prefix}_tvalid": flow(1), f"{prefix}_tready": flow.flip()(1)}


def axis_signals(stream: Any) -> dict[str, Value]:
    """Return the signals of a stream of beats by their names in an AXI4-Stream."""
    fields = {_AXIS[name]: stream.payload[name] for name in stream.payload.shape().members}
    return {**fields, "tvalid": stream.valid, "tready": stream.ready}


def read_port(addr_bits: int, shape: ShapeLike, *, strobed: bool = False) -> wiring.Signature:
    """Signature of a memory's reader: address out, data in one cycle later where nothing else is said.

    If strobed, `en` tells the addresses that count.
    """
    return wiring.Signature({**({"en": Out(1)} if strobed else {}), "addr": Out(addr_bits), "data": In(shape)})


def ring_read(addr_bits: int, shape: ShapeLike) -> wiring.Signature:
    """Signature of who reads words of a ring: the address, a word later; and that one word may be written over."""
    return wiring.Signature({"addr": Out(addr_bits), "freed": Out(1), "data": In(shape)})


def ring_count(bits: int) -> wiring.Signature:
    """Signature of who is given words of a ring: how many there are, so many when `take`; whether it waits for more."""
    return wiring.Signature({"level": In(bits), "take": Out(1), "count": Out(bits), "waits": Out(1)})


def write_port(addr_bits: int, shape: ShapeLike) -> wiring.Signature:
    """Signature of a memory's writer: a word when `en`."""
    return wiring.Signature({"en": Out(1), "addr": Out(addr_bits), "data": Out(shape)})
