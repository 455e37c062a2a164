"""The clock of an ECP5 from the one that its board has: settings of an EHXPLLL, and the cell."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from amaranth.hdl import Instance, Signal

from ...sim.errors import check

#: What Lattice's data sheet of the family (FPGA-DS-02012) allows, in MHz.
_COMPARED_MHZ, _OSCILLATOR_MHZ = (3.125, 400.0), (400.0, 800.0)
#: Divisors are 1 to this.
_MOST = 128


@dataclass(frozen=True)
class Pll:
    """Settings of an EHXPLLL whose first output is fed back.

    Parameters
    ----------
    in_mhz : float
        The clock that comes in.
    divide, multiply, of_oscillator : int
        Divisors of that clock, of the one fed back, and of the oscillator.
    """

    in_mhz: float
    divide: int
    multiply: int
    of_oscillator: int

    @property
    def out_mhz(self) -> float:
        """The clock that goes out."""
        return self.in_mhz * self.multiply / self.divide

    @property
    def oscillator_mhz(self) -> float:
        """What its oscillator runs at."""
        return self.out_mhz * self.of_oscillator

    def cells(self, clock: Signal, out: Signal, locked: Signal) -> list[Instance]:
        """Return the cell that makes the clock.

        Parameters
        ----------
        clock, out, locked : Signal
            The clock that comes in, the one that goes out, and whether it can be used.
        """
        low = ("RST", "STDBY", "PHASESEL0", "PHASESEL1", "PHASEDIR", "PHASESTEP", "PHASELOADREG", "PLLWAKESYNC")
        cell = Instance(
            "EHXPLLL",
            a_FREQUENCY_PIN_CLKI=f"{self.in_mhz:g}",
            a_FREQUENCY_PIN_CLKOP=f"{self.out_mhz:g}",
            a_ICP_CURRENT="12",
            a_LPF_RESISTOR="8",
            a_MFG_ENABLE_FILTEROPAMP="1",
            a_MFG_GMCREF_SEL="2",
            p_PLLRST_ENA="DISABLED",
            p_INTFB_WAKE="DISABLED",
            p_STDBY_ENABLE="DISABLED",
            p_DPHASE_SOURCE="DISABLED",
            p_OUTDIVIDER_MUXA="DIVA",
            p_CLKOP_ENABLE="ENABLED",
            p_CLKOP_DIV=self.of_oscillator,
            p_CLKOP_CPHASE=self.of_oscillator - 1,
            p_CLKOP_FPHASE=0,
            p_FEEDBK_PATH="CLKOP",
            p_CLKI_DIV=self.divide,
            p_CLKFB_DIV=self.multiply,
            i_CLKI=clock,
            i_CLKFB=out,
            o_CLKOP=out,
            o_LOCK=locked,
            i_ENCLKOP=0,
            **{f"i_{name}": 0 for name in low},
        )
        return [cell]


def find_pll(in_mhz: float, most_mhz: float) -> Pll:
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
    found = [
        Pll(in_mhz, divide, multiply, round(sum(_OSCILLATOR_MHZ) / 2 / (in_mhz * multiply / divide)))
        for divide, multiply in product(range(1, _MOST + 1), repeat=2)
        if low <= in_mhz / divide <= high and in_mhz * multiply / divide <= most_mhz
    ]
    slowest, fastest = _OSCILLATOR_MHZ
    usable = [one for one in found if one.of_oscillator <= _MOST and slowest <= one.oscillator_mhz <= fastest]
    check(bool(usable), f"no PLL of ECP5 makes up to {most_mhz:g} MHz of {in_mhz:g} MHz; take 5 to 400 MHz")
    return max(usable, key=lambda one: (one.out_mhz, -one.divide))
