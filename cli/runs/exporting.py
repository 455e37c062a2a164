"""From a trained student to an integer network, and from that to a QONNX graph: what is written and measured."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...sim.system.result import Result
from ..shared.common import broken_images_named, open_images, tool_versions

if TYPE_CHECKING:
    from ...sim.network.network import IntNetwork

#: Calibration images of an export, from the train split: enough for shares of equal bits to four digits.
CALIBRATION_IMAGES = 256


@dataclass(frozen=True)
class Exported(Result):
    """What an export measured.

    Parameters
    ----------
    agreement : dict
        As `bivit.model.files.export.export_network` stores it.
    warnings : tuple of str
    """

    agreement: dict[str, Any]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Graph(Result):
    """A graph that was written: its file, its size and what it holds.

    Parameters
    ----------
    qonnx : Path
    nodes, named_tensors : int
        The tensors are those of docs/network.md.
    bytes : int
    """

    qonnx: Path
    nodes: int
    named_tensors: int
    bytes: int


def export_checkpoint(
    checkpoint: Path, data: str, out: Path, calibration: int, command: str, on_broken: str = "stop"
) -> Exported:
    """Fold a student into integers and write the network; return what the export measured.

    Parameters
    ----------
    checkpoint : Path
        Of the binarized student.
    data : str
        Data set whose train split gives the calibration images.
    out : Path
        The network file.
    calibration : int
        How many of them.
    command : str
        For the provenance.
    on_broken : str
        `stop` or `skip`, see `bivit.model.data.open.open_source`.

    Raises
    ------
    BivitError
        When the checkpoint is not a student, or cannot be expressed in integers.
    """
    from ...model.data.dataset import take
    from ...model.files.checkpoint import load_checkpoint
    from ...model.files.export import export_network
    from ...model.vit.vit import BiViT
    from ...sim.network.file import save_network
    from ...sim.system.files import file_hash

    loaded = load_checkpoint(checkpoint, kind="binary")
    assert isinstance(loaded.model, BiViT)
    train = open_images(data, "train", loaded.model.config, on_broken)
    with broken_images_named():
        images = take(train, min(calibration, len(train)), seed=0)
    provenance = {
        "command": command,
        "checkpoint_sha256": file_hash(checkpoint),
        "seed": loaded.seed,
        "data": data,
        "versions": tool_versions(),
    }
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        network = export_network(loaded.model, images.images, images.labels, provenance)
    save_network(network, out)
    return Exported(network.agreement, tuple(str(warning.message) for warning in caught))


def export_graph(network: IntNetwork, path: Path) -> Graph:
    """Write a network as a QONNX graph.

    Parameters
    ----------
    network : IntNetwork
    path : Path
        The graph file; its folder is made.

    Raises
    ------
    BivitError
        When the network has no graph, or the file cannot be written.
    """
    from ...sim.network.taps import tap_names
    from ...sim.qonnx.export import export_qonnx, save_qonnx

    model = export_qonnx(network)
    save_qonnx(model, path)
    return Graph(path, len(model.graph.node), len(tap_names(network.config)), path.stat().st_size)
