"""Files, one way: written whole or not at all, text from any editor, and JSON whose types and size are not trusted."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from .errors import BivitError, check

#: End of every temporary name. It begins with a dot and the name of what it will be.
_PARTIAL = ".partial"


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file whole or not at all: yields a temporary path beside it, which is renamed when the block ends well.

    What a killed process left beside the file is removed. The folder is made when it does not exist.

    Parameters
    ----------
    path : path
        Where the file will be; one that is there is replaced.

    Raises
    ------
    BivitError
        When it cannot be written, as on a full disk: the path, the reason, what to do.
    """
    target = Path(path)
    with _named(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=_PARTIAL, dir=target.parent)
        partial = Path(name)
        try:
            _own(handle)
            partial.chmod(0o666 & ~_umask())
            yield partial
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
            os.close(handle)


@contextmanager
def whole_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a folder whole or not at all: yields a temporary folder beside it, renamed when the block ends well.

    A folder that is there is moved aside first and removed last, so that at any moment the final name is the old
    folder, the new one, or (between two renames) nothing; a process killed there leaves the old one aside, and the next
    use puts it back.

    Parameters
    ----------
    path : path
        Where the folder will be; one that is there is replaced.

    Raises
    ------
    BivitError
        When it cannot be written: the path, the reason, what to do.
    """
    target = Path(path)
    with _named(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target)
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=_PARTIAL, dir=target.parent))
        handle = os.open(partial, os.O_RDONLY)
        try:
            _own(handle)
            partial.chmod(0o777 & ~_umask())
            yield partial
            aside = _aside(target)
            if target.exists():
                target.replace(aside)
            partial.replace(target)
            shutil.rmtree(aside, ignore_errors=True)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            os.close(handle)


def sweep(target: Path) -> None:
    """Remove temporary names of `target` that no living process owns; put back a folder that was moved aside."""
    aside = _aside(target)
    for partial in target.parent.glob(f".{_escaped(target.name)}.*{_PARTIAL}"):
        with suppress(OSError):
            handle = os.open(partial, os.O_RDONLY)
            try:
                _own(handle)
            except OSError:
                continue
            finally:
                os.close(handle)
            if partial == aside and not target.exists():
                partial.replace(target)
            elif partial.is_dir():
                shutil.rmtree(partial)
            else:
                partial.unlink()


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
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} stands twice")
    return values


@contextmanager
def _named(target: Path) -> Iterator[None]:
    """Turn an error of the operating system into a message with the path: a full disk gives none by itself."""
    try:
        yield
    except OSError as error:
        if error.filename is not None and not Path(str(error.filename)).is_relative_to(target.parent):
            raise
        reason = error.strerror or str(error)
        raise BivitError(
            f"cannot write {target}: {reason}; make room, or choose a folder that can be written"
        ) from error


def _own(handle: int) -> None:
    """Mark what a handle shows as in use by this process, until the handle is closed; OSError when another's is."""
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


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
