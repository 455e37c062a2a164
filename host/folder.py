"""The folder of a network for a board: what `bivit generate` or `bivit build` wrote."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..sim.errors import BivitError, check
from ..sim.system.files import read_json


@dataclass(frozen=True)
class Folder:
    """A network for an engine.

    Parameters
    ----------
    path : Path
    fingerprint : int
        Of the engine, 64 bits.
    network : int
        First 32 bits of the network's SHA-256.
    image : tuple of int
        Height, width and channels.
    classes : int
    stream : Path
        The load stream; its hash was looked at.
    """

    path: Path
    fingerprint: int
    network: int
    image: tuple[int, int, int]
    classes: int
    stream: Path


def read_folder(path: str | os.PathLike[str]) -> Folder:
    """Return what a board's host needs of a folder.

    Parameters
    ----------
    path : path
        With a `manifest.json` and the load stream beside it, or in its folder `engine`.

    Raises
    ------
    BivitError
        When it is no such folder, has no network, or a file is not the one that was written.
    """
    folder = Path(path)
    folder = folder / "engine" if (folder / "engine" / "manifest.json").is_file() else folder
    check(
        (folder / "manifest.json").is_file(),
        f"{folder} has no manifest.json; give a folder of `bivit build` or of `bivit generate --net`",
    )
    found = read_json(folder / "manifest.json", "the manifest")
    try:
        network, image = found.get("network"), found["network"]["image"] if found.get("network") else None
        check(network is not None, f"{folder} has no network; write it with `bivit generate --net NET`")
        stream = next(file for file in found["files"] if file["path"] == "network.bin")
        result = Folder(
            path=folder,
            fingerprint=int(str(found["fingerprint"]), 16),
            network=int(network["sha256"][:8], 16),
            image=(_number(image, "height"), _number(image, "width"), _number(image, "channels")),
            classes=_number(image, "classes"),
            stream=folder / "network.bin",
        )
    except (AttributeError, KeyError, TypeError, ValueError, StopIteration) as error:
        if isinstance(error, BivitError):
            raise
        raise BivitError(f"{folder / 'manifest.json'} is no manifest of an engine; write the folder again") from error
    check(result.stream.is_file(), f"there is no {result.stream}; write the folder again")
    check(
        hashlib.sha256(result.stream.read_bytes()).hexdigest() == stream["sha256"],
        f"{result.stream} is not the file that was written with its manifest; write the folder again",
    )
    return result


def _number(values: Any, name: str) -> int:
    value = values[name]
    if not isinstance(value, int) or value < 1:
        raise TypeError(name)
    return value
