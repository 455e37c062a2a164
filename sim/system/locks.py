"""Locks between processes: one builds a simulation while others wait, one owns an output folder and others are refused.

They are locks of the kernel on files, so that a process that is killed holds none. On a file system that has none,
nothing is locked.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import BivitError

#: In a folder that a command writes, while it does.
OWNER = ".bivit.lock"
#: What a file system without locks answers.
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)
#: Handles of the lock files that this process holds, by path: what it owns it may own once more.
_held: dict[str, int] = {}


def take(handle: int, *, wait: bool) -> bool:
    """Lock what a handle shows until it is closed; False when another has it and this does not wait for it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file, which stays; wait for it as long as another has it.

    Parameters
    ----------
    path : Path
        Made with its folder when it does not exist.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        take(handle, wait=True)
        yield
    finally:
        os.close(handle)


@contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """Make a folder that does not exist, and those above it; what of these is empty in the end is removed."""
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        for empty in made:
            with suppress(OSError):
                empty.rmdir()


@contextmanager
def owned_folder(folder: Path) -> Iterator[None]:
    """Own an output folder: it is made when it does not exist, and nobody else may own it meanwhile.

    A process that owns it may own it once more. A folder that is made here and stays empty is removed.

    Parameters
    ----------
    folder : Path
        The folder.

    Raises
    ------
    BivitError
        When another process owns it: which, since when, and what to do.
    """
    with made_folder(folder), owned(folder / OWNER, folder):
        yield


@contextmanager
def owned(path: Path, what: Path) -> Iterator[None]:
    """Own `what`, for which a lock file stands that is removed in the end; as `owned_folder`.

    Parameters
    ----------
    path : Path
        The lock file.
    what : Path
        For the message.

    Raises
    ------
    BivitError
        When another process owns it.
    """
    name = os.path.realpath(path)
    if name in _held:
        yield
        return
    _held[name] = _acquire(path, what)
    try:
        yield
    finally:
        handle = _held.pop(name)
        path.unlink(missing_ok=True)
        os.close(handle)


def _acquire(path: Path, what: Path) -> int:
    """Lock the file that has the name now: one that its owner removes meanwhile is no lock any more."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not take(handle, wait=False):
                raise BivitError(
                    f"{what} is being written by another bivit{_owner(handle)}; wait until it ends, or choose another "
                    "folder"
                )
            with suppress(FileNotFoundError):
                if os.path.samestat(path.stat(), os.fstat(handle)):
                    _sign(handle)
                    return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _sign(handle: int) -> None:
    """Write who owns the lock; on a full disk the owner stays unknown."""
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    text = json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "since": since})
    with suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, text.encode(), 0)


def _owner(handle: int) -> str:
    """Who owns the lock, in brackets, as far as it has been written."""
    try:
        owner = json.loads(os.pread(handle, 1000, 0))
        return f" (process {owner['pid']} on {owner['host']}, since {owner['since']})"
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return ""


def _forget() -> None:
    """In a forked process: its parent's locks are not its own, and must not outlive the parent."""
    for handle in _held.values():
        os.close(handle)
    _held.clear()


os.register_at_fork(after_in_child=_forget)
