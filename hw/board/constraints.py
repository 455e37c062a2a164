"""The constraints of a board's pins and clock: as LPF for nextpnr-ecp5, as XDC for Vivado."""

from __future__ import annotations

from .boards import Board

#: Pins that the board drives, beside the clock.
_INPUTS = ("rx", "button")


def lpf(board: Board, faster: float = 1.0) -> str:
    """Return the places of the pins, their standard and the clock, as an LPF file.

    Parameters
    ----------
    board : Board
    faster : float
        How many times as fast the clock is said to be: what nextpnr places for follows from it by the PLL.
    """
    lines = [
        f'LOCATE COMP "{name}" SITE "{pin.site}";\nIOBUF PORT "{name}" IO_TYPE={pin.standard} PULLMODE={pin.pull};'
        for name, pin in board.pins.items()
    ]
    return "\n".join([*lines, f'FREQUENCY PORT "clk" {faster * board.clock_mhz:g} MHZ;', ""])


def xdc(board: Board) -> str:
    """Return the same as an XDC file; what is slow or comes at any time is not timed.

    Parameters
    ----------
    board : Board
    """
    lines: list[str] = []
    for name, pin in board.pins.items():
        pull = "" if pin.pull == "NONE" else f" PULL{pin.pull} true"
        properties = f"PACKAGE_PIN {pin.site} IOSTANDARD {pin.standard}{pull}"
        lines.append(f"set_property -dict {{{properties}}} [get_ports {name}]")
    lines.append(f"create_clock -name clk -period {1000 / board.clock_mhz:.3f} [get_ports clk]")
    inputs, outputs = " ".join(_INPUTS), " ".join(name for name in board.pins if name not in ("clk", *_INPUTS))
    return "\n".join(
        [*lines, f"set_false_path -from [get_ports {{{inputs}}}]", f"set_false_path -to [get_ports {{{outputs}}}]", ""]
    )
