"""`bivit eval`: Top-1 of anything that classifies: a teacher, a student, or an integer network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..sim.errors import check
from .runs.classify import Tally, classify_stream, on_this_machine
from .shared.common import BrokenOption, DataOption, JsonFlag, broken_images_named, open_images, show
from .shared.progress import step

#: Images of an integer network's run that are in memory at a time.
_BATCH = 256


def evaluate_file(path: Path, data: str, on_broken: str = "stop") -> dict[str, Any]:
    """Measure Top-1 on the whole test split.

    Parameters
    ----------
    path : Path
        A checkpoint or an integer network.
    data : str
    on_broken : str
        `stop` or `skip`, see `bivit.model.data.open.open_source`.

    Returns
    -------
    dict
        `kind` ("float", "weights", "binary" for checkpoints, "integer" for networks), `top1`, `images`, those that were
        left out not counted.

    Raises
    ------
    BivitError
        When the file is neither, or the images do not fit it.
    """
    from ..sim.network.file import NETWORK_FORMAT, file_format, load_network

    if file_format(path) == NETWORK_FORMAT:
        return _evaluate_network(load_network(path), data, on_broken)
    from ..model.evaluate import count_right
    from ..model.files.checkpoint import load_checkpoint

    model = load_checkpoint(path).model
    with step("open the images"):
        test = open_images(data, "test", model.config, on_broken)
    with step(f"classify {len(test)} images", len(test)) as bar:
        right, seen = count_right(model, test, advance=bar.at)
    check(seen > 0, f"none of the {len(test)} images of {test.name} can be read")
    return {"kind": model.kind, "top1": right / seen, "images": seen}


def _evaluate_network(network: Any, data: str, on_broken: str) -> dict[str, Any]:
    with step("open the images"):
        test = open_images(data, "test", network.config, on_broken)
    tally = Tally()
    with step(f"classify {len(test)} images (kernels are compiled the first time)", len(test)) as bar:
        for _ in classify_stream(on_this_machine(network), test, len(test), _BATCH, tally):
            bar.at(tally.images)
    check(tally.images > 0, f"none of the {len(test)} images of {test.name} can be read")
    return {"kind": "integer", "top1": tally.right / tally.images, "images": tally.images}


def evaluate(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="Checkpoint of `bivit train` or network of `bivit export`.")
    ],
    data: DataOption = "digits",
    on_broken: BrokenOption = "stop",
    as_json: JsonFlag = False,
) -> None:
    """Measure Top-1 on the test images: of a teacher, a student, or an integer network.

    Example: bivit eval zoo/digits/network.safetensors --data digits
    """
    with broken_images_named():
        result = evaluate_file(path, data, on_broken)
    show(result, as_json, f"{path} on {data}")
