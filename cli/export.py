"""`bivit export`: from a trained student to an integer network, and how well the two agree; from that to QONNX."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..sim.errors import check
from .shared.common import (
    BrokenOption,
    DataOption,
    JsonFlag,
    broken_images_named,
    messages,
    open_images,
    show,
    tool_versions,
)
from .shared.net import SeedOption, find_net, find_preset
from .shared.progress import step

if TYPE_CHECKING:
    from ..sim.network.network import IntNetwork

#: Calibration images of an export, from the train split: enough for shares of equal bits to four digits.
CALIBRATION_IMAGES = 256
#: Network of a student when no other file is named.
DEFAULT_OUT = Path("out/network.safetensors")


def export_checkpoint(
    checkpoint: Path, data: str, out: Path, calibration: int, command: str, on_broken: str = "stop"
) -> dict[str, Any]:
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

    Returns
    -------
    dict
        `agreement` as `bivit.model.files.export.export_network` stores it, and `warnings`, a list of messages.

    Raises
    ------
    BivitError
        When the checkpoint is not a student, or cannot be expressed in integers.
    """
    from ..model.data.dataset import take
    from ..model.files.checkpoint import file_hash, load_checkpoint
    from ..model.files.export import export_network
    from ..model.vit.vit import BiViT
    from ..sim.network.file import save_network

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
    return {"agreement": network.agreement, "warnings": [str(warning.message) for warning in caught]}


def export_graph(network: IntNetwork, path: Path) -> dict[str, Any]:
    """Write a network as a QONNX graph; return the file, its size and what it holds.

    Parameters
    ----------
    network : IntNetwork
    path : Path
        The graph file; its folder is made.

    Returns
    -------
    dict
        `qonnx` (the file), `nodes`, `named_tensors` (those of docs/network.md) and `bytes`.

    Raises
    ------
    BivitError
        When the network has no graph, or the file cannot be written.
    """
    from ..sim.network.taps import tap_names
    from ..sim.qonnx.export import export_qonnx, save_qonnx

    model = export_qonnx(network)
    save_qonnx(model, path)
    return {
        "qonnx": str(path),
        "nodes": len(model.graph.node),
        "named_tensors": len(tap_names(network.config)),
        "bytes": path.stat().st_size,
    }


def export(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="Student, as written by `bivit train`; or, with --qonnx, an integer network or a preset.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help=f"Integer network to write, of a student; {DEFAULT_OUT} when left out.")
    ] = None,
    data: DataOption = "digits",
    calibration: Annotated[int, typer.Option(help="Train images to compare a student on.")] = CALIBRATION_IMAGES,
    on_broken: BrokenOption = "stop",
    qonnx: Annotated[Path | None, typer.Option(help="QONNX graph to write (docs/qonnx.md).")] = None,
    seed: SeedOption = 0,
    as_json: JsonFlag = False,
) -> None:
    """Fold a trained student into an integer network; print how well the two agree. Or write a network as QONNX.

    Example: bivit export out/digits/student.safetensors --out out/digits/network.safetensors

    Example: bivit export out/digits/network.safetensors --qonnx out/digits/network.onnx
    """
    from ..sim.network.file import NETWORK_FORMAT, file_format, load_network

    preset = find_preset(source) is not None
    if preset or (Path(source).is_file() and file_format(source) == NETWORK_FORMAT):
        what = "a preset, whose weights are random" if preset else "an integer network already"
        check(qonnx is not None, f"{source} is {what}; give --qonnx FILE to write its graph")
        check(out is None, f"{source} is {what}; --out is for students, leave it out")
        assert qonnx is not None
        chosen = find_net(source, seed)
        with step(f"export {source}"):
            graph = export_graph(chosen.network, qonnx)
        show(chosen.facts | graph, as_json, f"{source} as QONNX")
        return
    target = out or DEFAULT_OUT
    check(qonnx != target, f"--qonnx and --out are the same file {target}; give them different names")
    with step(f"export {source}"):
        command = f"bivit export {source} --data {data}"
        result = export_checkpoint(Path(source), data, target, calibration, command, on_broken)
        graph = {} if qonnx is None else export_graph(load_network(target), qonnx)
    for warning in result["warnings"]:
        messages.print(f"warning: {warning}", style="yellow", markup=False, soft_wrap=True)
    agreement = result["agreement"]
    if as_json:
        show({"network": str(target), **agreement, **graph, "warnings": result["warnings"]}, True, "")
        return
    plain = {name: value for name, value in agreement.items() if not isinstance(value, dict | list)}
    rows = [{"tensor": name, "equal bits": share} for name, share in agreement["equal_bits"].items()]
    show({"network": str(target), **plain, **graph, "tensors": rows}, False, f"{source} as integers")
