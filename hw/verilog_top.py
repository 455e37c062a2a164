"""The generated Verilog as a stranger meets it: what the file is, and a top module with its ports bus by bus."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from .. import __version__
from ..sim.engine.target import Target
from ..sim.errors import BivitError
from .ports import Interface, Port, interfaces

#: Name of the top module, and of the one around it with the reset that AMD's tools expect.
ENGINE_TOP = "bivit_engine"
ARESETN_TOP = "bivit_engine_aresetn"
#: Under what all that bivit writes may be used.
LICENCE = "Apache-2.0"

#: How the attribute of AMD Vivado names a protocol (its guide UG994), and its signals where they are single.
_AMD = {
    "clock": ("signal:clock:1.0", "CLK"),
    "reset": ("signal:reset:1.0", "RST"),
    "interrupt": ("signal:interrupt:1.0", "INTERRUPT"),
    "AXI4-Lite": ("interface:aximm:1.0", None),
    "AXI4-Stream": ("interface:axis:1.0", None),
    "AXI4": ("interface:aximm:1.0", None),
}
#: What Amaranth's writer does everywhere, each without harm: operands of `+` and `==` of different widths, signals
#: that only give something a name, several modules in one file; comparisons that have one outcome, of the last lane or
#: where an engine is small. Only names that every Verilator knows.
_LINT = ("WIDTH", "UNUSED", "DECLFILENAME", "CMPCONST")


def header(engine: Target) -> str:
    """Return the comment that begins a file of Verilog: its licence, and what engine is in it."""
    lines = [
        f"SPDX-License-Identifier: {LICENCE}",
        "",
        f"An engine of bivit {__version__}; generated, so change what it was generated from instead.",
        f"Fingerprint {engine.fingerprint():016x}: {engine.rows} rows, {engine.columns} columns, {engine.lanes} lanes, "
        f"{engine.pixel_bytes} bytes a beat of pixels, {engine.fabric}",
    ]
    return "".join(f"// {line}".rstrip() + "\n" for line in lines)


def lint_pragmas() -> str:
    """Return comments by which Verilator's lint passes over what the Verilog writer does everywhere, and why."""
    why = "// Widths of operands, unused names, one file for all, comparisons of one outcome: without harm.\n"
    return why + "".join(f"/* verilator lint_off {rule} */\n" for rule in _LINT)


def with_listed_ports(text: str, engine: Target) -> str:
    """Return the Verilog with the ports of its top module in its head, in the order of `ports.interfaces`.

    Parameters
    ----------
    text : str
        Verilog with the module `ENGINE_TOP`, whose body declares its ports.
    engine : Target
        The engine.

    Raises
    ------
    BivitError
        When a port is not declared as expected: the Verilog writer is not the one that this was written for.
    """
    found = re.search(rf"^module {ENGINE_TOP} ?\(.*?^endmodule$", text, re.M | re.S)
    if found is None:
        raise BivitError(f"the Verilog has no module {ENGINE_TOP}")
    buses = interfaces(engine)
    body, kinds = found[0].partition(";\n")[2], dict[str, str]()
    for port in (port for bus in buses for port in bus.ports):
        declared = re.search(
            rf"^  {port.direction} (\[\d+:0\] )?{port.name};\n  (wire|reg) (?:\[\d+:0\] )?{port.name}( = [^;]*)?;\n",
            body,
            re.M,
        )
        if declared is None:
            raise BivitError(f"the Verilog does not declare the {port.direction} {port.name}")
        body = body.replace(declared[0], "", 1)
        kinds[port.name] = declared[2] + " %s" + (declared[3] or "")
    head = f"module {ENGINE_TOP} (\n{port_list(buses, kinds)});\n"
    return text[: found.start()] + head + body + text[found.end() :]


def port_list(buses: Sequence[Interface], kinds: Mapping[str, str] | None = None) -> str:
    """Return the declarations of all ports, with the attributes by which AMD Vivado knows what they belong to.

    Parameters
    ----------
    buses : sequence of Interface
        All of the module.
    kinds : mapping, optional
        How a port is declared, as ``reg %s = 1'h0``; ``wire %s`` where it does not say.
    """
    lines: list[str] = []
    last = buses[-1].ports[-1]
    for bus in buses:
        polarity = f", {bus.polarity}" if bus.polarity else ""
        lines.append(f"  // {bus.name}: {bus.protocol} {bus.role}{polarity}: {bus.text}")
        for port in bus.ports:
            kind = (kinds or {}).get(port.name, "wire %s")
            bits = f"[{port.bits - 1}:0] " if port.bits > 1 else ""
            declared = f"{port.direction} {kind % (bits + port.name)}"
            lines.append(f"  {_attributes(bus, port, buses)}\n  {declared}{'' if port is last else ','}")
    return "\n".join(lines) + "\n"


def _attributes(bus: Interface, port: Port, buses: Sequence[Interface]) -> str:
    kind, signal = _AMD[bus.protocol]
    found = f'X_INTERFACE_INFO = "xilinx.com:{kind} {bus.name} {signal or port.signal}"'
    parameter = _parameter(bus, buses) if port is bus.ports[0] else ""
    return f"(* {found}" + (f', X_INTERFACE_PARAMETER = "{parameter}" *)' if parameter else " *)")


def _parameter(bus: Interface, buses: Sequence[Interface]) -> str:
    """What the first port of a bus says of all of it."""
    if bus.protocol == "clock":
        of_clock = ":".join(one.name for one in buses if one.protocol.startswith("AXI"))
        (reset,) = (one.name for one in buses if one.protocol == "reset")
        return f"ASSOCIATED_BUSIF {of_clock}, ASSOCIATED_RESET {reset}"
    return {
        "reset": f"POLARITY {str(bus.polarity).replace(' ', '_').upper()}",
        "interrupt": "SENSITIVITY LEVEL_HIGH",
        "AXI4-Lite": "PROTOCOL AXI4LITE",
        "AXI4": "PROTOCOL AXI4, READ_WRITE_MODE READ_ONLY",
    }.get(bus.protocol, "")


def aresetn_wrapper(engine: Target) -> str:
    """Return the module `ARESETN_TOP`: the engine with `aclk` and an active-low `aresetn`, else the same ports."""
    buses, inner = interfaces(engine, aresetn=True), interfaces(engine)
    names = [port.name for bus in inner for port in bus.ports]
    outer = {"clk": "aclk", "rst": "~aresetn"}
    connected = ",\n".join(f"    .{name}({outer.get(name, name)})" for name in names)
    head = f"{header(engine)}\nmodule {ARESETN_TOP} (\n{port_list(buses)});\n"
    return f"{head}  {ENGINE_TOP} engine (\n{connected}\n  );\nendmodule\n"
