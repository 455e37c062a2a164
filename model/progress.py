"""The bar of a training on the terminal: epoch, loss, images per second and the time that is left."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class EpochBar:
    """Shows how far a training is, on standard error.

    Parameters
    ----------
    label : str or None
        None shows nothing.
    images : int
        Of one epoch.
    epochs : int
    done : int
        Epochs that were done before.
    """

    def __init__(self, label: str | None, images: int, epochs: int, done: int = 0) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"))
        self.bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), disable=label is None)
        self.images, self.epochs, self.first = images, epochs, done * images
        self.task = self.bar.add_task(label or "", total=epochs * images, completed=self.first, text="")

    def __enter__(self) -> EpochBar:
        self.started = time.perf_counter()
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def advance(self, epoch: int, images: float, loss: float) -> None:
        """Show that `images` of an epoch (0 first) are done, with the mean loss of them."""
        completed = min(epoch * self.images + images, self.epochs * self.images)
        speed = (completed - self.first) / max(time.perf_counter() - self.started, 1e-9)
        text = f"epoch {epoch + 1}/{self.epochs}  loss {loss:.4f}  {speed:,.0f} images/s"
        self.bar.update(self.task, completed=completed, text=text)
