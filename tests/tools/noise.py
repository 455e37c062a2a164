"""A line that damages what goes over it: bytes with a flipped bit, lost, doubled or late, where a seed says."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from bivit.host.port import Port

KINDS = ("flip", "lose", "double", "delay")


@dataclass(frozen=True)
class Fault:
    """One fault: what, in which direction, behind how many bytes; `reset` presses the board's button there."""

    kind: str
    outward: bool
    at: int


class NoisyPort:
    """A port with faults: a share of all bytes, and single ones that are armed."""

    def __init__(self, port: Port, *, share: float = 0.0, seed: int = 0, press: Callable[[], None] | None = None):
        self._port, self.share, self._press = port, share, press
        self._rng = random.Random(seed)
        self._fault: Fault | None = None
        self._passed = {True: 0, False: 0}
        self._late = b""
        #: Faults that happened.
        self.happened = 0

    def arm(self, fault: Fault) -> None:
        """Let a fault happen from here on."""
        self._fault, self._passed = fault, {True: 0, False: 0}

    def write(self, data: bytes) -> None:
        self._port.write(self._changed(data, outward=True))

    def read(self, wait_s: float) -> bytes:
        late, self._late = self._late, b""
        return late or self._changed(self._port.read(wait_s), outward=False)

    def close(self) -> None:
        self._port.close()

    def _changed(self, data: bytes, *, outward: bool) -> bytes:
        out = b""
        for index, byte in enumerate(data):
            kind = self._due(outward)
            if kind == "delay" and not outward:
                self._late = data[index:]
                return out
            out += self._faulty(byte, kind)
        return out

    def _due(self, outward: bool) -> str | None:
        """The fault of the next byte."""
        at, self._passed[outward] = self._passed[outward], self._passed[outward] + 1
        fault = self._fault
        kind = None
        if fault is not None and (fault.outward, fault.at) == (outward, at):
            kind, self._fault = fault.kind, None
        elif self._rng.random() < self.share:
            kind = self._rng.choice(KINDS)
        self.happened += kind is not None
        return kind

    def _faulty(self, byte: int, kind: str | None) -> bytes:
        if kind == "reset":
            assert self._press is not None
            self._press()
        if kind == "flip":
            byte ^= 1 << self._rng.randrange(8)
        return bytes([byte]) * {"lose": 0, "double": 2}.get(kind or "", 1)
