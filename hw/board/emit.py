"""The engine behind a serial line as Verilog, for simulation: pins and clock of a board are left out."""

from __future__ import annotations

from ...sim.engine.loadstream import Sections
from ...sim.flow.config import FlowConfig
from ...sim.flow.machine import FlowMachine
from ..convert import verilog_text
from ..emit import kept_modules
from ..parts.contents import Contents
from ..verilog_text import compact
from .top import SerialEngine

#: Name of the module.
BOARD_TOP = "bivit_board"


def serial_engine_verilog(flow: FlowConfig, divisor: int, patience: int, contents: Sections | None = None) -> str:
    """Return the Verilog of a `SerialEngine`, converted now or by an earlier call.

    Parameters
    ----------
    flow : FlowConfig
        The engine.
    divisor, patience : int
        As of `SerialEngine`.
    contents : Sections, optional
        Words of a network that it holds without a load stream.
    """

    def make() -> str:
        held = None if contents is None else Contents.of(FlowMachine(flow), contents)
        return compact(verilog_text(SerialEngine(flow, divisor, patience), BOARD_TOP, held))

    return kept_modules(flow, contents, (BOARD_TOP, divisor, patience), make)
