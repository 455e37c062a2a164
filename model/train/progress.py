"""How a training says what it does and how far it is; how that is shown is the caller's business."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Shown(Protocol):
    """A step that somebody watches."""

    def __call__(self, detail: str) -> None:
        """Say which part of the step begins."""

    def at(self, done: float, total: float | None = None, note: str = "") -> None:
        """Say how much is done."""


#: Opens a step of a name, with how much there is to do.
Watch = Callable[[str, float | None], AbstractContextManager[Shown]]


class _Unseen:
    def __call__(self, detail: str) -> None: ...

    def at(self, done: float, total: float | None = None, note: str = "") -> None: ...


@contextmanager
def unseen(what: str, total: float | None = None) -> Iterator[Shown]:
    """Watch nothing."""
    yield _Unseen()


class EpochProgress:
    """How far a training is, in images.

    Parameters
    ----------
    shown : Shown
        Is told.
    images : int
        Of one epoch.
    epochs : int
        Of the training.
    done : int
        Epochs that were done before.
    """

    def __init__(self, shown: Shown, images: int, epochs: int, done: int = 0) -> None:
        self.shown, self.images, self.epochs = shown, images, epochs
        self.first, self.started = done * images, time.perf_counter()
        shown.at(self.first)

    def advance(self, epoch: int, images: float, loss: float) -> None:
        """Show that `images` of an epoch (0 first) are done, with the mean loss of them."""
        completed = min(epoch * self.images + images, self.epochs * self.images)
        speed = (completed - self.first) / max(time.perf_counter() - self.started, 1e-9)
        note = f"epoch {epoch + 1} of {self.epochs}, loss {loss:.4f}, {speed:,.0f} images/s"
        self.shown.at(completed, note=note)

    def measured(self, epoch: int, images: int) -> None:
        """Show that `images` test images were classified after so many epochs."""
        note = f"after epoch {epoch} of {self.epochs}, {images:,} test images classified"
        self.shown.at(epoch * self.images, note=note)
