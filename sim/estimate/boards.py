"""The boards that devices come on: which part, what memory is beside it, and what a board costs, roughly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: How a number of a board is known: its document says so, or it is taken from parts of the kind.
BoardKind = Literal["stated", "assumed"]
#: US dollars of a board when it is bought alone; classes, because prices move.
PriceClass = Literal["below 100", "100 to 300", "300 to 1,000", "1,000 to 5,000", "above 5,000"]


@dataclass(frozen=True, kw_only=True)
class ExternalMemory:
    """The memory beside the FPGA, from which an engine may read its weights.

    Parameters
    ----------
    what : str
        Its size and kind.
    bits : int
        Of its data bus, all channels together.
    mt_s : float, optional
        Megatransfers a second; None where no document says.
    kind : {"stated", "assumed"}
        How `mt_s` is known.
    """

    what: str
    bits: int
    mt_s: float | None
    kind: BoardKind

    @property
    def gb_s(self) -> float | None:
        """Gigabytes (10^9) a second at most: width times rate; None where the rate is unknown.

        >>> ExternalMemory(what="256 MB DDR3L", bits=16, mt_s=667, kind="stated").gb_s
        1.334
        """
        return None if self.mt_s is None else self.bits / 8 * self.mt_s / 1000


@dataclass(frozen=True, kw_only=True)
class Board:
    """One board.

    Parameters
    ----------
    name : str
        On the command line, lower case.
    title : str
        As its maker writes it.
    device : str
        Name in `sim.estimate.devices.DEVICES`.
    memory : ExternalMemory, optional
        None without any.
    price : str
        A `PriceClass`, assumed.
    source : str
        Where part and memory are from.
    also : tuple of str
        Other names of it.
    usable : float
        Part of the device's logic, 0 to 1, that a design is assumed to fill at most: placement needs room, and the
        shell of a card takes some. What fits is told of the whole device all the same.
    """

    name: str
    title: str
    device: str
    memory: ExternalMemory | None
    price: PriceClass
    source: str
    also: tuple[str, ...] = ()
    usable: float = 0.85


def _memory(what: str, bits: int, mt_s: float | None, kind: BoardKind = "stated") -> ExternalMemory:
    return ExternalMemory(what=what, bits=bits, mt_s=mt_s, kind=kind)


#: Part of an accelerator card that is left beside its shell, assumed.
_BESIDE_SHELL = 0.7
_ULX3S = "ULX3S manual: SDRAM of 16 bits at 166 MHz"
_ULX3S_SDRAM = _memory("32 MB SDRAM", 16, 166)
_COLORLIGHT = "pin-out of the module by its users; SDRAM of 32 bits, whose rate is taken from its part number"
_COLORLIGHT_SDRAM = _memory("8 MB SDRAM", 32, 166, "assumed")
_CRAB = "OrangeCrab documentation, DDR3L of 16 bits; rate: the most that ECP5 takes (FPGA-DS-02012)"
_CRAB_DDR3 = _memory("128 MB DDR3L", 16, 800, "assumed")
_ARTY = "Arty A7 Reference Manual: DDR3L of 16 bits at 667 MT/s"
_ARTY_DDR3 = _memory("256 MB DDR3L", 16, 667)

#: Boards by name.
BOARDS: dict[str, Board] = {
    board.name: board
    for board in (
        Board(name="ulx3s-12", title="ULX3S 12F", device="lfe5u-12f", memory=_ULX3S_SDRAM,
              price="100 to 300", source=_ULX3S),
        Board(name="ulx3s-25", title="ULX3S 25F", device="lfe5u-25f", memory=_ULX3S_SDRAM,
              price="100 to 300", source=_ULX3S),
        Board(name="ulx3s-45", title="ULX3S 45F", device="lfe5u-45f", memory=_ULX3S_SDRAM,
              price="100 to 300", source=_ULX3S),
        Board(name="ulx3s-85", title="ULX3S 85F", device="lfe5u-85f", memory=_ULX3S_SDRAM,
              price="100 to 300", source=_ULX3S, also=("ulx3s",)),
        Board(name="colorlight-i5", title="Colorlight i5", device="lfe5u-25f", memory=_COLORLIGHT_SDRAM,
              price="below 100", source=_COLORLIGHT),
        Board(name="colorlight-i9", title="Colorlight i9", device="lfe5u-45f", memory=_COLORLIGHT_SDRAM,
              price="below 100", source=_COLORLIGHT),
        Board(name="orangecrab-25", title="OrangeCrab 25F", device="lfe5u-25f", memory=_CRAB_DDR3,
              price="100 to 300", source=_CRAB, also=("orangecrab",)),
        Board(name="orangecrab-85", title="OrangeCrab 85F", device="lfe5u-85f", memory=_CRAB_DDR3,
              price="100 to 300", source=_CRAB),
        Board(name="icebreaker", title="iCEBreaker", device="ice40up5k", memory=None,
              price="below 100", source="iCEBreaker documentation: flash only"),
        Board(name="arty-a7-35", title="Arty A7-35", device="xc7a35t", memory=_ARTY_DDR3,
              price="100 to 300", source=_ARTY),
        Board(name="arty-a7-100", title="Arty A7-100", device="xc7a100t", memory=_ARTY_DDR3,
              price="300 to 1,000", source=_ARTY, also=("arty",)),
        Board(name="nexys-video", title="Nexys Video", device="xc7a200t", memory=_memory("512 MB DDR3", 16, 800),
              price="300 to 1,000", source="Nexys Video Reference Manual: DDR3 of 16 bits at 800 MT/s"),
        Board(name="pynq-z2", title="PYNQ-Z2", device="xc7z020", memory=_memory("512 MB DDR3", 16, 1050),
              price="100 to 300", source="PYNQ-Z2 Reference Manual: DDR3 of 16 bits at 1050 MT/s, of the processor"),
        Board(name="ultra96", title="Ultra96", device="zu3eg", memory=_memory("2 GB LPDDR4", 32, 2133, "assumed"),
              price="100 to 300", source="Ultra96 Hardware User Guide: LPDDR4 of 32 bits, of the processor",
              also=("ultra96-v2",)),
        Board(name="kv260", title="Kria KV260", device="k26", memory=_memory("4 GB DDR4", 64, 2400),
              price="100 to 300", source="Kria K26 SOM Data Sheet, DS987: DDR4 of 64 bits at 2400 MT/s, processor's",
              also=("kria",)),
        Board(name="zcu102", title="ZCU102", device="zu9eg", memory=_memory("4 GB DDR4", 64, 2133, "assumed"),
              price="1,000 to 5,000", source="ZCU102 User Guide, UG1182: DDR4 of 64 bits, of the processor"),
        Board(name="zcu104", title="ZCU104", device="zu7ev", memory=_memory("2 GB DDR4", 64, 2133, "assumed"),
              price="1,000 to 5,000", source="ZCU104 User Guide, UG1267: DDR4 of 64 bits, of the processor"),
        Board(name="vck190", title="VCK190", device="xcvc1902", memory=_memory("8 GB DDR4", 64, 3200, "assumed"),
              price="above 5,000", source="VCK190 User Guide, UG1366: DDR4 of 64 bits; LPDDR4 beside it"),
        Board(name="alveo-u50", title="Alveo U50", device="xcu50", memory=_memory("8 GB HBM2", 2048, 1234.375),
              price="1,000 to 5,000", usable=_BESIDE_SHELL, also=("u50",),
              source="Alveo U50 Data Sheet, DS965: 316 GB/s of HBM2 in all, here as a rate of its 2,048 bits"),
        Board(name="alveo-u250", title="Alveo U250", device="xcu250", memory=_memory("64 GB DDR4", 256, 2400),
              price="above 5,000", usable=_BESIDE_SHELL, also=("u250",),
              source="Alveo U200 and U250 Data Sheet, DS962: four channels of 64 bits at 2400 MT/s, 77 GB/s"),
        Board(name="tang-primer-20k", title="Tang Primer 20K", device="gw2a-18",
              memory=_memory("128 MB DDR3", 16, 800, "assumed"),
              price="below 100", source="Sipeed documentation of the board: DDR3 of 16 bits"),
        Board(name="tang-primer-25k", title="Tang Primer 25K", device="gw5a-25", memory=None,
              price="below 100", source="Sipeed documentation of the board: SDRAM is a module of its own"),
        Board(name="tang-mega-138k", title="Tang Mega 138K", device="gw5ast-138",
              memory=_memory("1 GB DDR3", 32, None, "assumed"),
              price="100 to 300", source="Sipeed documentation of the board: DDR3 of 32 bits, no rate"),
        Board(name="crosslink-nx", title="CrossLink-NX Evaluation Board", device="lifcl-40", memory=None,
              price="100 to 300", source="CrossLink-NX Evaluation Board User Guide, FPGA-EB-02028: flash only"),
        Board(name="gatemate", title="GateMate A1 Evaluation Board", device="ccgm1a1", memory=None,
              price="below 100", source="GateMate evaluation board: HyperRAM is an option"),
    )
}  # fmt: skip
