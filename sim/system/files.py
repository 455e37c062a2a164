"""Files, one way: written whole or not at all, text from any editor, and JSON and TOML that are not trusted."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from ..errors import BivitError, check
from .locks import made_folder, owned, take
from .typed import shown

#: End of every temporary name. It begins with a dot and the name of what it will be.
_PARTIAL = ".partial"
#: Errors of a write that name no file: no space, a quota or a limit reached, a device that fails or is read-only.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file whole or not at all: yields a temporary path beside it, which is renamed when the block ends well.

    What a killed process left beside the file is removed. The folder is made when it does not exist. A link is
    followed; what is no file, as `/dev/stdout`, is itself yielded.

    Parameters
    ----------
    path : path
        Where the file will be; one that is there is replaced.

    Raises
    ------
    BivitError
        When it cannot be written, as on a full disk: the path, the reason, what to do.
    """
    target = _followed(path)
    with named_errors(target):
        if target.exists() and not target.is_file():
            check(not target.is_dir(), f"cannot write {target}: it is a folder; give the name of a file")
            yield target
            return
        with made_folder(target.parent):
            sweep(target)
            with _partial(target, folder=False) as partial:
                partial.chmod(0o666 & ~_umask())
                yield partial
                partial.replace(target)


@contextmanager
def whole_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a folder whole or not at all: yields a temporary folder beside it, renamed when the block ends well.

    A folder that is there is moved aside first and removed last, so that at any moment the final name is the old
    folder, the new one, or (between two renames) nothing; a process killed there leaves the old one aside, and the next
    use puts it back. One process writes the folder at a time.

    Parameters
    ----------
    path : path
        Where the folder will be; one that is there is replaced.

    Raises
    ------
    BivitError
        When it cannot be written: the path, the reason, what to do; when another process writes it.
    """
    target = _followed(path)
    with named_errors(target), made_folder(target.parent), owned(target.with_name(f".{target.name}.lock"), target):
        sweep(target)
        with _partial(target, folder=True) as partial:
            partial.chmod(0o777 & ~_umask())
            yield partial
            aside = _aside(target)
            if target.exists():
                target.replace(aside)
            partial.replace(target)
            shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def scratch_folder(name: str) -> Iterator[Path]:
    """Yield a folder of this process for temporary files, removed in the end; and what killed processes left of these.

    Parameters
    ----------
    name : str
        What it is for, as ``bivit-cosim``: one name for all processes.

    Raises
    ------
    BivitError
        When there is no folder for temporary files, or it is full.
    """
    try:
        target = Path(tempfile.gettempdir()).absolute() / name
    except OSError as error:
        raise BivitError(
            f"there is no folder for temporary files that can be written: {error.strerror}; name one in TMPDIR"
        ) from error
    sweep(target)
    with named_errors(target), _partial(target, folder=True) as partial:
        yield partial


def sweep(target: Path) -> None:
    """Remove temporary names of `target` that no living process owns; put back a folder that was moved aside.

    With the name ``*``, those of all targets in a folder.
    """
    aside = _aside(target)
    pattern = target.name if target.name == "*" else _escaped(target.name)
    for partial in target.parent.glob(f".{pattern}.*{_PARTIAL}"):
        with suppress(OSError):
            handle = os.open(partial, os.O_RDONLY)
            try:
                if not take(handle, wait=False):
                    continue
                if partial == aside and not target.exists():
                    partial.replace(target)
                elif partial.is_dir():
                    shutil.rmtree(partial)
                else:
                    partial.unlink()
            finally:
                os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all.

    Raises
    ------
    BivitError
        As `whole_file`.
    """
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, values: Any) -> None:
    """Write `values` as indented JSON, whole or not at all; NaN and infinity are no JSON.

    Raises
    ------
    BivitError
        As `whole_file`.
    """
    write_text(path, json.dumps(values, indent=2, allow_nan=False) + "\n")


def read_text(path: str | os.PathLike[str], what: str) -> str:
    """Read a text file that a person or another program wrote: UTF-8, with or without a byte order mark.

    Parameters
    ----------
    path : path
        The file.
    what : str
        What it is, for the message: ``"the list"``.

    Raises
    ------
    BivitError
        When it is missing, cannot be read, or is not UTF-8: the line number, and what to do.
    """
    source = Path(path)
    check(source.exists(), f"there is no file {source} ({what})")
    check(source.is_file(), f"{source} ({what}) is no file")
    try:
        data = source.read_bytes()
    except OSError as error:
        raise BivitError(f"cannot read {source} ({what}): {error.strerror}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BivitError(
            f"{source} ({what}) is not UTF-8 text: line {line} holds the byte 0x{data[error.start]:02x}; "
            "save it as UTF-8 (in a spreadsheet: 'CSV UTF-8'; in an editor: encoding UTF-8)"
        ) from error


def parse_json(text: str, what: str) -> Any:
    """Return the value of JSON text that is not trusted.

    Parameters
    ----------
    text : str
        The text.
    what : str
        Where it is from, for the message.

    Raises
    ------
    BivitError
        When it is no JSON (NaN and infinity are not), names a key twice in an object, or is nested too deeply.
    """
    try:
        return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_unique)
    except RecursionError as error:
        raise BivitError(f"{what} is not used: its JSON is nested too deeply") from error
    except ValueError as error:
        raise BivitError(f"{what} is not JSON: {error}") from error


def parse_toml(text: str, what: str) -> dict[str, Any]:
    """Return the tables of TOML text that is not trusted; arguments as `parse_json`.

    Raises
    ------
    BivitError
        When it is no TOML, or is nested too deeply.
    """
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise BivitError(f"{what} is not used: its TOML is nested too deeply") from error
    except ValueError as error:  # TOMLDecodeError is one, and so is an integer of too many digits
        raise BivitError(f"{what} is not TOML: {error}") from error


def read_json(path: str | os.PathLike[str], what: str) -> Any:
    """Return the value of a JSON file that is not trusted; arguments as `read_text`.

    Raises
    ------
    BivitError
        As `read_text` and `parse_json`.
    """
    return parse_json(read_text(path, what), f"{path} ({what})")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {shown(next(name for name in names if names.count(name) > 1))} stands twice")
    return values


@contextmanager
def named_errors(target: Path) -> Iterator[None]:
    """Turn an error of the operating system into a message with the path: a full disk gives none by itself.

    Parameters
    ----------
    target : Path
        What is being written.

    Raises
    ------
    BivitError
        Instead of an `OSError` that names no file, or one in the folder of `target`.
    """
    try:
        yield
    except OSError as error:
        concerned = error.errno in _FULL if error.filename is None else _concerns(str(error.filename), target)
        if not concerned:
            raise
        reason = error.strerror or str(error)
        if isinstance(error, FileExistsError | NotADirectoryError):
            reason = f"{error.filename} is no folder"
        raise BivitError(
            f"cannot write {target}: {reason}; make room, or choose a folder that can be written"
        ) from error


@contextmanager
def _partial(target: Path, *, folder: bool) -> Iterator[Path]:
    """Yield an empty temporary file or folder beside `target`, marked as in use; it is removed if it still is there."""
    partial, handle = _made(target, folder=folder)
    try:
        yield partial
    finally:
        if folder:
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)
        os.close(handle)


def _made(target: Path, *, folder: bool) -> tuple[Path, int]:
    """Make a temporary name and lock it; make another when a sweep came in between."""
    while True:
        partial = target.with_name(f".{target.name}.{secrets.token_hex(6)}{_PARTIAL}")
        if folder:
            partial.mkdir(mode=0o700)
        else:
            partial.touch(mode=0o600, exist_ok=False)
        with suppress(FileNotFoundError):
            handle = os.open(partial, os.O_RDONLY)
            take(handle, wait=True)
            if partial.exists():
                return partial, handle
            os.close(handle)


def _followed(path: str | os.PathLike[str]) -> Path:
    """`path`, or what it links to; the folder in which a process works cannot be replaced."""
    target = Path(path)
    check(target.name not in ("", ".."), f"cannot write {target} as a whole; give the name of a file or folder in it")
    return Path(os.path.realpath(target)) if target.is_symlink() else target


def _concerns(name: str, target: Path) -> bool:
    """Whether a path is `target`, its temporary name, in one of these, or a folder that holds it."""
    path, whole = os.path.abspath(name), os.path.abspath(target)  # noqa: PTH100  (resolve would follow links)
    beside = os.path.join(os.path.dirname(whole), f".{target.name}.")  # noqa: PTH118, PTH120
    return path.startswith((whole, beside)) or whole.startswith(os.path.join(path, ""))  # noqa: PTH118


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.old{_PARTIAL}")


def _escaped(name: str) -> str:
    """`name` as a pattern that matches itself only."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)


def _umask() -> int:
    """Permissions that new files of this process lack; reading it means setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def file_hash(path: str | Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits.

    Parameters
    ----------
    path : str or Path
    """
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
