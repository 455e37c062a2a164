"""The serial protocol between a host and a board, as data for both sides (docs/boards.md)."""

from __future__ import annotations

from enum import IntEnum

#: Begins and ends every frame; begins an escape within one, behind which a byte is sent with these bits changed.
FLAG, ESCAPE, ESCAPED = 0x7E, 0x7D, 0x20
#: Bytes of a frame's operations, or of its answers, at most.
MOST_BYTES = 1020
#: Bytes of a frame besides: its number, and the CRC-32 (as zlib.crc32) of all before.
NUMBER_BYTES, CRC_BYTES = 1, 4
#: Bytes of a frame beside its operations: two flags, number, CRC.
FRAME_BYTES = 2 + NUMBER_BYTES + CRC_BYTES
#: Number of the frame that opens a session; those behind it are 1, 2, ... 255, 1, ...
OPENING, LAST_NUMBER = 0, 255
#: Bytes that begin an operation: its code and its argument. The argument's highest bit is TLAST, where there is one.
HEAD_BYTES, TLAST = 3, 1 << 15
#: Bits of a second that a board and its host agree on, where nothing else is said.
BAUD = 1_000_000
#: Version of this protocol, in the answer to `Operation.IDENTIFY`.
LINK_VERSION = 1


class Operation(IntEnum):
    """What a host may ask for; the argument is of 16 bits."""

    IDENTIFY = 1  #: Answers `LINK_VERSION`, a byte. Argument 0.
    READ = 2  #: Answers the 32 bits of the register at the argument.
    WRITE = 3  #: Writes the 32 bits behind it to the register at the argument.
    LOAD = 4  #: Hands so many beats of 8 bytes to the load stream.
    PIXELS = 5  #: Hands so many beats to the pixel stream.
    LOGITS = 6  #: Answers so many logits, `LOGIT_BYTES` each, or fewer and a byte of 0.
    RESET = 7  #: Resets the engine. Argument 0.


class Status(IntEnum):
    """What became of a frame, the second byte of an answer."""

    DONE = 0  #: All operations were done, now or when the frame first came.
    DAMAGED = 1  #: The frame came in damaged; nothing was done.
    UNEXPECTED = 2  #: Its number is neither the next one nor the last one; nothing was done.
    STALLED = 3  #: The engine did not take or answer something for too long, and was reset.
    REFUSED = 4  #: An operation that is none, is cut short, has no room for its answer, or that a register refused.


#: Bytes of a logit: one with the flags, the low bits of the image's number in the others, and 4 of the value.
LOGIT_BYTES = 5
#: There is a logit; it is its image's last; the number's bits.
LOGIT_VALID, LOGIT_LAST, LOGIT_TAG_BITS = 0x80, 0x40, 6
