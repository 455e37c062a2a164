"""Says what a command does while it does it: a bar on a terminal; elsewhere a line when it begins and every so often.

A step that ends at once says nothing where standard error is no terminal: whatever is refused then leaves its message
alone.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TaskID
from rich.table import Column
from rich.text import Text

from . import common
from .common import messages

#: Seconds after which a step says that it has begun, and those after which a whole command does that shows no step.
_FIRST, _FIRST_OF_COMMAND = 0.5, 1.5
#: Seconds from a line to the next one; half a minute is promised.
_EVERY = 15.0

#: Steps that are going on, the innermost last: the others stay quiet after their first line.
_open: list[Step] = []
_bars: Progress | None = None


class Step:
    """A piece of work that is shown while it lasts; `step` makes one.

    Parameters
    ----------
    what : str
        Names the work.
    total : float, optional
        How much there is to do, where that is known.
    command : bool
        Whether it is a whole command: that speaks only where none of its steps does.
    """

    def __init__(self, what: str, total: float | None = None, command: bool = False):
        self.what, self.total, self.command = what, total, command
        self.done, self.said, self.start = 0.0, False, time.monotonic()
        self._detail = ""
        self._note = ""
        self._from: tuple[float, float] | None = None
        self._due = self.start + (_FIRST_OF_COMMAND if command else _FIRST)
        self._ended = False
        self._wake = threading.Condition()
        #: Its bar of `_bars` where it is drawn.
        self.bar: TaskID | None = None

    def __call__(self, detail: str) -> None:
        """Begin a part of the step."""
        with self._wake:
            self._detail, self._note = detail, ""
            self._due = min(self._due, time.monotonic() + _FIRST)
            self._wake.notify()

    def at(self, done: float, total: float | None = None, note: str = "") -> None:
        """Say how much is done.

        Parameters
        ----------
        done : float
            So far.
        total : float, optional
            Of this; as before when left out.
        note : str
            Shown beside it.
        """
        self.done, self._note = done, note
        self._from = self._from or (done, time.monotonic())
        self.total = self.total if total is None else total
        if self.bar is not None and _bars is not None:
            _bars.update(self.bar, completed=done, total=self.total)

    @property
    def seconds(self) -> float:
        """Since the step began."""
        return time.monotonic() - self.start

    def text(self) -> str:
        """What is being done, how far it is, and the time that is left."""
        words = [f"{self.what}: {self._detail}" if self._detail else self.what]
        if self.total:
            words.append(f"{self.done:,.0f} of {self.total:,.0f}")
        words += [self._note] if self._note else []
        if self.seconds >= 1:
            words.append(duration(self.seconds))
        left = self._left()
        words += [] if left is None else [f"about {duration(left)} left"]
        return ", ".join(words)

    def _left(self) -> float | None:
        """Seconds that are left, by the speed since the first word of how much is done; a run may begin half-way."""
        if self.total is None or self._from is None or not self._from[0] < self.done < self.total:
            return None
        done, when = self._from
        return (time.monotonic() - when) * (self.total - self.done) / (self.done - done)

    def watch(self) -> None:
        """Write lines until the step ends."""
        with self._wake:
            while not self._ended:
                now = time.monotonic()
                if now < self._due:
                    self._wake.wait(self._due - now)
                    continue
                innermost = _open[-1:] == [self]
                if innermost or not (self.said or self.command):
                    say(self.text())
                    self.said = True
                self._due = now + (_EVERY if innermost else _FIRST_OF_COMMAND)

    def end(self) -> None:
        """End the lines."""
        with self._wake:
            self._ended = True
            self._wake.notify()


class _StepText(ProgressColumn):
    """The step's own text, with the time that goes on."""

    def render(self, task: Task) -> Text:
        """Return the text."""
        return Text(task.fields["step"].text())


@contextmanager
def step(what: str, total: float | None = None) -> Iterator[Step]:
    """Show a piece of work while it lasts, and how long it took once it is done.

    Parameters
    ----------
    what : str
        Names the work, as ``"generate engine digits"``.
    total : float, optional
        How much there is to do; then the time left is shown.

    Yields
    ------
    Step
        Call it with the name of each part as that begins; `Step.at` says how far it is.
    """
    one = Step(what, total)
    bars = messages.is_terminal and not messages.is_dumb_terminal
    with _listed(one), _drawn(one) if bars else _written(one):
        yield one
    if bars or one.said:
        messages.print(f"[green]done[/] {escape(what)} [dim]{one.seconds:.1f} s[/]", soft_wrap=True)


class Command(common.Command):
    """A command that says that it is at work where it shows no step for more than a second."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        one = Step(f"{ctx.info_name} is at work", command=True)
        with _listed(one), _written(one):
            return super().invoke(ctx)


@contextmanager
def _listed(one: Step) -> Iterator[None]:
    _open.append(one)
    try:
        yield
    finally:
        _open.remove(one)


@contextmanager
def _written(one: Step) -> Iterator[None]:
    """Write lines, in a thread of their own: the work need not come by."""
    if os.environ.get("RANK", "0") != "0":  # of a training in several processes the first one speaks
        yield
        return
    thread = threading.Thread(target=one.watch, name=f"progress of {one.what}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        one.end()
        thread.join()


@contextmanager
def _drawn(one: Step) -> Iterator[None]:
    """Draw a bar, below those of the steps around it."""
    global _bars
    outermost = _bars is None
    if _bars is None:
        spinner = "dots" if messages.encoding.startswith("utf") else "line"
        columns = (SpinnerColumn(spinner), _StepText(table_column=Column(no_wrap=True)), BarColumn(bar_width=20))
        # Results go to standard output, which may be no terminal.
        _bars = Progress(*columns, console=messages, transient=True, redirect_stdout=False)
        _bars.start()
    bars, one.bar = _bars, _bars.add_task("", total=one.total, step=one)
    try:
        yield
    finally:
        bars.remove_task(one.bar)
        one.bar = None
        if outermost:
            bars.stop()
            _bars = None


def say(text: str) -> None:
    """Write a line about progress on standard error."""
    messages.print(f"bivit: {text}", markup=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """Text of a time.

    >>> duration(42.3), duration(200), duration(9000)
    ('42 s', '3 min 20 s', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s" if seconds < 6000 else f"{seconds / 3600:.1f} h"
