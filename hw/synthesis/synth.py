"""Synthesis of one unit or a whole engine with Yosys: its mapped netlist, kept by content, and what that takes."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Callable
from typing import Any

from amaranth.lib import wiring

from ...sim.engine.commands import CORE, EDGE
from ...sim.engine.config import EngineConfig
from ...sim.errors import check
from ...sim.estimate.cost import Cost
from ...sim.system.files import read_text, scratch_folder
from ...sim.system.kept_text import cached_text
from ...sim.units.front import (
    CoreUnit,
    EdgeUnit,
    LoaderUnit,
    LogitsQueueUnit,
    LogitsUnit,
    PixelBufferUnit,
    RegistersUnit,
    RunUnit,
    SettingsUnit,
)
from ...sim.units.machine import UNITS
from ...sim.units.unit import Unit
from .. import convert
from ..datapath import COMPONENTS as DATAPATH
from ..engine import Engine
from ..loader import Loader
from ..registers import Registers
from ..run import Run
from ..sequencer import Sequencer
from ..settings import Settings
from ..units.logits import Logits
from ..units.logits_queue import LogitsQueue
from ..units.pixel_buffer import PixelBuffer
from .flows import FLOWS, check_family, count_cells
from .netlist import Netlist
from .tools import find_tool
from .wrapper import PinWrapper

#: Name of what is synthesised.
_TOP = "unit"
#: Netlists that are kept: those of all units of an engine for two families, with and without pins.
_KEPT = 96

#: Units around the datapath, which take the engine.
_FRONT: dict[type[Unit], Callable[[EngineConfig], wiring.Component]] = {
    RegistersUnit: Registers,
    LoaderUnit: Loader,
    SettingsUnit: Settings,
    RunUnit: lambda engine: Run(),
    EdgeUnit: lambda engine: Sequencer(engine, EDGE),
    CoreUnit: lambda engine: Sequencer(engine, CORE),
    PixelBufferUnit: PixelBuffer,
    LogitsUnit: Logits,
    LogitsQueueUnit: LogitsQueue,
}


#: What can be synthesised: the units of an engine, and the engine.
SYNTHESISED = (*UNITS, "engine")


def component(unit: str, engine: EngineConfig) -> wiring.Component:
    """Return a unit of an engine by its name in `sim.units.machine.UNITS`, or with the name "engine" all of it."""
    if unit == "engine":
        return Engine(engine)
    kind = UNITS[unit]
    return DATAPATH[kind](kind(engine)) if kind in DATAPATH else _FRONT[kind](engine)


def synthesise(unit: str, engine: EngineConfig, family: str, *, timeout_s: float = 3600) -> Cost:
    """Synthesise a unit of an engine, or with the name "engine" all of it, and count its cells.

    Parameters
    ----------
    unit : str
        Name in `sim.units.machine.UNITS`, or "engine".
    engine : EngineConfig
        Engine that the unit belongs to. An array of 33 x 32 takes hours; use a small one.
    family : {"xcup", "xc7", "ecp5", "nexus", "gowin"}
    timeout_s : float
        Give up after so many seconds.

    Returns
    -------
    Cost
        Cells as Yosys emits them, before packing: no quantity is unknown.

    Raises
    ------
    BivitError
        When the unit or family is unknown, Yosys is not installed or fails, or a cell is not known here.
    """
    return count_cells(Netlist(unit_netlist(unit, engine, family, timeout_s=timeout_s)).cells)


def synthesise_component(component: wiring.Component, family: str, *, timeout_s: float = 3600) -> Cost:
    """Synthesise any component; as `synthesise`."""
    script = FLOWS[check_family(family)].script
    find_tool("yosys")  # before a component is converted for nothing
    return count_cells(Netlist(netlist_of(rtlil_text(component), script, timeout_s)).cells)


def unit_netlist(
    unit: str, engine: EngineConfig, family: str, *, placed: bool = False, timeout_s: float = 3600
) -> dict[str, Any]:
    """Return the mapped netlist of a unit, by itself or with registers and pins around it; as `synthesise`.

    Parameters
    ----------
    unit : str
    engine : EngineConfig
    family : str
    placed : bool
        Within a `wrapper.PinWrapper`, for a place and route tool.
    timeout_s : float
    """
    check(unit in SYNTHESISED, f"there is no unit {unit!r}; there are {', '.join(SYNTHESISED)}")
    flow = FLOWS[check_family(family)]
    find_tool("yosys")
    inner = component(unit, engine)
    text = rtlil_text(PinWrapper(inner, unit) if placed else inner)
    return netlist_of(text, flow.placed_script if placed else flow.script, timeout_s)


def rtlil_text(component: wiring.Component) -> str:
    """Return a component as Yosys reads it."""
    return convert.rtlil_text(component, _TOP)


def netlist_of(text: str, script: str, timeout_s: float) -> dict[str, Any]:
    """Return what Yosys makes of a design, or what it made of the same one before.

    Parameters
    ----------
    text : str
        The design, as of `rtlil_text`.
    script : str
        Synthesis command of Yosys.
    timeout_s : float
        Give up after so many seconds.
    """
    tool = find_tool("yosys")

    def make() -> str:
        with scratch_folder("bivit-synth") as folder:
            (folder / "unit.il").write_text(text, encoding="utf-8")
            tool.run(["-q", "-p", f"read_rtlil unit.il; {script} -top {_TOP}; write_json unit.json"], folder, timeout_s)
            return _packed(read_text(folder / "unit.json", "the netlist that Yosys wrote"))

    key = content_key(text, script, str(tool))
    netlist: dict[str, Any] = json.loads(_unpacked(cached_text("netlists", key, make, keep=_KEPT)))
    return netlist


def content_key(*parts: str) -> str:
    """Return a key for what depends on some texts and nothing else."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _packed(text: str) -> str:
    """A tenth of the size: netlists are long."""
    return base64.b64encode(zlib.compress(text.encode(), 6)).decode("ascii")


def _unpacked(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))
