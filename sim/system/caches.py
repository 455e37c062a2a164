"""Folders for what is kept between processes: compiled kernels, built simulations, indices of shards.

Where the user's cache folder cannot be written (no home, a home that belongs to somebody else, no entry in the list of
users), a private one among the temporary files takes its place.
"""

from __future__ import annotations

import os
import stat
import string
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

#: Marks that make, the shell and Verilator's makefiles take as they are.
PLAIN_MARKS = "/._-+@,"
_PLAIN = frozenset(string.ascii_letters + string.digits + PLAIN_MARKS)


def cache_folder(name: str, *, plain: bool = False) -> Path | None:
    """Return a folder for what is kept between processes, made if need be; None when there is nowhere to write.

    Parameters
    ----------
    name : str
        What is kept: ``"kernels"``.
    plain : bool
        Only a path that make can build in: letters, digits, no blank, no ``#``.
    """
    for parent in _parents():
        folder = parent / name
        if (not plain or is_plain(folder)) and writable(folder):
            return folder
    return None


def is_plain(path: Path) -> bool:
    """Whether make can build in a folder of this name: one of letters, digits and `PLAIN_MARKS`."""
    return _PLAIN.issuperset(str(path))


def private_folder(temporary: str | None = None) -> Path | None:
    """Folder of this user among the temporary files, as nobody else may write it; None when it cannot be had.

    Parameters
    ----------
    temporary : str, optional
        Folder of temporary files, where it is not that of `tempfile`.
    """
    with suppress(OSError):
        folder = Path(temporary or tempfile.gettempdir()).absolute() / f"bivit-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not others:
            return folder
    return None


def user_home() -> Path | None:
    """Home of the user; None when there is none, or the variable and the list of users name what is no folder."""
    home = Path(os.environ["HOME"] if "HOME" in os.environ else os.path.expanduser("~"))  # noqa: PTH111
    return home if home.is_absolute() and home.is_dir() else None


def user_cache() -> Path | None:
    """Cache folder of the user, `$XDG_CACHE_HOME` or by default one in the home; None without either."""
    import platformdirs

    if user_home() is None and not os.environ.get("XDG_CACHE_HOME"):
        return None
    try:
        folder = platformdirs.user_cache_path()
    except RuntimeError:  # a relative XDG_CACHE_HOME is none, and there is no home
        return None
    return folder if folder.is_absolute() else None


def writable(folder: Path) -> bool:
    """Whether a folder is there, or can be made, and can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _parents() -> Iterator[Path]:
    caches = user_cache()
    if caches is not None:
        yield caches / "bivit"
    for temporary in (None, "/tmp", "/var/tmp"):  # the last two for a TMPDIR that make cannot build in
        own = private_folder(temporary)
        if own is not None:
            yield own / "bivit"
