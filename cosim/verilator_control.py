"""What Verilator is told so that a large design compiles soon and runs fast.

Above all what can be reached from outside, and that a module that is there many times is compiled once.
"""

from __future__ import annotations

import platform
import re
from collections import Counter
from collections.abc import Iterable

from ..hw.verilog_ports import ports_of

#: Name of the control file among a simulation's sources.
CONTROL_FILE = "control.vlt"
#: Options by which equal functions are merged (dfg-scoped names what it finds in each instance otherwise), and all are
#: of a size that compiles in seconds, in files of which as many are compiled at a time as there are processors; for
#: this kind of processor, which makes a simulation a third faster.
VERILATOR_COMPILES = (
    *("-fno-dfg-scoped", "--output-split-cfuncs", "1000", "--output-split", "10000"),
    *(("-CFLAGS", "-march=native") if platform.machine() in ("x86_64", "AMD64") else ()),
)
#: A module is compiled once when so many instances have so many lines of Verilog, and one of them so many: a smaller
#: one is faster when it becomes part of what is around it.
_ALL_LINES = 10_000
_LINES = 200

_MODULE = re.compile(r"^module (\w+) ?\(.*?^endmodule$", re.M | re.S)
_INSTANCE = re.compile(r"^  (\w+) +\S+ +\($", re.M)
_INPUT = re.compile(r"^  input (?:\[\d+:0\] )?(\w+);$", re.M)


def control_file(sources: Iterable[str], top: str) -> str:
    """Return Verilator's control file for Verilog.

    The ports of the top level can be reached from outside, and only its inputs be written: what depends on a signal
    that can be is computed anew at both edges of the clock, for all outputs a sixth of a large engine.

    Parameters
    ----------
    sources : iterable of str
        Texts of Verilog.
    top : str
        The top module, in one of them.
    """
    bodies = {found[1]: found[0] for text in sources for found in _MODULE.finditer(text)}
    lines = [
        _reached(top, name, written=direction == "input")
        for name, (direction, _) in ports_of(bodies.get(top, ""), top).items()
    ]
    return "`verilator_config\n" + "".join(lines + _repeated(bodies))


def _repeated(bodies: dict[str, str]) -> list[str]:
    """Return lines by which large modules with many instances are compiled once.

    Verilator writes a function for each instance, and merges those that are the same. They are not while each reads
    what drives its inputs in their place, which it does not do with inputs that can be read from outside.
    """
    lines = []
    for name, count in sorted(_instances(bodies).items()):
        size = bodies[name].count("\n")
        if count > 1 and size >= _LINES and size * count >= _ALL_LINES:
            inputs = [port for port in _INPUT.findall(bodies[name]) if port not in ("clk", "rst")]
            lines += [_reached(name, port, written=False) for port in inputs]
    return lines


def _reached(module: str, signal: str, *, written: bool) -> str:
    """Return the line by which a signal can be read from outside, or also be written."""
    return f'public_flat_{"rw" if written else "rd"} -module "{module}" -var "{signal}"\n'


def _instances(bodies: dict[str, str]) -> Counter[str]:
    """How often a design has each module, those that nobody instantiates once."""
    inner = {name: Counter(one for one in _INSTANCE.findall(body) if one in bodies) for name, body in bodies.items()}
    total = Counter[str]()

    def add(name: str, count: int) -> None:
        total[name] += count
        for one, times in inner[name].items():
            add(one, count * times)

    used = {one for parts in inner.values() for one in parts}
    for name in bodies:
        if name not in used:
            add(name, 1)
    return total
