"""`bivit run`: classify images with the integer reference."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from .common import DataOption, JsonFlag, NetArgument, open_images, show

#: Images in the untimed first run, in which numba compiles the kernels.
_WARM_UP = 1


def run(
    net: NetArgument,
    data: DataOption = "digits",
    images: Annotated[int | None, typer.Option(help="Test images to run; all of them by default.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Classify test images with the integer network; print Top-1 and speed.

    Example: bivit run out/demo/network.safetensors --data digits
    """
    from ..sim.artefact import load_network

    network = load_network(net)
    source = open_images(data, "test", network.config)
    test = source.take(len(source) if images is None else images)
    network.predict(test.images[:_WARM_UP])
    start = time.perf_counter()
    result = network.run(test.images)
    seconds = time.perf_counter() - start
    predictions = result.logits.argmax(axis=1)
    summary = {
        "top1": float((predictions == test.labels).mean()),
        "images": len(test),
        "images_per_s": len(test) / seconds,
        "saturations": result.saturations,
        "empty_attention_rows": result.empty_rows,
    }
    show(summary, as_json, f"{net} on {data}")
