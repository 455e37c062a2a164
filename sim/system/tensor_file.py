"""Tensor files: what a file is, told by its content and not by its name, and safetensors files with a bivit header."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open

from ..errors import BivitError, check
from .files import parse_json
from .typed import shown

#: Names of files of tensors, for advice; what a file is, its content tells.
_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")
Kind = Literal["safetensors", "zip", "pickle"]

#: Longest header of a safetensors file, as its library allows.
_LONGEST_HEADER = 100_000_000
#: Bytes at the begin of a file that tell what it is.
_BEGIN = 512

#: What torch.save writes: a zip archive, or pickles one after another.
_TORCH: dict[bytes, Kind] = {b"PK\x03\x04": "zip", b"PK\x05\x06": "zip", b"\x80": "pickle"}
#: Begin of other files that are taken for checkpoints, what they are, and what to do.
_OTHERS = {
    b"version https://git-lfs": ("a pointer of Git LFS in place of the file", "fetch the file with `git lfs pull`"),
    b"<": ("a web page (HTML or XML)", "the download failed: fetch it again, from the address of the file itself"),
    b"\x1f\x8b": ("a gzip archive", "unpack it first"),
    b"\xfd7zXZ": ("an xz archive", "unpack it first"),
    b"BZh": ("a bzip2 archive", "unpack it first"),
    b"7z\xbc\xaf": ("a 7z archive", "unpack it first"),
    b"\x89HDF": ("an HDF5 file, as Keras writes", "save the model's tensors as .safetensors"),
    b"\x93NUMPY": ("an array of NumPy", "save the model's tensors as .safetensors"),
    b"GGUF": ("a GGUF file, which holds quantised weights", "take the float weights, as .safetensors"),
    b"%PDF": ("a PDF", "give the file of the weights"),
    b"{": ("JSON text", "give the file of the weights beside it, such as model.safetensors"),
    b"[": ("JSON text", "give the file of the weights beside it, such as model.safetensors"),
}

#: What bivit's own files are, by their format.
MAKERS = {
    "bivit-network": "an integer network, which `bivit export` writes",
    "bivit-checkpoint": "a checkpoint, which `bivit train` and `bivit import` write",
}

#: Types of tensors, as safetensors names them, that NumPy has.
_NUMPY = frozenset({"BOOL", "I8", "U8", "I16", "U16", "I32", "U32", "I64", "U64", "F16", "F32", "F64"})


def content_of(source: Path) -> Kind:
    """Tell a file of tensors by its content.

    Parameters
    ----------
    source : path

    Returns
    -------
    str
        `zip` and `pickle` are what torch.save writes, today and before 1.6.

    Raises
    ------
    BivitError
        When it is no file, empty, cannot be read, or is something else; the message says what, where that is known.
    """
    check(source.exists(), f"there is no file {source}; give a .safetensors, .pth, .pt, .ckpt or .bin file")
    check(not source.is_dir(), f"{source} is a folder; give the file of the weights in it{_files_in(source)}")
    check(source.is_file(), f"{source} is no regular file; give a .safetensors, .pth, .pt, .ckpt or .bin file")
    begin = _begin(source)
    check(bool(begin), f"{source} is empty; fetch it again")
    kind = _kind(begin)
    if kind is not None:
        return kind
    _refuse_known(source, begin, "a checkpoint")
    readable = all(byte >= 0x20 or byte in b"\t\n\r\f" for byte in begin)
    raise BivitError(
        f"{source} is no checkpoint: it is {'text' if readable else 'neither safetensors nor what torch.save writes'}, "
        f"and begins with {shown(begin[:16].decode('latin-1'))}; fetch it again"
    )


@dataclass(frozen=True)
class Format:
    """A kind of safetensors file with a JSON header under the metadata key `bivit`."""

    #: Its header's `format`, and `version`.
    name: str
    version: int
    #: For messages: what the file is, and what to do when it is damaged.
    noun: str
    again: str
    #: Names that the header must hold, and those of them that hold objects.
    keys: tuple[str, ...]
    objects: tuple[str, ...]

    def read(self, source: Path, framework: Literal["pt", "numpy"]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Read header and tensors.

        Parameters
        ----------
        source : path
        framework : str
            Whose tensors to return.

        Returns
        -------
        header : dict
            Of this format and version, with all `keys`; their values are not trusted.
        tensors : dict of str to tensor

        Raises
        ------
        BivitError
            When the file is damaged or of another format, or has tensors of types that `framework` lacks.
        """
        check(source.is_file(), f"there is no {self.noun} {source}")
        _refuse_known(source, _begin(source), f"a {self.noun}")
        try:
            with safe_open(source, framework=framework) as file:
                header = self._header(source, (file.metadata() or {}).get("bivit"))
                for name in file.keys() if framework == "numpy" else ():
                    dtype = file.get_slice(name).get_dtype()
                    check(dtype in _NUMPY, f"{name} in {source} is of type {dtype}, which no {self.noun} holds")
                return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, ValueError) as error:
            if isinstance(error, BivitError):
                raise
            raise BivitError(f"{source} is truncated or not a safetensors file: {error}; {self.again}") from error
        except OSError as error:
            raise BivitError(f"cannot read the {self.noun} {source}: {error}") from error

    def _header(self, source: Path, text: str | None) -> dict[str, Any]:
        check(
            text is not None,
            f"{source} is not a bivit {self.noun}: its metadata lacks the key 'bivit'; a checkpoint of another "
            f"library becomes one of bivit by `bivit import {source} --out teacher.safetensors`",
        )
        header = _parsed(source, text or "", self.again)
        check(isinstance(header, dict), f"{source} is damaged: its header is not a JSON object; {self.again}")
        got = header.get("format")
        check(
            got == self.name,
            f"{source} is not a bivit {self.noun}: its format is {shown(got)}, allowed is {self.name!r}{_maker(got)}",
        )
        got = header.get("version")
        check(
            type(got) is int and got == self.version,
            f"{source} is of version {shown(got)}, this bivit reads version {self.version}; {self.again}",
        )
        self.check_keys(source, header, self.keys, self.objects)
        return header

    def check_keys(
        self, source: Path, header: Mapping[str, Any], keys: tuple[str, ...], objects: tuple[str, ...]
    ) -> None:
        """Refuse a header that lacks one of `keys`, or holds something else than an object under one of `objects`."""
        missing = [key for key in keys if key not in header]
        check(not missing, f"the header of {source} lacks {', '.join(missing)}; {self.again}")
        for key in objects:
            got = header[key]
            check(isinstance(got, dict), f"{key} in the header of {source} must be an object, got {shown(got)}")


def read_header(source: Path) -> dict[str, Any] | None:
    """Return the header of any file that bivit wrote, network or checkpoint; None when the file has none.

    Parameters
    ----------
    source : path

    Raises
    ------
    BivitError
        When there is no such file, it is damaged or no safetensors file, or what its header holds is no JSON.
    """
    check(source.is_file(), f"there is no file {source}; give an integer network or a checkpoint")
    _refuse_known(source, _begin(source), "an integer network or a checkpoint")
    try:
        with safe_open(source, framework="numpy") as file:
            text = (file.metadata() or {}).get("bivit")
    except (SafetensorError, OSError, ValueError) as error:
        raise BivitError(f"{source} cannot be read as an integer network or a checkpoint: {error}") from error
    header = None if text is None else _parsed(source, text, "write it again")
    return header if isinstance(header, dict) else None


def _parsed(source: Path, text: str, again: str) -> Any:
    try:
        return parse_json(text, "it")
    except BivitError as error:
        raise BivitError(f"{source} is damaged: its header is not JSON that can be used: {error}; {again}") from error


def _begin(source: Path) -> bytes:
    try:
        with source.open("rb") as file:
            return file.read(_BEGIN)
    except OSError as error:
        raise BivitError(f"cannot read {source}: {error.strerror}") from error


def _kind(begin: bytes) -> Kind | None:
    if begin[8:9] == b"{" and 2 <= int.from_bytes(begin[:8], "little") <= _LONGEST_HEADER:
        return "safetensors"
    return next((kind for magic, kind in _TORCH.items() if begin.startswith(magic)), None)


def _refuse_known(source: Path, begin: bytes, wanted: str) -> None:
    """Name what a file is that is not safetensors, where its first bytes tell."""
    kind = _kind(begin)
    written = "a zip archive, as torch.save writes" if kind == "zip" else "a pickle, as torch.save wrote before 1.6"
    check(
        kind in (None, "safetensors"),
        f"{source} cannot be read as {wanted} of bivit: it is {written}; a "
        f"checkpoint of another library becomes one by `bivit import {source} --out teacher.safetensors`",
    )
    if kind is None:
        text = begin.removeprefix(b"\xef\xbb\xbf").lstrip()
        for magic, (what, remedy) in _OTHERS.items():
            check(not text.startswith(magic), f"{source} is no checkpoint: it is {what}; {remedy}")


def _maker(name: object) -> str:
    return f"; it is {MAKERS[name]}" if isinstance(name, str) and name in MAKERS else ""


def _files_in(folder: Path) -> str:
    try:
        names = sorted(path.name for path in folder.iterdir() if path.suffix in _SUFFIXES)
    except OSError:
        return ""
    return f", as {folder / names[0]}" if names else ""
