"""An engine on a board, as a program sees it: load a network, classify images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..sim.engine.link import BAUD, LINK_VERSION, MOST_BYTES, Operation
from ..sim.engine.registers import BY_NAME, ERROR_TEXTS, ID, MAP_VERSION, ErrorCode
from ..sim.errors import check
from ..sim.system.result import Result
from .folder import Folder
from .operations import beats, operation, read, write_field
from .port import Port, SerialPort
from .run import Run
from .session import EngineStalled, Session, SessionLost, Traffic

#: Seconds that a board may take for a frame beyond its time on the line: an engine stalls after 0.7 s at 100 MHz.
PATIENCE_S = 2.0
#: Times that a load or a run begins again, after the board lost it, before that is an error.
_BEGINNINGS = 4
_BEAT_BYTES = 8
_BEATS_A_FRAME = (MOST_BYTES - len(operation(Operation.LOAD))) // _BEAT_BYTES
#: Called with how much is done, and of how much.
Told = Callable[[int, int], None]
Answer = TypeVar("Answer")
#: What is read when a session is opened, in the order of the answers.
_SHOWN = ("ID", "VERSION", "ENGINE_LO", "ENGINE_HI", "SHAPE", "STATUS", "NETWORK", "QUEUE", "QUEUE_SIZE")


def _untold(done: int, total: int) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class BoardInfo(Result):
    """What a board says of itself.

    Parameters
    ----------
    fingerprint : str
        Of the engine's configuration, as in a manifest.
    rows, columns, lanes, pixel_bytes : int
        Shape of the engine.
    queue_size : int
        Logits that wait in it at most.
    loaded : bool
        Whether it has a network.
    network : str or None
        Begins its SHA-256.
    """

    fingerprint: str
    rows: int
    columns: int
    lanes: int
    pixel_bytes: int
    queue_size: int
    loaded: bool
    network: str | None


class Engine:
    """A board's engine behind a port.

    Parameters
    ----------
    port : str or Port
        Name of a serial port, or one that is open.
    baud : int
        Bits a second, those of the bitstream.
    patience_s : float
        Seconds that the board may take for a frame, beyond those on the line.

    Raises
    ------
    BivitError
        When the port cannot be opened, nothing answers, or what answers is not a board of this version.

    Examples
    --------
    >>> with Engine("/dev/ttyUSB0") as engine:  # doctest: +SKIP
    ...     logits = engine.load(read_folder("out/board")).classify(images)
    """

    def __init__(self, port: str | Port, *, baud: int = BAUD, patience_s: float = PATIENCE_S):
        check(baud > 0, f"the baud rate must be above 0, got {baud}")
        self._session = Session(SerialPort(port, baud) if isinstance(port, str) else port, baud, patience_s)
        self._folder: Folder | None = None
        try:
            self._info = self._open()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the port back."""
        self._session.port.close()

    @property
    def info(self) -> BoardInfo:
        """What the board said when the session was opened, or a network loaded."""
        return self._info

    @property
    def traffic(self) -> Traffic:
        """What went over the line so far."""
        return self._session.traffic

    def load(self, folder: Folder, told: Told = _untold, *, again: bool = False) -> Engine:
        """Load a network, unless the engine has it; returns itself.

        Parameters
        ----------
        folder : Folder
        told : callable
            Is told bytes.
        again : bool
            Load it even if it is there.

        Raises
        ------
        BivitError
            When the engine is another one than that of the folder, or refuses the network.
        """
        check(
            int(self._info.fingerprint, 16) == folder.fingerprint,
            f"the board holds engine {self._info.fingerprint}, {folder.path} is for {folder.fingerprint:016x}: "
            "configure the board with the bitstream of that folder, or write the folder for the board's engine",
        )
        self._folder = folder
        if again or not self._has(folder):
            self._from_the_beginning(lambda: self._load(folder, told))
        return self

    def classify(self, images: NDArray[np.uint8], told: Told = _untold) -> NDArray[np.int64]:
        """Run images, and return their logits.

        Parameters
        ----------
        images : uint8 [B, height, width, channels]
        told : callable
            Is told images.

        Returns
        -------
        int64 [B, classes]

        Raises
        ------
        BivitError
            When no network was loaded with `load`, images have another shape, or the board does not come through.
        """
        folder = self._folder
        check(folder is not None, "no network is loaded; call load first, also for one that is in the bitstream")
        assert folder is not None
        check(
            images.ndim == 4 and images.shape[1:] == folder.image and images.dtype == np.uint8,
            f"the network of {folder.path} takes uint8 images of {' x '.join(map(str, folder.image))} "
            f"(height, width, channels), got {images.dtype} of {' x '.join(map(str, images.shape[1:]))}",
        )
        parts: list[NDArray[np.int64]] = []

        def rest() -> None:
            """Run what was not answered before; nothing may be left, where only the end of a run was lost."""
            done = sum(map(len, parts))
            if done == len(images):
                return
            if not self._has(folder):
                self._load(folder, _untold)
            run = Run(self._session, images[done:], folder.classes, self._info.pixel_bytes, self._info.queue_size)
            try:
                run.play(lambda some: told(done + some, len(images)))
            finally:
                parts.append(run.answered)

        self._from_the_beginning(rest)
        return np.concatenate([np.zeros((0, folder.classes), np.int64), *parts])

    def _open(self) -> BoardInfo:
        """Open a session; an engine in the middle of something is reset."""
        info, idle = self._identified()
        if not idle:
            self._session.exchange(operation(Operation.RESET))
            info, _ = self._identified()
        return info

    def _identified(self) -> tuple[BoardInfo, bool]:
        answers = self._session.open(operation(Operation.IDENTIFY) + b"".join(map(read, _SHOWN)))
        shown = dict(zip(_SHOWN, np.frombuffer(answers[1:], "<u4").tolist(), strict=True))
        check(
            (answers[0], shown["ID"], shown["VERSION"]) == (LINK_VERSION, ID, MAP_VERSION),
            "what answers is no board of this version of bivit; configure it with a bitstream of `bivit build`",
        )
        status = BY_NAME["STATUS"]
        loaded = bool(shown["STATUS"] & status.field("loaded").mask)
        busy = shown["STATUS"] & (status.field("busy").mask | status.field("dropping").mask)
        shape = {field.name: (shown["SHAPE"] & field.mask) >> field.lsb for field in BY_NAME["SHAPE"].fields}
        info = BoardInfo(
            fingerprint=f"{shown['ENGINE_HI'] << 32 | shown['ENGINE_LO']:016x}",
            queue_size=shown["QUEUE_SIZE"],
            loaded=loaded,
            network=f"{shown['NETWORK']:08x}" if loaded else None,
            **shape,
        )
        return info, not busy and shown["QUEUE"] == 0

    def _has(self, folder: Folder) -> bool:
        return self._info.network == f"{folder.network:08x}"

    def _load(self, folder: Folder, told: Told) -> None:
        """Send the load stream, and ask what became of it."""
        stream = folder.stream.read_bytes()
        self._session.exchange(write_field("CONTROL", "abort") + write_field("STATUS", "error"))
        step = _BEATS_A_FRAME * _BEAT_BYTES
        for at in range(0, len(stream), step):
            some = stream[at : at + step]
            self._session.exchange(beats(Operation.LOAD, some, _BEAT_BYTES, last=at + step >= len(stream)))
            told(at + len(some), len(stream))
        error = int.from_bytes(self._session.exchange(read("ERROR")), "little")
        check(error == 0, f"the engine refused the network: {ERROR_TEXTS.get(ErrorCode(error), error)}")
        self._info, _ = self._identified()
        check(self._has(folder), f"the engine has network {self._info.network} after that of {folder.path} was loaded")

    def _from_the_beginning(self, work: Callable[[], None]) -> None:
        """Do something that a reset of the board in the middle of it lets begin again."""
        for beginning in range(_BEGINNINGS):
            try:
                if beginning:
                    self._session.open(operation(Operation.IDENTIFY))
                    self._session.exchange(operation(Operation.RESET))
                    self._info, _ = self._identified()
                work()
                return
            except (SessionLost, EngineStalled):
                if beginning == _BEGINNINGS - 1:
                    raise
