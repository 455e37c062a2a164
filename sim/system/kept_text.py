"""Texts that take long to make and depend on a key alone, kept in the user's cache folder between processes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import BivitError
from .caches import cache_folder
from .files import whole_file
from .locks import locked

#: Begins a kept text; the SHA-256 of what follows the line shows whether it is whole.
_HEAD = "bivit "


def content_key(*parts: Any) -> str:
    """Return a key for what depends on some values and nothing else: 32 hexadecimal digits of their SHA-256 as JSON.

    Parameters
    ----------
    *parts
        What JSON has; the order of keys in dictionaries is of no matter.
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def cached_text(kind: str, key: str, make: Callable[[], str], keep: int = 16) -> str:
    """Return the text kept under a key, or make and keep it: by one process, while others that want it wait.

    A text that was cut or changed is made anew. Where it cannot be kept it is made every time.

    Parameters
    ----------
    kind : str
        Name of the folder.
    key : str
        Letters and digits: a hash of everything that the text depends on.
    make : callable
        Makes the text.
    keep : int
        Texts of this kind to keep; those that were used longest ago are removed.
    """
    folder = cache_folder(kind)
    if folder is None:
        return make()
    path = folder / f"{key}.txt"
    with locked(folder / f"{key}.lock"):
        found = _read(path)
        if found is not None:
            with suppress(OSError):
                os.utime(path)
            return found
        text = make()
        with suppress(BivitError), whole_file(path) as partial:
            partial.write_text(f"{_HEAD}{_hash(text)}\n{text}", encoding="utf-8", newline="")
        _trim(folder, keep)
    return text


def _read(path: Path) -> str | None:
    """Return a kept text; None when there is none, or it is damaged."""
    try:
        head, _, text = path.read_bytes().decode().partition("\n")
    except (OSError, UnicodeDecodeError):
        return None
    return text if head == f"{_HEAD}{_hash(text)}" else None


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _trim(folder: Path, keep: int) -> None:
    """Remove all but the texts that were used last, and their locks."""
    with suppress(OSError):
        texts = sorted(folder.glob("*.txt"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in texts[keep:]:
            path.unlink(missing_ok=True)
            path.with_suffix(".lock").unlink(missing_ok=True)
