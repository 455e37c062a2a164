"""Boards as data: what part, which pins, what clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ...sim.errors import BivitError, near
from ...sim.estimate.boards import BOARDS


@dataclass(frozen=True)
class Pin:
    """A pin of a board.

    Parameters
    ----------
    site : str
        Ball of the package.
    low : bool
        Whether it acts when it is low.
    pull : str
        What holds an input that nothing drives: ``UP``, ``DOWN``, ``NONE``.
    standard : str
        Levels, which follow from the voltage of the pin's bank.
    """

    site: str
    low: bool = False
    pull: str = "NONE"
    standard: str = "LVCMOS33"


@dataclass(frozen=True)
class Board:
    """A board whose engine is behind a serial line.

    Parameters
    ----------
    name : str
        As users give it.
    text : str
        What it is.
    part : str
        Name in `sim.estimate.devices.DEVICES`.
    package : str
        As nextpnr names it; of a 7-series part with the speed grade, as Vivado does.
    clock_mhz : float
        Of its oscillator.
    default_mhz : float
        Clock of an engine on it where none is asked for.
    clk, rx, tx, led, button : Pin
        Oscillator; the serial line from the host and to it; a lamp; a button that resets.
    source : str
        Where the pins are from.
    high : tuple of str
        Balls that are driven high, for what else is on the board.
    family : {"ecp5", "xc7"}
        Of the part; for ``xc7`` a project of Vivado is written.
    speed : int
        Grade of an ECP5.
    """

    name: str
    text: str
    part: str
    package: str
    clock_mhz: float
    default_mhz: float
    clk: Pin
    rx: Pin
    tx: Pin
    led: Pin
    button: Pin
    source: str
    high: tuple[str, ...] = ()
    family: Literal["ecp5", "xc7"] = "ecp5"
    speed: Literal[6, 7, 8] = 6

    @property
    def pins(self) -> dict[str, Pin]:
        """Pins by the ports of `top.BoardTop`."""
        own = {"clk": self.clk, "rx": self.rx, "tx": self.tx, "led": self.led, "button": self.button}
        return own | {f"high_{number}": Pin(site) for number, site in enumerate(self.high)}


@dataclass(frozen=True)
class ZynqBoard:
    """A board whose engine is beside a processor, which works with it over its buses.

    Parameters
    ----------
    name : str
        In `sim.estimate.boards.BOARDS`.
    full_part : str
        The part with package and speed grade, as Vivado names it.
    files : str
        Name of the board files by which Vivado knows memory and clocks of the processor.
    source : str
        Where both are from.
    """

    name: str
    full_part: str
    files: str
    source: str

    @property
    def text(self) -> str:
        """What it is."""
        return BOARDS[self.name].title

    @property
    def part(self) -> str:
        """Name in `sim.estimate.devices.DEVICES`."""
        return BOARDS[self.name].device


#: What two sizes of a board have in common.
_CRAB: dict[str, Any] = {
    "package": "CSFBGA285",
    "speed": 8,
    "clock_mhz": 48.0,
    "default_mhz": 100.0,
    "clk": Pin("A9"),
    "rx": Pin("M18", pull="UP"),
    "tx": Pin("N17"),
    "led": Pin("M3", low=True),
    "button": Pin("J17", low=True, standard="SSTL135_I"),
    "source": "amaranth-boards, orangecrab_r0_2; the line, on the header's pins 0 (out) and 1, as in litex-boards",
}
_COLORLIGHT: dict[str, Any] = {
    "package": "CABGA381",
    "clock_mhz": 25.0,
    "default_mhz": 90.0,
    "clk": Pin("P3"),
    "rx": Pin("H18", pull="UP"),
    "tx": Pin("J17"),
    "button": Pin("K18", low=True, pull="UP"),
    "source": "github.com/wuxx/Colorlight-FPGA-Projects; litex-boards, colorlight_i5",
}
#: Boards with a serial line, by name.
SERIAL_BOARDS: dict[str, Board] = {
    board.name: board
    for board in (
        Board(
            name="ulx3s",
            text="ULX3S with an LFE5U-85F",
            part="lfe5u-85f",
            package="CABGA381",
            clock_mhz=25.0,
            default_mhz=100.0,
            clk=Pin("G2"),
            rx=Pin("M1", pull="UP"),
            tx=Pin("L4"),
            led=Pin("B2"),
            button=Pin("R1", pull="DOWN"),
            high=("L2",),  # the Wi-Fi module restarts the board when this is low
            source="github.com/emard/ulx3s; amaranth-boards, ulx3s",
        ),
        Board(
            name="colorlight-i9",
            text="Colorlight i9 v7.2 on its extension board",
            part="lfe5u-45f",
            led=Pin("L2", low=True),
            **_COLORLIGHT,
        ),
        Board(
            name="colorlight-i5",
            text="Colorlight i5 v7.0 on its extension board",
            part="lfe5u-25f",
            led=Pin("U16", low=True),
            **_COLORLIGHT,
        ),
        Board(name="orangecrab-25", text="OrangeCrab r0.2 with an LFE5U-25F", part="lfe5u-25f", **_CRAB),
        Board(name="orangecrab-85", text="OrangeCrab r0.2 with an LFE5U-85F", part="lfe5u-85f", **_CRAB),
        Board(
            name="arty",
            text="Arty A7-100",
            part="xc7a100t",
            package="csg324-1",
            clock_mhz=100.0,
            default_mhz=100.0,
            clk=Pin("E3"),
            rx=Pin("A9", pull="UP"),
            tx=Pin("D10"),
            led=Pin("H5"),
            button=Pin("C2", low=True, pull="UP"),
            source="Digilent's master constraints of the Arty A7-100: E3, A9, D10, LD4, the button RESET",
            family="xc7",
        ),
    )
}

#: Boards with a processor, by name.
ZYNQ_BOARDS: dict[str, ZynqBoard] = {
    board.name: board
    for board in (
        ZynqBoard(
            name="kv260",
            full_part="xck26-sfvc784-2LV-c",
            files="kv260_som",
            source="Kria K26 SOM Data Sheet, DS987; AMD's board files of the SOM on its starter kit",
        ),
        ZynqBoard(
            name="zcu102",
            full_part="xczu9eg-ffvb1156-2-e",
            files="zcu102",
            source="ZCU102 User Guide, UG1182; AMD's board files",
        ),
    )
}


def find_board(name: str) -> Board | ZynqBoard:
    """Return a board.

    Parameters
    ----------
    name : str

    Raises
    ------
    BivitError
        When there is none of this name: those that there are.
    """
    boards: dict[str, Board | ZynqBoard] = {**SERIAL_BOARDS, **ZYNQ_BOARDS}
    if name not in boards:
        raise BivitError(f"board must be one of {', '.join(boards)}, got {name!r}{near(name, boards)}")
    return boards[name]
