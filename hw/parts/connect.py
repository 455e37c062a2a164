"""Assignments between ports and signals that cannot cut a value in silence."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Value, ValueLike

from ...sim.errors import check


def connect(target: Value, source: ValueLike) -> Any:
    """Return ``target.eq(source)`` for a source that fits.

    Every port and every plain signal is wired with this, or with `connect_address`; `eq` is for what is computed.

    Parameters
    ----------
    target : Value
        Signal, port, or part of one.
    source : ValueLike
        Signal or port that drives it.

    Raises
    ------
    BivitError
        When the source has more bits than the target: both names and widths.
    """
    source = Value.cast(source)
    check(
        len(source) <= len(Value.cast(target)),
        f"{source!r} has {len(source)} bits and cannot be connected to the {len(Value.cast(target))} bits of "
        f"{Value.cast(target)!r}; widen the target, or take a slice if the bits above are always 0",
    )
    return target.eq(source)


def connect_address(target: Value, source: ValueLike) -> Any:
    """Return the assignment of an address, or of a slot, to the port of a memory that may have fewer address bits.

    Addresses of instructions are as wide as the largest engine needs. The compiler gives none beyond the memory
    (`sim.mapping.layout.check_fits`), and the loader takes no word that is, so what is cut off is 0.

    Parameters
    ----------
    target : Value
        Address port of a memory.
    source : ValueLike
        The address.
    """
    return target.eq(Value.cast(source)[: len(Value.cast(target))])
