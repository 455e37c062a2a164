"""The FPGAs, and those among them that estimates can be made for: what they hold, from the vendors' data sheets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..engine.config import Fabric
from ..errors import BivitError, near
from .boards import BOARDS, Board
from .clocks import CLOCKS, Clock, ClockKind

#: What Yosys synthesises for: UltraScale+, 7-series, ECP5. Of other families nothing is estimated.
Family = Literal["xcup", "xc7", "ecp5"]
Architecture = Literal["ECP5", "7-series", "UltraScale+", "Versal", "Nexus", "Gowin", "GateMate", "iCE40"]

#: Family that an architecture is estimated as; Versal's is not its own.
_FAMILIES: dict[Architecture, Family] = {
    "ECP5": "ecp5",
    "7-series": "xc7",
    "UltraScale+": "xcup",
    "Versal": "xcup",
}
#: Clocks in MHz where none was measured.
_ASSUMED: dict[Architecture, float] = {
    "ECP5": 100.0,
    "7-series": 125.0,
    "UltraScale+": 250.0,
    "Versal": 300.0,
    "Nexus": 100.0,
    "Gowin": 50.0,
    "GateMate": 25.0,
    "iCE40": 20.0,
}


@dataclass(frozen=True, kw_only=True)
class Device:
    """One FPGA; None is a number that is not known.

    Parameters
    ----------
    name : str
        Name on the command line, lower case.
    part : str
        The vendor's part, and a board that carries it.
    architecture : {"ECP5", "7-series", "UltraScale+", "Versal", "Nexus", "Gowin", "GateMate", "iCE40"}
        Generation of the fabric.
    luts, ffs, dsps, brams, urams : int, optional
        Look-up tables, flip-flops, multiplier blocks, block memories, UltraRAM blocks.
    lut_inputs : int
        Inputs of a look-up table.
    dsp_bits : tuple of int
        Signed operands of a multiplier block, the wider one first.
    bram_kbits, uram_kbits : int
        Kilobits (1024 bits) of one block memory with its parity bits, and of one UltraRAM.
    source : str
        Where the numbers come from.
    """

    name: str
    part: str
    architecture: Architecture
    luts: int | None
    ffs: int | None
    dsps: int | None
    brams: int | None
    urams: int | None
    lut_inputs: int
    dsp_bits: tuple[int, int]
    bram_kbits: int
    uram_kbits: int
    source: str

    @property
    def clock(self) -> Clock:
        """Clock of an engine on it: that of one that was placed or modelled on its family, or any; always assumed."""
        measured = CLOCKS.get(self.family) if self.family and self.architecture != "Versal" else None
        if measured is None:
            return Clock(_ASSUMED[self.architecture], "assumed", "no engine was placed or modelled on this family")
        return Clock(measured.mhz, "assumed", f"{measured.kind} is {measured.source}; no other engine is")

    @property
    def clock_mhz(self) -> float:
        """Clock of an engine on it."""
        return self.clock.mhz

    @property
    def clock_kind(self) -> ClockKind:
        """How `clock_mhz` is known."""
        return self.clock.kind

    @property
    def family(self) -> Family | None:
        """What `sim.estimate.resources` estimates for it; None where it has no numbers."""
        return _FAMILIES.get(self.architecture)

    @property
    def fabric(self) -> Fabric:
        """Logic that an engine for this device is best written in."""
        return "lut4" if self.lut_inputs == 4 else "lut6"


_LATTICE = "ECP5 and ECP5-5G Family Data Sheet, FPGA-DS-02012, table 1.1"


def _ecp5(
    name: str, part: str, *, luts: int, dsps: int, brams: int, counted: str = "LUTs as nextpnr-ecp5 counts them"
) -> Device:
    return Device(
        name=name,
        part=part,
        architecture="ECP5",
        luts=luts,
        ffs=luts,  # one for each LUT
        dsps=dsps,
        brams=brams,
        urams=0,
        lut_inputs=4,
        dsp_bits=(18, 18),
        bram_kbits=18,
        uram_kbits=288,
        source=f"{_LATTICE}; {counted}",
    )


def _amd(
    name: str,
    part: str,
    architecture: Literal["7-series", "UltraScale+", "Versal"],
    source: str,
    *,
    luts: int,
    dsps: int,
    brams: int,
    urams: int = 0,
) -> Device:
    dsp_bits = {"7-series": (25, 18), "UltraScale+": (27, 18), "Versal": (27, 24)}[architecture]
    return Device(
        name=name,
        part=part,
        architecture=architecture,
        luts=luts,
        ffs=2 * luts,  # two for each LUT
        dsps=dsps,
        brams=brams,
        urams=urams,
        lut_inputs=6,
        dsp_bits=dsp_bits,
        bram_kbits=36,
        uram_kbits=288,
        source=source,
    )


def _other(
    name: str,
    part: str,
    architecture: Literal["Nexus", "Gowin", "GateMate", "iCE40"],
    source: str,
    *,
    luts: int | None,
    ffs: int,
    dsps: int,
    brams: int,
    bram_kbits: int = 18,
    dsp_bits: tuple[int, int] = (18, 18),
) -> Device:
    return Device(
        name=name,
        part=part,
        architecture=architecture,
        luts=luts,
        ffs=ffs,
        dsps=dsps,
        brams=brams,
        urams=0,
        lut_inputs=4,
        dsp_bits=dsp_bits,
        bram_kbits=bram_kbits,
        uram_kbits=0,
        source=source,
    )


_ARTIX = "7 Series FPGAs Data Sheet: Overview, DS180, table of Artix-7 devices"
_MPSOC = "Zynq UltraScale+ MPSoC Data Sheet: Overview, DS891, programmable logic table"

#: Devices by name.
DEVICES: dict[str, Device] = {
    device.name: device
    for device in (
        _ecp5(
            "lfe5u-12f", "LFE5U-12F (ULX3S)", luts=12_000, dsps=28, brams=32,
            counted="12 thousand LUTs, of a die that has more",
        ),
        _ecp5("lfe5u-25f", "LFE5U-25F", luts=24_288, dsps=28, brams=56),
        _ecp5("lfe5u-45f", "LFE5U-45F (Colorlight i9)", luts=43_848, dsps=72, brams=108),
        _ecp5("lfe5u-85f", "LFE5U-85F (ULX3S)", luts=83_640, dsps=156, brams=208),
        _amd("xc7a35t", "XC7A35T (Arty A7-35)", "7-series", _ARTIX, luts=20_800, dsps=90, brams=50),
        _amd("xc7a100t", "XC7A100T (Arty A7-100)", "7-series", _ARTIX, luts=63_400, dsps=240, brams=135),
        _amd("xc7a200t", "XC7A200T (Nexys Video)", "7-series", _ARTIX, luts=134_600, dsps=740, brams=365),
        _amd(
            "xc7z020", "XC7Z020 (PYNQ-Z2)", "7-series",
            "Zynq-7000 SoC Data Sheet: Overview, DS190, table of Zynq-7000 devices",
            luts=53_200, dsps=220, brams=140,
        ),
        _amd("zu3eg", "XCZU3EG (Ultra96)", "UltraScale+", _MPSOC, luts=70_560, dsps=360, brams=216),
        _amd("zu7ev", "XCZU7EV (ZCU104)", "UltraScale+", _MPSOC, luts=230_400, dsps=1_728, brams=312, urams=96),
        _amd("zu9eg", "XCZU9EG (ZCU102)", "UltraScale+", _MPSOC, luts=274_080, dsps=2_520, brams=912),
        _amd(
            "k26", "XCK26 (Kria KV260)", "UltraScale+",
            "Kria K26 SOM Data Sheet, DS987, programmable logic table",
            luts=117_120, dsps=1_248, brams=144, urams=64,
        ),
        _amd(
            "xcvc1902", "XCVC1902 (VCK190)", "Versal",
            "Versal Architecture and Product Data Sheet: Overview, DS950, table of the AI Core series",
            luts=899_840, dsps=1_968, brams=967, urams=463,
        ),
        _amd(
            "xcu50", "XCU50 (Alveo U50)", "UltraScale+", "Alveo U50 Data Center Accelerator Card Data Sheet, DS965",
            luts=871_680, dsps=5_952, brams=1_344, urams=640,
        ),
        _amd(
            "xcu250", "XCU250 (Alveo U250)", "UltraScale+",
            "Alveo U200 and U250 Data Center Accelerator Cards Data Sheet, DS962",
            luts=1_728_000, dsps=12_288, brams=2_688, urams=1_280,
        ),
        _other(
            "lifcl-40", "LIFCL-40 (CrossLink-NX)", "Nexus", "cells of the part as nextpnr-nexus 0.11 counts them",
            luts=32_256, ffs=32_256, dsps=56, brams=84,
        ),
        _other(
            "gw2a-18", "GW2A-18 (Tang Primer 20K)", "Gowin",
            "cells of the part as nextpnr-himbaechel-gowin 0.11 counts them",
            luts=20_736, ffs=15_552, dsps=48, brams=46,
        ),
        _other(
            "gw5a-25", "GW5A-25 (Tang Primer 25K)", "Gowin", "GW5A series of FPGA Products Data Sheet, DS1103",
            luts=23_040, ffs=23_040, dsps=28, brams=56, dsp_bits=(27, 18),
        ),
        _other(
            "gw5ast-138", "GW5AST-138 (Tang Mega 138K)", "Gowin", "GW5AST series of FPGA Products Data Sheet, DS1104",
            luts=138_240, ffs=138_240, dsps=298, brams=340, dsp_bits=(27, 18),
        ),
        _other(
            "ice40up5k", "iCE40UP5K (iCEBreaker)", "iCE40",
            "iCE40 UltraPlus Family Data Sheet, FPGA-DS-02008; its four memories of 256 kbit are not counted",
            luts=5_280, ffs=5_280, dsps=8, brams=30, bram_kbits=4, dsp_bits=(16, 16),
        ),
        _other(
            "ccgm1a1", "CCGM1A1 (GateMate)", "GateMate",
            "GateMate FPGA CCGM1A1 Datasheet, DS1001: 20,480 elements, whose trees of LUTs are no LUT4",
            luts=None, ffs=40_960, dsps=0, brams=32, bram_kbits=40,
        ),
    )
}  # fmt: skip

#: Other spellings of parts, and boards.
ALIASES: dict[str, str] = {
    "ecp5-12f": "lfe5u-12f",
    "ecp5-25f": "lfe5u-25f",
    "ecp5-45f": "lfe5u-45f",
    "ecp5-85f": "lfe5u-85f",
    "zynq-7020": "xc7z020",
    "xczu3eg": "zu3eg",
    "xczu7ev": "zu7ev",
    "xczu9eg": "zu9eg",
    "xck26": "k26",
    "vc1902": "xcvc1902",
    "up5k": "ice40up5k",
    **{name: board.device for board in BOARDS.values() for name in (board.name, *board.also)},
}


def device(name: str) -> Device:
    """Return a device by its name or that of its board, in any case, with or without dashes and blanks.

    Raises
    ------
    BivitError
        When there is no such device: the names that there are.

    >>> device("ZCU102").luts, device("Arty A7-100").name
    (274080, 'xc7a100t')
    """
    spelled = {_plain(alias): target for alias, target in ALIASES.items()}
    spelled |= {_plain(own): own for own in DEVICES}
    found = spelled.get(_plain(name))
    if found is None:
        raise BivitError(
            f"there is no device {name!r}; devices are {', '.join(DEVICES)}, also known as {', '.join(ALIASES)}"
            f"{near(name, [*DEVICES, *ALIASES])}"
        )
    return DEVICES[found]


def board(name: str) -> Board | None:
    """Return a board by its name, spelled as `device` takes it; None where the name is none of a board.

    >>> board("Arty A7-100").memory.what, board("zu9eg")
    ('256 MB DDR3L', None)
    """
    spelled = {_plain(own): one for one in BOARDS.values() for own in (one.name, *one.also)}
    return spelled.get(_plain(name))


def _plain(name: str) -> str:
    """Letters and digits of a name, lower case."""
    return "".join(character for character in name.lower() if character.isalnum())
