"""The bench's Verilog: a top level around the engine that writes every observed write to a file, and its reader.

Beside the engine it has the checkers of `protocol`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..hw.ports import WEIGHTS_PORT
from ..sim.engine.probe import Probe
from ..sim.errors import BivitError, check
from .memory import MEMORY_MODULE, memory_module
from .protocol import MODULE as RULES_MODULE
from .protocol import rules_module

#: Name of the generated top module, and of the engine's instance in it.
BENCH_TOP = "bench_top"
INSTANCE = "engine"
#: Signals of a memory's port that always say the same.
_UNREAD = ("arsize", "arburst", "arcache", "arprot")

#: Direction and width of a port, by name.
Ports = Mapping[str, tuple[str, int]]


def bench_top(engine: str, ports: Ports, probes: Sequence[Probe], *, memory_words: int = 0) -> str:
    """Return Verilog of a top level with the engine's ports and its instance, which observes `probes`.

    The module takes ``+trace_file=PATH`` and writes a line there for each write. Built with BIVIT_WAVES defined, it
    also takes ``+wave_file=PATH``, ``+wave_from=CYCLE`` and ``+wave_to=CYCLE``: it records that window and then ends
    the simulation. Observing from inside leaves the signals private, which the simulator needs to be fast; and the
    reset comes out of a register, a cycle after the port, because all that depends on a port is computed more often.

    Parameters
    ----------
    engine : str
        Name of the engine's module.
    ports : mapping of str to (str, int)
        As `hw.verilog_ports.ports_of`.
    probes : sequence of Probe
        What to observe.
    memory_words : int
        Words of the memory that the engine reads its weights from, which is part of the bench; 0 without one.
    """
    inner = {name: bits for name, (_, bits) in ports.items() if name.startswith(WEIGHTS_PORT)}
    outer = {name: port for name, port in ports.items() if name not in inner}
    declared = ",\n".join(f"  {direction} wire [{bits - 1}:0] {name}" for name, (direction, bits) in outer.items())
    driven = {name: name for name in ports} | {"rst": "reset"}
    connected = ", ".join(f".{name}({driver})" for name, driver in driven.items())
    writes = "\n".join(_write(number, probe) for number, probe in enumerate(probes))
    port = [inner[f"{WEIGHTS_PORT}_{name}"] for name in ("rdata", "arid") if inner]
    beside = memory_module(port[0], memory_words, port[1]) if port else ""
    return f"""module {BENCH_TOP} (
{declared}
);
{_memory(inner, memory_words)}  reg reset;
  always @(posedge clk) reset <= rst;
  {engine} {INSTANCE} ({connected});
  {RULES_MODULE} rules ({connected}, .cycle(cycle));

  reg [63:0] cycle = 0;
  reg [8191:0] trace_file;
  integer trace = 0;
  initial if ($value$plusargs("trace_file=%s", trace_file)) trace = $fopen(trace_file, "w");
  always @(posedge clk) begin
    cycle <= cycle + 1;
    if (trace != 0) begin
{writes}
    end
  end
{_WAVES}endmodule

{rules_module(ports)}{beside}"""


def _memory(wires: Mapping[str, int], words: int) -> str:
    """Return the instance of the memory of streamed weights, with its wires; nothing without any."""
    if not wires:
        return ""
    check(words > 0, "the engine reads its weights from a memory, and the bench has none; give it the memory image")
    declared = "".join(f"  wire [{bits - 1}:0] {name};\n" for name, bits in wires.items())
    names = [name.removeprefix(f"{WEIGHTS_PORT}_") for name in wires]
    connected = ", ".join(f".{name}({WEIGHTS_PORT}_{name})" for name in names if name not in _UNREAD)
    return f"{declared}  {MEMORY_MODULE} memory (.clk(clk), .rst(reset), {connected});\n"


def _write(number: int, probe: Probe) -> str:
    """Return the statement that writes a line for a write: probe number, cycle, keys and data, all hexadecimal."""
    signals = ["cycle", *(_reference(path) for path in (*probe.keys, probe.data))]
    form = " ".join([f"{number:x}", *["%h"] * len(signals)])
    return f'      if ({_reference(probe.enable)}) $fwrite(trace, "{form}\\n", {", ".join(signals)});'


def _reference(path: str) -> str:
    """Return the hierarchical name of an engine's signal, escaped: an instance may have a keyword's name.

    A field of a signal is behind a colon, as in ``unit.bits:en``.
    """
    return f"{INSTANCE}." + ".".join(f"\\{part.replace(':', '.')} " for part in path.split("."))


_WAVES = f"""`ifdef BIVIT_WAVES
  reg [8191:0] wave_file;
  reg [63:0] wave_from = 0, wave_to = 0;
  initial if ($value$plusargs("wave_from=%d", wave_from) && $value$plusargs("wave_to=%d", wave_to))
    if ($value$plusargs("wave_file=%s", wave_file)) $dumpfile(wave_file);
  always @(posedge clk) if (wave_to != 0) begin
    if (cycle == wave_from) $dumpvars(0, {INSTANCE});
    if (cycle == wave_to) $finish;
  end
`endif
"""


@dataclass(frozen=True)
class ProbeTrace:
    """All writes of one probe, in order.

    Parameters
    ----------
    cycles : int64 [n]
        Clock edges since the simulation's start.
    keys : int64 [n, k]
        Address signals.
    data : uint8 [n, b]
        Data, the least significant byte first.
    """

    cycles: NDArray[np.int64]
    keys: NDArray[np.int64]
    data: NDArray[np.uint8]


def read_trace(path: Path, probes: Sequence[Probe]) -> dict[str, ProbeTrace]:
    """Return the writes that a `bench_top` for `probes` put into a file, by name of the probe.

    Raises
    ------
    BivitError
        When a written value was unknown (X) in the simulation.
    """
    lines: list[list[list[str]]] = [[] for _ in probes]
    with path.open(encoding="ascii") as file:
        for line in file:
            number, *words = line.split()
            if "x" in line:
                message = f"probe {probes[int(number, 16)].name} writes an unknown value: {line.strip()}"
                raise BivitError(f"{message}; the design reads something that was never set")
            lines[int(number, 16)].append(words)
    return {probe.name: _probe_trace(probe, rows) for probe, rows in zip(probes, lines, strict=True)}


def _probe_trace(probe: Probe, rows: list[list[str]]) -> ProbeTrace:
    size = -(-probe.elements * probe.bits // 8)
    numbers = np.array([[int(word, 16) for word in row[:-1]] for row in rows], np.int64)
    numbers = numbers.reshape(len(rows), 1 + len(probe.keys))
    data = b"".join(int(row[-1], 16).to_bytes(size, "little") for row in rows)
    return ProbeTrace(numbers[:, 0], numbers[:, 1:], np.frombuffer(data, np.uint8).reshape(len(rows), size))
