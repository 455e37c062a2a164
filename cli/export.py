"""`bivit export`: from a trained student to an integer network, and how well the two agree."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from .common import (
    BrokenOption,
    DataOption,
    JsonFlag,
    broken_images_named,
    messages,
    open_images,
    show,
    step,
    tool_versions,
)

#: Calibration images of an export, from the train split: enough for shares of equal bits to four digits.
CALIBRATION_IMAGES = 256


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
        `stop` or `skip`, see `bivit.model.data.open_source`.

    Returns
    -------
    dict
        `agreement` as `bivit.model.export.export_network` stores it, and `warnings`, a list of messages.

    Raises
    ------
    BivitError
        When the checkpoint is not a student, or cannot be expressed in integers.
    """
    from ..model.checkpoint import file_hash, load_checkpoint
    from ..model.export import export_network
    from ..model.vit import BiViT
    from ..sim.artefact import save_network

    loaded = load_checkpoint(checkpoint, kind="binary")
    assert isinstance(loaded.model, BiViT)
    train = open_images(data, "train", loaded.model.config, on_broken)
    with broken_images_named():
        images = train.take(min(calibration, len(train)), seed=0)
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
    out.parent.mkdir(parents=True, exist_ok=True)
    save_network(network, out)
    return {"agreement": network.agreement, "warnings": [str(warning.message) for warning in caught]}


def export(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="Student, as written by `bivit train`.")],
    out: Annotated[Path, typer.Option(help="Integer network to write.")] = Path("out/network.safetensors"),
    data: DataOption = "digits",
    calibration: Annotated[int, typer.Option(help="Train images to compare on.")] = CALIBRATION_IMAGES,
    on_broken: BrokenOption = "stop",
    as_json: JsonFlag = False,
) -> None:
    """Fold a trained student into an integer network; print how well the two agree.

    Example: bivit export out/digits/student.safetensors --out out/digits/network.safetensors
    """
    with step(f"export {checkpoint}"):
        command = f"bivit export {checkpoint} --data {data}"
        result = export_checkpoint(checkpoint, data, out, calibration, command, on_broken)
    for warning in result["warnings"]:
        messages.print(f"warning: {warning}", style="yellow", markup=False, soft_wrap=True)
    agreement = result["agreement"]
    if as_json:
        show({"network": str(out), **agreement, "warnings": result["warnings"]}, True, "")
        return
    plain = {name: value for name, value in agreement.items() if not isinstance(value, dict | list)}
    rows = [{"tensor": name, "equal bits": share} for name, share in agreement["equal_bits"].items()]
    show({"network": str(out), **plain, "tensors": rows}, False, f"{checkpoint} as integers")
