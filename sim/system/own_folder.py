"""Folders that a command made and replaces: only while they hold what it wrote, by the hashes that it left there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import check, some
from .files import file_hash, read_json


def file_rows(folder: Path) -> list[dict[str, Any]]:
    """Return `path`, `bytes` and `sha256` of every file in a folder, by their paths."""
    return [
        {"path": name, "bytes": (folder / name).stat().st_size, "sha256": file_hash(folder / name)}
        for name in _names(folder)
    ]


def check_replaceable(out: Path, listing: str, maker: str, overwrite: bool, besides: Sequence[str] = ()) -> None:
    """Refuse to replace what would be lost: a folder of somebody else, files that were added or changed.

    Parameters
    ----------
    out : Path
        Folder that is to be replaced; one that does not exist or is empty may be.
    listing : str
        Name of the JSON file in it whose `files` are those that were written, as `file_rows` gives them.
    maker : str
        What writes such folders, for the message.
    overwrite : bool
        Replace a folder of `maker` although files were added or changed.
    besides : sequence of str
        Beginnings of paths that may be lost, as outputs of a build.

    Raises
    ------
    BivitError
        Naming the first files that would be lost.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    kept = out / listing
    check(kept.is_file(), f"{out} exists and is no folder of {maker}, which holds {listing}; choose another folder")
    if overwrite:
        return
    instead = "choose another folder, or give --overwrite to replace it"
    values = read_json(kept, f"the files of {maker}; when it is damaged, {instead}")
    rows = values.get("files") if isinstance(values, dict) else None
    whole = isinstance(rows, list) and all(isinstance(row, dict) and {"path", "sha256"} <= set(row) for row in rows)
    check(whole, f"{kept} does not list the files that {maker} wrote; {instead}")
    assert isinstance(rows, list)
    written = {row["path"]: row["sha256"] for row in rows if isinstance(row["path"], str)} | {listing: None}
    added = [f"{name} (added)" for name in _names(out) if name not in written and not name.startswith(tuple(besides))]
    changed = [f"{name} (changed)" for name, hashed in written.items() if hashed and _differs(out / name, hashed)]
    check(
        not added and not changed,
        f"{out} holds files that {maker} did not write so: {some(added + changed, most=3)}; move them away, {instead} "
        "and lose them",
    )


def _differs(path: Path, hashed: object) -> bool:
    return path.is_file() and file_hash(path) != hashed


def _names(folder: Path) -> list[str]:
    """Paths of all files of a folder, and of what else is no folder."""
    found = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    return sorted(path.relative_to(folder).as_posix() for path in found)
