"""The members of a tar file from front to end, also of several archives one after the other; its end is checked."""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from ...sim.errors import BivitError, check

#: Tar files are made of blocks of this many bytes; the first one without a member is all zero.
_BLOCK = 512
_PART = 1 << 20
_GZIP = b"\x1f\x8b"


def open_tar(path: Path) -> BinaryIO:
    """Open a tar file for reading from front to end; what gzip packed, by its first bytes, is unpacked meanwhile."""
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP
    return cast(BinaryIO, gzip.open(path)) if packed else path.open("rb")


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turn what the readers of a damaged tar file raise into a `BivitError` that names it."""
    try:
        yield
    except BivitError:
        raise
    except Exception as error:  # Damaged headers and streams make their readers raise anything.
        raise BivitError(f"{path} is no whole tar file ({error}); fetch or write it again") from error


def members(path: Path, file: BinaryIO) -> Iterator[tarfile.TarInfo]:
    """Yield the members of an open tar file, and those of archives that were appended to it.

    Raises
    ------
    BivitError
        When it is cut short or damaged, also after the end of an archive: the byte.
    tarfile.TarError, EOFError, zlib.error, OSError
        Likewise, from below; see `damage_named`.
    """
    start: int | None = 0
    while start is not None:
        file.seek(start)
        with tarfile.open(fileobj=file, mode="r:") as tar:
            before = -1
            for member in tar:
                # Sizes may be negative, which would lead back.
                check(
                    member.offset_data > before and member.size >= 0 and not member.issparse(),
                    f"{member.name} in {path} is damaged, or stored with holes; write the shard again, without -S",
                )
                before = member.offset_data
                yield member
            start = _next_archive(path, file, tar.offset)


def _next_archive(path: Path, file: BinaryIO, end: int) -> int | None:
    """Where another archive begins after the zero blocks that end one; None when the file ends there.

    What gzip packed is only known to be whole once its check sum at the end has been read, as it is here.
    """
    file.seek(end)
    check(file.read(_BLOCK) == bytes(_BLOCK), f"{path} is cut short or damaged at byte {end}; fetch it again")
    place = end + _BLOCK
    while part := file.read(_PART):
        rest = part.lstrip(b"\0")
        if rest:
            place += len(part) - len(rest)
            return place - place % _BLOCK
        place += len(part)
    return None
