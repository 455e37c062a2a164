"""A pseudo-terminal in place of a USB-serial adapter, with a simulated board behind it."""

import os
import select
import socket
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

#: How often it is looked whether the line is to end, and bytes that go together at most.
_LOOK_S, _MOST = 0.1, 4096


@contextmanager
def pseudo_terminal(port: str) -> Iterator[str]:
    """Connect a pseudo-terminal with the socket of a simulated board, as ``socket://HOST:NUMBER``; yield its name."""
    host, _, number = port.removeprefix("socket://").partition(":")
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    ended = Event()
    with socket.create_connection((host, int(number))) as line:
        carrier = Thread(target=_carry, args=(ours, line, ended), daemon=True)
        carrier.start()
        try:
            yield os.ttyname(theirs)
        finally:
            ended.set()
            carrier.join()
            os.close(ours)
            os.close(theirs)


def _carry(terminal: int, line: socket.socket, ended: Event) -> None:
    """Carry bytes both ways, until it is to end or the board is gone."""
    while not ended.is_set():
        ready, _, _ = select.select([terminal, line], [], [], _LOOK_S)
        if terminal in ready:
            line.sendall(os.read(terminal, _MOST))
        if line in ready:
            came = line.recv(_MOST)
            if not came:
                return
            os.write(terminal, came)
