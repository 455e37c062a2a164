"""`bivit heads`: what each attention head of a trained Bi-ViT does on images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from ..sim.errors import check
from ..sim.system.result import Result
from .shared.common import BrokenOption, DataOption, JsonFlag, broken_images_named, open_images, show
from .shared.progress import step


@dataclass(frozen=True, kw_only=True)
class HeadsReport(Result):
    """What `bivit heads` prints; rows are those of `bivit.model.attention_report`."""

    images: int
    heads: int
    constant: int
    rows: tuple[dict[str, Any], ...]


def heads(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="Student, as written by `bivit train`.")],
    data: DataOption = "digits",
    images: Annotated[int, typer.Option(min=1, help="Test images to measure on.")] = 256,
    on_broken: BrokenOption = "stop",
    as_json: JsonFlag = False,
) -> None:
    """Report each attention head: its scale, its share of ones, its entropy, and whether it is constant.

    Example: bivit heads out/digits/student.safetensors --data digits
    """
    from ..model.attention_report import attention_report
    from ..model.data.dataset import take
    from ..model.files.checkpoint import load_checkpoint
    from ..model.vit.vit import BiViT

    model = load_checkpoint(checkpoint, kind="binary").model
    assert isinstance(model, BiViT)
    source = open_images(data, "test", model.config, on_broken)
    with step("read the images"), broken_images_named():
        chosen = take(source, min(images, len(source))).images
    check(len(chosen) > 0, f"none of the first {images} images of {source.name} can be read")
    with step(f"attention of {len(chosen)} images"):
        rows = attention_report(model, chosen)
    constant = sum(row["constant"] for row in rows)
    show(
        HeadsReport(images=len(chosen), heads=len(rows), constant=constant, rows=tuple(rows)),
        as_json,
        f"attention heads of {checkpoint} on {data}",
    )
