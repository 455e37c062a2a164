"""Frames on the host's side: bytes between flags, with a number and a CRC-32 (docs/boards.md)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from ..sim.engine.link import CRC_BYTES, ESCAPE, ESCAPED, FLAG, MOST_BYTES, NUMBER_BYTES, Status
from ..sim.errors import check

_SPECIAL = (FLAG, ESCAPE)


def framed(content: bytes) -> bytes:
    """Return a frame as it goes over the line.

    Parameters
    ----------
    content : bytes
        Number and operations, or number, status and answers; without the CRC.
    """
    whole = content + zlib.crc32(content).to_bytes(CRC_BYTES, "little")
    inner = b"".join(bytes([ESCAPE, byte ^ ESCAPED]) if byte in _SPECIAL else bytes([byte]) for byte in whole)
    return bytes([FLAG]) + inner + bytes([FLAG])


def request(number: int, operations: bytes) -> bytes:
    """Return a frame that asks for something.

    Parameters
    ----------
    number : int
        Of the frame.
    operations : bytes
        At most `MOST_BYTES`.
    """
    check(len(operations) <= MOST_BYTES, f"a frame holds {MOST_BYTES} bytes of operations, got {len(operations)}")
    return framed(bytes([number]) + operations)


@dataclass(frozen=True)
class Answer:
    """What a board sent.

    Parameters
    ----------
    number : int
        Of the frame that was worked on last.
    status : Status
    answers : bytes
        Those of its operations.
    """

    number: int
    status: Status
    answers: bytes


class AnswerReader:
    """Finds answers in bytes as they come; a frame that is damaged is None."""

    def __init__(self) -> None:
        self._inside = False
        self._escaped = False
        self._bytes = bytearray()

    def read(self, data: bytes) -> Iterator[Answer | None]:
        """Take the next bytes.

        Parameters
        ----------
        data : bytes

        Yields
        ------
        Answer or None
        """
        for byte in data:
            if byte == FLAG:
                if self._inside and self._bytes:
                    yield None if self._escaped else _parsed(bytes(self._bytes))
                # The flag that ends a frame may be one that noise put there: it begins another one as well.
                self._inside, self._escaped = True, False
                self._bytes.clear()
            elif self._inside and byte == ESCAPE:
                self._escaped = True
            elif self._inside:
                self._bytes.append(byte ^ ESCAPED if self._escaped else byte)
                self._escaped = False


def _parsed(content: bytes) -> Answer | None:
    inner, crc = content[:-CRC_BYTES], content[-CRC_BYTES:]
    if len(inner) < NUMBER_BYTES + 1 or zlib.crc32(inner).to_bytes(CRC_BYTES, "little") != crc:
        return None
    if inner[NUMBER_BYTES] not in Status.__members__.values():
        return None
    return Answer(inner[0], Status(inner[NUMBER_BYTES]), inner[NUMBER_BYTES + 1 :])
