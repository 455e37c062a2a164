"""A serial port, or a socket in its place: what goes wrong with it has one message."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from ..sim.errors import BivitError


class Port(Protocol):
    """What a session needs of a port."""

    def write(self, data: bytes) -> None:
        """Send bytes."""

    def read(self, wait_s: float) -> bytes:
        """Return what is there; wait for a byte at most so long."""

    def close(self) -> None:
        """Give it back."""


class SerialPort:
    """A port of the machine, or what pyserial knows by an address.

    Parameters
    ----------
    name : str
        ``/dev/ttyUSB0``, ``COM3``, or an address as ``socket://localhost:5000``.
    baud : int
        Bits a second.

    Raises
    ------
    BivitError
        When it is not there, is in use, or may not be opened; later, when it is lost.
    """

    def __init__(self, name: str, baud: int):
        import serial

        self.name = name
        self._lost: tuple[type[Exception], ...] = (serial.SerialException, OSError)
        try:
            self._port = serial.serial_for_url(name, baudrate=baud, do_not_open=True)
            if "://" not in name:
                self._port.exclusive = True
            self._port.open()
            self._port.reset_input_buffer()
        except (*self._lost, ValueError) as error:
            raise BivitError(
                f"cannot open the port {name}: {error}; is the board plugged in, no other program using it, and may "
                "you use it (on Linux: the group dialout)? `python -m serial.tools.list_ports` lists what there is"
            ) from error

    def write(self, data: bytes) -> None:
        """Send bytes; as of `Port`."""
        with self._named():
            self._port.write(data)

    def read(self, wait_s: float) -> bytes:
        """Return what is there; as of `Port`."""
        with self._named():
            self._port.timeout = wait_s
            first = bytes(self._port.read(1))
            self._port.timeout = 0
            return first + bytes(self._port.read(4096)) if first else b""

    def close(self) -> None:
        """Give it back."""
        self._port.close()

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except self._lost as error:
            raise BivitError(
                f"the port {self.name} was lost: {error}; plug the board in again, and run the command again"
            ) from error
