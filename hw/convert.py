"""From components to Verilog, by way of Yosys' RTLIL: a module for each component, one for all that are equal."""

from __future__ import annotations

import gc
import re
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce
from operator import or_

from amaranth.back import rtlil, verilog
from amaranth.hdl import ClockSignal, Fragment, Instance, MemoryData, ResetSignal, Signal, Value
from amaranth.hdl._ast import SignalSet
from amaranth.hdl._ir import Design, PortDirection
from amaranth.hdl._mem import MemoryInstance
from amaranth.lib.wiring import In

from ..sim.errors import check
from ..sim.system.children import environment_of_children
from .parts.component import Component, Conversion, StandIn, parameters
from .parts.contents import Contents
from .verilog_text import zeroes

#: What Amaranth writes of a memory's contents when there are none.
_NO_WORDS = re.compile(
    r"(\n    parameter \\WIDTH (\d+)\n    parameter \\WORDS (\d+)\n(?:    .*\n)*?    connect \\DATA )\{ +\}"
)
#: Characters of a module behind which memory is given back.
_LARGE = 200_000
_TOP = "attribute \\top 1\n"
#: A memory that begins as zeroes, in RTLIL; and in Verilog, when RTLIL says so of the first word only.
_ZEROES = re.compile(
    r"(    parameter \\WORDS )\d+(\n(?:    .*\n)*?    connect \\DATA )\d+('0\n    connect \\EN (\d+)')"
)
#: A module; a signal without bits in it, with the name behind which it is used; a cell.
_MODULE = re.compile(r"^module .*?^end\n", re.M | re.S)
_EMPTY = re.compile(r"^  wire width 0 (?:.* )?(\S+)\n", re.M)
_CELL = re.compile(r"^  cell .*\n(?:    .*\n)*  end\n", re.M)
_ZERO = re.compile(r"(  reg \[\d+:0\] (\S+) \[(\d+):0\];\n)  initial begin\n    \2\[0\] = \d+'h0+;\n  end\n")


def verilog_text(component: Component, name: str, contents: Contents | None = None) -> str:
    """Return a component as Verilog as Yosys writes it; as `rtlil_text`."""
    text = _ZEROES.sub(r"\g<1>1\2\4\3", _without_empty_signals(rtlil_text(component, name, contents)))
    with environment_of_children():
        text = str(verilog._convert_rtlil_text(text, strip_internal_attrs=True))
    # Yosys writes a statement for every word.
    return _ZERO.sub(lambda found: found[1] + zeroes(found[2], int(found[3]) + 1), text)


def _without_empty_signals(text: str) -> str:
    """Leave out what has no bits: no one reads it, and in Verilog a range from -1 to 0 is two bits."""
    return _MODULE.sub(lambda module: _without_empty_ones(module[0]), text)


def _without_empty_ones(module: str) -> str:
    """Leave the signals without bits out of a module, what makes them, and such ports of what it instantiates."""
    nothing = "|".join(map(re.escape, [*_EMPTY.findall(module), "{  }"]))
    port = re.compile(rf"^    connect \S+ (?:{nothing})\n", re.M)
    made = re.compile(rf"^    connect \\Y (?:{nothing})\n", re.M)
    driven = re.compile(rf"^connect (?:{nothing}) .*\n", re.M)

    def of_cell(found: re.Match[str]) -> str:
        cell = found[0]
        if cell.startswith("  cell $"):
            return "" if made.search(cell) else cell
        return port.sub("", cell)

    return _CELL.sub(of_cell, driven.sub("", _EMPTY.sub("", module)))


def rtlil_text(component: Component, name: str, contents: Contents | None = None) -> str:
    """Return a component as RTLIL: its modules, those within another before it.

    Parameters
    ----------
    component : Component
        What is converted.
    name : str
        Of its module; the others are named by the path of their first instance.
    contents : Contents, optional
        What memories begin with.

    Raises
    ------
    BivitError
        When something outside of a component uses more of it than its ports, or changes it.
    """
    modules = _Modules(contents)
    with _without_collection():
        top = modules.take(component, name)
    return "".join(text if one == top.name else text.replace(_TOP, "") for one, text in modules.texts.items())


@contextmanager
def _without_collection() -> Iterator[None]:
    """Look for cycles of objects only behind a large module: there are millions of objects, and they are needed."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@dataclass(frozen=True)
class _Module:
    """A module that is written: its name, its ports besides those of the component, and of what component it is."""

    name: str
    domain_ports: frozenset[str]
    component: Component


@dataclass
class _Modules:
    """The modules of a conversion."""

    contents: Contents | None
    texts: dict[str, str] = field(default_factory=dict)
    _of: dict[Hashable, _Module] = field(default_factory=dict)

    def take(self, component: Component, path: str) -> _Module:
        """Return the module of a component, written now if none is equal to it."""
        key = parameters(component)
        if key not in self._of:
            self._of[key] = self._write(component, path)
        return self._of[key]

    def _write(self, component: Component, path: str) -> _Module:
        body = Fragment.get(component, Conversion(component, self.contents))
        for name, part in _instances(body, path):
            check(
                isinstance(part, StandIn) or part.type != "",
                f"{name} is within ResetInserter, EnableInserter or DomainRenamer, which do not reach into a module; "
                "put it into reset_by",
            )
            if isinstance(part, StandIn):
                _connect(part, self.take(part.component, part.component.module_name or name))
        words = [_without_contents(memory) for memory in _memories(body)]
        directions = {name: direction for name, _, direction in _ports(component)}
        ports = {name: (signal, _DIRECTIONS[directions[name]]) for name, signal, _ in _ports(component)}
        design = body.prepare(ports, hierarchy=(path,))
        _check_drivers(design, path)
        text, _ = rtlil.convert_fragment(design, emit_src=False)
        self.texts[path] = _with_contents(text, words)
        module = _Module(path, frozenset(name for name, _, _ in design.ports if name not in ports), component)
        if len(text) > _LARGE:
            del body, design, ports
            gc.collect()
        return module


_DIRECTIONS = {"i": PortDirection.Input, "o": PortDirection.Output}


def _ports(component: Component) -> Iterator[tuple[str, Signal, str]]:
    """Name, signal and direction of each port, as of an `Instance`."""
    for path, member, value in component.signature.flatten(component):
        yield "__".join(map(str, path)), Value.cast(value), "i" if member.flow is In else "o"


def _instances(fragment: Fragment, path: str) -> Iterator[tuple[str, Instance]]:
    """All instances within a fragment, each with its path."""
    for number, (part, name, _) in enumerate(fragment.subfragments):
        inner = f"{path}.{name or f'U${number}'}"
        if isinstance(part, Instance):
            yield inner, part
        yield from _instances(part, inner)


def _connect(part: StandIn, module: _Module) -> None:
    """Make a stand-in an instance of a module."""
    part.type = module.name
    part.ports.update((name, (signal, direction)) for name, signal, direction in _ports(part.component))
    own = [] if part.reset_by is None else [part.reset_by]
    resets = own if part.reset_alone else [ResetSignal(), *own]
    domain = {"clk": ClockSignal(), "rst": reduce(or_, resets)}
    part.ports.update((name, (domain[name], "i")) for name in sorted(module.domain_ports))


def _check_drivers(design: Design, path: str) -> None:
    """Raise `BivitError` where a module reads what no one in it drives, as an inner signal of another component."""
    driven = SignalSet(signal for _, signal, direction in design.ports if direction is not PortDirection.Output)
    read = SignalSet()
    for part in design.fragments:
        if isinstance(part, Instance):
            driven.update(one for value, kind in part.ports.values() if kind == "o" for one in value._lhs_signals())
        elif isinstance(part, MemoryInstance):
            driven.update(one for port in part._read_ports for one in port._data._lhs_signals())
        for statements in part.statements.values():
            driven.update(statements._lhs_signals())
            read.update(statements._rhs_signals())
    lost = [signal.name for signal in read if signal not in driven]
    check(
        not lost,
        f"nothing in {path} drives {', '.join(lost)}, which it reads; of another component only ports can be used, "
        "and a constant is a Const",
    )


def _memories(fragment: Fragment) -> Iterator[MemoryInstance]:
    """All memories within a fragment, in the order in which Amaranth writes them."""
    parts = [part for part, _, _ in fragment.subfragments]
    yield from (part for part in parts if isinstance(part, MemoryInstance))
    for part in parts:
        yield from _memories(part)


def _without_contents(memory: MemoryInstance) -> MemoryData:
    """Take the words out of a memory, which Amaranth would write bit by bit: minutes for a large engine."""
    data = memory._data
    memory._data = MemoryData(shape=data.shape, depth=data.depth, init=[])
    memory._data.init._raw = []
    return data


def _with_contents(text: str, memories: list[MemoryData]) -> str:
    """Write the words of memories where Amaranth left them out."""
    left = iter(memories)

    def contents(found: re.Match[str]) -> str:
        data = next(left)
        width = Value.cast(data[0]).shape().width if data.depth else 0
        check((width, data.depth) == (int(found[2]), int(found[3])), "Amaranth writes memories in another order")
        return f"{found[1]}{width * data.depth}'{_digits(data.init._raw, width)}"

    text = _NO_WORDS.sub(contents, text)
    check(next(left, None) is None, "Amaranth writes memories without contents in another form")
    return text


def _digits(words: list[int], width: int) -> str:
    """Binary digits of all words, the last one first; a single zero stands for any number of them."""
    if not any(words):
        return "0"
    return "".join(f"{word & ((1 << width) - 1):0{width}b}" for word in reversed(words))
