"""What is loaded into an engine for a network, whichever way the engine runs it."""

from __future__ import annotations

from ..flow.config import FlowConfig
from ..flow.table import SlotTable
from ..network.network import IntNetwork
from .pass_program import PassProgram, compile_passes
from .program import FlowProgram, compile_network

#: What is loaded into an engine.
Program = FlowProgram | PassProgram


def compile_for(network: IntNetwork, flow: FlowConfig, table: SlotTable | None = None) -> Program:
    """Return what is loaded into an engine, in passes where it has windows.

    Parameters
    ----------
    network : IntNetwork
    flow : FlowConfig
    table : SlotTable, optional
        In place of the one that is shipped, or sought; only without windows.

    Raises
    ------
    BivitError
        When the network does not fit the engine, or every table locks up.
    """
    if flow.windows is not None:
        return compile_passes(network, flow)
    return compile_network(network, flow, table)
