"""Child processes: what they run in, so that nothing of the working folder or of the user's home stops them."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from .caches import private_folder, user_cache, user_home, writable

#: Programs that `run_program` runs at this moment.
_running: set[subprocess.Popen[str]] = set()
#: Where a user's name is looked for before the list of users.
_NAMES = ("LOGNAME", "USER", "LNAME", "USERNAME")


def child_environment() -> dict[str, str]:
    """Return the environment of child processes, and of the program itself for the libraries in it.

    No child imports modules from the working folder, where a file may be named like one. Home, cache folder and name of
    the user are set where there are none or they cannot be used; what works stays as it is.
    """
    environment = os.environ | {"PYTHONSAFEPATH": "1"}
    if not _has_name():
        environment["USER"] = f"user{os.getuid()}"
    caches = user_cache()
    homeless = not os.access(user_home() or "", os.R_OK | os.X_OK)
    cacheless = caches is None or not writable(caches)
    own = private_folder() if homeless or cacheless else None
    if own is not None and homeless:
        environment["HOME"] = str(own)
    if own is not None and cacheless:
        environment["XDG_CACHE_HOME"] = str(own)
        # matplotlib and triton do not ask for the cache folder.
        environment.setdefault("MPLCONFIGDIR", str(own / "matplotlib"))
        environment.setdefault("TRITON_CACHE_DIR", str(own / "triton"))
    return environment


@contextmanager
def environment_of_children() -> Iterator[None]:
    """Run a block in `child_environment`, for a library that starts processes itself."""
    before = dict(os.environ)
    os.environ.update(child_environment())
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def run_program(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    timeout_s: float | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, in `child_environment`, and return what it wrote, as text.

    Parameters
    ----------
    command : sequence of str
        The program and its arguments.
    cwd : Path, optional
        Folder to run in.
    timeout_s : float, optional
        End it after so many seconds: `subprocess.TimeoutExpired`.
    environment : mapping, optional
        Variables on top.
    """
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=child_environment() | dict(environment or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    ) as process:
        _running.add(process)
        try:
            written, complained = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            process.kill()
            written, complained = process.communicate()
            raise subprocess.TimeoutExpired(error.cmd, error.timeout, written, complained) from error
        except BaseException:
            process.kill()
            raise
        finally:
            _running.discard(process)
    return subprocess.CompletedProcess(process.args, process.returncode, written, complained)


def stop_programs() -> None:
    """End all programs that `run_program` runs in other threads: each of these is told that its own was killed."""
    for process in tuple(_running):
        process.kill()


def _has_name() -> bool:
    if any(os.environ.get(name) for name in _NAMES):
        return True
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        return False
    return True
