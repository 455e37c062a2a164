"""A simulated board: the RTL from the serial pins to the engine, and its line as a socket that a host can open."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ..hw.board.emit import BOARD_TOP, serial_engine_verilog
from ..sim.engine.loadstream import Sections
from ..sim.errors import BivitError, check
from ..sim.flow.config import FlowConfig
from ..sim.system.files import scratch_folder
from .runner import Build, build, simulate
from .tb_board import ENDED, QUIT, RESET

_TEST_MODULE = "bivit.cosim.tb_board"
#: Seconds in which a simulation that is built begins, on a busy machine.
_START_S = 600.0
_LOOK_S = 0.02
#: Clock cycles of a bit, few for speed, and cycles until an engine counts as stalled.
_DIVISOR, _PATIENCE = 4, 1 << 20


class SimulatedBoard:
    """A board that runs in a simulator.

    Parameters
    ----------
    number : int
        Of the socket on this machine; the first connection to it is the line.

    Attributes
    ----------
    port : str
        What a host opens, once.
    """

    def __init__(self, number: int):
        self.port = f"socket://127.0.0.1:{number}"
        self._number = number
        self._control: socket.socket | None = None

    def attend(self) -> None:
        """Take the second connection, behind that of the host."""
        self._control = socket.create_connection(("127.0.0.1", self._number))

    def press_reset(self) -> None:
        """Press the board's button, whatever goes on; `attend` comes before."""
        assert self._control is not None
        self._control.sendall(RESET)

    def close(self) -> None:
        """End the simulation."""
        # Where a host was there and is gone the simulation has ended by itself.
        with suppress(OSError):
            if self._control is None:
                self.attend()
            assert self._control is not None
            with self._control as control:
                control.sendall(QUIT)


@contextmanager
def simulated_board(
    flow: FlowConfig, words: Sections | None = None, *, said: Callable[[str], None] = lambda what: None
) -> Iterator[SimulatedBoard]:
    """Run a board in Verilator while the block lasts.

    Parameters
    ----------
    flow : FlowConfig
        Its engine.
    words : mapping, optional
        Words of a network that is in its bitstream.
    said : callable
        Is told what begins.

    Raises
    ------
    BivitError
        When the simulator is missing or fails.
    """
    said("converting the engine to Verilog; the first time takes a while")
    text = serial_engine_verilog(flow, _DIVISOR, _PATIENCE, words)
    said("building the simulation; the first time takes minutes")
    built = build({"board.v": text}, BOARD_TOP)
    with served(built, _TEST_MODULE, [f"+divisor={_DIVISOR}"]) as number:
        board = SimulatedBoard(number)
        try:
            yield board
        finally:
            board.close()


@contextmanager
def served(built: Build, test_module: str, plusargs: Sequence[str] = ()) -> Iterator[int]:
    """Run a bench that serves a socket of this machine, which it writes to ``+address=PATH``; yield its number.

    Parameters
    ----------
    built : Build
        The simulation.
    test_module : str
        The bench. It ends when its connections do, or while it has none once there is a file `ENDED` beside the one
        with its address.
    plusargs : sequence of str
        More arguments.

    Raises
    ------
    BivitError
        When it does not start.
    """
    failed: list[BaseException] = []
    with scratch_folder("bivit-board") as folder:
        address = folder / "address"

        def run() -> None:
            try:
                simulate(built, test_module, [f"+address={address}", *plusargs], folder)
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=run, name="simulated board", daemon=True)
        thread.start()
        try:
            yield _wait(address, thread, failed)
        finally:
            (folder / ENDED).touch()  # or a bench that nobody has called would wait for ever
            thread.join()


def _wait(address: Path, thread: threading.Thread, failed: list[BaseException]) -> int:
    """Return the socket of a simulation once it is there."""
    end = time.monotonic() + _START_S
    while not address.exists():
        if failed:
            raise BivitError(f"the simulated board did not start: {failed[0]}") from failed[0]
        check(thread.is_alive() and time.monotonic() < end, "the simulated board did not start; try again")
        time.sleep(_LOOK_S)
    return int(address.read_text(encoding="ascii"))
