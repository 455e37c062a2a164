"""What is loaded into an engine for a network, whichever way the engine runs it."""

from __future__ import annotations

from ..errors import check
from ..flow.config import FlowConfig
from ..flow.presets import FLOW_ENGINES
from ..flow.table import SlotTable
from ..network.config import ModelConfig, ViTConfig
from ..network.formats import Formats
from ..network.network import IntNetwork
from .layout import check_fits
from .pass_limits import check_windows
from .pass_program import PassProgram, compile_passes
from .program import FlowProgram, compile_network

#: What is loaded into an engine.
Program = FlowProgram | PassProgram


def check_runs(config: ModelConfig, formats: Formats, flow: FlowConfig) -> None:
    """Check that an engine runs a network, of whichever family.

    Parameters
    ----------
    config : ModelConfig
    formats : Formats
    flow : FlowConfig

    Raises
    ------
    BivitError
        With every limit that the network exceeds; of a network with windows and an engine without any, the named
        engines that have them.
    """
    if flow.windows is not None:
        check_windows(config, formats, flow)
        return
    windowed = [name for name, one in FLOW_ENGINES.items() if one.windows is not None]
    check(
        isinstance(config, ViTConfig),
        f"the engine has no windows, which networks of the family {config.family} need; choose one that has them: "
        f"{', '.join(windowed)}",
    )
    assert isinstance(config, ViTConfig)
    check_fits(config, formats, flow)


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
    check_runs(network.config, network.formats, flow)
    if flow.windows is not None:
        return compile_passes(network, flow)
    return compile_network(network, flow, table)
