"""What a host asks a board for, as bytes, and what the answers mean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..sim.engine.link import LOGIT_BYTES, LOGIT_LAST, LOGIT_TAG_BITS, LOGIT_VALID, TLAST, Operation
from ..sim.engine.registers import BY_NAME


def operation(code: Operation, argument: int = 0, data: bytes = b"") -> bytes:
    """Return an operation.

    Parameters
    ----------
    code : Operation
    argument : int
        16 bits.
    data : bytes
        What stands behind it.
    """
    return bytes([code]) + argument.to_bytes(2, "little") + data


def read(register: str) -> bytes:
    """Return the reading of a register, by its name."""
    return operation(Operation.READ, BY_NAME[register].offset)


def write(register: str, value: int) -> bytes:
    """Return the writing of a register, by its name."""
    return operation(Operation.WRITE, BY_NAME[register].offset, value.to_bytes(4, "little"))


def write_field(register: str, field: str) -> bytes:
    """Return the writing of ones into a field of a register, by their names, and of zeros beside it."""
    return write(register, BY_NAME[register].field(field).mask)


def beats(code: Operation, data: bytes, beat_bytes: int, *, last: bool) -> bytes:
    """Return beats of a stream.

    Parameters
    ----------
    code : Operation
        `LOAD` or `PIXELS`.
    data : bytes
        One beat or more.
    beat_bytes : int
        Bytes of a beat.
    last : bool
        Whether TLAST comes with the last of them.
    """
    return operation(code, len(data) // beat_bytes | (TLAST if last else 0), data)


@dataclass(frozen=True)
class Logit:
    """A logit as a board sends it.

    Parameters
    ----------
    tag : int
        Low bits of the image's number.
    last : bool
        Whether it is the image's last.
    value : int
        Signed.
    """

    tag: int
    last: bool
    value: int


def logits(answers: bytes) -> Iterator[Logit]:
    """Read the answer to `Operation.LOGITS`.

    Parameters
    ----------
    answers : bytes
        From its first byte on; what is behind it is not looked at.
    """
    for at in range(0, len(answers), LOGIT_BYTES):
        flags = answers[at]
        if not flags & LOGIT_VALID:
            return
        value = int.from_bytes(answers[at + 1 : at + LOGIT_BYTES], "little", signed=True)
        yield Logit(flags & (1 << LOGIT_TAG_BITS) - 1, bool(flags & LOGIT_LAST), value)
