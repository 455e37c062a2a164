"""Boards as data: what part, which pins, what clock; and the constraints of a top as nextpnr reads them."""

from __future__ import annotations

from dataclasses import dataclass

from ...sim.errors import check, near


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
    """

    site: str
    low: bool = False
    pull: str = "NONE"


@dataclass(frozen=True)
class Board:
    """A board with an ECP5.

    Parameters
    ----------
    name : str
        As users give it.
    text : str
        What it is.
    part : str
        Name in `synthesis.parts.ECP5_PARTS`.
    package : str
        As nextpnr names it.
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

    @property
    def constraints(self) -> str:
        """The places of the pins, their standard and the clock, as an LPF file."""
        pins = {"clk": self.clk, "rx": self.rx, "tx": self.tx, "led": self.led, "button": self.button}
        pins |= {f"high_{number}": Pin(site) for number, site in enumerate(self.high)}
        lines = [
            f'LOCATE COMP "{name}" SITE "{pin.site}";\nIOBUF PORT "{name}" IO_TYPE=LVCMOS33 PULLMODE={pin.pull};'
            for name, pin in pins.items()
        ]
        return "\n".join([*lines, f'FREQUENCY PORT "clk" {self.clock_mhz:g} MHZ;', ""])


#: Boards by name.
SERIAL_BOARDS: dict[str, Board] = {
    board.name: board
    for board in (
        Board(
            name="ulx3s",
            text="ULX3S with an LFE5U-85F",
            part="lfe5u-85f",
            package="CABGA381",
            clock_mhz=25.0,
            default_mhz=90.0,
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
            package="CABGA381",
            clock_mhz=25.0,
            default_mhz=75.0,
            clk=Pin("P3"),
            rx=Pin("H18", pull="UP"),
            tx=Pin("J17"),
            led=Pin("L2", low=True),
            button=Pin("K18", low=True, pull="UP"),
            source="github.com/wuxx/Colorlight-FPGA-Projects; litex-boards, colorlight_i5",
        ),
    )
}


def find_board(name: str) -> Board:
    """Return a board.

    Parameters
    ----------
    name : str

    Raises
    ------
    BivitError
        When there is none of this name: those that there are.
    """
    check(
        name in SERIAL_BOARDS,
        f"board must be one of {', '.join(SERIAL_BOARDS)}, got {name!r}{near(name, SERIAL_BOARDS)}",
    )
    return SERIAL_BOARDS[name]
