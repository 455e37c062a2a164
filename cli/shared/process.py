"""The process around a command: what it writes to, how it is ended, and what it passes to its children.

Results survive a terminal that cannot show every character, messages a standard error that is full. Where standard
output is full the command fails with a message; where its reader has gone (``| head``) it ends without one, as other
programs do. SIGTERM and SIGHUP end it as Ctrl-C does, so that nothing half-written stays.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import signal
import sys
import threading
import time
import unicodedata
from contextlib import suppress
from types import FrameType
from typing import TextIO, cast

from ...sim.system.children import child_environment

#: Exit code after the reader of standard output has gone, as shells expect it: 128 + SIGPIPE.
EXIT_NO_READER = 128 + signal.SIGPIPE
#: Exit code after standard output could not be written.
EXIT_NOT_WRITTEN = 2
#: What stands for a character that the terminal cannot show.
_PLAIN = {"…": "...", "µ": "u", "≤": "<=", "≥": ">=", "→": "->", "·": ".", "\u00d7": "x"}  # the last: times
_PLAIN |= dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-")  # dashes and minus
_PLAIN |= dict.fromkeys("─━═╌╴╶╸╺", "-") | dict.fromkeys("│┃║", "|") | dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╰╯", "+")
#: Name of the error handler that shows them so.
_HANDLER = "bivit-plain"
#: Signals that end a command, beside Ctrl-C.
_ENDING = (signal.SIGTERM, signal.SIGHUP)
#: Seconds after such a signal in which another one (a shell sends SIGHUP twice) does not disturb the end.
_ENDING_S = 2.0


class Ended(KeyboardInterrupt):
    """A signal asked the process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.code = 128 + number


def prepare() -> None:
    """Prepare this process for a command; to be called once, before it."""
    os.environ.update(child_environment())
    codecs.register_error(_HANDLER, _plain)
    sys.stdout = _stream(sys.stdout, 1)
    sys.stderr = _stream(sys.stderr, 2)
    threading.excepthook = _thread_failed
    end_on_signals()


def end_on_signals() -> None:
    """Raise `Ended` at SIGTERM and SIGHUP, unless they are ignored as under `nohup`; in child processes too."""
    last = -_ENDING_S

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal last
        before, last = last, time.monotonic()
        if last - before > _ENDING_S:
            raise Ended(number)

    for number in _ENDING:
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, end)


class _Output(io.FileIO):
    """Standard output, which ends the program when it cannot be written, or standard error, which does not."""

    def __init__(self, handle: int) -> None:
        super().__init__(handle, "w", closefd=False)
        self._handle = handle

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Write, or give up for good: later writes go nowhere, so that the end of the process is quiet."""
        try:
            return super().write(data)
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._handle)
            os.close(nowhere)
            if self._handle == 2:
                return len(data)
            if error.errno == errno.EPIPE:
                raise SystemExit(EXIT_NO_READER) from None
            sys.stderr.write(f"bivit: cannot write standard output: {error.strerror}\n")
            raise SystemExit(EXIT_NOT_WRITTEN) from None


def _stream(stream: TextIO | None, handle: int) -> TextIO:
    """Return `stream` with other handling of errors; what was closed before the program began goes nowhere."""
    encoding = "utf-8"
    if stream is None:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), handle)
    else:
        encoding = stream.encoding
        stream.flush()
    raw = _Output(handle)
    terminal = raw.isatty()
    buffered = io.BufferedWriter(cast(io.RawIOBase, raw))
    return io.TextIOWrapper(buffered, encoding, errors=_HANDLER, line_buffering=terminal or handle == 2)


def _plain(error: UnicodeError) -> tuple[str, int]:
    """Stand in for characters that an encoding lacks: a look-alike, a letter without its accent, or a question mark."""
    assert isinstance(error, UnicodeEncodeError)
    text = ""
    for character in error.object[error.start : error.end]:
        bare = unicodedata.normalize("NFKD", character)[:1]
        text += _PLAIN.get(character, bare if bare.isascii() else "?")
    return text, error.end


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    """Leave a full disk to whoever waits for the thread, which says so with the path; print all else."""
    if not isinstance(failure.exc_value, OSError):
        sys.excepthook(failure.exc_type, failure.exc_value or failure.exc_type(), failure.exc_traceback)
