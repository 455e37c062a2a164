"""How kernels are compiled: on first use by numba, without the interpreter lock, kept for the user's next process.

numba keeps compiled code by the file of a function and does not see edits of what it takes from other files: functions
that it calls and constants, whose values it compiles in. So the folder of compiled code is named after the content of
all that kernels may take from: the rooms that have kernels, and `sim.bits`; a test holds them to it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numba

from .caches import cache_folder, writable
from .sources import PACKAGE, sources_hash

_config: Any = numba.config

#: All that a kernel may call or take a constant from, relative to the package: a folder with its modules, and a file.
KERNEL_SOURCES = ("sim/reference", "sim/flow", "sim/timing", "sim/mapping/greedy.py", "sim/bits.py")


def kernels_hash(package: Path = PACKAGE) -> str:
    """Hash over `KERNEL_SOURCES` of the bivit in a folder, 16 hexadecimal digits."""
    return sources_hash([package / path for path in KERNEL_SOURCES], package)[:16]


def _cache_folder() -> Path | None:
    """Folder of compiled code; None where nothing can be written, which costs a compilation in each process."""
    named = os.environ.get("NUMBA_CACHE_DIR")
    parent = Path(named).absolute() if named else cache_folder("kernels")
    if parent is None:
        return None
    folder = parent / kernels_hash()
    return folder if writable(folder) else None


#: Where compiled code is kept; a folder that `NUMBA_CACHE_DIR` names holds it if there is one.
CACHE = _cache_folder()


def kernel(*, counted: bool = True, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a function that numba compiles.

    With `NUMBA_DISABLE_JIT=1` the function runs as it is.

    Parameters
    ----------
    counted : bool
        Whether references to arrays are counted, an atomic operation for each array at each call. A function that makes
        no array and keeps none can do without, which is many times faster where it is short; numba refuses others.
    **options
        Of `numba.njit`.
    """
    if not counted:
        options["_nrt"] = False  # numba's runtime, which allocates and counts

    def compile_later(function: Callable[..., Any]) -> Any:
        # numba reads the folder when it decorates. It is set for that moment only: others' functions keep theirs.
        before, _config.CACHE_DIR = _config.CACHE_DIR, str(CACHE or "")
        try:
            compiled = numba.njit(cache=CACHE is not None, nogil=True, **options)(function)
        finally:
            _config.CACHE_DIR = before
        _keep_if_possible(compiled)
        return compiled

    return compile_later


def _keep_if_possible(compiled: Any) -> None:
    """A cache that turns out to be full costs a compilation in each process, and no result."""
    cache = getattr(compiled, "_cache", None)
    if cache is None:
        return
    save = cache.save_overload

    def save_or_not(*overload: Any) -> None:
        with suppress(OSError):
            save(*overload)

    cache.save_overload = save_or_not
