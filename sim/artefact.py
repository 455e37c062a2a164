"""The network file: one safetensors file with a versioned JSON header and a hash (docs/network.md)."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from .config import Formats, ModelConfig, config_from_dict
from .errors import BivitError, check
from .files import whole_file
from .network import IntNetwork
from .tensors import check_names, tensor_specs
from .typed import build

FORMAT = "bivit-network"
VERSION = 1
_KEYS = ("format", "version", "config", "formats", "provenance", "agreement", "sha256")


def save_network(network: IntNetwork, path: str | os.PathLike[str]) -> None:
    """Write a network; the file appears whole or not at all.

    Parameters
    ----------
    network : IntNetwork
        Checked again before it is written.
    path : path
        Its folder is made when it does not exist.

    Raises
    ------
    BivitError
        When a tensor is out of range, the provenance is not JSON or the file cannot be written.
    """
    network.validate()
    header = {
        "format": FORMAT,
        "version": VERSION,
        "config": network.config.to_dict(),
        "formats": asdict(network.formats),
        "provenance": network.provenance,
        "agreement": network.agreement,
        "sha256": network_hash(network),
    }
    try:
        metadata = {"bivit": json.dumps(header, allow_nan=False)}
    except (TypeError, ValueError) as error:
        raise BivitError(f"provenance and agreement must hold JSON values only: {error}") from error
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in network.tensors.items()}
    # Not by save_file, whose files only their owner may read, whatever the umask.
    with whole_file(path) as partial:
        partial.write_bytes(save(tensors, metadata))


def load_network(path: str | os.PathLike[str]) -> IntNetwork:
    """Read a network and check all of it.

    Parameters
    ----------
    path : path
        A file of `save_network`.

    Returns
    -------
    IntNetwork

    Raises
    ------
    BivitError
        When the file is missing, no network, of another version, damaged, or holds other tensors than its config asks.
    """
    source = Path(path)
    check(source.is_file(), f"there is no network file {source}; `bivit export` writes one")
    header, tensors = _read(source)
    config = config_from_dict(header["config"], f"config in {source}")
    formats = build(Formats, header["formats"], f"formats in {source}")
    check_names(tensors, tensor_specs(config, formats))
    found = _hash(header["config"], header["formats"], tensors)
    check(
        found == header["sha256"],
        f"the network file {source} is damaged: its hash is {found}, the header says {header['sha256']}; "
        "export it again",
    )
    return IntNetwork(config, formats, tensors, header["provenance"], header["agreement"])


def read_shape(path: str | os.PathLike[str]) -> tuple[ModelConfig, Formats]:
    """Read config and formats of any file with a bivit header, network or checkpoint, without its tensors.

    Parameters
    ----------
    path : path

    Returns
    -------
    config : ModelConfig
    formats : Formats
        The default ones where the file has none, as a checkpoint of the real-valued twin.

    Raises
    ------
    BivitError
        When the file is missing, damaged, has no such header, or its config or formats do not fit.
    """
    source = Path(path)
    check(source.is_file(), f"there is no file {source}; give an integer network or a checkpoint")
    try:
        with safe_open(source, framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get("bivit", "null"))
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise BivitError(f"{source} cannot be read as an integer network or a checkpoint: {error}") from error
    for key in ("config", "formats"):
        found = header.get(key, {} if key == "formats" else None) if isinstance(header, dict) else None
        check(
            isinstance(found, dict),
            f"{source} is neither a network nor a checkpoint of bivit: its header has no object {key!r}",
        )
    config = config_from_dict(header["config"], f"config in {source}")
    return config, build(Formats, header.get("formats", {}), f"formats in {source}")


def file_format(path: str | os.PathLike[str]) -> str | None:
    """Return what a file with a bivit header is: `FORMAT`, that of a checkpoint, or None when it is neither.

    Raises
    ------
    BivitError
        When there is no such file.
    """
    source = Path(path)
    check(source.is_file(), f"there is no file {source}; give an integer network or a checkpoint")
    try:
        with safe_open(source, framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get("bivit", "null"))
    except (SafetensorError, OSError, json.JSONDecodeError):
        return None
    return header.get("format") if isinstance(header, dict) else None


def network_hash(network: IntNetwork) -> str:
    """SHA-256, in hexadecimal, over the config, the formats and every tensor in name order."""
    return _hash(network.config.to_dict(), asdict(network.formats), network.tensors)


def _read(source: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    try:
        with safe_open(source, framework="numpy") as file:
            header = _parse_header(source, (file.metadata() or {}).get("bivit"))
            return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise BivitError(f"{source} is truncated or not a safetensors file: {error}; export it again") from error
    except OSError as error:
        raise BivitError(f"cannot read the network {source}: {error}") from error


def _parse_header(source: Path, text: str | None) -> dict[str, Any]:
    check(text is not None, f"{source} is not a bivit network: its metadata lacks the key 'bivit'")
    try:
        header = json.loads(text or "")
    except json.JSONDecodeError as error:
        raise BivitError(f"{source} is damaged: its header is not JSON: {error}; export it again") from error
    check(isinstance(header, dict), f"{source} is damaged: its header is not a JSON object; export it again")
    got = header.get("format")
    check(got == FORMAT, f"{source} is not a bivit network: its format is {got!r}, allowed is {FORMAT!r}")
    got = header.get("version")
    check(got == VERSION, f"{source} is of version {got!r}, this bivit reads version {VERSION}; export it again")
    missing = [key for key in _KEYS if key not in header]
    check(not missing, f"the header of {source} lacks {', '.join(missing)}; export it again")
    for key in ("config", "formats", "provenance", "agreement"):
        check(isinstance(header[key], dict), f"{key} in the header of {source} must be an object, got {header[key]!r}")
    return header


def _hash(config: dict[str, Any], formats: dict[str, Any], tensors: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256(json.dumps([config, formats], sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tensor.shape}\n".encode())
        digest.update(np.ascontiguousarray(tensor).tobytes())
    return digest.hexdigest()
