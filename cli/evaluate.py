"""`bivit eval`: Top-1 of anything that classifies: a teacher, a student, or an integer network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .classify import Tally, classify_stream, on_this_machine
from .common import DataOption, JsonFlag, open_images, show

#: Images of an integer network's run that are in memory at a time.
_BATCH = 256


def evaluate_file(path: Path, data: str) -> dict[str, Any]:
    """Measure Top-1 on the whole test split.

    Parameters
    ----------
    path : Path
        A checkpoint or an integer network.
    data : str

    Returns
    -------
    dict
        `kind` ("float", "weights", "binary" for checkpoints, "integer" for networks), `top1`, `images`.

    Raises
    ------
    BivitError
        When the file is neither, or the images do not fit it.
    """
    from ..sim.artefact import FORMAT, file_format, load_network

    if file_format(path) == FORMAT:
        return _evaluate_network(load_network(path), data)
    from ..model.checkpoint import load_checkpoint
    from ..model.evaluate import evaluate

    model = load_checkpoint(path).model
    test = open_images(data, "test", model.config)
    return {"kind": model.kind, "top1": evaluate(model, test), "images": len(test)}


def _evaluate_network(network: Any, data: str) -> dict[str, Any]:
    test, tally = open_images(data, "test", network.config), Tally()
    for _ in classify_stream(on_this_machine(network), test, len(test), _BATCH, tally):
        pass
    return {"kind": "integer", "top1": tally.right / tally.images, "images": tally.images}


def evaluate(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="Checkpoint of `bivit train` or network of `bivit export`.")
    ],
    data: DataOption = "digits",
    as_json: JsonFlag = False,
) -> None:
    """Measure Top-1 on the test images: of a teacher, a student, or an integer network.

    Example: bivit eval zoo/digits/network.safetensors --data digits
    """
    show(evaluate_file(path, data), as_json, f"{path} on {data}")
