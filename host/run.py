"""A run of images: pixels go as far ahead as there is room for their logits, which are taken as they come."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..sim.engine.link import FRAME_BYTES, HEAD_BYTES, LOGIT_BYTES, LOGIT_TAG_BITS, MOST_BYTES, Operation
from ..sim.engine.registers import ERROR_TEXTS, ErrorCode
from ..sim.errors import BivitError, check
from .operations import beats, logits, operation, read, write, write_field
from .session import Session

#: Images on the board at most: their numbers have to be told apart.
_AHEAD = 1 << LOGIT_TAG_BITS - 1
#: Bits on the line for a byte.
_BITS = 10
#: Seconds without a logit after which a run has failed.
_SILENT_S = 60.0
#: Logits that are asked for at a time.
_MOST_LOGITS = (MOST_BYTES - 1) // LOGIT_BYTES


def link_images_per_s(image_bytes: int, classes: int, queue_size: int, baud: int) -> float:
    """Return how many images a second a line lets through at most: no host is late, and no byte needs an escape.

    Parameters
    ----------
    image_bytes, classes : int
        Of the network.
    queue_size : int
        Logits that the engine's queue holds.
    baud : int
        Bits a second.
    """
    ahead = max(1, min(_AHEAD, queue_size // classes))
    frames = max(1 / ahead, (image_bytes + HEAD_BYTES) / MOST_BYTES)
    out = image_bytes + HEAD_BYTES + frames * (FRAME_BYTES + HEAD_BYTES)
    back = classes * LOGIT_BYTES + frames * (FRAME_BYTES + 2)
    return baud / (_BITS * (out + back))


class Run:
    """One run.

    Parameters
    ----------
    session : Session
    images : uint8 [B, height, width, channels]
        One or more.
    classes : int
    pixel_bytes, queue_size : int
        Bytes of a beat of pixels; logits that the engine's queue holds.
    """

    def __init__(self, session: Session, images: NDArray[np.uint8], classes: int, pixel_bytes: int, queue_size: int):
        self._pixels = images.reshape(len(images), -1)
        self._session, self._classes, self._pixel_bytes = session, classes, pixel_bytes
        self._ahead = min(_AHEAD, queue_size // classes)
        check(self._ahead > 0, f"the engine's queue holds {queue_size} logits, less than the {classes} of an image")
        self._logits = np.zeros((len(images), classes), np.int64)
        #: Images whose pixels are all sent, bytes of the one behind them, and logits that came.
        self._sent, self._bytes, self._came = 0, 0, 0

    @property
    def answered(self) -> NDArray[np.int64]:
        """Logits of the images that came back whole, int64 [images, classes]."""
        return self._logits[: self._came // self._classes]

    def play(self, told: Callable[[int], None]) -> None:
        """Run all images.

        Parameters
        ----------
        told : callable
            Is told how many are answered.

        Raises
        ------
        BivitError
            When a logit is not the one that is due, or the engine has an error.
        """
        images = len(self._pixels)
        start = write_field("STATUS", "error") + write("IMAGES", images) + write_field("CONTROL", "start")
        self._check_error(self._session.exchange(start + read("ERROR")))
        heard = time.monotonic()
        while self._came < self._logits.size:
            came = self._exchange()
            if came:
                heard = time.monotonic()
                told(self._came // self._classes)
            elif time.monotonic() > heard + _SILENT_S:
                self._check_error(self._session.exchange(read("ERROR")))
                raise BivitError(f"the engine gave no logit in {_SILENT_S:g} s; configure the board again")
        done = self._session.exchange(read("DONE") + read("ERROR"))
        self._check_error(done[4:])
        check(int.from_bytes(done[:4], "little") == images, "the engine counts other images than were sent")

    def _exchange(self) -> int:
        """Fetch logits that there may be, send pixels that there is room for; return how many logits came."""
        wanted = min(_MOST_LOGITS, self._sent * self._classes - self._came)
        asked = operation(Operation.LOGITS, wanted) if wanted else b""
        answers = self._session.exchange(asked + self._next_pixels(MOST_BYTES - len(asked)))
        came = list(logits(answers))
        for one in came:
            image, channel = divmod(self._came, self._classes)
            due = (image % (1 << LOGIT_TAG_BITS), channel == self._classes - 1)
            check(
                (one.tag, one.last) == due,
                f"logit {channel} of image {image} was due, another one came; run the command again",
            )
            self._logits[image, channel] = one.value
            self._came += 1
        return len(came)

    def _next_pixels(self, room: int) -> bytes:
        """Return beats of the next images, as many as there is room for in a frame and on the board."""
        found = b""
        while self._sent < min(len(self._pixels), self._came // self._classes + self._ahead):
            left = self._pixels[self._sent, self._bytes :].tobytes()
            space = max(0, room - len(found) - HEAD_BYTES)
            some = left[: space // self._pixel_bytes * self._pixel_bytes]
            if not some or (len(some) < len(left) and found):
                break
            found += beats(Operation.PIXELS, some, self._pixel_bytes, last=len(some) == len(left))
            self._bytes += len(some)
            if len(some) == len(left):
                self._sent, self._bytes = self._sent + 1, 0
        return found

    @staticmethod
    def _check_error(answers: bytes) -> None:
        error = int.from_bytes(answers, "little")
        check(error == 0, f"the engine reports an error: {ERROR_TEXTS.get(ErrorCode(error), error)}")
