"""The clock of a 7-series part from the one that its board has: settings of a PLLE2, and the cells."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from amaranth.hdl import Instance, Signal

from ...sim.errors import check

#: What AMD's data sheet of Artix-7 (DS181) allows in the slowest speed grade, in MHz.
_COMPARED_MHZ, _OSCILLATOR_MHZ, _MOST_MHZ = (19.0, 450.0), (800.0, 1600.0), 464.0
#: Divisors of the clock that comes in and of the oscillator are 1 to these; factors are within the range.
_MOST_DIVIDE, _MOST_OF_OSCILLATOR, _FACTORS = 56, 128, range(2, 65)


@dataclass(frozen=True)
class PllE2:
    """Settings of a PLLE2_BASE whose oscillator is fed back, and whose first output is used.

    Parameters
    ----------
    in_mhz : float
        The clock that comes in.
    divide, multiply, of_oscillator : int
        Divisor of that clock, factor to the oscillator, and divisor of the oscillator.
    """

    in_mhz: float
    divide: int
    multiply: int
    of_oscillator: int

    @property
    def oscillator_mhz(self) -> float:
        """What its oscillator runs at."""
        return self.in_mhz * self.multiply / self.divide

    @property
    def out_mhz(self) -> float:
        """The clock that goes out."""
        return self.oscillator_mhz / self.of_oscillator

    def cells(self, clock: Signal, out: Signal, locked: Signal) -> list[Instance]:
        """Return the PLL and the buffer of its output's clock net.

        Parameters
        ----------
        clock, out, locked : Signal
            The clock that comes in, the one that goes out, and whether it can be used.
        """
        back, made = Signal(name="pll_back"), Signal(name="pll_made")
        pll = Instance(
            "PLLE2_BASE",
            p_BANDWIDTH="OPTIMIZED",
            p_CLKIN1_PERIOD=1000 / self.in_mhz,
            p_DIVCLK_DIVIDE=self.divide,
            p_CLKFBOUT_MULT=self.multiply,
            p_CLKOUT0_DIVIDE=self.of_oscillator,
            p_STARTUP_WAIT="FALSE",
            i_CLKIN1=clock,
            i_CLKFBIN=back,
            i_PWRDWN=0,
            i_RST=0,
            o_CLKFBOUT=back,
            o_CLKOUT0=made,
            o_LOCKED=locked,
        )
        return [pll, Instance("BUFG", i_I=made, o_O=out)]


def find_plle2(in_mhz: float, most_mhz: float) -> PllE2:
    """Return the settings that give the highest clock up to a limit.

    Parameters
    ----------
    in_mhz, most_mhz : float
        The clock that there is, and the limit.

    Raises
    ------
    BivitError
        When there are none.
    """
    low, high = _COMPARED_MHZ
    slowest, fastest = _OSCILLATOR_MHZ
    oscillators = [
        (divide, multiply)
        for divide, multiply in product(range(1, _MOST_DIVIDE + 1), _FACTORS)
        if low <= in_mhz / divide <= high and slowest <= in_mhz * multiply / divide <= fastest
    ]
    found = [
        PllE2(in_mhz, divide, multiply, of_oscillator)
        for (divide, multiply), of_oscillator in product(oscillators, range(1, _MOST_OF_OSCILLATOR + 1))
    ]
    usable = [one for one in found if one.out_mhz <= min(most_mhz, _MOST_MHZ)]
    check(
        bool(usable),
        f"no PLL of 7-series makes up to {most_mhz:g} MHz of {in_mhz:g} MHz; take {slowest / _MOST_OF_OSCILLATOR:g} to "
        f"{_MOST_MHZ:g} MHz",
    )
    return max(usable, key=lambda one: (one.out_mhz, -one.divide, one.oscillator_mhz))
