"""A hash over Python sources: what was derived from them is kept under it, and equal ones compute alike."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

#: The folder of the package `bivit`.
PACKAGE = Path(__file__).resolve().parents[2]


def sources_hash(paths: Iterable[Path], package: Path = PACKAGE) -> str:
    """SHA-256 over names and content of sources, hexadecimal.

    Parameters
    ----------
    paths : iterable of pathlib.Path
        Files, and folders of which all modules count, at any depth; the order is of no matter.
    package : pathlib.Path, optional
        Folder that they are in; names count relative to it.
    """
    files = {file for path in paths for file in ([path] if path.is_file() else path.rglob("*.py"))}
    digest = hashlib.sha256()
    for name, file in sorted((file.relative_to(package).as_posix(), file) for file in files):
        digest.update(f"{name}\n".encode() + file.read_bytes())
    return digest.hexdigest()
