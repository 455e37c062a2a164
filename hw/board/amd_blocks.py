"""Pins of the blocks of AMD's IP catalog that a project names, and of the engine: what a connection is checked against.

They are written from AMD's product guides (PG021 of the DMA, PG164 of the reset, PG201 of the processor, PG247 of
SmartConnect), as far as a project uses them, and not taken from a Vivado.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ...sim.errors import BivitError

#: What may be connected with each other; of a reset and of a stream the kind says more.
Kind = Literal["AXI", "AXIS", "clock", "reset low", "reset high", "interrupt"]
#: Of the manifest's protocols, but streams and resets.
_KINDS: dict[str, Kind] = {"AXI4-Lite": "AXI", "AXI4": "AXI", "clock": "clock", "interrupt": "interrupt"}


@dataclass(frozen=True)
class BlockPin:
    """A pin or an interface of a block.

    Parameters
    ----------
    kind : str
    gives : bool
        Whether it drives, as a master or an output does.
    bits : int, optional
        Of a stream's data; None where any width is taken.
    address : bool
        Whether a master finds it by its address, of which a project says where it is.
    needed : bool
        Whether it must be connected.
    """

    kind: Kind
    gives: bool
    bits: int | None = None
    address: bool = False
    needed: bool = True


Config = Mapping[str, str]


def engine_pins(manifest: Mapping[str, Any]) -> dict[str, BlockPin]:
    """Return the pins and interfaces of an engine's top.

    Parameters
    ----------
    manifest : mapping
        As `bivit generate` writes it.
    """
    found: dict[str, BlockPin] = {}
    for port in manifest["ports"]:
        name, gives = port["interface"], port["role"] in ("master", "source")
        if port["protocol"] == "reset":
            found[name] = BlockPin("reset low" if port["polarity"] == "active low" else "reset high", gives)
        elif port["protocol"] != "AXI4-Stream":
            found[name] = BlockPin(_KINDS[port["protocol"]], gives, address=port["protocol"] == "AXI4-Lite")
        elif port["signal"] == "TDATA":
            found[name] = BlockPin("AXIS", gives, bits=port["bits"])
    return found


def block_pins(ip: str, config: Config) -> dict[str, BlockPin]:
    """Return the pins of a block of the catalog, as its settings make them.

    Parameters
    ----------
    ip : str
        As ``xilinx.com:ip:axi_dma``.
    config : mapping of str to str
        Settings, without ``CONFIG.``.

    Raises
    ------
    BivitError
        When the block is none of those that are known here, or has no such setting.
    """
    if ip not in _BLOCKS:
        raise BivitError(f"no block {ip} is known")
    pins, settings = _BLOCKS[ip]
    unknown = set(config) - settings
    if unknown:
        raise BivitError(f"{ip} has no setting {', '.join(sorted(unknown))}")
    return pins(config)


def _processor(config: Config) -> dict[str, BlockPin]:
    found = {
        "pl_clk0": BlockPin("clock", True),
        "pl_resetn0": BlockPin("reset low", True),
        "pl_ps_irq0": BlockPin("interrupt", False),
    }
    for number, name in enumerate(("HPM0_FPD", "HPM1_FPD", "HPM0_LPD")):
        if config.get(f"PSU__USE__M_AXI_GP{number}") == "1":
            found[f"M_AXI_{name}"] = BlockPin("AXI", True)
            found[f"maxi{name.lower()}_aclk"] = BlockPin("clock", False)
    for number, name in ((2, "HP0_FPD"), (3, "HP1_FPD")):
        if config.get(f"PSU__USE__S_AXI_GP{number}") == "1":
            found[f"S_AXI_{name}"] = BlockPin("AXI", False)
            found[f"saxi{name.lower()}_aclk"] = BlockPin("clock", False)
    if config.get("PSU__USE__IRQ0") != "1":
        del found["pl_ps_irq0"]
    if config.get("PSU__FPGA_PL0_ENABLE") != "1":
        del found["pl_clk0"]
    return found


def _dma(config: Config) -> dict[str, BlockPin]:
    found = {
        "S_AXI_LITE": BlockPin("AXI", False, address=True),
        "s_axi_lite_aclk": BlockPin("clock", False),
        "axi_resetn": BlockPin("reset low", False),
    }
    if config.get("c_include_mm2s") == "1":
        bits = int(config.get("c_m_axis_mm2s_tdata_width", "32"))
        if int(config.get("c_m_axi_mm2s_data_width", "32")) < bits:
            raise BivitError(f"a DMA whose stream has {bits} bits must read as many from memory")
        found |= {
            "M_AXI_MM2S": BlockPin("AXI", True),
            "M_AXIS_MM2S": BlockPin("AXIS", True, bits=bits),
            "m_axi_mm2s_aclk": BlockPin("clock", False),
            "mm2s_introut": BlockPin("interrupt", True, needed=False),
        }
    if config.get("c_include_s2mm") == "1":
        found |= {
            "M_AXI_S2MM": BlockPin("AXI", True),
            "S_AXIS_S2MM": BlockPin("AXIS", False),
            "m_axi_s2mm_aclk": BlockPin("clock", False),
            "s2mm_introut": BlockPin("interrupt", True, needed=False),
        }
    return found


def _interconnect(config: Config) -> dict[str, BlockPin]:
    slaves = {f"S{number:02}_AXI": BlockPin("AXI", False) for number in range(int(config.get("NUM_SI", "1")))}
    masters = {f"M{number:02}_AXI": BlockPin("AXI", True) for number in range(int(config.get("NUM_MI", "1")))}
    return slaves | masters | {"aclk": BlockPin("clock", False), "aresetn": BlockPin("reset low", False)}


def _resets(config: Config) -> dict[str, BlockPin]:
    return {
        "slowest_sync_clk": BlockPin("clock", False),
        "ext_reset_in": BlockPin("reset low", False),
        "peripheral_aresetn": BlockPin("reset low", True),
        "interconnect_aresetn": BlockPin("reset low", True, needed=False),
        "peripheral_reset": BlockPin("reset high", True, needed=False),
    }


#: What makes the pins of a block, and the settings that a project may use.
_BLOCKS = {
    "xilinx.com:ip:zynq_ultra_ps_e": (
        _processor,
        {"PSU__FPGA_PL0_ENABLE", "PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ", "PSU__USE__IRQ0"}
        | {f"PSU__USE__M_AXI_GP{number}" for number in range(3)}
        | {f"PSU__USE__S_AXI_GP{number}" for number in (2, 3)},
    ),
    "xilinx.com:ip:axi_dma": (
        _dma,
        {"c_include_sg", "c_include_mm2s", "c_include_s2mm", "c_sg_length_width", "c_addr_width"}
        | {"c_m_axi_mm2s_data_width", "c_m_axis_mm2s_tdata_width"},
    ),
    "xilinx.com:ip:smartconnect": (_interconnect, {"NUM_SI", "NUM_MI"}),
    "xilinx.com:ip:proc_sys_reset": (_resets, set[str]()),
}
