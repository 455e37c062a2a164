"""What is observed of an engine in a simulation: a port at which something is written."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Probe:
    """One observed write port.

    Parameters
    ----------
    name : str
        Of the port; what is expected there has the same.
    enable : str
        Signal that is high when a write happens.
    keys : tuple of str
        Address signals.
    data : str
        Data signal.
    elements, bits : int
        Elements in `data` and bits of each, the first least significant.
    signed : bool
        Whether elements are two's complement.
    """

    name: str
    enable: str
    keys: tuple[str, ...]
    data: str
    elements: int
    bits: int
    signed: bool
