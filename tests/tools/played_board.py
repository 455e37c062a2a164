"""A board that is played in Python: the protocol of docs/boards.md, and an engine whose logits are a function."""

import zlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bivit.host.folder import Folder
from bivit.host.frames import framed
from bivit.sim.engine.link import ESCAPE, ESCAPED, FLAG, LINK_VERSION, LOGIT_LAST, LOGIT_VALID, TLAST, Operation, Status
from bivit.sim.engine.registers import BY_NAME, ID, MAP_VERSION

_AT = {register.offset: name for name, register in BY_NAME.items()}


class PlayedBoard:
    """A port with a board behind it; `stream` is the load stream that it takes."""

    def __init__(self, folder: Folder, logits: Callable[[NDArray[np.uint8]], NDArray[np.int64]], queue_size: int = 64):
        self.folder, self._logits = folder, logits
        self.shown = {
            **dict.fromkeys(BY_NAME, 0),
            **{"ID": ID, "VERSION": MAP_VERSION, "QUEUE_SIZE": queue_size, "SHAPE": 1 << 24},
            **{"ENGINE_LO": folder.fingerprint & 0xFFFFFFFF, "ENGINE_HI": folder.fingerprint >> 32},
        }
        self.dead = False
        self.reset()

    def reset(self) -> None:
        """Begin as after a reset of the board."""
        self._in, self._out, self._inside = bytearray(), b"", False
        self._expected: int | None = None
        self._last, self._answer = 0, b""
        self._reset_engine()

    def _reset_engine(self) -> None:
        self.shown |= {"STATUS": 0, "NETWORK": 0, "ERROR": 0, "QUEUE": 0, "DONE": 0}
        self._stream, self._pixels, self._queue = b"", b"", list[bytes]()

    def write(self, data: bytes) -> None:
        for byte in data:
            if byte != FLAG:
                self._in.append(byte)
            elif self._in:
                self._frame(bytes(self._in))
                self._in.clear()

    def read(self, wait_s: float) -> bytes:
        out, self._out = self._out, b""
        return b"" if self.dead else out

    def close(self) -> None:
        pass

    def _frame(self, inner: bytes) -> None:
        content = bytearray()
        for at, byte in enumerate(inner):
            if byte != ESCAPE:
                content.append(byte ^ ESCAPED if at and inner[at - 1] == ESCAPE else byte)
        body, crc = bytes(content[:-4]), bytes(content[-4:])
        if zlib.crc32(body).to_bytes(4, "little") != crc or not body:
            self._out += framed(bytes([self._last, Status.DAMAGED]))
        elif body[0] in (0, self._expected):
            self._last, self._expected = body[0], 1 if body[0] == 255 else body[0] + 1
            self._answer = framed(bytes([self._last, Status.DONE]) + self._work(body[1:]))
            self._out += self._answer
        elif self._expected is not None and body[0] == self._last:
            self._out += self._answer
        else:
            self._out += framed(bytes([self._last, Status.UNEXPECTED]))

    def _work(self, todo: bytes) -> bytes:
        answers = b""
        while todo:
            code, argument, todo = todo[0], int.from_bytes(todo[1:3], "little"), todo[3:]
            size = {Operation.WRITE: 4, Operation.LOAD: 8 * (argument % TLAST), Operation.PIXELS: argument % TLAST}
            data, todo = todo[: size.get(code, 0)], todo[size.get(code, 0) :]
            answers += self._do(code, argument, data)
        return answers

    def _do(self, code: int, argument: int, data: bytes) -> bytes:
        if code == Operation.IDENTIFY:
            return bytes([LINK_VERSION])
        if code == Operation.READ:
            return self.shown[_AT[argument]].to_bytes(4, "little")
        if code == Operation.LOGITS:
            some, self._queue = self._queue[:argument], self._queue[argument:]
            return b"".join(some) + (b"" if len(some) == argument else b"\0")
        if code == Operation.RESET:
            self._reset_engine()
        elif code == Operation.LOAD:
            self._load(data, bool(argument & TLAST))
        elif code == Operation.PIXELS:
            self._take(data)
        elif _AT[argument] == "CONTROL" and data[0] & 1:
            self.shown |= {"DONE": 0, "ERROR": 0 if self.shown["STATUS"] & 2 else 8}
        return b""

    def _load(self, data: bytes, last: bool) -> None:
        self._stream += data
        if last:
            good = self._stream == self.folder.stream.read_bytes()
            self.shown |= {"ERROR": 0, "STATUS": 2, "NETWORK": self.folder.network} if good else {"ERROR": 6}
            self._stream = b""

    def _take(self, data: bytes) -> None:
        self._pixels += data
        size = int(np.prod(self.folder.image))
        while len(self._pixels) >= size:
            image = np.frombuffer(self._pixels[:size], np.uint8).reshape(1, *self.folder.image)
            self._pixels = self._pixels[size:]
            found = self._logits(image)[0]
            for number, value in enumerate(found):
                last = LOGIT_LAST if number == len(found) - 1 else 0
                flags = LOGIT_VALID | last | self.shown["DONE"] % 64
                self._queue.append(bytes([flags]) + int(value).to_bytes(4, "little", signed=True))
            self.shown["DONE"] += 1
