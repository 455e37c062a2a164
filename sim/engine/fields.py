"""Integers side by side in a word: no value is packed without a look at its field's width and sign."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..bits import signed_range
from ..errors import BivitError

#: A number, or an array of them.
Halved = TypeVar("Halved", int, NDArray[np.int64])


def field_range(bits: int, *, signed: bool = False) -> tuple[int, int]:
    """Return the lowest and highest value of a field.

    >>> field_range(8), field_range(8, signed=True)
    ((0, 255), (-128, 127))
    """
    return signed_range(bits) if signed else (0, (1 << bits) - 1)


def pack_field(value: int, bits: int, name: str, *, signed: bool = False) -> int:
    """Return a value as the bits of its field, two's complement where it is signed.

    Parameters
    ----------
    value : int
        What goes into the field; a numpy integer will do.
    bits : int
        Width of the field.
    name : str
        The field's name in messages.
    signed : bool
        Whether the field is two's complement.

    Raises
    ------
    BivitError
        When the field cannot hold the value: field, value, range. Nothing is ever cut.
    """
    return pack_fields([value], bits, name, signed=signed)


def pack_fields(values: Iterable[int], bits: int, name: str, *, signed: bool = False) -> int:
    """Pack integers into fields of one width, the first in the least significant bits; see `pack_field`.

    >>> hex(pack_fields([1, -1], 8, "theta", signed=True))
    '0xff01'
    """
    numbers = [int(value) for value in values]
    low, high = field_range(bits, signed=signed)
    for number in (min(numbers), max(numbers)):
        if not low <= number <= high:
            raise BivitError(
                f"{name} has {bits} bits and cannot hold {number}: its range is {low} to {high}; "
                "the network does not fit the hardware's formats"
            )
    word, mask = 0, (1 << bits) - 1
    for k, number in enumerate(numbers):
        word |= (number & mask) << k * bits
    return word


def half_threshold(theta: Halved) -> Halved:
    """Return ceil(Theta / 2), the threshold on half a dot product.

    >>> [half_threshold(t) for t in (-3, -2, 0, 1, 2)]
    [-1, -1, 0, 1, 1]
    """
    return -(-theta // 2)
