"""Bundles of signals that units share: the load bus, memory ports, and AXI4-Stream payloads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from amaranth.hdl import ShapeLike, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import Flow, In, Out

from ...sim.engine.commands import Command, Matmul, SignNorm
from ...sim.engine.words import WORD
from ...sim.errors import check

#: Payload of one 64-bit beat for a loadable memory; `hw.parts.memory.LoadableMemory` listens to its own id.
LOAD_BUS = data.StructLayout({"en": 1, "memory": 8, "addr": 24, "beat": 6, "data": 64})


def beat_layout(data_bits: int, tag_bits: int = 0) -> data.StructLayout:
    """Payload of a stream of packets: data, a tag where it has bits, and whether it is the packet's last beat."""
    return data.StructLayout({"data": data_bits, **({"tag": tag_bits} if tag_bits else {}), "last": 1})


#: Beat of the load stream.
LOAD_BEAT = beat_layout(64)

#: Names of an AXI4-Stream's signals by the fields of a beat.
_AXIS = {"data": "tdata", "tag": "tuser", "last": "tlast"}

#: Widths of a row's number in its tile, and of a chunk's in its row.
ROW_BITS, CHUNK_BITS = (Matmul.layout()[name].width for name in ("rows", "dst_chunk"))
#: Width of an address of X.
X_ADDR_BITS = SignNorm.layout()["x_addr"].width


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


def write_port(addr_bits: int, shape: ShapeLike) -> wiring.Signature:
    """Signature of a memory's writer: a word when `en`."""
    return wiring.Signature({"en": Out(1), "addr": Out(addr_bits), "data": Out(shape)})


def stats_layout(s1_bits: int, r_bits: int) -> data.StructLayout:
    """Word of the memory of rows: S1 and R of a row."""
    return data.StructLayout({"s1": signed(s1_bits), "r": r_bits})


def operands_port(rows: int, columns: int) -> wiring.Signature:
    """Signature of the array's reader: memories and words of both operands out, the operands in one cycle later."""
    fields = {name: Out(field_bits(Matmul, name)) for name in ("a_mem", "a_addr", "w_mem", "w_addr")}
    return wiring.Signature({**fields, "a": In(rows * WORD), "w": In(columns * WORD)})


def bits_port(lanes: int) -> wiring.Signature:
    """Signature of a producer of bits: one chunk of `lanes` bits of one row of a tile, when `en`."""
    return wiring.Signature({"en": Out(1), "row": Out(ROW_BITS), "chunk": Out(CHUNK_BITS), "data": Out(lanes)})


def command_port(*commands: type[Command]) -> wiring.Signature:
    """Signature of who gives commands: by the name of each, `issue` for one cycle and its `fields` beside it."""
    return wiring.Signature(
        {
            command.name: Out(wiring.Signature({"issue": Out(1), "fields": Out(command_layout(command))}))
            for command in commands
        }
    )


def given(port: Any, command: type[Command]) -> Any:
    """Return the part of a `command_port` that gives one command: `issue` and `fields`."""
    return getattr(port, command.name)


def takers(commands: Iterable[type[Command]], units: Mapping[str, Any]) -> dict[type[Command], Any]:
    """Return the unit that carries out each command.

    Parameters
    ----------
    commands : iterable of command classes
        Those that are given.
    units : mapping of str to component
        By name; the `commands` of a unit, where it has them, are what it carries out.

    Raises
    ------
    BivitError
        When a command has no taker, or two.
    """
    found = {}
    for command in commands:
        names = [name for name, unit in units.items() if command in getattr(unit, "commands", ())]
        check(
            len(names) == 1,
            f"the command {command.name} must have one unit that carries it out, got {', '.join(names) or 'none'}",
        )
        found[command] = units[names[0]]
    return found


def field_bits(command: type[Command], name: str) -> int:
    """Width of a field, which is that of the counters and addresses that start with it."""
    return command.layout()[name].width


def command_layout(command: type[Command]) -> data.StructLayout:
    """Fields of one command as a struct, in the order of its bits."""
    return data.StructLayout({name: part.width for name, part in command.layout().items()})
