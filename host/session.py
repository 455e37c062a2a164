"""A session with a board: every frame is worked on exactly once, whatever the line does to it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ..sim.engine.link import LAST_NUMBER, OPENING, Status
from ..sim.errors import BivitError
from .frames import Answer, AnswerReader, request
from .port import Port

#: Times that a frame is sent before the line counts as dead.
_TRIES = 8
#: Seconds without a byte after which a line is quiet.
_QUIET_S = 0.02
#: Bits on the line for a byte, and as many for its escape.
_BITS = 20


class SessionLost(BivitError):
    """The board forgot the session: it was reset, or another host opened one."""

    def __init__(self, why: str):
        super().__init__(f"{why}; run the command again, and keep other programs off the port")


class EngineStalled(BivitError):
    """The engine did not go on, and was reset by the board."""

    def __init__(self) -> None:
        super().__init__(
            "the engine on the board stood still and was reset; run the command again, and if it happens again build "
            "the bitstream with a lower clock"
        )


@dataclass
class Traffic:
    """What a session sent.

    Parameters
    ----------
    frames : int
        That were worked on.
    repeated : int
        Frames that were sent again.
    bytes_out, bytes_in : int
        On the line, of both.
    """

    frames: int = 0
    repeated: int = 0
    bytes_out: int = 0
    bytes_in: int = 0


class Session:
    """Sends frames and waits for their answers, one at a time.

    Parameters
    ----------
    port : Port
    baud : int
        Bits a second, for how long a frame takes.
    patience_s : float
        Seconds that a board may take beyond that.
    """

    def __init__(self, port: Port, baud: int, patience_s: float):
        self.port, self.traffic = port, Traffic()
        self._baud, self._patience_s = baud, patience_s
        self._number, self._reader = OPENING, AnswerReader()

    def open(self, operations: bytes) -> bytes:
        """Open a session, and return the answers to its first operations.

        Parameters
        ----------
        operations : bytes
            They may be worked on twice, so they only read.

        Raises
        ------
        BivitError
            When nothing answers.
        """
        self._number = OPENING
        return self.exchange(operations)

    def exchange(self, operations: bytes) -> bytes:
        """Have operations done, and return their answers.

        Parameters
        ----------
        operations : bytes
            Of one frame.

        Raises
        ------
        SessionLost
            When the board does not know the session.
        EngineStalled
            When the engine stood still.
        BivitError
            When nothing comes through, or the board refuses an operation.
        """
        frame = request(self._number, operations)
        heard = 0
        for attempt in range(_TRIES):
            self.port.write(frame)
            self.traffic.repeated += attempt > 0
            self.traffic.bytes_out += len(frame)
            before = self.traffic.bytes_in
            answer = self._answer(len(frame))
            heard += self.traffic.bytes_in - before
            if answer is not None:
                break
        else:
            raise BivitError(
                f"the line is too noisy: {_TRIES} times a frame did not come through; take a shorter cable or a lower "
                "--baud (that of the bitstream)"
                if heard
                else "no board answers; is it configured with a bitstream of `bivit build`, with the same --baud?"
            )
        self.traffic.frames += 1
        self._number = OPENING + 1 if self._number == LAST_NUMBER else self._number + 1
        return self._done(answer)

    def _answer(self, sent: int) -> Answer | None:
        """Wait for the answer to the frame that was sent; None when it has to be sent again."""
        end = time.monotonic() + self._patience_s + (sent + 2048) * _BITS / self._baud
        while (left := end - time.monotonic()) > 0:
            data = self.port.read(min(left, _QUIET_S))
            self.traffic.bytes_in += len(data)
            for answer in self._reader.read(data):
                if answer is None or answer.status == Status.DAMAGED:
                    self._hush()
                    return None
                unexpected = answer.status == Status.UNEXPECTED
                if unexpected and self._number != OPENING:
                    raise SessionLost("the board does not know this session any more: it was reset, or used by another")
                # The opening frame is always expected: what says otherwise was said before it.
                if answer.number == self._number and not unexpected:
                    return answer
        return None

    def _hush(self) -> None:
        """Drop what still comes, as the rest of a frame that noise cut: the board does not listen while it sends."""
        end = time.monotonic() + self._patience_s
        while time.monotonic() < end and (data := self.port.read(_QUIET_S)):
            self.traffic.bytes_in += len(data)
        self._reader = AnswerReader()

    def _done(self, answer: Answer) -> bytes:
        if answer.status == Status.STALLED:
            raise EngineStalled
        if answer.status != Status.DONE:
            raise BivitError(
                f"the board refused an operation ({answer.status.name}); it is configured with another version of bivit"
            )
        return answer.answers
