"""Synthesis of one unit or a whole engine with Yosys: its mapped netlist, kept by content, and what that takes."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from typing import Any

from amaranth.lib import wiring

from ...sim.errors import check
from ...sim.estimate.cost import Cost
from ...sim.estimate.engine_units import footprints
from ...sim.estimate.units import FOOTPRINTS, REST
from ...sim.flow.config import FlowConfig
from ...sim.flow.edge import EdgeUnit
from ...sim.flow.head_norm import head_unit
from ...sim.flow.machine import FlowMachine, all_settings
from ...sim.flow.matmul import MatmulUnit
from ...sim.flow.patch_norm import PatchNormUnit
from ...sim.flow.residual_add import ResidualAddUnit
from ...sim.flow.sign_norm import SignNormUnit
from ...sim.flow.softmax import SoftmaxUnit
from ...sim.system.files import read_text, scratch_folder
from ...sim.system.kept_text import cached_text, content_key
from .. import convert
from ..array.array_path import weight_ring
from ..array.matmul import Matmul
from ..array.operand_store import OperandStore
from ..array.row_writer import RowWriter
from ..array.shadow import Shadow
from ..array.sum_array import SumArray
from ..array.value_sums import ValueSums
from ..edge.dense_out import DenseOut
from ..edge.last_norm import LastNorm
from ..edge.logits_queue import LogitsQueue
from ..edge.patch_norm import PatchNorm
from ..edge.patch_ring import PatchRing
from ..edge.pixel_frame import PixelFrame
from ..edge.products import Products
from ..engine import Engine
from ..fetch.edge_lines import EdgeLines
from ..fetch.fetch import Fetch
from ..flow.head_norm import HeadNorm
from ..flow.head_rows import HeadRows
from ..flow.residual_add import ResidualAdd
from ..flow.residual_rows import ResidualRows
from ..flow.sign_norm import SignNorm
from ..flow.softmax import Softmax
from ..loader import Loader
from ..multiplier_blocks import multiplier_blocks
from ..parts.memory import LoadableMemory
from ..parts.settings_bank import SettingsBank
from ..passes.passes import Passes
from ..registers import Registers
from ..run import Run
from ..slots.slots import Slots
from ..slots.table_keeper import TableKeeper
from ..slots.table_loader import TableLoader
from ..slots.x_banks import XBanks
from ..slots.x_rows import XRows
from .flows import ECP5_MEMORIES, FLOWS, check_family, count_cells, ecp5_memories
from .netlist import Netlist
from .tools import ToolFailed, find_tool
from .wrapper import PinWrapper

#: Name of what is synthesised.
_TOP = "unit"
#: What puts a netlist into other orders without a change of what it does, before synthesis.
_OTHER_ORDERS = ("proc; flatten; opt_clean", "proc; flatten; opt -full")
#: Multiplier blocks by what a script says of the family.
_BLOCKS = {"-family xcup": "DSP48E2", "-family xc7": "DSP48E1"}
#: Netlists that are kept: those of all units of an engine for two families, with and without pins.
_KEPT = 96


def _settings(flow: FlowConfig) -> wiring.Component:
    return SettingsBank(FlowMachine(flow).load_memories["settings"], all_settings(flow))


def _loadable(name: str) -> Callable[[FlowConfig], wiring.Component]:
    return lambda flow: LoadableMemory(FlowMachine(flow).load_memories[name])


def _weights(flow: FlowConfig) -> wiring.Component:
    return weight_ring(MatmulUnit(flow)) if flow.streamed else _loadable("weights")(flow)


def _row_writer(flow: FlowConfig) -> wiring.Component:
    bits = MatmulUnit(flow).operands.fields["token"]
    return RowWriter(rows=flow.engine.rows, columns=flow.engine.columns, side=flow.value_rows, token_bits=bits)


def _shadow(flow: FlowConfig) -> wiring.Component:
    return Shadow(rows=flow.engine.rows, row_bits=flow.engine.columns * flow.engine.acc_bits, side=flow.drain_rows)


#: Components by the names of units.
UNIT_COMPONENTS: dict[str, Callable[[FlowConfig], wiring.Component]] = {
    "registers": lambda flow: Registers(FlowMachine(flow)),
    "loader": lambda flow: Loader(FlowMachine(flow)),
    "settings": _settings,
    "run": lambda flow: Run(fails=flow.streamed),
    "frame": lambda flow: PixelFrame(flow.engine),
    "ring": lambda flow: PatchRing(EdgeUnit(flow)),
    "dense": lambda flow: Products(EdgeUnit(flow)),
    "dense_out": lambda flow: DenseOut(EdgeUnit(flow)),
    "last_norm": lambda flow: LastNorm(EdgeUnit(flow)),
    "x": lambda flow: (XRows if flow.windows else XBanks)(ResidualAddUnit(flow), EdgeUnit(flow).chunk),
    "slots": Slots,
    "matmul": lambda flow: Matmul(MatmulUnit(flow)),
    "grid": lambda flow: SumArray(flow.engine),
    "weights": _weights,
    "preload": _loadable("preload"),
    "operands": lambda flow: OperandStore(MatmulUnit(flow)),
    "shadow": _shadow,
    "row_writer": _row_writer,
    "value_sums": lambda flow: ValueSums(MatmulUnit(flow)),
    "residual_add": lambda flow: (ResidualRows if flow.windows else ResidualAdd)(ResidualAddUnit(flow)),
    "sign_norm": lambda flow: SignNorm(SignNormUnit(flow)),
    "head_norm": lambda flow: (HeadRows if flow.windows else HeadNorm)(head_unit(flow)),
    "softmax": lambda flow: Softmax(SoftmaxUnit(flow)),
    "tables": lambda flow: (TableKeeper if flow.windows else TableLoader)(flow),
    "logits_queue": lambda flow: LogitsQueue(flow.engine),
}
#: Those that only some engines have: of `STREAMED_FOOTPRINTS`, `EDGE_FOOTPRINTS` and `WINDOWED_FOOTPRINTS`.
OTHER_COMPONENTS: dict[str, Callable[[FlowConfig], wiring.Component]] = {
    "fetch": Fetch,
    "edge_lines": EdgeLines,
    "patch_norm": lambda flow: PatchNorm(PatchNormUnit(flow)),
    "passes": Passes,
}
#: Name of the whole engine.
WHOLE = "engine"
#: What can be synthesised: the units of an engine that are components, and the engine.
SYNTHESISED = (*(unit for unit in FOOTPRINTS if unit != REST), WHOLE)


def synthesised(flow: FlowConfig) -> tuple[str, ...]:
    """Return what can be synthesised of an engine: `SYNTHESISED`, and those of `OTHER_COMPONENTS` that it has.

    Parameters
    ----------
    flow : FlowConfig
    """
    return (*SYNTHESISED, *(unit for unit in OTHER_COMPONENTS if unit in footprints(flow)))


def component(unit: str, flow: FlowConfig) -> wiring.Component:
    """Return a unit of an engine by its name in `sim.estimate.units.FOOTPRINTS`, or with the name "engine" all of it.

    Parameters
    ----------
    unit : str
    flow : FlowConfig
    """
    return Engine(flow) if unit == WHOLE else (UNIT_COMPONENTS | OTHER_COMPONENTS)[unit](flow)


def synthesise(unit: str, flow: FlowConfig, family: str, *, timeout_s: float = 3600, anew: bool = False) -> Cost:
    """Synthesise a unit of an engine, or with the name "engine" all of it, and count its cells.

    Parameters
    ----------
    unit : str
        Name in `sim.estimate.units.FOOTPRINTS`, or "engine".
    flow : FlowConfig
        Engine that the unit belongs to. An array of 33 x 32 takes hours; use a small one.
    family : {"xcup", "xc7", "ecp5", "nexus", "gowin"}
    timeout_s : float
        Give up after so many seconds.
    anew : bool
        Run Yosys even where the netlist is kept.

    Returns
    -------
    Cost
        Cells as Yosys emits them, before packing: no quantity is unknown.

    Raises
    ------
    BivitError
        When the unit or family is unknown, Yosys is not installed or fails, or a cell is not known here.
    """
    return count_cells(Netlist(unit_netlist(unit, flow, family, timeout_s=timeout_s, anew=anew)).cells)


def synthesise_component(component: wiring.Component, family: str, *, timeout_s: float = 3600) -> Cost:
    """Synthesise any component; as `synthesise`."""
    script = FLOWS[check_family(family)].script
    find_tool("yosys")  # before a component is converted for nothing
    return count_cells(Netlist(netlist_of(rtlil_text(component), script, timeout_s)).cells)


def unit_netlist(
    unit: str, flow: FlowConfig, family: str, *, placed: bool = False, timeout_s: float = 3600, anew: bool = False
) -> dict[str, Any]:
    """Return the mapped netlist of a unit, by itself or with registers and pins around it; as `synthesise`.

    Parameters
    ----------
    unit : str
    flow : FlowConfig
    family : str
    placed : bool
        Within a `wrapper.PinWrapper`, for a place and route tool.
    timeout_s : float
    anew : bool
        Run Yosys even where the netlist is kept.
    """
    units = synthesised(flow)
    check(unit in units, f"there is no unit {unit!r}; there are {', '.join(units)}")
    scripts = FLOWS[check_family(family)]
    find_tool("yosys")
    inner = component(unit, flow)
    text = rtlil_text(PinWrapper(inner, unit) if placed else inner)
    return netlist_of(text, scripts.placed_script if placed else scripts.script, timeout_s, anew=anew)


def rtlil_text(component: wiring.Component) -> str:
    """Return a component as Yosys reads it."""
    return convert.rtlil_text(component, _TOP)


def netlist_of(text: str, script: str, timeout_s: float, *, anew: bool = False) -> dict[str, Any]:
    """Return what Yosys makes of a design, or what it made of the same one before.

    Parameters
    ----------
    text : str
        The design, as of `rtlil_text`.
    script : str
        Synthesis command of Yosys.
    timeout_s : float
        Give up after so many seconds.
    anew : bool
        Run Yosys even where the netlist is kept.
    """
    tool = find_tool("yosys")
    files = _files(text, script)

    def make() -> str:
        with scratch_folder("bivit-synth") as folder:
            (folder / "unit.il").write_text(text, encoding="utf-8")
            for name, lines in files.items():
                (folder / name).write_text(lines, encoding="utf-8")
            read = "read_rtlil unit.il; read_verilog -overwrite blocks.v"

            def run(order: str = "") -> None:
                tool.run(["-q", "-p", f"{read}; {order}{script} -top {_TOP}; write_json unit.json"], folder, timeout_s)

            # On some netlists its mapper breaks down without a word; the same one in another order is mapped.
            for order in ("", *(f"hierarchy -top {_TOP}; {one}; " for one in _OTHER_ORDERS)):
                try:
                    run(order)
                    break
                except ToolFailed as error:
                    if error.written.strip() or _OTHER_ORDERS[-1] in order:
                        raise
            return _packed(read_text(folder / "unit.json", "the netlist that Yosys wrote"))

    key = netlist_key(text, script)
    netlist: dict[str, Any] = json.loads(_unpacked(make() if anew else cached_text("netlists", key, make, keep=_KEPT)))
    return netlist


def netlist_key(text: str, script: str) -> str:
    """Return a key for all that the netlist of a design depends on.

    Parameters
    ----------
    text, script
        As of `netlist_of`.
    """
    return content_key(text, *_files(text, script).values(), script, str(find_tool("yosys")))


def _files(text: str, script: str) -> dict[str, str]:
    """What Yosys reads beside a design, by file: multiplier blocks, and ECP5's memories."""
    cell = next((cell for family, cell in _BLOCKS.items() if family in script), None)
    blocks = {"blocks.v": multiplier_blocks(text, cell) if cell else ""}
    return blocks | ({ECP5_MEMORIES: ecp5_memories()} if ECP5_MEMORIES in script else {})


def _packed(text: str) -> str:
    """A tenth of the size: netlists are long."""
    return base64.b64encode(zlib.compress(text.encode(), 6)).decode("ascii")


def _unpacked(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))
