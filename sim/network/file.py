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
from safetensors.numpy import save

from ..errors import BivitError, check
from ..system.files import whole_file
from ..system.tensor_file import Format as FileFormat
from ..system.tensor_file import read_header
from ..system.typed import build, shown
from .config import ModelConfig, config_from_dict
from .formats import Formats
from .network import IntNetwork
from .tensors import check_names, tensor_specs

NETWORK_FORMAT = "bivit-network"
NETWORK_VERSION = 1
_OBJECTS = ("config", "formats", "provenance", "agreement")
_FILE = FileFormat(NETWORK_FORMAT, NETWORK_VERSION, "network", "export it again", (*_OBJECTS, "sha256"), _OBJECTS)


def save_network(network: IntNetwork, path: str | os.PathLike[str]) -> None:
    """Write a network; the file appears whole or not at all.

    Parameters
    ----------
    network : IntNetwork
    path : path
        Its folder is made when it does not exist.

    Raises
    ------
    BivitError
        When the provenance is not JSON or the file cannot be written.
    """
    header = {
        "format": NETWORK_FORMAT,
        "version": NETWORK_VERSION,
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
    header, tensors = _FILE.read(source, "numpy")
    config = config_from_dict(header["config"], f"config in {source}")
    formats = build(Formats, header["formats"], f"formats in {source}")
    check_names(tensors, tensor_specs(config, formats))
    found = _hash(header["config"], header["formats"], tensors)
    check(
        found == header["sha256"],
        f"the network file {source} is damaged: its hash is {found}, the header says {shown(header['sha256'])}; "
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
    header = read_header(source) or {}
    for key in ("config", "formats"):
        found = header.get(key, {} if key == "formats" else None)
        check(
            isinstance(found, dict),
            f"{source} is neither a network nor a checkpoint of bivit: its header has no object {key!r}",
        )
    config = config_from_dict(header["config"], f"config in {source}")
    return config, build(Formats, header.get("formats", {}), f"formats in {source}")


def file_format(path: str | os.PathLike[str]) -> str | None:
    """Return what a file with a bivit header is: `NETWORK_FORMAT`, that of a checkpoint, or None when it is neither.

    Raises
    ------
    BivitError
        When there is no such file.
    """
    source = Path(path)
    check(source.is_file(), f"there is no file {source}; give an integer network or a checkpoint")
    try:
        return (read_header(source) or {}).get("format")
    except BivitError:
        return None


def network_hash(network: IntNetwork) -> str:
    """SHA-256, in hexadecimal, over the config, the formats and every tensor in name order."""
    return _hash(network.config.to_dict(), asdict(network.formats), network.tensors)


def _hash(config: dict[str, Any], formats: dict[str, Any], tensors: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256(json.dumps([config, formats], sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tensor.shape}\n".encode())
        digest.update(np.ascontiguousarray(tensor).tobytes())
    return digest.hexdigest()
